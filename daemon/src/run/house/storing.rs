//! What goes to the store and what comes back from it.

use std::sync::Arc;

use picket_core::{
    Input, OutboxRow,
    job::{Epoch, RowId, TransportId},
    limits,
};

use super::{House, cargo::Cargo};
use crate::{
    failpoint,
    ports::{Announcement, Message, NewRow, Recovered, Write, Written},
    store::desk::Done,
};

impl House {
    /// Takes up what an earlier process has left.
    pub(super) fn recover(&mut self, recovered: Recovered) {
        let Recovered { jobs, rows, seen, inquiries, learned, salt: _, losses, moved_aside } = recovered;
        if !jobs.is_empty() || !rows.is_empty() {
            tracing::info!(jobs = jobs.len(), results = rows.len(), "the store still holds work");
        }
        if let Some(file) = moved_aside {
            let event = serde_json::json!({ "event": "store-corrupt", "code": "store/corrupt", "moved_to": file });
            self.announce(&Announcement::Event(event));
        }
        self.losses_before = losses;
        let mut stored = Vec::with_capacity(jobs.len());
        for (mut job, request) in jobs {
            let model = job.model.as_ref().ok().copied();
            job.audit = self.draws(&job.id, model);
            self.next_key = self.next_key.max(job.key.0 + 1);
            let cargo = Cargo {
                attempts: job.attempts,
                recovered: true,
                ..Cargo::new(self.clock.now(), request, job.id.clone(), job.digest, model)
            };
            self.cargo.insert(job.key, cargo);
            stored.push(job);
        }
        self.recall(&learned);
        self.hear_core(Input::Recovered { jobs: stored, rows, seen });
        self.hear_core(Input::Inquiries(inquiries));
    }

    /// A batch came back from the store.
    pub(super) fn stored(&mut self, done: Done) {
        self.store_bytes = done.bytes;
        if let Some(why) = done.broken {
            self.broken = Some(format!("error[store/failed]: {why}; nothing was acknowledged since"));
        }
        for written in done.written {
            if let Some(input) = self.as_input(written) {
                self.follow_ups.push_back(input);
            }
        }
        for ((transport, row, epoch), message) in done.fetched {
            self.deliver(transport, row, epoch, message);
        }
        for (inquire, request) in done.inquiries {
            self.send_inquiry(inquire, request);
        }
        for (number, request) in done.retried {
            self.hear_job(request, Some(number));
        }
    }

    pub(super) fn as_input(&mut self, written: Written) -> Option<Input> {
        Some(match written {
            Written::Accepted { key } => {
                failpoint::hit("accepted");
                self.store_failing = false;
                Input::Accepted { key }
            }
            Written::Finished { key, rows, inquiry } => {
                failpoint::hit("finished");
                Input::Finished { key, rows: self.keep_fresh(rows), inquiry }
            }
            Written::Closed { inquiry, rows } => Input::Closed { inquiry, rows: self.keep_fresh(rows) },
            Written::Repeated { key, rows } => Input::Repeated { key, rows: self.keep_fresh(rows) },
            Written::NothingToRepeat { key } => Input::NothingToRepeat { key },
            Written::Failed { key, why } => Input::StoreFailed { key, why },
            Written::Evicted { rows } => {
                rows.iter().for_each(|row| self.drop_fresh(*row));
                Input::Evicted { rows }
            }
            Written::Added { rows } => {
                Input::Recovered { jobs: Vec::new(), rows: self.keep_fresh(rows), seen: Vec::new() }
            }
            Written::Again(write) => {
                self.desk.write(write, self.clock.now());
                return None;
            }
            Written::Done => return None,
        })
    }

    pub(super) fn keep_fresh(&mut self, rows: Vec<NewRow>) -> Vec<OutboxRow> {
        rows.into_iter()
            .map(|NewRow { row, message }| {
                let size = message.payload.len();
                if self.fresh_bytes + size <= limits::FRESH_RESULT_BYTES {
                    self.fresh_bytes += size;
                    self.fresh.insert(row.row, message);
                }
                row
            })
            .collect()
    }

    pub(super) fn drop_fresh(&mut self, row: RowId) {
        if let Some(message) = self.fresh.remove(&row) {
            self.fresh_bytes -= message.payload.len();
        }
    }

    pub(super) fn deliver(&mut self, transport: TransportId, row: RowId, epoch: Epoch, message: Option<Arc<Message>>) {
        match (message, self.transports.get_mut(transport.0)) {
            (Some(message), Some(slot)) => slot.transport.deliver(row, epoch, message),
            _ => self.follow_ups.push_back(Input::Undeliverable { transport, row, epoch }),
        }
    }

    pub(super) fn write(&mut self, write: Write) {
        self.desk.write(write, self.clock.now());
    }
}
