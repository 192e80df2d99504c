//! Between the run loop, which never waits, and the store, which waits for the disk.
//!
//! One batch is at the store at a time. What comes meanwhile is the next batch: under load one sync serves many jobs, and
//! without load nobody waits for company.

use std::{
    collections::HashSet,
    sync::{Arc, mpsc},
    thread,
};

use picket_core::{
    inquiry::InquiryId,
    job::{Epoch, RowId, TransportId},
    limits,
    time::Moment,
};

use tokio::sync::oneshot;

use super::volatile::Volatile;
use crate::ports::{Ask, DeadLetter, Event, Inbox, Message, Request, Revived, Store, Write, Written};

/// A row that its transport is ready for and that has to be read first.
pub type Fetch = (TransportId, RowId, Epoch);

/// An inquiry that a provider is ready for and whose job has to be read first.
#[derive(Clone, Debug)]
pub struct Inquire {
    pub inquiry: InquiryId,
    pub ask: Ask,
}

/// Asked by somebody outside, through the run loop.
#[derive(Debug)]
pub enum Errand {
    ListDead(oneshot::Sender<Vec<DeadLetter>>),
    /// Run the job once more. Answers whether there is one of that number.
    RetryDead {
        number: u64,
        answer: oneshot::Sender<bool>,
    },
    DropDead {
        number: u64,
        answer: oneshot::Sender<bool>,
    },
}

#[derive(Default)]
struct Batch {
    writes: Vec<Write>,
    fetches: Vec<Fetch>,
    inquiries: Vec<Inquire>,
    errands: Vec<Errand>,
}

/// What became of a batch.
#[derive(Debug, Default)]
pub struct Done {
    pub written: Vec<Written>,
    /// `None`: there is no such row any more.
    pub fetched: Vec<(Fetch, Option<Arc<Message>>)>,
    /// `None`: there is no such inquiry any more.
    pub inquiries: Vec<(Inquire, Option<Arc<Request>>)>,
    /// Dead letters that shall run again, with their numbers.
    pub retried: Vec<(u64, Arc<Request>)>,
    /// Payload bytes that the store holds now.
    pub bytes: usize,
    /// Why the store cannot go on.
    pub broken: Option<String>,
}

/// Batches at the store at a time.
const BATCHES: usize = 1;

enum Place {
    /// A store that never waits.
    Here(Box<dyn Store>),
    /// A thread that does, until its sender is dropped.
    Away { to: Option<mpsc::SyncSender<Batch>>, thread: Option<thread::JoinHandle<()>> },
}

/// The run loop's side of the store.
pub struct Desk {
    place: Place,
    /// Beside it, what no disk is to see.
    volatile: Volatile,
    /// Payload bytes at the store, when it last answered.
    durable_bytes: usize,
    next: Batch,
    /// A batch is at the store, since then.
    busy: Option<Moment>,
    /// The first confirmation of the next batch came at this moment.
    confirms_since: Option<Moment>,
}

