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
//! meta      name   → value          schema version, loss counters
//! ```

use std::{
    collections::{HashMap, VecDeque},
    fs::{self, File, OpenOptions},
    io,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    sync::Arc,
};

use ::redb::{
    Builder, CommitError, Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, Table, TableDefinition,
    TableError, TransactionError, WriteTransaction,
};
use bytes::Bytes;
use picket_core::{
    OutboxRow, StoreFault,
    job::{Failure, JobId, Key, RowId, StoredJob},
    limits,
};
use rustix::fs::{FlockOperation, flock};

use super::{
    Names,
    attempts::{AttemptFile, mark},
    blobs::{BlobId, Blobs, hex},
    records::{DeadRecord, JobRecord, MessageRecord, Now, Payload, RowRecord, SeenRecord, decode, encode},
    reserve::Reserve,
};
use crate::{
    calendar::Calendar,
    config::OnFull,
    ports::{Clock, DeadLetter, Message, NewRow, Recovered, Request, Store, Write, Written},
};

type Rows = TableDefinition<'static, u64, &'static [u8]>;

const JOBS: Rows = TableDefinition::new("jobs");
const MESSAGES: Rows = TableDefinition::new("messages");
const OUTBOX: Rows = TableDefinition::new("outbox");
const SEEN: Rows = TableDefinition::new("seen");
const DEAD: Rows = TableDefinition::new("dead");
const META: TableDefinition<'static, &'static str, &'static [u8]> = TableDefinition::new("meta");

const SCHEMA: u32 = 1;

/// Steps from one schema version to the next: `MIGRATIONS[0]` leads from 1 to 2. All that are needed happen in one
/// transaction.
const MIGRATIONS: &[Migration] = &[];

/// One step of the schema.
pub type Migration = fn(&WriteTransaction) -> Result<(), Trouble>;

/// Where the store is and how large it may grow.
pub struct Setup {
    pub folder: PathBuf,
    pub max_bytes: usize,
    pub on_full: OnFull,
    pub names: Names,
    pub clock: Clock,
    pub calendar: Box<dyn Calendar>,
}

/// Why a store does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("error[store/locked]: another Picket holds {0}; stop it, or give this one a store of its own")]
    Locked(PathBuf),
    #[error("error[store/newer-version]: {0} was written by a newer Picket (schema {1}, this one knows {SCHEMA}); nothing was changed")]
    Newer(PathBuf, u32),
    #[error("error[store/unusable]: {0}: {1}")]
    Unusable(PathBuf, String),
}

/// Why a transaction did not happen.
#[derive(Debug)]
pub enum Trouble {
    /// No room on the disk.
    Full,
    /// What is on the disk makes no sense.
    Corrupt(String),
    /// The disk failed; what is on it is unknown.
    Broken(String),
}

impl From<StorageError> for Trouble {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Io(error) => error.into(),
            StorageError::Corrupted(why) => Self::Corrupt(why),
            other => Self::Broken(other.to_string()),
        }
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => Self::Corrupt(error.to_string()),
            _ => Self::Broken(error.to_string()),
        }
    }
}

impl From<TableError> for Trouble {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Storage(error) => error.into(),
            other => Self::Corrupt(other.to_string()),
        }
    }
}

impl From<TransactionError> for Trouble {
    fn from(error: TransactionError) -> Self {
        match error {
            TransactionError::Storage(error) => error.into(),
            other => Self::Broken(other.to_string()),
        }
    }
}

impl From<CommitError> for Trouble {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Storage(error) => error.into(),
            other => Self::Broken(other.to_string()),
        }
    }
}

impl From<DatabaseError> for Trouble {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::Storage(error) => error.into(),
            other => Self::Broken(other.to_string()),
        }
    }
}

/// Opens the file, or whatever stands for it in a test; again after a failed commit, which redb wants.
pub type Opener = Box<dyn Fn(&Builder) -> Result<Database, DatabaseError> + Send>;

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
    suspects: Vec<super::attempts::Mark>,
    attempts: Arc<AttemptFile>,
    /// Held as long as this store lives.
    _lock: Option<File>,
    broken: Option<String>,
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
    bytes: u64,
    /// Results kept for repetition, oldest first.
    kept: VecDeque<(RowId, JobId, u64)>,
    kept_rows: HashMap<JobId, RowId>,
    kept_bytes: u64,
}

#[derive(Clone, Copy)]
struct OpenJob {
    number: u64,
    bytes: u64,
}

