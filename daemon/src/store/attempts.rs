//! Which job each inference thread has in hand, in a file that outlives the process.
//!
//! One slot for each thread, overwritten in place and never synced: the page cache survives a kill, an abort and the
//! out-of-memory killer, which is what a poison job causes. A power cut merely forgives an attempt, and the flash card is
//! spared.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::Path,
};

use picket_core::{job::JobId, limits};
use sha2::{Digest as _, Sha256};

use crate::ports::Attempts;

/// Names a job within a slot.
pub(super) type Mark = [u8; 16];

const EMPTY: Mark = [0; 16];

/// The file, open.
pub struct AttemptFile(File);

impl AttemptFile {
    /// Opens it and says which jobs an earlier process had in hand at its end.
    ///
    /// # Errors
    /// The file cannot be opened, read or written.
    pub(super) fn open(path: &Path) -> io::Result<(Self, Vec<Mark>)> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut found = Vec::new();
        let slots = limits::MODELS * limits::WORKERS_PER_MODEL;
        for slot in 0..slots {
            let mut mark = EMPTY;
            match file.read_exact_at(&mut mark, offset(slot)) {
                Ok(()) if mark != EMPTY => found.push(mark),
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(error),
            }
        }
        Ok((Self(file), found))
    }

    /// Empties all slots: what they said is kept elsewhere now.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn clear(&self) -> io::Result<()> {
        self.0.set_len(0)
    }
}

impl Attempts for AttemptFile {
    fn begin(&self, worker: usize, id: &JobId) {
        // Best effort: on a full disk a poison job costs one restart more.
        let _ = self.0.write_all_at(&mark(id), offset(worker));
    }

    fn end(&self, worker: usize) {
        let _ = self.0.write_all_at(&EMPTY, offset(worker));
    }
}

/// For stores that end with the process.
pub struct NoAttempts;

impl Attempts for NoAttempts {
    fn begin(&self, _worker: usize, _id: &JobId) {}
    fn end(&self, _worker: usize) {}
}

pub(super) fn mark(id: &JobId) -> Mark {
    let digest: [u8; 32] = Sha256::digest(id.as_str()).into();
    let mut mark = EMPTY;
    mark.copy_from_slice(&digest[..16]);
    mark
}

const fn offset(slot: usize) -> u64 {
    (slot * size_of::<Mark>()) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_in_hand_is_found_by_the_next_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("attempts");
        let id = |text| JobId::new(text).unwrap();
        let (file, found) = AttemptFile::open(&path).unwrap();
        assert!(found.is_empty());
        file.begin(0, &id("survived"));
        file.begin(3, &id("fatal"));
        file.end(0);
        drop(file);
        let (file, found) = AttemptFile::open(&path).unwrap();
        assert_eq!(found, [mark(&id("fatal"))]);
        file.clear().unwrap();
        assert!(AttemptFile::open(&path).unwrap().1.is_empty());
    }
}
