//! The port to whatever keeps jobs and results.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use picket_core::{
    OutboxRow, StoreFault,
    inquiry::{Inquiry, InquiryId, StoredInquiry},
    job::{Digest, Failure, JobId, Key, RowId, StoredJob},
};
use serde::{Deserialize, Serialize};

use super::{Address, Message, Request};

/// One change of the store. What is listed together in [`Store::transact`] becomes durable together, each entry whole or
/// not at all.
#[derive(Clone, Debug)]
pub enum Write {
    /// Job row (I1). The dead letter that it was goes, if it was one.
    Accept { job: StoredJob, request: Arc<Request>, was_dead: Option<u64> },
    /// Result rows, kept result, job done: one transaction (I2). A job that failed goes to the dead letters, one that a
    /// provider is still to be asked about to the inquiries.
    Finish {
        key: Key,
        id: JobId,
        digest: Digest,
        messages: Vec<Message>,
        dead: Option<Death>,
        inquiry: Option<Inquiry>,
    },
    /// Rows for a job that was never accepted.
    Refuse { key: Key, messages: Vec<Message> },
    /// The kept result of `id` once more, to another address.
    Repeat { key: Key, id: JobId, to: Address },
    /// An inquiry has come to its end; these rows are what it led to.
    Close { inquiry: InquiryId, messages: Vec<Message> },
    /// What was learned of a model, in its own words.
    Learned { model: Arc<str>, state: Vec<u8> },
    /// An outbox row goes (I3).
    Confirm { row: RowId },
    /// An outbox row is given up, its receiver forbids it: it becomes a dead letter.
    Bury { row: RowId, code: &'static str },
    /// A dead letter that was a row goes back into the outbox.
    Resend { number: u64 },
    /// What was ever dropped, by reason, across restarts.
    Losses(Losses),
    /// A dead letter goes for good.
    ForgetDead { number: u64 },
}

/// Why a job gets no answer, and how often it was tried.
#[derive(Clone, Debug, PartialEq)]
pub struct Death {
    pub failure: Failure,
    pub attempts: u32,
}

/// Counters of everything that was ever dropped, by reason.
pub type Losses = BTreeMap<String, u64>;

/// What a dead letter was.
#[derive(Clone, Debug)]
pub enum Revived {
    Job(Arc<Request>),
    /// A message that its receiver forbade.
    Row,
}

/// One dead letter: a job that was accepted and got an error, or a message that its receiver forbade.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Number in the list; `picket dead` names it so.
    pub number: u64,
    pub id: String,
    pub model: String,
    pub code: String,
    pub message: String,
    /// How often its inference began.
    pub attempts: u32,
    /// SHA-256 of what makes the job the same job, in hex.
    pub digest: String,
    /// Seconds since 1970, by the wall clock.
    pub since: u64,
    /// Bytes of the input …
    pub bytes: u64,
    /// … and the first of them, in base64.
    pub first: String,
}

/// What became of one [`Write`], in the order of the writes.
#[derive(Clone, Debug)]
pub enum Written {
    Accepted {
        key: Key,
    },
    Finished {
        key: Key,
        rows: Vec<NewRow>,
        inquiry: Option<InquiryId>,
    },
    /// The inquiry is gone.
    Closed {
        inquiry: InquiryId,
        rows: Vec<NewRow>,
    },
    Repeated {
        key: Key,
        rows: Vec<NewRow>,
    },
    NothingToRepeat {
        key: Key,
    },
    /// Rows that belong to no job under way.
    Added {
        rows: Vec<NewRow>,
    },
    /// Nothing to tell.
    Done,
    Failed {
        key: Key,
        why: StoreFault,
    },
    /// A write without a key failed; to be tried again.
    Again(Write),
    /// Rows that had to go for this batch's jobs (`on_full = "drop-oldest"`).
    Evicted {
        rows: Vec<RowId>,
    },
}

/// A row as the store has just written it.
#[derive(Clone, Debug)]
pub struct NewRow {
    pub row: OutboxRow,
    pub message: Arc<Message>,
}

/// What a store held when it was opened.
#[derive(Debug, Default)]
pub struct Recovered {
    pub jobs: Vec<(StoredJob, Arc<Request>)>,
    pub rows: Vec<OutboxRow>,
    pub seen: Vec<(JobId, Digest)>,
    pub inquiries: Vec<StoredInquiry>,
    /// By model.
    pub learned: BTreeMap<String, Vec<u8>>,
    /// Keys the lottery; drawn once for each store.
    pub salt: [u8; 32],
    pub losses: Losses,
    /// Where the file went that could not be read any more.
    pub moved_aside: Option<PathBuf>,
}

/// Jobs, results, outbox. Called from one place only.
pub trait Store: Send {
    /// What an earlier process left. To be called once, before anything else.
    fn recover(&mut self) -> Recovered;

    /// Makes all of it durable before it returns. The answers come in the order of the writes, evictions besides.
    fn transact(&mut self, writes: Vec<Write>) -> Vec<Written>;

    /// The stored bytes of a row.
    fn row(&mut self, row: RowId) -> Option<Arc<Message>>;

    /// The job of an inquiry.
    fn inquiry(&mut self, inquiry: InquiryId) -> Option<Arc<Request>>;

    /// Payload bytes of jobs, inquiries and rows.
    fn bytes(&self) -> usize;

    /// What it holds at most; a job beyond it can never be accepted.
    fn max_bytes(&self) -> usize;

    /// Do transactions wait for a disk? Such a store gets a thread of its own.
    fn waits(&self) -> bool;

    /// Why it cannot go on: nothing is durable any more, and the process has to end.
    fn broken(&self) -> Option<String> {
        None
    }

    /// The dead letters, oldest first.
    fn dead(&mut self) -> Vec<DeadLetter>;

    /// What a dead letter was, to try it again.
    fn revive(&mut self, number: u64) -> Option<Revived>;
}

/// Where the next process can look up what this one was doing when it died.
pub trait Attempts: Send + Sync {
    /// This worker begins with that job …
    fn begin(&self, worker: usize, id: &JobId);
    /// … and has survived it.
    fn end(&self, worker: usize);
}