impl RedbStore {
    /// Opens or makes the store in its folder. A file that cannot be read is moved aside, and that is announced.
    ///
    /// # Errors
    /// Another process holds it, a newer version wrote it, or the folder is unusable.
    pub fn open(setup: Setup) -> Result<Self, OpenError> {
        let folder = setup.folder.clone();
        let unusable = |error: io::Error| OpenError::Unusable(folder.clone(), error.to_string());
        fs::create_dir_all(&folder).map_err(unusable)?;
        let lock = OpenOptions::new().write(true).create(true).truncate(false).open(folder.join("lock")).map_err(unusable)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|_| OpenError::Locked(folder.clone()))?;
        let path = folder.join(FILE);
        if !path.exists() {
            create(&folder).map_err(|trouble| OpenError::Unusable(path.clone(), trouble.to_string()))?;
        }
        let file = path.clone();
        let mut store = match Self::open_with(setup, Box::new(move |builder| builder.open(&file)), MIGRATIONS) {
            Err(Refusal::Corrupt(setup, why)) => {
                let aside = move_aside(&path).map_err(unusable)?;
                tracing::error!(file = %path.display(), moved_to = %aside.display(), why, "store/corrupt: the store could not be read and was moved aside; jobs and results in it are lost");
                create(&folder).map_err(|trouble| OpenError::Unusable(path.clone(), trouble.to_string()))?;
                let file = path.clone();
                let again = Self::open_with(*setup, Box::new(move |builder| builder.open(&file)), MIGRATIONS);
                let mut store = again.map_err(Refusal::into_error)?;
                store.moved_aside = Some(aside);
                store
            }
            other => other.map_err(Refusal::into_error)?,
        };
        store._lock = Some(lock);
        Ok(store)
    }

    /// Opens a store in whatever `opener` opens.
    ///
    /// # Errors
    /// As [`Self::open`]; a corrupt one gives the setup back.
    pub fn open_with(setup: Setup, opener: Opener, migrations: &[Migration]) -> Result<Self, Refusal> {
        let path = setup.folder.join(FILE);
        let db = match guarded(|| open_database(&opener)) {
            Ok(db) => db,
            Err(Trouble::Corrupt(why)) => return Err(Refusal::Corrupt(Box::new(setup), why)),
            Err(trouble) => return Err(Refusal::Other(OpenError::Unusable(path, trouble.to_string()))),
        };
        match guarded(|| migrate(&db, migrations)) {
            Ok(Ok(())) => {}
            Ok(Err(newer)) => return Err(Refusal::Other(OpenError::Newer(path, newer))),
            Err(Trouble::Corrupt(why)) => return Err(Refusal::Corrupt(Box::new(setup), why)),
            Err(trouble) => return Err(Refusal::Other(OpenError::Unusable(path, trouble.to_string()))),
        }
        let unusable = |error: io::Error| Refusal::Other(OpenError::Unusable(setup.folder.clone(), error.to_string()));
        let (attempts, suspects) = AttemptFile::open(&setup.folder.join("attempts")).map_err(unusable)?;
        let blobs = Blobs::open(&setup.folder).map_err(unusable)?;
        let mut reserve = Reserve::new(&setup.folder);
        if !reserve.hold() {
            tracing::warn!(path = %setup.folder.display(), "store/full: there is no room for the store's reserve");
        }
        Ok(Self {
            opener,
            db: Some(db),
            blobs,
            reserve,
            index: Index::default(),
            moved_aside: None,
            suspects,
            attempts: Arc::new(attempts),
            _lock: None,
            broken: None,
            setup,
        })
    }

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

    // === Recovery ===

    fn read_all(&mut self) -> Result<Recovered, Trouble> {
        let now = self.now();
        let transaction = self.begin()?;
        let mut index = Index::default();
        let mut recovered = Recovered { moved_aside: self.moved_aside.take(), ..Recovered::default() };
        let mut damaged = 0_u64;
        {
            let mut jobs = transaction.open_table(JOBS)?;
            let mut messages = transaction.open_table(MESSAGES)?;
            let mut outbox = transaction.open_table(OUTBOX)?;
            let mut seen = transaction.open_table(SEEN)?;
            let dead = transaction.open_table(DEAD)?;
            let mut meta = transaction.open_table(META)?;
            if let Some(text) = meta.get(LOSSES)? {
                recovered.losses = decode(text.value()).unwrap_or_default();
            }

            let mut bad = Vec::new();
            let mut marked = Vec::new();
            for entry in jobs.iter()? {
                let (number, value) = entry?;
                let number = number.value();
                index.next_job = number + 1;
                let key = Key(recovered.jobs.len() as u64);
                let record: Option<JobRecord> = decode(value.value());
                let read = record.and_then(|mut record| {
                    let before = record.attempts;
                    if JobId::new(&record.id).is_ok_and(|id| self.suspects.contains(&mark(&id))) {
                        record.attempts += 1;
                    }
                    let request = record.request(&self.setup.names, |payload| self.payload(payload))?;
                    let job = record.stored(key, &self.setup.names, now)?;
                    Some((job, Arc::new(request), before, record))
                });
                let Some((job, request, before, record)) = read else {
                    bad.push(number);
                    continue;
                };
                if record.attempts != before {
                    marked.push((number, encode(&record)));
                }
                record.content.payloads().filter_map(Payload::blob).for_each(|id| self.blobs.adopt(id));
                index.bytes += record.bytes;
                index.jobs.insert(key, OpenJob { number, bytes: record.bytes });
                recovered.jobs.push((job, request));
            }
            for number in &bad {
                jobs.remove(number)?;
            }
            for (number, record) in &marked {
                jobs.insert(number, record.as_slice())?;
            }
            damaged += bad.len() as u64;

            bad.clear();
            for entry in outbox.iter()? {
                let (row, value) = entry?;
                let row = row.value();
                index.next_row = row + 1;
                let Some(record) = decode::<RowRecord>(value.value()) else {
                    bad.push(row);
                    continue;
                };
                index.bytes += record.bytes;
                recovered.rows.push(OutboxRow {
                    row: RowId(row),
                    transport: self.setup.names.transport(&record.transport),
                    job: record.job.as_deref().and_then(|id| JobId::new(id).ok()),
                });
            }
            for row in &bad {
                outbox.remove(row)?;
            }
            damaged += bad.len() as u64;

            bad.clear();
            for entry in seen.iter()? {
                let (number, value) = entry?;
                let number = number.value();
                if index.next_seen == 0 {
                    index.first_seen = number;
                }
                index.next_seen = number + 1;
                let Some(record) = decode::<SeenRecord>(value.value()) else {
                    bad.push(number);
                    continue;
                };
                let Ok(id) = JobId::new(&record.id) else { continue };
                if let Some(row) = record.row {
                    index.next_row = index.next_row.max(row + 1);
                    if let Some(found) = messages.get(row)? {
                        index.keep(RowId(row), id.clone(), found.value().len() as u64);
                    }
                }
                recovered.seen.push((id, record.digest));
            }
            for number in &bad {
                seen.remove(number)?;
            }
            damaged += bad.len() as u64;

            bad.clear();
            for entry in messages.iter()? {
                let (row, value) = entry?;
                index.next_row = index.next_row.max(row.value() + 1);
                match decode::<MessageRecord>(value.value()) {
                    Some(record) => record.payload.blob().into_iter().for_each(|id| self.blobs.adopt(id)),
                    None => bad.push(row.value()),
                }
            }
            for row in &bad {
                messages.remove(row)?;
                damaged += u64::from(outbox.remove(row)?.is_some());
            }
            recovered.rows.retain(|row| !bad.contains(&row.row.0));

            for entry in dead.iter()? {
                let (number, value) = entry?;
                if index.next_dead == 0 {
                    index.first_dead = number.value();
                }
                index.next_dead = number.value() + 1;
                if let Some(record) = decode::<DeadRecord>(value.value()) {
                    record.job.content.payloads().filter_map(Payload::blob).for_each(|id| self.blobs.adopt(id));
                }
            }

            if recovered.moved_aside.is_some() {
                *recovered.losses.entry("corrupt-store".to_owned()).or_default() += 1;
            }
            if damaged > 0 {
                tracing::error!(damaged, "store/corrupt: records could not be read and are lost");
                *recovered.losses.entry("corrupt-record".to_owned()).or_default() += damaged;
            }
            // Also makes a sync before anything that was found is trusted: it may not have been on the disk yet.
            meta.insert(LOSSES, encode(&recovered.losses).as_slice())?;
        }
        transaction.commit()?;
        self.index = index;
        self.suspects.clear();
        let _ = self.attempts.clear();
        if let Err(error) = self.blobs.sweep() {
            tracing::warn!(%error, "orphaned payload files stay");
        }
        Ok(recovered)
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
        let now = self.now();
        let transaction = self.begin()?;
        let mut batch = Batch {
            jobs: transaction.open_table(JOBS)?,
            messages: transaction.open_table(MESSAGES)?,
            outbox: transaction.open_table(OUTBOX)?,
            seen: transaction.open_table(SEEN)?,
            dead: transaction.open_table(DEAD)?,
            setup: &self.setup,
            blobs: &self.blobs,
            index: &self.index,
            change: Change::new(&self.index),
            now,
            draining,
        };
        let mut written = Vec::with_capacity(writes.len());
        for write in writes {
            let outcome = match write {
                Write::Losses(losses) => {
                    transaction.open_table(META)?.insert(LOSSES, encode(losses).as_slice())?;
                    Written::Done
                }
                other => batch.write(other)?,
            };
            written.push(outcome);
        }
        batch.evict_kept()?;
        let change = batch.close();
        transaction.commit()?;
        crate::failpoint::hit("store-committed");
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
        match guarded(|| self.read_all()) {
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
        // While the reserve is gone, only what makes room is done.
        let low = !self.reserve.hold();
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

    fn take_dead(&mut self, number: u64) -> Option<(DeadLetter, Arc<Request>)> {
        let taken = guarded(|| {
            let transaction = self.begin()?;
            let record = {
                let mut dead = transaction.open_table(DEAD)?;
                let removed = dead.remove(number)?;
                removed.and_then(|value| decode::<DeadRecord>(value.value()))
            };
            transaction.commit()?;
            Ok(record)
        });
        let record = match taken {
            Ok(found) => found?,
            Err(trouble) => {
                self.fail(&trouble);
                return None;
            }
        };
        let request = record.job.request(&self.setup.names, |payload| self.payload(payload));
        record.job.content.payloads().filter_map(Payload::blob).for_each(|id| self.blobs.abandon(&id));
        Some((DeadLetter { number, ..record.letter }, Arc::new(request?)))
    }
}

/// One transaction under way: the tables, and what will be true once it is durable.
struct Batch<'t> {
    jobs: Table<'t, u64, &'static [u8]>,
    messages: Table<'t, u64, &'static [u8]>,
    outbox: Table<'t, u64, &'static [u8]>,
    seen: Table<'t, u64, &'static [u8]>,
    dead: Table<'t, u64, &'static [u8]>,
    setup: &'t Setup,
    blobs: &'t Blobs,
    index: &'t Index,
    change: Change,
    now: Now,
    draining: bool,
}

