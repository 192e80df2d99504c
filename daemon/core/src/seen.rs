//! The window of job ids that are known already (I4).

use std::collections::{BTreeMap, VecDeque};

use crate::{
    job::{Digest, JobId, Key},
    limits,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Under way, as this arrival.
    Active(Key),
    /// Finished; so many rows of its result are not confirmed yet.
    Done { unconfirmed: u32 },
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    pub digest: Digest,
    pub progress: Progress,
    /// Whose answer it is or was; unknown for what an earlier process finished.
    pub asker: Option<u64>,
}

/// Bounded by [`limits::SEEN_IDS`]; evicts the oldest finished id. Active jobs are never evicted, their number has
/// bounds of its own.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    ids: BTreeMap<JobId, Known>,
    finished: VecDeque<JobId>,
}

impl Seen {
    pub fn get(&self, id: &JobId) -> Option<Known> {
        self.ids.get(id).copied()
    }

    pub fn activate(&mut self, id: JobId, digest: Digest, asker: u64, key: Key) {
        self.ids.insert(id, Known { digest, progress: Progress::Active(key), asker: Some(asker) });
    }

    /// Takes back an id whose job was never accepted.
    pub fn withdraw(&mut self, id: &JobId) {
        self.ids.remove(id);
    }

    pub fn finish(&mut self, id: &JobId, digest: Digest, unconfirmed: u32) {
        let asker = self.ids.get(id).and_then(|known| known.asker);
        self.ids.insert(id.clone(), Known { digest, progress: Progress::Done { unconfirmed }, asker });
        self.finished.push_back(id.clone());
        if self.finished.len() > limits::SEEN_IDS
            && let Some(oldest) = self.finished.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }

    pub fn row_added(&mut self, id: &JobId) {
        if let Some(Known { progress: Progress::Done { unconfirmed }, .. }) = self.ids.get_mut(id) {
            *unconfirmed += 1;
        }
    }

    pub fn row_confirmed(&mut self, id: &JobId) {
        if let Some(Known { progress: Progress::Done { unconfirmed }, .. }) = self.ids.get_mut(id) {
            *unconfirmed = unconfirmed.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_forgets_the_oldest_finished_id_only() {
        let mut seen = Seen::default();
        let active = JobId::new("active").unwrap();
        seen.activate(active.clone(), [0; 32], 0, Key(0));
        for n in 0..=limits::SEEN_IDS {
            seen.finish(&JobId::new(&format!("job-{n}")).unwrap(), [0; 32], 0);
        }
        assert!(seen.get(&JobId::new("job-0").unwrap()).is_none());
        assert!(seen.get(&JobId::new("job-1").unwrap()).is_some());
        assert!(seen.get(&active).is_some());
    }
}
