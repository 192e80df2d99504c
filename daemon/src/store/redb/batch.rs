//! One transaction: what each write changes in the tables.

use std::sync::Arc;

use ::redb::{ReadableTable, Table, WriteTransaction};
use bytes::Bytes;
use picket_core::{
    OutboxRow, StoreFault,
    inquiry::Inquiry,
    job::{JobId, Key, RowId, StoredJob},
    limits,
};

use super::{
    DEAD, INQUIRIES, Index, JOBS, LEARNED, LOSSES, MESSAGES, META, OUTBOX, OpenJob, SEEN, Setup, trouble::Trouble,
};
use crate::{
    config::OnFull,
    ports::{Death, Message, NewRow, Request, Write, Written},
    store::{
        blobs::{BlobId, Blobs},
        records::{JobRecord, MessageRecord, Now, Payload, RowRecord, SeenRecord, decode, encode},
    },
};

/// One transaction under way: the tables, and what will be true once it is durable.
pub(super) struct Batch<'t> {
    jobs: Table<'t, u64, &'static [u8]>,
    pub(super) messages: Table<'t, u64, &'static [u8]>,
    outbox: Table<'t, u64, &'static [u8]>,
    seen: Table<'t, u64, &'static [u8]>,
    pub(super) dead: Table<'t, u64, &'static [u8]>,
    meta: Table<'t, &'static str, &'static [u8]>,
    pub(super) inquiries: Table<'t, u64, &'static [u8]>,
    learned: Table<'t, &'static str, &'static [u8]>,
    pub(super) setup: &'t Setup,
    blobs: &'t Blobs,
    index: &'t Index,
    pub(super) change: Change,
    pub(super) now: Now,
    pub(super) draining: bool,
}

/// What is left of a finished job.
struct Rest<'w> {
    dead: Option<&'w Death>,
    inquiry: Option<&'w Inquiry>,
}

/// What becomes true when the transaction is durable.
pub(super) struct Change {
    pub next_job: u64,
    pub next_row: u64,
    pub first_seen: u64,
    pub next_seen: u64,
    pub first_dead: u64,
    pub next_dead: u64,
    pub next_inquiry: u64,
    pub bytes: u64,
    pub opened: Vec<(Key, OpenJob)>,
    pub finished: Vec<Key>,
    pub kept: Vec<(RowId, JobId, u64)>,
    /// So many of the oldest kept results go.
    pub forgotten: usize,
    pub evicted: Vec<RowId>,
    pub adopted: Vec<BlobId>,
    pub abandoned: Vec<BlobId>,
}

impl Change {
    const fn new(index: &Index) -> Self {
        Self {
            next_job: index.next_job,
            next_row: index.next_row,
            first_seen: index.first_seen,
            next_seen: index.next_seen,
            first_dead: index.first_dead,
            next_dead: index.next_dead,
            next_inquiry: index.next_inquiry,
            bytes: index.bytes,
            opened: Vec::new(),
            finished: Vec::new(),
            kept: Vec::new(),
            forgotten: 0,
            evicted: Vec::new(),
            adopted: Vec::new(),
            abandoned: Vec::new(),
        }
    }
}

impl<'t> Batch<'t> {
    pub fn open(
        transaction: &'t WriteTransaction,
        setup: &'t Setup,
        blobs: &'t Blobs,
        index: &'t Index,
        now: Now,
        draining: bool,
    ) -> Result<Self, Trouble> {
        Ok(Self {
            jobs: transaction.open_table(JOBS)?,
            messages: transaction.open_table(MESSAGES)?,
            outbox: transaction.open_table(OUTBOX)?,
            seen: transaction.open_table(SEEN)?,
            dead: transaction.open_table(DEAD)?,
            meta: transaction.open_table(META)?,
            inquiries: transaction.open_table(INQUIRIES)?,
            learned: transaction.open_table(LEARNED)?,
            setup,
            blobs,
            index,
            change: Change::new(index),
            now,
            draining,
        })
    }

    /// Lets go of the tables.
    pub fn close(self) -> Change {
        self.change
    }

