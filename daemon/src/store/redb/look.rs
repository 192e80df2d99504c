//! Looking at a store without opening it for work: nothing is written, repaired or moved aside.

use std::{collections::BTreeMap, fs, path::Path};

use ::redb::{Database, DatabaseError, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata};
use rustix::fs::{FlockOperation, flock};
use serde::Serialize;

use super::{
    DEAD, FILE, INQUIRIES, JOBS, LEARNED, LOSSES, MESSAGES, META, OUTBOX, Rows, SCHEMA, SEEN, guarded, open::VERSION,
    overlay::Overlay, trouble::Trouble,
};
use crate::{
    calendar::Calendar,
    ports::Losses,
    store::records::{DeadRecord, JobRecord, Now, decode},
};

/// What a store holds, without any of its payloads.
#[derive(Debug, Default, Serialize)]
pub struct Look {
    pub file_bytes: u64,
    /// Large payloads beside the file, and their bytes.
    pub blobs: (u64, u64),
    /// Of the tables; `None`: the file does not say.
    pub schema: Option<u32>,
    /// Of this version.
    pub schema_known: u32,
    pub tables: BTreeMap<&'static str, Size>,
    /// How long the oldest job that waits was accepted ago, as far as clocks can be trusted.
    pub oldest_job_s: Option<u64>,
    /// Dead letters by code and model.
    pub dead: BTreeMap<String, u64>,
    /// Records that cannot be read.
    pub damaged: u64,
    pub losses: Losses,
}

#[derive(Debug, Serialize)]
pub struct Size {
    pub rows: u64,
    pub bytes: u64,
}

/// Why a store cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    #[error("a Picket holds it")]
    Locked,
    #[error("there is none")]
    Missing,
    #[error("it cannot be read: {0}")]
    Unreadable(String),
}

/// # Errors
/// There is none, somebody holds it, or it cannot be read as it is.
pub fn look(folder: &Path, calendar: &dyn Calendar) -> Result<Look, LookError> {
    let path = folder.join(FILE);
    let file_bytes = fs::metadata(&path).map_err(|_| LookError::Missing)?.len();
    let lock =
        fs::File::open(folder.join("lock")).map_err(|error| LookError::Unreadable(format!("its lock: {error}")))?;
    flock(&lock, FlockOperation::NonBlockingLockShared).map_err(|_| LookError::Locked)?;
    let mut look = Look { file_bytes, blobs: blobs(&folder.join("blobs")), schema_known: SCHEMA, ..Look::default() };
    guarded(|| untouched(&path, |transaction| look.fill(transaction, calendar)))
        .map_err(|trouble| LookError::Unreadable(trouble.to_string()))?;
    Ok(look)
}

/// Reads the file as it is, or as it would be after a repair that it wants.
fn untouched(path: &Path, read: impl FnOnce(&ReadTransaction) -> Result<(), Trouble>) -> Result<(), Trouble> {
    // Closing a database ends what reads it.
    match Database::builder().open_read_only(path) {
        Err(DatabaseError::RepairAborted) => {
            let overlay = Overlay::new(fs::File::open(path)?)?;
            let db = Database::builder().create_with_backend(overlay)?;
            read(&db.begin_read()?)
        }
        db => {
            let db = db?;
            read(&db.begin_read()?)
        }
    }
}

/// The schema of a file that was closed well; `None` where only a repair could tell.
pub(super) fn schema(path: &Path) -> Option<u32> {
    guarded(|| version(&Database::builder().open_read_only(path)?.begin_read()?)).ok().flatten()
}

fn version(transaction: &ReadTransaction) -> Result<Option<u32>, Trouble> {
    Ok(transaction.open_table(META)?.get(VERSION)?.and_then(|value| decode(value.value())))
}

impl Look {
    fn fill(&mut self, transaction: &ReadTransaction, calendar: &dyn Calendar) -> Result<(), Trouble> {
        self.schema = version(transaction)?;
        let tables: [(&'static str, Rows); 6] = [
            ("jobs", JOBS),
            ("messages", MESSAGES),
            ("outbox", OUTBOX),
            ("seen", SEEN),
            ("dead", DEAD),
            ("inquiries", INQUIRIES),
        ];
        for (name, table) in tables {
            self.measure(name, &transaction.open_table(table)?)?;
        }
        self.measure("learned", &transaction.open_table(LEARNED)?)?;
        let meta = transaction.open_table(META)?;
        self.losses = meta.get(LOSSES)?.and_then(|value| decode(value.value())).unwrap_or_default();
        // A newer version's records mean something else.
        if self.schema.is_none_or(|schema| schema > SCHEMA) {
            return Ok(());
        }
        let now = Now { moment: picket_core::time::Moment::ZERO, stamp: calendar.stamp() };
        for entry in transaction.open_table(JOBS)?.iter()? {
            match decode::<JobRecord>(entry?.1.value()) {
                Some(job) => {
                    let age_s = job.until.age(now).as_micros() / 1_000_000;
                    self.oldest_job_s = self.oldest_job_s.max(Some(age_s));
                }
                None => self.damaged += 1,
            }
        }
        for entry in transaction.open_table(DEAD)?.iter()? {
            match decode::<DeadRecord>(entry?.1.value()) {
                Some(DeadRecord { letter, .. }) => {
                    *self.dead.entry(format!("{} {}", letter.code, letter.model)).or_default() += 1;
                }
                None => self.damaged += 1,
            }
        }
        Ok(())
    }

    fn measure(&mut self, name: &'static str, table: &impl ReadableTableMetadata) -> Result<(), Trouble> {
        let (rows, bytes) = (table.len()?, table.stats()?.stored_bytes());
        self.tables.insert(name, Size { rows, bytes });
        Ok(())
    }
}

/// Number of files, and their bytes.
fn blobs(folder: &Path) -> (u64, u64) {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = files.filter_map(|file| file.metadata().ok()).map(|file| file.len());
    sizes.fold((0, 0), |(files, bytes), size| (files + 1, bytes + size))
}
