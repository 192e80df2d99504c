//! What can go wrong at the disk, in the four kinds that are handled differently.

use std::{io, path::PathBuf};

use ::redb::{CommitError, CompactionError, DatabaseError, StorageError, TableError, TransactionError};

use super::{FILE, SCHEMA, Setup};

/// Why a store does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("error[store/locked]: another Picket holds {0}; stop it, or give this one a store of its own")]
    Locked(PathBuf),
    #[error(
        "error[store/newer-version]: {0} was written by a newer Picket (schema {1}, this one knows {SCHEMA}); nothing was changed: \
         install that version again, or give this one a store of its own ([store] path)"
    )]
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

impl From<CompactionError> for Trouble {
    fn from(error: CompactionError) -> Self {
        match error {
            CompactionError::Storage(error) => error.into(),
            other => Self::Broken(other.to_string()),
        }
    }
}

impl From<DatabaseError> for Trouble {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::Storage(error) => error.into(),
            // No Picket ever wrote an older format: that byte is damaged.
            DatabaseError::UpgradeRequired(_) => Self::Corrupt(error.to_string()),
            other => Self::Broken(other.to_string()),
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
    pub(super) fn into_error(self) -> OpenError {
        match self {
            Self::Corrupt(setup, why) => OpenError::Unusable(setup.folder.join(FILE), why),
            Self::Other(error) => error,
        }
    }
}
