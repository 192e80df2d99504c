//! Whose turn it is: few jobs of a source are in work at a time, and of what comes meanwhile the newest waits.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use picket_core::{job::JobId, limits};
use tokio::{sync::mpsc, time::Instant};

use super::desk::{Desk, Ended};
use crate::ports::Content;

/// `T`: a frame, a window.
pub struct Turn<T> {
    /// Tells this process's jobs from those of earlier ones.
    run: u64,
    number: u64,
    in_work: BTreeSet<JobId>,
    waiting: Option<T>,
    /// The next job is not made before this.
    next_at: Instant,
    /// With one, only what follows an edge is wanted.
    edges: Option<mpsc::Receiver<()>>,
    armed: bool,
}

impl<T> Turn<T> {
    pub fn new(edges: Option<mpsc::Receiver<()>>) -> Self {
        let run = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        Self { run, number: 0, in_work: BTreeSet::new(), waiting: None, next_at: Instant::now(), edges, armed: false }
    }

    /// Something new, the newest of `found`.
    pub fn offer(&mut self, desk: &Desk, newest: T, found: u64) {
        if self.edges.is_some() && !std::mem::take(&mut self.armed) {
            return;
        }
        let others = if self.edges.is_some() { 0 } else { found - 1 };
        desk.count_many("replaced", others + u64::from(self.waiting.replace(newest).is_some()));
    }

    /// When [`Self::hand_in`] has something to do.
    pub fn due(&self) -> Option<Instant> {
        (self.waiting.is_some() && self.has_room()).then_some(self.next_at)
    }

    /// Waits for an edge. For ever where there is no trigger.
    pub async fn edge(&mut self) {
        let edge = match &mut self.edges {
            Some(edges) => edges.recv().await,
            None => None,
        };
        if edge.is_none() {
            std::future::pending().await
        }
    }

    /// There was an edge: what comes next is wanted.
    pub fn arm(&mut self, desk: &Desk) {
        if std::mem::replace(&mut self.armed, true) {
            desk.count("missed");
        }
    }

    /// What waits becomes a job, if it is its turn; the next one is `apart` later.
    pub async fn hand_in(&mut self, desk: &Desk, apart: Duration, content: impl FnOnce(T) -> Content) {
        if !self.has_room() || Instant::now() < self.next_at {
            return;
        }
        let Some(waiting) = self.waiting.take() else { return };
        self.number += 1;
        let Ok(id) = JobId::new(&format!("{}/{:x}/{}", desk.name, self.run, self.number)) else { return };
        // Kept in step where that is possible: what came a little late does not delay all that follows.
        let now = Instant::now();
        self.next_at = (self.next_at + apart).max(now + apart / 2);
        self.in_work.insert(id.clone());
        desk.submit(id, content(waiting), None).await;
    }

    /// What became of a job.
    pub async fn hear(&mut self, desk: &Desk, ended: &Ended) {
        desk.confirm(ended).await;
        let ours = match &ended.job {
            // What an earlier process has made is no concern of this one.
            Some(job) => self.in_work.remove(job),
            // What the store did not take has no name.
            None => self.in_work.pop_first().is_some(),
        };
        if ours {
            desk.count(if ended.code.is_some() { "failed" } else { "answered" });
        }
    }

    fn has_room(&self) -> bool {
        let most = if self.edges.is_some() { limits::SOURCE_TRIGGERED } else { 1 };
        self.in_work.len() < most
    }
}
