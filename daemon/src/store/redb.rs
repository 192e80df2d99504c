//! The store on the disk: one redb file, large payloads beside it.
//!
//! Tables, all in the order of their numbers, so that a transaction writes few pages at their ends:
//!
//! ```text
//! jobs      number → job            accepted and not finished (I1)
//! messages  row    → message        the bytes that are sent, while unconfirmed or kept for repetition (I2)
//! outbox    row    → where to       not confirmed (I3)
//! seen      number → id, digest     finished ids, the last of them (I4)
//! dead      number → letter, job    accepted jobs that got an error
//! inquiries number → question, job  answered, and a provider is still to be asked
//! learned   model  → state          what its inquiries taught
//! meta      name   → value          schema version, loss counters, the lottery's key
//! ```

mod batch;
mod dead;
mod inquiries;
mod look;
mod open;
mod overlay;
mod recover;
mod room;
mod trouble;

use std::{
    collections::{HashMap, VecDeque},
    fs::File,
    panic::{self, AssertUnwindSafe},
    path::PathBuf,
    sync::Arc,
};

use ::redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use bytes::Bytes;
use picket_core::{
    StoreFault,
    inquiry::InquiryId,
    job::{JobId, Key, RowId},
};

use self::{
    batch::{Batch, Change},
    open::open_database,
    room::Compacted,
};
pub use self::{
    look::{Look, LookError, look},
    open::{MIGRATIONS, Migration, Opener, initialise},
    trouble::{OpenError, Refusal, Trouble},
};
use super::{
    Names,
    attempts::{AttemptFile, Mark},
    blobs::Blobs,
    records::{DeadRecord, InquiryRecord, MessageRecord, Now, Payload, Was, decode},
    reserve::Reserve,
};
use crate::{
    calendar::Calendar,
    config::OnFull,
    failpoint,
    ports::{Clock, DeadLetter, Message, Recovered, Request, Revived, Store, Write, Written},
};

type Rows = TableDefinition<'static, u64, &'static [u8]>;

const JOBS: Rows = TableDefinition::new("jobs");
const MESSAGES: Rows = TableDefinition::new("messages");
const OUTBOX: Rows = TableDefinition::new("outbox");
const SEEN: Rows = TableDefinition::new("seen");
const DEAD: Rows = TableDefinition::new("dead");
const INQUIRIES: Rows = TableDefinition::new("inquiries");
const LEARNED: TableDefinition<'static, &'static str, &'static [u8]> = TableDefinition::new("learned");
const META: TableDefinition<'static, &'static str, &'static [u8]> = TableDefinition::new("meta");

/// Version of what the tables hold.
const SCHEMA: u32 = 2;
const FILE: &str = "picket.redb";
const LOSSES: &str = "losses";
const SALT: &str = "salt";

/// Where the store is and how large it may grow.
pub struct Setup {
    pub folder: PathBuf,
    pub max_bytes: usize,
    pub on_full: OnFull,
    pub names: Names,
    pub clock: Clock,
    pub calendar: Box<dyn Calendar>,
}
/// Jobs, results and outbox on the disk.
pub struct RedbStore {
    setup: Setup,
    opener: Opener,
    db: Option<Database>,
    blobs: Blobs,
    reserve: Reserve,
    index: Index,
    moved_aside: Option<PathBuf>,
    /// Jobs that an earlier process had in hand when it ended.
    suspects: Vec<Mark>,
    attempts: Arc<AttemptFile>,
    /// Held as long as this store lives.
    _lock: Option<File>,
    broken: Option<String>,
    compacted: Option<Compacted>,
}

/// What the tables hold, as far as it is needed at every transaction.
#[derive(Default)]
struct Index {
    jobs: HashMap<Key, OpenJob>,
    next_job: u64,
    next_row: u64,
    first_seen: u64,
    next_seen: u64,
    first_dead: u64,
    next_dead: u64,
    next_inquiry: u64,
    bytes: u64,
    /// Results kept for repetition, oldest first.
    kept: VecDeque<(RowId, JobId, u64)>,
    kept_rows: HashMap<JobId, RowId>,
    kept_bytes: u64,
    /// The disk was full: no more bytes of results are kept than this.
    kept_max: Option<u64>,
}

#[derive(Clone, Copy)]
struct OpenJob {
    number: u64,
    bytes: u64,
    /// Some of its payload is a file.
    blobs: bool,
}

impl RedbStore {
    /// Where inference threads note what they have in hand.
    pub fn attempts(&self) -> Arc<AttemptFile> {
        self.attempts.clone()
    }

