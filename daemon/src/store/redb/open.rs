//! Opening: the lock, the file, its schema, and what happens to a file that cannot be read.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use ::redb::{Builder, Database, DatabaseError, ReadableTable, WriteTransaction};
use picket_core::limits;
use rustix::fs::{FlockOperation, flock};

use super::{
    DEAD, FILE, INQUIRIES, Index, JOBS, LEARNED, MESSAGES, META, OUTBOX, RedbStore, SCHEMA, SEEN, Setup, guarded, look,
    trouble::{OpenError, Refusal, Trouble},
};
use crate::{
    failpoint,
    store::{
        attempts::AttemptFile,
        blobs::Blobs,
        records::{decode, encode},
        reserve::Reserve,
    },
};

pub(super) const VERSION: &str = "schema";

/// Steps from one schema version to the next: `MIGRATIONS[0]` leads from 1 to 2. All that are needed happen in one
/// transaction. A step that changes no row is there for the versions before it, which could not read what now comes.
pub const MIGRATIONS: &[Migration] = &[
    // 2: jobs that are images.
    |_| Ok(()),
];

/// One step of the schema.
pub type Migration = fn(&WriteTransaction) -> Result<(), Trouble>;

/// Opens the file, or whatever stands for it in a test; again after a failed commit, which redb wants.
pub type Opener = Box<dyn Fn(&Builder) -> Result<Database, DatabaseError> + Send>;

impl RedbStore {
    /// Opens or makes the store in its folder. A file that cannot be read is moved aside, and that is announced.
    ///
    /// # Errors
    /// Another process holds it, a newer version wrote it, or the folder is unusable.
    pub fn open(setup: Setup) -> Result<Self, OpenError> {
        let folder = setup.folder.clone();
        let unusable = |error: io::Error| OpenError::Unusable(folder.clone(), error.to_string());
        fs::create_dir_all(&folder).map_err(unusable)?;
        let lock =
            OpenOptions::new().write(true).create(true).truncate(false).open(folder.join("lock")).map_err(unusable)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|_| OpenError::Locked(folder.clone()))?;
        let path = folder.join(FILE);
        if !path.exists() {
            create(&folder).map_err(|trouble| OpenError::Unusable(path.clone(), trouble.to_string()))?;
        }
        // Before anything that writes: redb keeps books of its own at every opening.
        if let Some(newer) = look::schema(&path).filter(|schema| *schema > SCHEMA) {
            return Err(OpenError::Newer(path, newer));
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
            compacted: None,
            setup,
        })
    }
}

fn builder() -> Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(limits::STORE_CACHE_BYTES).set_check_integrity_on_open(true);
    builder
}

pub(super) fn open_database(opener: &Opener) -> Result<Database, Trouble> {
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
    for table in [JOBS, MESSAGES, OUTBOX, SEEN, DEAD, INQUIRIES] {
        transaction.open_table(table)?;
    }
    transaction.open_table(LEARNED)?;
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
    failpoint::hit("store-migrate");
    transaction.commit()?;
    failpoint::hit("store-migrated");
    tracing::info!(from = found, to = current, "the store's schema was migrated");
    Ok(Ok(()))
}

fn move_aside(path: &Path) -> io::Result<PathBuf> {
    let free = (1..).map(|n| path.with_extension(format!("redb.corrupt-{n}"))).find(|path| !path.exists());
    let aside = free.unwrap_or_else(|| path.with_extension("redb.corrupt"));
    fs::rename(path, &aside)?;
    Ok(aside)
}