    pub fn write(&mut self, write: &Write) -> Result<Written, Trouble> {
        match write {
            Write::Accept { job, request, was_dead } => self.accept(job, request, *was_dead),
            Write::Finish { key, id, digest, messages, dead, inquiry } => {
                let rest = Rest { dead: dead.as_ref(), inquiry: inquiry.as_ref() };
                self.finish(*key, id, digest, messages, rest)
            }
            Write::Close { inquiry, messages } => self.close_inquiry(*inquiry, messages),
            Write::Learned { model, state } => {
                self.learned.insert(&**model, encode(state).as_slice())?;
                Ok(Written::Done)
            }
            Write::Refuse { key, messages } => {
                let size = messages.iter().map(|message| message.payload.len() as u64).sum();
                if !self.make_room(size)? {
                    return Ok(Written::Failed { key: *key, why: StoreFault::Full });
                }
                Ok(Written::Finished { key: *key, rows: self.insert_rows(messages)?, inquiry: None })
            }
            Write::Repeat { key, id, to } => {
                let Some(row) = self.index.kept_rows.get(id) else { return Ok(Written::NothingToRepeat { key: *key }) };
                let Some(record) = self.messages.get(row.0)?.and_then(|value| decode::<MessageRecord>(value.value()))
                else {
                    return Ok(Written::NothingToRepeat { key: *key });
                };
                let payload = match &record.payload {
                    Payload::Inline(bytes) => bytes.clone(),
                    Payload::Blob(id) => self.blobs.get(id)?,
                };
                let again = Message { to: to.clone(), ..record.message(payload, &self.setup.names, self.now) };
                Ok(Written::Repeated { key: *key, rows: self.insert_rows(&[again])? })
            }
            Write::Confirm { row } => {
                self.remove_row(*row)?;
                Ok(Written::Done)
            }
            Write::Bury { row, code } => {
                self.bury_row(*row, code)?;
                Ok(Written::Done)
            }
            Write::Resend { number } => self.resend(*number),
            Write::ForgetDead { number } => {
                self.forget_dead(*number)?;
                Ok(Written::Done)
            }
            Write::Losses(losses) => {
                self.meta.insert(LOSSES, encode(losses).as_slice())?;
                Ok(Written::Done)
            }
        }
    }

    fn accept(&mut self, job: &StoredJob, request: &Request, was_dead: Option<u64>) -> Result<Written, Trouble> {
        let bytes = request.content.size() as u64;
        if !self.make_room(bytes)? {
            return Ok(Written::Failed { key: job.key, why: StoreFault::Full });
        }
        let (setup, now) = (self.setup, self.now);
        let record = JobRecord::new(job, request, &setup.names, now, bytes, |payload| self.store_payload(payload))?;
        let number = self.change.next_job;
        self.change.next_job += 1;
        self.jobs.insert(number, encode(&record).as_slice())?;
        self.change.bytes += bytes;
        let blobs = record.content.payloads().any(|payload| payload.blob().is_some());
        self.change.opened.push((job.key, OpenJob { number, bytes, blobs }));
        if let Some(number) = was_dead {
            self.forget_dead(number)?;
        }
        Ok(Written::Accepted { key: job.key })
    }

    /// A result replaces its job, so that a full store can still drain.
    fn finish(
        &mut self,
        key: Key,
        id: &JobId,
        digest: &[u8; 32],
        messages: &[Message],
        rest: Rest<'_>,
    ) -> Result<Written, Trouble> {
        let mut opened = None;
        if let Some(job) = self.index.jobs.get(&key).copied() {
            let removed = self.jobs.remove(job.number)?;
            // Decoding costs; most jobs have no file, did not die and leave no question.
            let wanted = job.blobs || rest.dead.is_some() || rest.inquiry.is_some();
            let record = removed.filter(|_| wanted).and_then(|value| decode::<JobRecord>(value.value()));
            self.change.bytes = self.change.bytes.saturating_sub(job.bytes);
            self.change.finished.push(key);
            match (record, rest.dead, rest.inquiry) {
                (Some(record), Some(death), _) if !self.draining => self.bury(record, death)?,
                (Some(record), None, Some(inquiry)) if !self.draining => {
                    opened = Some(self.open_inquiry(record, inquiry)?);
                }
                (Some(record), ..) => {
                    self.change.abandoned.extend(record.content.blobs());
                }
                (None, ..) => {}
            }
        }
        let rows = self.insert_rows(messages)?;
        let own = rows.iter().find(|row| row.row.job.is_some());
        let kept = own.map(|row| (row.row.row.0, row.message.payload.len() as u64));
        let seen = SeenRecord { id: id.as_str().to_owned(), digest: *digest, kept };
        let number = self.change.next_seen;
        self.change.next_seen += 1;
        self.seen.insert(number, encode(&seen).as_slice())?;
        while self.change.next_seen - self.change.first_seen > limits::SEEN_IDS as u64 {
            self.seen.remove(self.change.first_seen)?;
            self.change.first_seen += 1;
        }
        if let Some(own) = own {
            self.change.kept.push((own.row.row, id.clone(), own.message.payload.len() as u64));
        }
        Ok(Written::Finished { key, rows, inquiry: opened })
    }

    pub(super) fn bytes(&self, payload: Option<&Payload>) -> Bytes {
        match payload {
            Some(Payload::Inline(bytes)) => bytes.clone(),
            Some(Payload::Blob(id)) => self.blobs.get(id).unwrap_or_default(),
            None => Bytes::new(),
        }
    }