impl Desk {
    /// `volatile`: models whose jobs are not to wait for a disk.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn open(store: Box<dyn Store>, volatile: HashSet<Arc<str>>, inbox: &Inbox) -> std::io::Result<Self> {
        let volatile = Volatile::new(volatile, store.max_bytes());
        let durable_bytes = store.bytes();
        let place = if store.waits() {
            let (to, batches) = mpsc::sync_channel(BATCHES);
            let inbox = inbox.clone();
            let thread =
                thread::Builder::new().name("store".to_owned()).spawn(move || serve(store, &batches, &inbox))?;
            Place::Away { to: Some(to), thread: Some(thread) }
        } else {
            Place::Here(store)
        };
        let next = Batch::default();
        Ok(Self { place, volatile, durable_bytes, next, busy: None, confirms_since: None })
    }

    pub fn write(&mut self, write: Write, now: Moment) {
        let Some(write) = self.volatile.take(write) else { return };
        if matches!(write, Write::Confirm { .. }) {
            self.confirms_since.get_or_insert(now);
        }
        self.next.writes.push(write);
    }

    /// The row, where it is at hand; else it comes with the next batch.
    pub fn fetch(&mut self, fetch: Fetch) -> Option<Option<Arc<Message>>> {
        let at_hand = self.volatile.row(fetch.1);
        if at_hand.is_none() {
            self.next.fetches.push(fetch);
        }
        at_hand
    }

    pub fn inquire(&mut self, inquire: Inquire) {
        self.next.inquiries.push(inquire);
    }

    pub fn errand(&mut self, errand: Errand) {
        self.next.errands.push(errand);
    }

    /// Everything that was handed over is durable.
    pub fn idle(&self) -> bool {
        self.busy.is_none() && self.volatile.idle() && self.nothing_next()
    }

    const fn nothing_next(&self) -> bool {
        self.next.writes.is_empty()
            && self.next.fetches.is_empty()
            && self.next.inquiries.is_empty()
            && self.next.errands.is_empty()
    }

    /// Call [`Self::turn`] at this moment at the latest.
    pub fn next_deadline(&self) -> Option<Moment> {
        self.confirms_since.filter(|_| self.busy.is_none()).map(|since| since + limits::CONFIRM_WAIT)
    }

    /// Hands over the next batch if the store is free and something is worth it. A store without a thread answers at once.
    pub fn turn(&mut self, now: Moment, at_once: bool) -> Option<Done> {
        if !self.volatile.idle() {
            let written = self.volatile.turn();
            let bytes = self.durable_bytes + self.volatile.bytes();
            return Some(Done { written, bytes, ..Done::default() });
        }
        if self.busy.is_some() || self.nothing_next() || (!at_once && self.can_wait(now)) {
            return None;
        }
        let mut batch = std::mem::take(&mut self.next);
        self.next.writes = split_group(&mut batch.writes);
        let left = self.next.writes.iter().any(|write| matches!(write, Write::Confirm { .. }));
        self.confirms_since = left.then_some(now);
        match &mut self.place {
            Place::Here(store) => {
                let done = perform(store.as_mut(), batch);
                Some(self.returned(done))
            }
            Place::Away { to, .. } if to.as_ref().is_some_and(|to| to.try_send(batch).is_ok()) => {
                self.busy = Some(now);
                None
            }
            Place::Away { .. } => {
                Some(Done { broken: Some("the store's thread is gone".to_owned()), ..Done::default() })
            }
        }
    }

    /// The disk does not answer.
    pub fn is_stalled(&self, now: Moment) -> bool {
        self.busy.is_some_and(|since| now.since(since) > limits::STORE_PATIENCE)
    }

    /// The store has answered.
    pub fn returned(&mut self, done: Done) -> Done {
        self.busy = None;
        self.durable_bytes = done.bytes;
        Done { bytes: done.bytes + self.volatile.bytes(), ..done }
    }

    /// Confirmations alone are in no hurry: losing them only means that a result is delivered twice.
    fn can_wait(&self, now: Moment) -> bool {
        self.next.fetches.is_empty()
            && self.next.inquiries.is_empty()
            && self.next.errands.is_empty()
            && self.next.writes.len() < limits::CONFIRMS
            && self.next.writes.iter().all(|write| matches!(write, Write::Confirm { .. }))
            && self.confirms_since.is_some_and(|since| now.since(since) < limits::CONFIRM_WAIT)
    }

    /// Lets the store end and waits for it.
    pub fn close(mut self) {
        if let Place::Away { to, thread } = &mut self.place {
            drop(to.take());
            if let Some(thread) = thread.take() {
                let _ = thread.join();
            }
        }
    }
}

/// Leaves at most a group's jobs in `writes` and returns the rest. Confirmations are no jobs: they make room.
fn split_group(writes: &mut Vec<Write>) -> Vec<Write> {
    let mut jobs = 0;
    let end = writes.iter().position(|write| {
        jobs += usize::from(!matches!(write, Write::Confirm { .. }));
        jobs > limits::GROUP_COMMIT
    });
    end.map_or_else(Vec::new, |end| writes.split_off(end))
}

fn serve(mut store: Box<dyn Store>, batches: &mpsc::Receiver<Batch>, inbox: &Inbox) {
    while let Ok(batch) = batches.recv() {
        if inbox.blocking_send(Event::Stored(perform(store.as_mut(), batch))).is_err() {
            return;
        }
    }
}

fn perform(store: &mut dyn Store, batch: Batch) -> Done {
    let mut written = if batch.writes.is_empty() { Vec::new() } else { store.transact(batch.writes) };
    let fetched = batch.fetches.into_iter().map(|fetch| (fetch, store.row(fetch.1))).collect();
    let inquiries = batch
        .inquiries
        .into_iter()
        .map(|inquire| {
            let request = store.inquiry(inquire.inquiry);
            (inquire, request)
        })
        .collect();
    let mut retried = Vec::new();
    for errand in batch.errands {
        match errand {
            Errand::ListDead(answer) => {
                let _ = answer.send(store.dead());
            }
            Errand::RetryDead { number, answer } => {
                let revived = store.revive(number);
                let _ = answer.send(revived.is_some());
                match revived {
                    Some(Revived::Job(request)) => retried.push((number, request)),
                    Some(Revived::Row) => written.extend(store.transact(vec![Write::Resend { number }])),
                    None => {}
                }
            }
            Errand::DropDead { number, answer } => {
                let there = store.revive(number).is_some();
                if there {
                    store.transact(vec![Write::ForgetDead { number }]);
                }
                let _ = answer.send(there);
            }
        }
    }
    Done { written, fetched, inquiries, retried, bytes: store.bytes(), broken: store.broken() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use picket_core::job::Key;

    fn refusal(n: u64) -> Write {
        Write::Refuse { key: Key(n), messages: vec![] }
    }

    #[test]
    fn a_group_has_at_most_so_many_jobs_and_any_number_of_confirmations() {
        let confirm = || Write::Confirm { row: RowId(1) };
        let mut writes: Vec<Write> = (0..limits::GROUP_COMMIT as u64).map(refusal).collect();
        writes.splice(3..3, (0..100).map(|_| confirm()));
        assert!(split_group(&mut writes).is_empty());
        writes.push(refusal(99));
        writes.push(confirm());
        let rest = split_group(&mut writes);
        assert_eq!(writes.len(), limits::GROUP_COMMIT + 100);
        assert!(matches!(rest[..], [Write::Refuse { key: Key(99), .. }, Write::Confirm { .. }]));
    }
}