    fn now(&self) -> Now {
        Now { moment: self.setup.clock.now(), stamp: self.setup.calendar.stamp() }
    }

    fn db(&self) -> Result<&Database, Trouble> {
        self.db.as_ref().ok_or_else(|| Trouble::Broken("the store is closed".to_owned()))
    }

    fn begin(&self) -> Result<WriteTransaction, Trouble> {
        let mut transaction = self.db()?.begin_write()?;
        // Two-phase commit, and no walk through the whole file after a crash. Immediate durability is the default.
        transaction.set_quick_repair(true);
        Ok(transaction)
    }

    /// redb takes no further transaction after one that failed at the disk.
    fn reopen(&mut self) -> Result<(), Trouble> {
        self.db = None;
        self.db = Some(guarded(|| open_database(&self.opener))?);
        Ok(())
    }

    fn payload(&self, payload: &Payload) -> Option<Bytes> {
        match payload {
            Payload::Inline(bytes) => Some(bytes.clone()),
            Payload::Blob(id) => self.blobs.get(id).ok(),
        }
    }

    // === Transactions ===

    /// Makes these writes, or none of them. With `draining`, those that need room are refused instead.
    fn attempt(&mut self, writes: &[Write], draining: bool) -> Result<Vec<Written>, Trouble> {
        failpoint::hit("store-transact");
        let now = self.now();
        let transaction = self.begin()?;
        let mut batch = Batch::open(&transaction, &self.setup, &self.blobs, &self.index, now, draining)?;
        let mut written = Vec::with_capacity(writes.len());
        for write in writes {
            written.push(batch.write(write)?);
        }
        batch.evict_kept()?;
        let change = batch.close();
        failpoint::hit("store-commit");
        transaction.commit()?;
        failpoint::hit("store-committed");
        if !change.evicted.is_empty() {
            written.push(Written::Evicted { rows: change.evicted.clone() });
        }
        self.apply(change);
        Ok(written)
    }

    fn apply(&mut self, change: Change) {
        let index = &mut self.index;
        (index.next_job, index.next_row, index.bytes) = (change.next_job, change.next_row, change.bytes);
        (index.first_seen, index.next_seen) = (change.first_seen, change.next_seen);
        (index.first_dead, index.next_dead) = (change.first_dead, change.next_dead);
        index.next_inquiry = change.next_inquiry;
        for key in change.finished {
            index.jobs.remove(&key);
        }
        index.jobs.extend(change.opened);
        for (row, id, bytes) in change.kept {
            index.keep(row, id, bytes);
        }
        for _ in 0..change.forgotten {
            index.forget();
        }
        change.adopted.into_iter().for_each(|id| self.blobs.adopt(id));
        change.abandoned.iter().for_each(|id| self.blobs.abandon(id));
    }

    fn fail(&mut self, trouble: &Trouble) {
        tracing::error!(%trouble, "store/failed: nothing can be made durable any more");
        self.broken = Some(trouble.to_string());
    }
}

impl Store for RedbStore {
    fn recover(&mut self) -> Recovered {
        let read = guarded(|| self.read_all()).or_else(|trouble| match trouble {
            // A disk that is full when the process starts must not end it again and again.
            Trouble::Full => {
                self.reserve.release();
                self.reopen()?;
                guarded(|| self.read_all())
            }
            other => Err(other),
        });
        match read {
            Ok(recovered) => recovered,
            Err(trouble) => {
                self.fail(&trouble);
                Recovered::default()
            }
        }
    }

    fn transact(&mut self, writes: Vec<Write>) -> Vec<Written> {
        if self.broken.is_some() {
            return refuse_all(writes, StoreFault::Unavailable);
        }
        let low = !self.has_reserve();
        match guarded(|| self.attempt(&writes, low)) {
            Ok(written) => return written,
            Err(Trouble::Full) => {}
            Err(trouble) => {
                self.fail(&trouble);
                return refuse_all(writes, StoreFault::Unavailable);
            }
        }
        tracing::warn!(path = %self.setup.folder.display(), used = self.index.bytes, "store/full: the disk is full; results drain, new jobs wait");
        self.reserve.release();
        if let Err(trouble) = self.reopen() {
            self.fail(&trouble);
            return refuse_all(writes, StoreFault::Unavailable);
        }
        match guarded(|| self.attempt(&writes, true)) {
            Ok(written) => written,
            Err(Trouble::Full) => {
                if let Err(trouble) = self.reopen() {
                    self.fail(&trouble);
                }
                refuse_all(writes, StoreFault::Full)
            }
            Err(trouble) => {
                self.fail(&trouble);
                refuse_all(writes, StoreFault::Unavailable)
            }
        }
    }

