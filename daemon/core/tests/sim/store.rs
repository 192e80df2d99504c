//! The store as the core may rely on it: transactions that happen whole or not at all, and survive a crash.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    rc::Rc,
    sync::Arc,
};

use picket_core::{
    Input, OutboxRow, Outcome,
    engine::Learned,
    inquiry::{Inquiry, InquiryId, StoredInquiry},
    job::{Digest, JobId, Key, ModelId, RowId, StoredJob, TransportId},
    time::{Moment, Span},
};

use super::plan::Spec;

/// Where an answer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    Topic(TransportId),
    /// The number of a caller, who lives no longer than the process that took the call.
    Caller(TransportId, usize),
}

impl Address {
    /// All who publish are one, every caller is another.
    pub const fn asker(self) -> u64 {
        match self {
            Self::Topic(_) => 0,
            Self::Caller(_, call) => 1 + call as u64,
        }
    }

    pub const fn transport(self) -> TransportId {
        match self {
            Self::Topic(transport) | Self::Caller(transport, _) => transport,
        }
    }
}

#[derive(Clone, Debug)]
pub enum Op {
    Accept { key: Key, spec: Rc<Spec>, to: Address, deadline_at: Moment },
    Finish { key: Key, outcome: Arc<Outcome> },
    Refuse { key: Key, to: Address },
    Repeat { key: Key, spec: Rc<Spec>, to: Address },
    Confirm { row: RowId },
    Close { inquiry: InquiryId, amended: bool },
}

