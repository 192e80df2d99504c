//! The log of decisions: what was decided about each job, on what grounds, and what came of it. It is what `picket explain`
//! tells from and what `picket replay` recomputes.
//!
//! ```text
//! decisions/00000000000000000000.log   files of records (see [`frame`]); the number is that of the first
//! decisions/00000000000000012345.log
//! decisions.foreign-1/                 a log of another version, moved aside
//! ```
//!
//! Nothing waits for it: records go to a thread of its own, one that finds the queue full is dropped and counted, and nothing is
//! synced. A power cut takes the last seconds. What was cut in the middle is cut off at the next start, and counted.
//!
//! Every file can be read by itself: what was in force is written before the first record that refers to it.

mod book;
mod frame;
pub mod read;
pub mod record;
mod scribe;
pub mod story;

#[cfg(test)]
mod tests;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use picket_core::{
    Decided,
    escalation::alarms::Evidence,
    job::{JobId, ModelId},
    limits,
};

use self::{
    record::{Closed, Ended, Fault, StoodIn},
    scribe::Scribe,
};
use crate::calendar::Calendar;

/// In the store's folder.
pub const FOLDER: &str = "decisions";

/// What is to be written down.
pub enum Errand {
    Decided {
        job: JobId,
        decided: Box<Decided>,
    },
    Fault(Fault),
    Ended(Ended),
    Closed(Closed),
    StoodIn(StoodIn),
    Alarm {
        model: ModelId,
        evidence: Evidence,
    },
    /// The certificate is in force again.
    Recertified {
        model: ModelId,
    },
    Close,
}

/// How things are called in the log.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// By [`ModelId`].
    pub models: Vec<ModelNames>,
    pub providers: Vec<String>,
    pub audit_rate: f64,
}

#[derive(Clone, Debug, Default)]
pub struct ModelNames {
    pub name: String,
    pub version: String,
    pub sha256: String,
    pub labels: Vec<String>,
}

/// Records that are not in the log.
#[derive(Debug, Default)]
pub struct Counts {
    /// The queue was full, or the disk.
    dropped: AtomicU64,
    /// The oldest, to keep the log's size.
    aged: AtomicU64,
    /// Unfinished ones that were cut off.
    torn: AtomicU64,
}

impl Counts {
    /// For `P/loss`.
    pub fn losses(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = [
            ("decisions_dropped", self.dropped.load(Relaxed)),
            ("decisions_aged", self.aged.load(Relaxed)),
            ("decisions_torn", self.torn.load(Relaxed)),
        ];
        counts.into_iter().filter(|(_, count)| *count > 0)
    }

    fn drop_some(&self, records: u64) {
        self.dropped.fetch_add(records, Relaxed);
    }
}

/// A log with its thread.
pub struct Log {
    to: SyncSender<Errand>,
    thread: thread::JoinHandle<()>,
    counts: Arc<Counts>,
}

impl Log {
    /// Opens the log of this store's folder on its own thread; `most` bounds its bytes. One that cannot be opened costs its
    /// records, and nothing else.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(store: PathBuf, most: u64, names: Names, calendar: Box<dyn Calendar>) -> std::io::Result<Self> {
        let (to, errands) = sync_channel(limits::DECISION_QUEUE);
        let counts = Arc::new(Counts::default());
        let scribe = Scribe::new(store.join(FOLDER), most, names, calendar, counts.clone());
        let thread = thread::Builder::new().name("decisions".to_owned()).spawn(move || serve(scribe, &errands))?;
        Ok(Self { to, thread, counts })
    }

    /// Hands something over. Never waits.
    pub fn write(&self, errand: Errand) {
        if self.to.try_send(errand).is_err() {
            self.counts.drop_some(1);
        }
    }

    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Writes what was handed over before, and ends. Waits for the disk.
    pub fn close(self) {
        let _ = self.to.send(Errand::Close);
        let _ = self.thread.join();
    }
}

fn serve(mut scribe: Scribe, errands: &Receiver<Errand>) {
    scribe.open();
    while let Ok(first) = errands.recv() {
        let mut closing = false;
        let group = std::iter::once(first).chain(errands.try_iter().take(limits::DECISION_GROUP - 1));
        scribe.begin();
        for errand in group {
            match errand {
                Errand::Close => closing = true,
                errand => scribe.write(errand),
            }
        }
        scribe.commit();
        if closing {
            break;
        }
    }
}
