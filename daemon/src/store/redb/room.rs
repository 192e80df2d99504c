//! Room on the disk, once it was full.

use std::fs;

use picket_core::limits;

use super::{FILE, RedbStore, guarded};

/// What the file was like after it was last made smaller.
pub(super) struct Compacted {
    len: u64,
    held: u64,
}

impl RedbStore {
    /// Is the reserve held? While it is gone, only what makes room is done.
    pub(super) fn has_reserve(&mut self) -> bool {
        self.reserve.hold() || {
            self.index.keep_less();
            self.compact() && self.reserve.hold()
        }
    }

    /// The file keeps the size that it had when it was full, and what is free in it does not make room for the reserve.
    /// A store that has drained gives it back.
    fn compact(&mut self) -> bool {
        let len = self.file_bytes();
        let held = self.index.bytes + self.index.kept_bytes;
        let worth_it = self
            .compacted
            .as_ref()
            .is_none_or(|last| len >= last.len + limits::STORE_RESERVE_BYTES || held <= last.held / 2);
        if !worth_it || len < 2 * held + limits::STORE_RESERVE_BYTES {
            return false;
        }
        let Some(db) = &mut self.db else { return false };
        let compacted = guarded(|| Ok(db.compact()?)).is_ok();
        let after = self.file_bytes();
        self.compacted = Some(Compacted { len: after, held });
        // redb takes no further transaction after one that failed at the disk.
        if !compacted && let Err(trouble) = self.reopen() {
            self.fail(&trouble);
        }
        tracing::info!(before = len, after, "the store's file was made smaller");
        compacted
    }

    fn file_bytes(&self) -> u64 {
        fs::metadata(self.setup.folder.join(FILE)).map_or(0, |file| file.len())
    }
}