    pub(super) fn insert_rows(&mut self, messages: &[Message]) -> Result<Vec<NewRow>, Trouble> {
        messages
            .iter()
            .map(|message| {
                let row = RowId(self.change.next_row);
                self.change.next_row += 1;
                let payload = self.store_payload(&message.payload)?;
                let record = MessageRecord::new(message, payload, &self.setup.names, self.now);
                self.messages.insert(row.0, encode(&record).as_slice())?;
                let bytes = message.payload.len() as u64;
                let waiting = RowRecord {
                    transport: self.setup.names.transport_name(message.to.transport).to_owned(),
                    job: message.job.as_ref().map(|id| id.as_str().to_owned()),
                    bytes,
                };
                self.outbox.insert(row.0, encode(&waiting).as_slice())?;
                self.change.bytes += bytes;
                let described = OutboxRow { row, transport: message.to.transport, job: message.job.clone() };
                Ok(NewRow { row: described, message: Arc::new(message.clone()) })
            })
            .collect()
    }

    /// Takes a row out of the outbox. Its message stays while it is kept for repetition.
    pub(super) fn remove_row(&mut self, row: RowId) -> Result<(), Trouble> {
        let Some(record) = self.outbox.remove(row.0)?.map(|value| decode::<RowRecord>(value.value())) else {
            return Ok(());
        };
        let bytes = record.as_ref().map_or(0, |record| record.bytes);
        self.change.bytes = self.change.bytes.saturating_sub(bytes);
        let job = record.and_then(|record| record.job).and_then(|id| JobId::new(&id).ok());
        let kept = job.is_some_and(|id| {
            self.index.kept_rows.get(&id) == Some(&row) || self.change.kept.iter().any(|(kept, ..)| *kept == row)
        });
        if !kept {
            self.remove_message(row, bytes)?;
        }
        Ok(())
    }

    /// `bytes`: of its payload, which is a file of its own from a certain size on. Others need no decoding.
    fn remove_message(&mut self, row: RowId, bytes: u64) -> Result<(), Trouble> {
        let removed = self.messages.remove(row.0)?.filter(|_| bytes >= limits::BLOB_BYTES as u64);
        let record = removed.and_then(|value| decode::<MessageRecord>(value.value()));
        self.change.abandoned.extend(record.and_then(|record| record.payload.blob()));
        Ok(())
    }

    /// Forgets the oldest kept results until the rest is within its limits. Where the disk was full they make room for
    /// jobs, some at a time, because a deletion needs room as well.
    pub fn evict_kept(&mut self) -> Result<(), Trouble> {
        let all = || self.index.kept.iter().chain(&self.change.kept);
        let mut count = self.index.kept.len() + self.change.kept.len();
        let mut bytes = self.index.kept_bytes + self.change.kept.iter().map(|(.., bytes)| bytes).sum::<u64>();
        let mut gone = Vec::new();
        for (row, _, size) in all() {
            let within = count <= limits::KEPT_RESULTS && bytes <= limits::KEPT_RESULT_BYTES as u64;
            let in_the_way = self.index.kept_max.is_some_and(|max| bytes > max);
            if within && !(in_the_way && gone.len() < limits::KEPT_RESULTS_FORGOTTEN) {
                break;
            }
            (count, bytes) = (count - 1, bytes - size);
            gone.push((*row, *size));
        }
        self.change.forgotten = gone.len();
        for (row, bytes) in gone {
            if self.outbox.get(row.0)?.is_none() {
                self.remove_message(row, bytes)?;
            }
        }
        Ok(())
    }

    /// Is there room for so much more? Where the owner wants it, the oldest rows make some.
    fn make_room(&mut self, bytes: u64) -> Result<bool, Trouble> {
        let max = self.setup.max_bytes as u64;
        if bytes > max {
            return Ok(false);
        }
        // On a full disk, what goes now makes room for the next attempt, once in a transaction.
        let max = match (self.draining, self.change.evicted.is_empty()) {
            (false, _) => max,
            (true, true) => self.change.bytes - self.change.bytes / limits::EVICTED_PART,
            (true, false) => return Ok(false),
        };
        while self.change.bytes + bytes > max {
            if self.setup.on_full != OnFull::DropOldest {
                return Ok(false);
            }
            let Some(row) = self.outbox.first()?.map(|(row, _)| RowId(row.value())) else { return Ok(false) };
            self.remove_row(row)?;
            self.change.evicted.push(row);
        }
        Ok(!self.draining)
    }

    fn store_payload(&mut self, payload: &Bytes) -> Result<Payload, Trouble> {
        if payload.len() < limits::BLOB_BYTES {
            return Ok(Payload::Inline(payload.clone()));
        }
        let id = self.blobs.put(payload)?;
        self.change.adopted.push(id);
        Ok(Payload::Blob(id))
    }
}