    fn row(&mut self, row: RowId) -> Option<Arc<Message>> {
        let read = guarded(|| {
            let transaction = self.db()?.begin_read()?;
            let messages = transaction.open_table(MESSAGES)?;
            let found = messages.get(row.0)?;
            Ok(found.and_then(|value| decode::<MessageRecord>(value.value())))
        });
        match read {
            Ok(found) => {
                let record = found?;
                let payload = self.payload(&record.payload)?;
                Some(Arc::new(record.message(payload, &self.setup.names, self.now())))
            }
            Err(trouble) => {
                self.fail(&trouble);
                None
            }
        }
    }

    fn bytes(&self) -> usize {
        usize::try_from(self.index.bytes).unwrap_or(usize::MAX)
    }

    fn max_bytes(&self) -> usize {
        self.setup.max_bytes
    }

    fn waits(&self) -> bool {
        true
    }

    fn broken(&self) -> Option<String> {
        self.broken.clone()
    }

    fn dead(&mut self) -> Vec<DeadLetter> {
        let read = guarded(|| {
            let transaction = self.db()?.begin_read()?;
            let dead = transaction.open_table(DEAD)?;
            let mut letters = Vec::new();
            for entry in dead.iter()? {
                let (number, value) = entry?;
                if let Some(record) = decode::<DeadRecord>(value.value()) {
                    letters.push(DeadLetter { number: number.value(), ..record.letter });
                }
            }
            Ok(letters)
        });
        read.unwrap_or_default()
    }

    fn revive(&mut self, number: u64) -> Option<Revived> {
        let read = guarded(|| {
            let transaction = self.db()?.begin_read()?;
            let dead = transaction.open_table(DEAD)?;
            let found = dead.get(number)?;
            Ok(found.and_then(|value| decode::<DeadRecord>(value.value())))
        });
        match read.ok()??.was {
            Was::Job(job) => {
                let request = job.request(&self.setup.names, |payload| self.payload(payload))?;
                Some(Revived::Job(Arc::new(request)))
            }
            Was::Row(_) => Some(Revived::Row),
        }
    }

    fn inquiry(&mut self, inquiry: InquiryId) -> Option<Arc<Request>> {
        let read = guarded(|| {
            let transaction = self.db()?.begin_read()?;
            let inquiries = transaction.open_table(INQUIRIES)?;
            let found = inquiries.get(inquiry.0)?;
            Ok(found.and_then(|value| decode::<InquiryRecord>(value.value())))
        });
        let request = read.ok()??.job.request(&self.setup.names, |payload| self.payload(payload))?;
        Some(Arc::new(request))
    }
}

impl Index {
    fn open(&mut self, key: Key, job: OpenJob) {
        self.bytes = self.bytes.saturating_add(job.bytes);
        self.jobs.insert(key, job);
    }

    fn keep(&mut self, row: RowId, id: JobId, bytes: u64) {
        self.kept_rows.insert(id.clone(), row);
        self.kept.push_back((row, id, bytes));
        self.kept_bytes = self.kept_bytes.saturating_add(bytes);
    }

    /// Jobs come before repetitions of old answers.
    fn keep_less(&mut self) {
        self.kept_max = Some(self.kept_max.unwrap_or(u64::MAX).min(self.kept_bytes) / 2);
    }

    fn forget(&mut self) {
        if let Some((row, id, bytes)) = self.kept.pop_front() {
            self.kept_bytes = self.kept_bytes.saturating_sub(bytes);
            if self.kept_rows.get(&id) == Some(&row) {
                self.kept_rows.remove(&id);
            }
        }
    }
}
/// A damaged file may make the database panic instead of saying so.
fn guarded<T>(work: impl FnOnce() -> Result<T, Trouble>) -> Result<T, Trouble> {
    panic::catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(Trouble::Corrupt("the database gave up on the file".to_owned())))
}
fn refuse_all(writes: Vec<Write>, why: StoreFault) -> Vec<Written> {
    let refuse = |write| match write {
        Write::Accept { job, .. } => Written::Failed { key: job.key, why },
        Write::Finish { key, .. } | Write::Refuse { key, .. } | Write::Repeat { key, .. } => {
            Written::Failed { key, why }
        }
        other => Written::Again(other),
    };
    writes.into_iter().map(refuse).collect()
}
