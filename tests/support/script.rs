//! A scripted life of a store, and what must be in it after every transaction.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use picket::{
    calendar::SystemCalendar,
    config::OnFull,
    media::Media,
    ports::{Address, Clock, Content, Death, Face, Message, Reply, Request, Store, Write, Written},
    store::{Names, redb::Setup},
};
use picket_core::{
    StoreFault,
    escalation::decide::Reason,
    inquiry::{Inquiry, InquiryId, Lane},
    job::{Digest, Failure, JobId, Key, ModelId, Privacy, RowId, StoredJob, TransportId},
    said::Said,
    time::{Moment, Span},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// What the next process must find, in comparable form.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Accepted and not finished: id → digest of the payload.
    pub jobs: BTreeMap<String, Digest>,
    /// Not confirmed: row → digest of the stored bytes.
    pub rows: BTreeMap<u64, Digest>,
    /// In the order of finishing.
    pub seen: Vec<String>,
    pub dead: Vec<String>,
    /// Answered, and a provider is still to be asked: inquiry → digest of the payload.
    pub inquiries: BTreeMap<u64, Digest>,
}

/// A store's place for tests.
pub fn setup(folder: &Path, max_bytes: usize, on_full: OnFull) -> Setup {
    Setup {
        folder: folder.to_owned(),
        max_bytes,
        on_full,
        names: Names { models: vec!["m".into()], transports: vec!["mqtt".into()] },
        clock: Clock::start(),
        calendar: Box::new(SystemCalendar::new()),
    }
}

pub fn request(id: &JobId, payload: Bytes) -> Arc<Request> {
    let to = Address { transport: TransportId(0), to: format!("answers/{id}").into(), correlation: None };
    Arc::new(Request {
        ticket: None,
        model: "m".into(),
        id: Some(id.clone()),
        fault: None,
        deadline: None,
        expiry: None,
        priority: 0,
        privacy: None,
        content: if payload.len().is_multiple_of(3) {
            Content::Image { bytes: payload, media: Media::Png }
        } else {
            Content::Raw { bytes: payload, dtype: None, shape: None }
        },
        reply: Reply { to, face: Face::Message { outputs: false } },
        amend: false,
        group: None,
        in_stream: picket::ports::InStream::default(),
        answer_repeats: false,
    })
}

pub fn job(key: u64, id: &JobId, payload: &Bytes) -> StoredJob {
    StoredJob {
        key: Key(key),
        id: id.clone(),
        digest: digest(payload),
        model: Ok(ModelId(0)),
        deadline_at: Moment::ZERO + Span::from_millis(3_600_000),
        priority: 0,
        privacy: Privacy::Ok,
        audit: false,
        bytes: payload.len() as u64,
        attempts: 0,
        asker: 0,
    }
}

pub fn message(id: &JobId, payload: Bytes, own: bool) -> Message {
    let to = Address {
        transport: TransportId(0),
        to: if own { format!("answers/{id}") } else { "dead".into() }.into(),
        correlation: None,
    };
    Message { to, payload, json_len: None, code: None, job: own.then(|| id.clone()), expires_at: None }
}

/// Of what a job brings, and of what kind it is.
pub fn content_digest(content: &Content) -> Digest {
    let kind: &[u8] = if matches!(content, Content::Image { media: Media::Png, .. }) { b"png" } else { b"" };
    digest(&[kind, content.parts().0].concat())
}

pub fn digest(bytes: &[u8]) -> Digest {
    Sha256::digest(bytes).into()
}

fn inquiry() -> Inquiry {
    Inquiry {
        lane: Lane::Value,
        reason: Reason::EscBelowLambda,
        answered: Reason::LocalUncertifiedLink,
        said: Said::Class(0),
        s: 0.5,
        p_wrong: 0.5,
        certified: false,
        audit: false,
        gain: 0.4,
        privacy: Privacy::Ok,
    }
}

/// What a freshly opened store holds.
pub fn snapshot(store: &mut dyn Store) -> Snapshot {
    let recovered = store.recover();
    let payload = |request: &Request| content_digest(&request.content);
    Snapshot {
        jobs: recovered.jobs.iter().map(|(job, request)| (job.id.to_string(), payload(request))).collect(),
        rows: recovered
            .rows
            .iter()
            .map(|row| (row.row.0, digest(&store.row(row.row).expect("a row has its message").payload)))
            .collect(),
        seen: recovered.seen.iter().map(|(id, _)| id.to_string()).collect(),
        dead: store.dead().into_iter().map(|letter| letter.id).collect(),
        inquiries: recovered
            .inquiries
            .iter()
            .map(|open| (open.id.0, payload(&store.inquiry(open.id).expect("an inquiry has its job"))))
            .collect(),
    }
}