/// What becomes true when the transaction is durable.
struct Change {
    next_job: u64,
    next_row: u64,
    first_seen: u64,
    next_seen: u64,
    first_dead: u64,
    next_dead: u64,
    bytes: u64,
    opened: Vec<(Key, OpenJob)>,
    finished: Vec<Key>,
    kept: Vec<(RowId, JobId, u64)>,
    /// So many of the oldest kept results go.
    forgotten: usize,
    evicted: Vec<RowId>,
    adopted: Vec<BlobId>,
    abandoned: Vec<BlobId>,
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

impl Batch<'_> {
    /// Lets go of the tables.
    fn close(self) -> Change {
        self.change
    }

    fn write(&mut self, write: &Write) -> Result<Written, Trouble> {
        match write {
            Write::Accept { job, request } => self.accept(job, request),
            Write::Finish { key, id, digest, messages, dead } => {
                self.finish(*key, id, digest, messages, dead.as_ref())
            }
            Write::Refuse { key, messages } => {
                let size = messages.iter().map(|message| message.payload.len() as u64).sum();
                if self.draining || !self.make_room(size)? {
                    return Ok(Written::Failed { key: *key, why: StoreFault::Full });
                }
                Ok(Written::Finished { key: *key, rows: self.insert_rows(messages)? })
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
            Write::Losses(_) => Ok(Written::Done),
        }
    }

    fn accept(&mut self, job: &StoredJob, request: &Request) -> Result<Written, Trouble> {
        let bytes = request_bytes(request);
        if self.draining || !self.make_room(bytes)? {
            return Ok(Written::Failed { key: job.key, why: StoreFault::Full });
        }
        let (setup, now) = (self.setup, self.now);
        let record = JobRecord::new(job, request, &setup.names, now, bytes, |payload| self.store_payload(payload))?;
        let number = self.change.next_job;
        self.change.next_job += 1;
        self.jobs.insert(number, encode(&record).as_slice())?;
        self.change.bytes += bytes;
        self.change.opened.push((job.key, OpenJob { number, bytes }));
        Ok(Written::Accepted { key: job.key })
    }

    /// A result replaces its job, so that a full store can still drain.
    fn finish(
        &mut self,
        key: Key,
        id: &JobId,
        digest: &[u8; 32],
        messages: &[Message],
        dead: Option<&Failure>,
    ) -> Result<Written, Trouble> {
        if let Some(job) = self.index.jobs.get(&key) {
            let removed = self.jobs.remove(job.number)?.and_then(|value| decode::<JobRecord>(value.value()));
            self.change.bytes = self.change.bytes.saturating_sub(job.bytes);
            self.change.finished.push(key);
            match (removed, dead) {
                (Some(record), Some(failure)) if !self.draining => self.bury(record, failure)?,
                (Some(record), _) => {
                    self.change.abandoned.extend(record.content.payloads().filter_map(Payload::blob));
                }
                (None, _) => {}
            }
        }
        let rows = self.insert_rows(messages)?;
        let own = rows.iter().find(|row| row.row.job.is_some());
        let seen = SeenRecord { id: id.as_str().to_owned(), digest: *digest, row: own.map(|row| row.row.row.0) };
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
        Ok(Written::Finished { key, rows })
    }

    fn bury(&mut self, job: JobRecord, failure: &Failure) -> Result<(), Trouble> {
        let number = self.change.next_dead;
        self.change.next_dead += 1;
        let letter = DeadLetter {
            number,
            id: job.id.clone(),
            model: job.model.clone(),
            code: failure.code.to_owned(),
            message: failure.message.clone(),
            attempts: job.attempts,
            digest: hex(&job.digest),
            since: self.now.stamp.wall / 1_000_000,
            bytes: job.bytes,
        };
        self.dead.insert(number, encode(&DeadRecord { letter, job }).as_slice())?;
        while self.change.next_dead - self.change.first_dead > limits::DEAD_LETTERS as u64 {
            let removed = self.dead.remove(self.change.first_dead)?;
            if let Some(record) = removed.and_then(|value| decode::<DeadRecord>(value.value())) {
                self.change.abandoned.extend(record.job.content.payloads().filter_map(Payload::blob));
            }
            self.change.first_dead += 1;
        }
        Ok(())
    }

    fn insert_rows(&mut self, messages: &[Message]) -> Result<Vec<NewRow>, Trouble> {
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
    fn remove_row(&mut self, row: RowId) -> Result<(), Trouble> {
        let Some(record) = self.outbox.remove(row.0)?.map(|value| decode::<RowRecord>(value.value())) else {
            return Ok(());
        };
        self.change.bytes = self.change.bytes.saturating_sub(record.as_ref().map_or(0, |record| record.bytes));
        let job = record.and_then(|record| record.job).and_then(|id| JobId::new(&id).ok());
        let kept = job.is_some_and(|id| {
            self.index.kept_rows.get(&id) == Some(&row) || self.change.kept.iter().any(|(kept, ..)| *kept == row)
        });
        if !kept {
            self.remove_message(row)?;
        }
        Ok(())
    }

    fn remove_message(&mut self, row: RowId) -> Result<(), Trouble> {
        let removed = self.messages.remove(row.0)?.and_then(|value| decode::<MessageRecord>(value.value()));
        self.change.abandoned.extend(removed.and_then(|record| record.payload.blob()));
        Ok(())
    }

    /// Forgets the oldest kept results until the rest is within its limits.
    fn evict_kept(&mut self) -> Result<(), Trouble> {
        let all = || self.index.kept.iter().chain(&self.change.kept);
        let mut count = all().count();
        let mut bytes = self.index.kept_bytes + self.change.kept.iter().map(|(.., bytes)| bytes).sum::<u64>();
        let mut gone = Vec::new();
        for (row, _, size) in all() {
            if count <= limits::KEPT_RESULTS && bytes <= limits::KEPT_RESULT_BYTES as u64 {
                break;
            }
            (count, bytes) = (count - 1, bytes - size);
            gone.push(*row);
        }
        self.change.forgotten = gone.len();
        for row in gone {
            if self.outbox.get(row.0)?.is_none() {
                self.remove_message(row)?;
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
        while self.change.bytes + bytes > max {
            if self.setup.on_full != OnFull::DropOldest {
                return Ok(false);
            }
            let Some(row) = self.outbox.first()?.map(|(row, _)| RowId(row.value())) else { return Ok(false) };
            self.remove_row(row)?;
            self.change.evicted.push(row);
        }
        Ok(true)
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

impl Index {
    fn keep(&mut self, row: RowId, id: JobId, bytes: u64) {
        self.kept_rows.insert(id.clone(), row);
        self.kept.push_back((row, id, bytes));
        self.kept_bytes += bytes;
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

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Full => f.write_str("the disk is full"),
            Self::Corrupt(why) | Self::Broken(why) => f.write_str(why),
        }
    }
}

/// Why [`RedbStore::open_with`] gives no store.
pub enum Refusal {
    Corrupt(Box<Setup>, String),
    Other(OpenError),
}

impl Refusal {
    fn into_error(self) -> OpenError {
        match self {
            Self::Corrupt(setup, why) => OpenError::Unusable(setup.folder.join(FILE), why),
            Self::Other(error) => error,
        }
    }
}

const FILE: &str = "picket.redb";
const LOSSES: &str = "losses";
const VERSION: &str = "schema";

fn builder() -> Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(limits::STORE_CACHE_BYTES).set_check_integrity_on_open(true);
    builder
}

fn open_database(opener: &Opener) -> Result<Database, Trouble> {
    Ok(opener(&builder())?)
}

/// Makes a new file whole before it gets its name: a file of that name is never empty, unless something destroyed it.
fn create(folder: &Path) -> Result<(), Trouble> {
    let fresh = folder.join("picket.redb.new");
    let _ = fs::remove_file(&fresh);
    let db = builder().create(&fresh)?;
    initialise(&db)?;
    drop(db);
    File::open(&fresh)?.sync_all()?;
    fs::rename(&fresh, folder.join(FILE))?;
    File::open(folder)?.sync_all()?;
    Ok(())
}

/// Tables and schema version of a new store.
///
/// # Errors
/// The disk is full, or worse.
pub fn initialise(db: &Database) -> Result<(), Trouble> {
    let mut transaction = db.begin_write()?;
    transaction.set_quick_repair(true);
    for table in [JOBS, MESSAGES, OUTBOX, SEEN, DEAD] {
        transaction.open_table(table)?;
    }
    transaction.open_table(META)?.insert(VERSION, encode(&SCHEMA).as_slice())?;
    Ok(transaction.commit()?)
}

/// Brings the tables to this version's schema. `Err` of the inner result: they are of a newer one.
fn migrate(db: &Database, migrations: &[Migration]) -> Result<Result<(), u32>, Trouble> {
    let current = 1 + u32::try_from(migrations.len()).unwrap_or(u32::MAX);
    let mut transaction = db.begin_write()?;
    transaction.set_quick_repair(true);
    let found: Option<u32> = transaction.open_table(META)?.get(VERSION)?.and_then(|value| decode(value.value()));
    let Some(found) = found else { return Err(Trouble::Corrupt("there is no schema version".to_owned())) };
    if found > current {
        return Ok(Err(found));
    }
    if found == current {
        transaction.abort()?;
        return Ok(Ok(()));
    }
    for step in &migrations[(found.max(1) - 1) as usize..] {
        step(&transaction)?;
    }
    transaction.open_table(META)?.insert(VERSION, encode(&current).as_slice())?;
    transaction.commit()?;
    tracing::info!(from = found, to = current, "the store's schema was migrated");
    Ok(Ok(()))
}

/// A damaged file may make the database panic instead of saying so.
fn guarded<T>(work: impl FnOnce() -> Result<T, Trouble>) -> Result<T, Trouble> {
    panic::catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(Trouble::Corrupt("the database gave up on the file".to_owned())))
}

fn move_aside(path: &Path) -> io::Result<PathBuf> {
    let free = (1..).map(|n| path.with_extension(format!("redb.corrupt-{n}"))).find(|path| !path.exists());
    let aside = free.unwrap_or_else(|| path.with_extension("redb.corrupt"));
    fs::rename(path, &aside)?;
    Ok(aside)
}

fn refuse_all(writes: Vec<Write>, why: StoreFault) -> Vec<Written> {
    let refuse = |write| match write {
        Write::Accept { job, .. } => Written::Failed { key: job.key, why },
        Write::Finish { key, .. } | Write::Refuse { key, .. } | Write::Repeat { key, .. } => Written::Failed { key, why },
        other => Written::Again(other),
    };
    writes.into_iter().map(refuse).collect()
}

fn request_bytes(request: &Request) -> u64 {
    let (first, second) = request.content.parts();
    (first.len() + second.map_or(0, Bytes::len)) as u64
}
