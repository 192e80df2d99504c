//! Jobs of models that want no disk (`durable = false`): a control loop cannot wait for a sync, and its answer is worth nothing
//! a moment later.

use std::{collections::HashSet, sync::Arc};

use picket_core::job::{Key, RowId};

use super::memory::MemoryStore;
use crate::ports::{Message, Store, Write, Written};

/// Rows from here on are in memory.
const FIRST_ROW: u64 = 1 << 62;

/// The part of what is under way that no disk sees. Lost with the process: whoever waits on the line hears that it is gone,
/// and asks again.
pub struct Volatile {
    /// By the names that jobs use.
    models: HashSet<Arc<str>>,
    store: MemoryStore,
    keys: HashSet<Key>,
    writes: Vec<Write>,
}

impl Volatile {
    pub fn new(models: HashSet<Arc<str>>, max_bytes: usize) -> Self {
        Self {
            models,
            store: MemoryStore::new(max_bytes).with_rows_from(FIRST_ROW),
            keys: HashSet::new(),
            writes: Vec::new(),
        }
    }

    /// Takes what is for no disk, gives back what is for one.
    pub fn take(&mut self, write: Write) -> Option<Write> {
        let write = match write {
            Write::Accept { job, request, was_dead: None } if self.models.contains(&request.model) => {
                self.keys.insert(job.key);
                Write::Accept { job, request, was_dead: None }
            }
            // Nobody can be asked afterwards about a job that nobody keeps; its error leaves, and is not kept either.
            Write::Finish { key, id, digest, messages, .. } if self.keys.remove(&key) => {
                Write::Finish { key, id, digest, messages, dead: None, inquiry: None }
            }
            Write::Repeat { key, id, to } if self.store.keeps(&id) => Write::Repeat { key, id, to },
            Write::Confirm { row } | Write::Bury { row, .. } if row.0 >= FIRST_ROW => Write::Confirm { row },
            other => return Some(other),
        };
        self.writes.push(write);
        None
    }

    /// `None`: this row is on the disk, if anywhere.
    pub fn row(&mut self, row: RowId) -> Option<Option<Arc<Message>>> {
        (row.0 >= FIRST_ROW).then(|| self.store.row(row))
    }

    /// Makes what was taken so.
    pub fn turn(&mut self) -> Vec<Written> {
        let written = self.store.transact(std::mem::take(&mut self.writes));
        for written in &written {
            if let Written::Failed { key, .. } = written {
                self.keys.remove(key);
            }
        }
        written
    }

    pub fn idle(&self) -> bool {
        self.writes.is_empty()
    }

    pub fn bytes(&self) -> usize {
        self.store.bytes()
    }
}