impl Op {
    pub const fn key(&self) -> Option<Key> {
        match self {
            Self::Accept { key, .. }
            | Self::Finish { key, .. }
            | Self::Refuse { key, .. }
            | Self::Repeat { key, .. } => Some(*key),
            Self::Confirm { .. } | Self::Close { .. } => None,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Kept {
    pub spec: Rc<Spec>,
    pub to: Address,
    pub deadline_at: Moment,
    /// How often a process died while it ran this job.
    pub attempts: u32,
}

/// One message on its way out. `value` stands for its bytes; no two messages are made with the same.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub to: Address,
    pub value: u64,
}

#[derive(Debug)]
pub struct Done {
    pub digest: Digest,
    pub value: u64,
}

#[derive(Debug)]
pub struct Store {
    pub jobs: BTreeMap<Key, Kept>,
    pub rows: BTreeMap<RowId, (Row, Option<JobId>)>,
    pub done: BTreeMap<JobId, Done>,
    /// In the order of finishing.
    finished: Vec<JobId>,
    kept: VecDeque<JobId>,
    keep: usize,
    dead_letters: Option<TransportId>,
    most_rows: Option<usize>,
    pub inquiries: BTreeMap<InquiryId, (Rc<Spec>, Inquiry)>,
    next_inquiry: u64,
    pub learned: BTreeMap<ModelId, Learned>,
    /// Where later revisions go.
    amendments: Option<TransportId>,
    next_row: u64,
    next_value: u64,
    /// History, for the checks: every id that was ever accepted, with its content and its reply's address …
    pub accepted: BTreeMap<JobId, (Digest, Address)>,
    /// … and every arrival whose refusal is durable.
    pub refused: BTreeSet<Key>,
    /// Rows that had to go for newer ones.
    pub evicted: BTreeSet<RowId>,
}

impl Store {
    pub fn new(
        keep: usize,
        dead_letters: Option<TransportId>,
        most_rows: Option<usize>,
        amendments: Option<TransportId>,
    ) -> Self {
        Self {
            jobs: BTreeMap::new(),
            rows: BTreeMap::new(),
            done: BTreeMap::new(),
            finished: Vec::new(),
            kept: VecDeque::new(),
            keep,
            dead_letters,
            most_rows,
            inquiries: BTreeMap::new(),
            next_inquiry: 0,
            learned: BTreeMap::new(),
            amendments,
            next_row: 0,
            next_value: 0,
            accepted: BTreeMap::new(),
            refused: BTreeSet::new(),
            evicted: BTreeSet::new(),
        }
    }

    /// One transaction, and what the store reports of it.
    pub fn commit(&mut self, op: Op) -> Option<Input> {
        match op {
            Op::Accept { key, spec, to, deadline_at } => {
                let before = self.accepted.insert(spec.id.clone(), (spec.digest, to));
                assert!(before.is_none(), "I4: {} is accepted a second time", spec.id);
                self.jobs.insert(key, Kept { spec, to, deadline_at, attempts: 0 });
                Some(Input::Accepted { key })
            }
            Op::Finish { key, outcome } => Some(self.finish(key, &outcome)),
            Op::Refuse { key, to } => {
                self.refused.insert(key);
                let value = self.fresh_value();
                let mut rows = Vec::new();
                if matches!(to, Address::Caller(..)) {
                    rows.push(self.add_row(Row { to, value }, None));
                }
                rows.extend(self.dead_letter());
                Some(Input::Finished { key, rows, inquiry: None })
            }
            Op::Repeat { key, spec, to } => {
                let done = self.done.get(&spec.id).expect("only a finished id is repeated");
                assert_eq!(done.digest, spec.digest, "a result is repeated for other content");
                if !self.kept.contains(&spec.id) {
                    return Some(Input::NothingToRepeat { key });
                }
                let row = Row { to, value: done.value };
                Some(Input::Repeated { key, rows: vec![self.add_row(row, Some(spec.id.clone()))] })
            }
            Op::Confirm { row } => {
                let was_there = self.rows.remove(&row).is_some();
                assert!(was_there || self.evicted.contains(&row), "{row:?} is confirmed, and not there");
                None
            }
            Op::Close { inquiry, amended } => {
                let was = self.inquiries.remove(&inquiry);
                assert!(was.is_some(), "{inquiry:?} ends twice");
                let rows = self.amendments.filter(|_| amended).map(|transport| {
                    let value = self.fresh_value();
                    self.add_row(Row { to: Address::Topic(transport), value }, None)
                });
                Some(Input::Closed { inquiry, rows: rows.into_iter().collect() })
            }
        }
    }

    /// Makes room: the oldest rows go. Those of callers do not count: their reader waits, and takes them at once.
    pub fn evict(&mut self) -> Vec<(RowId, Option<JobId>)> {
        let Some(most) = self.most_rows else { return Vec::new() };
        let topics: Vec<RowId> =
            self.rows.iter().filter(|(_, (row, _))| matches!(row.to, Address::Topic(_))).map(|(id, _)| *id).collect();
        let oldest = &topics[..topics.len().saturating_sub(most)];
        self.evicted.extend(oldest);
        oldest.iter().filter_map(|row| Some((*row, self.rows.remove(row)?.1))).collect()
    }

    /// Result rows and job-done in one step (I2).
    fn finish(&mut self, key: Key, outcome: &Outcome) -> Input {
        let job = self.jobs.remove(&key).unwrap_or_else(|| panic!("I2: {key:?} is finished, and was not open"));
        let value = self.fresh_value();
        let id = job.spec.id.clone();
        let before = self.done.insert(id.clone(), Done { digest: job.spec.digest, value });
        assert!(before.is_none(), "I2: {id} has a second result");
        self.finished.push(id.clone());
        self.kept.push_back(id.clone());
        if self.kept.len() > self.keep {
            self.kept.pop_front();
        }
        let mut rows = vec![self.add_row(Row { to: job.to, value }, Some(id))];
        if matches!(outcome, Outcome::Failed(..)) {
            rows.extend(self.dead_letter());
        }
        let later = match outcome {
            Outcome::Answered(answer) => answer.later.clone(),
            Outcome::Failed(..) => None,
        };
        let inquiry = later.map(|inquiry| {
            self.next_inquiry += 1;
            let id = InquiryId(self.next_inquiry);
            self.inquiries.insert(id, (job.spec.clone(), inquiry));
            id
        });
        Input::Finished { key, rows, inquiry }
    }

    fn dead_letter(&mut self) -> Option<OutboxRow> {
        let to = Address::Topic(self.dead_letters?);
        let value = self.fresh_value();
        Some(self.add_row(Row { to, value }, None))
    }

    fn fresh_value(&mut self) -> u64 {
        self.next_value += 1;
        self.next_value
    }

    fn add_row(&mut self, row: Row, job: Option<JobId>) -> OutboxRow {
        self.next_row += 1;
        let id = RowId(self.next_row);
        self.rows.insert(id, (row, job.clone()));
        OutboxRow { row: id, transport: row.to.transport(), job }
    }

    /// Questions that a new process finds.
    pub fn open_inquiries(&self) -> Input {
        let stored = |(id, (spec, inquiry)): (&InquiryId, &(Rc<Spec>, Inquiry))| StoredInquiry {
            id: *id,
            job: spec.id.clone(),
            model: Ok(ModelId(spec.model.expect("only known models are accepted"))),
            inquiry: inquiry.clone(),
            age: Span::ZERO,
            bytes: 64,
        };
        Input::Inquiries(self.inquiries.iter().map(stored).collect())
    }

    /// What a new process finds.
    pub fn recovered(&self) -> Input {
        let job = |(key, kept): (&Key, &Kept)| StoredJob {
            key: *key,
            id: kept.spec.id.clone(),
            digest: kept.spec.digest,
            model: Ok(ModelId(kept.spec.model.expect("only known models are accepted"))),
            attempts: kept.attempts,
            audit: kept.spec.audit,
            bytes: 64,
            asker: kept.to.asker(),
            deadline_at: kept.deadline_at,
            priority: kept.spec.priority,
            privacy: kept.spec.privacy,
        };
        let row = |(id, (row, job)): (&RowId, &(Row, Option<JobId>))| OutboxRow {
            row: *id,
            transport: row.to.transport(),
            job: job.clone(),
        };
        Input::Recovered {
            jobs: self.jobs.iter().map(job).collect(),
            rows: self.rows.iter().map(row).collect(),
            seen: self.finished.iter().map(|id| (id.clone(), self.done[id].digest)).collect(),
        }
    }
}