/// A seeded sequence of transactions.
pub struct Script {
    rng: StdRng,
    /// Sometimes a payload is large enough to become a file of its own.
    large: bool,
    next: u64,
    /// Accepted, not finished: key, id, digest of the payload.
    open: Vec<(u64, JobId, Digest)>,
    /// What was acknowledged.
    pub expected: Snapshot,
    /// What was not: it may be there or not.
    pub unsure: Unsure,
}

/// Writes that failed. The next process may find them done.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Unsure {
    pub ids: BTreeSet<String>,
    /// Rows that may be gone.
    pub rows: BTreeSet<u64>,
    /// Messages that may be there.
    pub messages: BTreeSet<Digest>,
    /// Inquiries that may be gone.
    pub inquiries: BTreeSet<u64>,
    /// Payloads of which there may be an inquiry.
    pub inquired: BTreeSet<Digest>,
}

/// What `picket-store-script` says after a transaction.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Line {
    pub expected: Snapshot,
    pub unsure: Unsure,
    pub broken: Option<String>,
    /// A store that was broken has acknowledged something: it must not.
    pub acknowledged_broken: bool,
}

impl Script {
    pub fn new(seed: u64, large: bool) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            large,
            next: 0,
            open: Vec::new(),
            expected: Snapshot::default(),
            unsure: Unsure::default(),
        }
    }

    fn payload(&mut self) -> Bytes {
        let size = if self.large && self.rng.random_bool(0.4) { 70_000 } else { self.rng.random_range(1..3_000) };
        let mut bytes = vec![0; size];
        self.rng.fill(&mut bytes[..]);
        bytes.into()
    }

    /// The writes of the next transaction, one to five of them.
    pub fn next_writes(&mut self) -> Vec<Write> {
        let (mut confirmed, mut closed) = (Vec::new(), Vec::new());
        let mut available = self.open.len();
        let count = self.rng.random_range(1..=5);
        let mut writes = Vec::new();
        for _ in 0..count {
            match self.rng.random_range(0..10) {
                0..4 => {
                    let id = JobId::new(&format!("job-{}", self.next)).unwrap();
                    let payload = self.payload();
                    writes.push(Write::Accept {
                        job: job(self.next, &id, &payload),
                        request: request(&id, payload.clone()),
                        was_dead: None,
                    });
                    self.open.push((self.next, id, digest(&payload)));
                    self.next += 1;
                }
                // Only a job that an earlier transaction has accepted can be finished.
                4..7 if available > 0 => {
                    let place = self.rng.random_range(0..available);
                    let (key, id, digest) = self.open.remove(place);
                    available -= 1;
                    let result = self.payload();
                    let dead = self
                        .rng
                        .random_bool(0.2)
                        .then(|| Death { failure: Failure::new("model/failed", "as scripted"), attempts: 1 });
                    let mut messages = vec![message(&id, result, true)];
                    if dead.is_some() {
                        messages.push(message(&id, self.payload(), false));
                    }
                    let asks = dead.is_none() && self.rng.random_bool(0.3);
                    let inquiry = asks.then(inquiry);
                    writes.push(Write::Finish { key: Key(key), id, digest, messages, dead, inquiry });
                }
                7 if self.rng.random_bool(0.5) => {
                    let closing: Vec<u64> =
                        self.expected.inquiries.keys().copied().filter(|id| !closed.contains(id)).collect();
                    if let Some(id) = (!closing.is_empty()).then(|| closing[self.rng.random_range(0..closing.len())]) {
                        closed.push(id);
                        let job = JobId::new(&format!("amended-{id}")).unwrap();
                        let messages =
                            if self.rng.random_bool(0.5) { vec![message(&job, self.payload(), false)] } else { vec![] };
                        writes.push(Write::Close { inquiry: InquiryId(id), messages });
                    }
                }
                7 => {
                    let id = JobId::new(&format!("refused-{}", self.next)).unwrap();
                    writes.push(Write::Refuse {
                        key: Key(self.next),
                        messages: vec![message(&id, self.payload(), true)],
                    });
                    self.next += 1;
                }
                _ => {
                    let rows: Vec<u64> =
                        self.expected.rows.keys().copied().filter(|row| !confirmed.contains(row)).collect();
                    if let Some(row) = (!rows.is_empty()).then(|| rows[self.rng.random_range(0..rows.len())]) {
                        confirmed.push(row);
                        writes.push(Write::Confirm { row: RowId(row) });
                    }
                }
            }
        }
        writes
    }

    /// Makes the next transaction. Was any of it acknowledged?
    pub fn run(&mut self, store: &mut dyn Store) -> bool {
        let writes = loop {
            let writes = self.next_writes();
            if !writes.is_empty() {
                break writes;
            }
        };
        let written = store.transact(writes.clone());
        self.committed(&writes, &written);
        written.iter().any(|written| !matches!(written, Written::Failed { .. } | Written::Again(_)))
    }

    /// Notes what a transaction has made true, and what failed.
    pub fn committed(&mut self, writes: &[Write], written: &[Written]) {
        for (write, written) in writes.iter().zip(written) {
            match (write, written) {
                (Write::Accept { job, request, .. }, Written::Accepted { .. }) => {
                    self.expected.jobs.insert(job.id.to_string(), content_digest(&request.content));
                }
                (Write::Finish { id, messages, dead, .. }, Written::Finished { rows, inquiry, .. }) => {
                    let payload = self.expected.jobs.remove(id.as_str());
                    self.expected.inquiries.extend(inquiry.map(|inquiry| inquiry.0).zip(payload));
                    self.expected.seen.push(id.to_string());
                    if dead.is_some() {
                        self.expected.dead.push(id.to_string());
                    }
                    self.add_rows(rows, messages);
                }
                (Write::Refuse { messages, .. }, Written::Finished { rows, .. }) => self.add_rows(rows, messages),
                (Write::Close { inquiry, messages }, Written::Closed { rows, .. }) => {
                    self.expected.inquiries.remove(&inquiry.0);
                    self.add_rows(rows, messages);
                }
                (Write::Confirm { row }, Written::Done) => {
                    self.expected.rows.remove(&row.0);
                }
                (
                    Write::Repeat { .. }
                    | Write::Losses(_)
                    | Write::ForgetDead { .. }
                    | Write::Bury { .. }
                    | Write::Resend { .. }
                    | Write::Learned { .. },
                    _,
                ) => {}
                _ => self.failed(write),
            }
        }
    }

    fn failed(&mut self, write: &Write) {
        let mut sent: &[Message] = &[];
        match write {
            Write::Accept { job, .. } => {
                self.open.retain(|(key, ..)| *key != job.key.0);
                self.unsure.ids.insert(job.id.to_string());
            }
            Write::Finish { key, id, digest, messages, inquiry, .. } => {
                if inquiry.is_some() {
                    self.unsure.inquired.insert(*digest);
                }
                self.open.push((key.0, id.clone(), *digest));
                self.unsure.ids.insert(id.to_string());
                sent = messages;
            }
            Write::Refuse { messages, .. } => sent = messages,
            Write::Close { inquiry, messages } => {
                self.unsure.inquiries.insert(inquiry.0);
                sent = messages;
            }
            Write::Confirm { row } => drop(self.unsure.rows.insert(row.0)),
            Write::Repeat { .. }
            | Write::Losses(_)
            | Write::ForgetDead { .. }
            | Write::Bury { .. }
            | Write::Resend { .. }
            | Write::Learned { .. } => {}
        }
        self.unsure.messages.extend(sent.iter().map(|message| digest(&message.payload)));
    }

    fn add_rows(&mut self, rows: &[picket::ports::NewRow], messages: &[Message]) {
        for (row, message) in rows.iter().zip(messages) {
            self.expected.rows.insert(row.row.row.0, digest(&message.payload));
        }
    }
}

/// Does the store take work?
pub fn takes_a_job(store: &mut dyn Store) -> bool {
    one_more_job(store).is_ok()
}

/// Accepts a job and finishes it.
///
/// # Errors
/// Why the store takes no work.
pub fn one_more_job(store: &mut dyn Store) -> Result<(), StoreFault> {
    let id = JobId::new("after-the-crash").unwrap();
    let payload = Bytes::from_static(b"one more");
    let accept = Write::Accept { job: job(u64::MAX, &id, &payload), request: request(&id, payload), was_dead: None };
    if let [Written::Failed { why, .. }] = store.transact(vec![accept])[..] {
        return Err(why);
    }
    let finish = Write::Finish {
        key: Key(u64::MAX),
        id: id.clone(),
        digest: [0; 32],
        messages: vec![message(&id, "r".into(), true)],
        dead: None,
        inquiry: None,
    };
    match store.transact(vec![finish])[..] {
        [Written::Finished { .. }] => Ok(()),
        [Written::Failed { why, .. }] => Err(why),
        _ => Err(StoreFault::Unavailable),
    }
}
