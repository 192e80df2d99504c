//! Cases that a provider has labelled, kept with their inputs: what the next local model is trained on, and measured by.
//!
//! ```text
//! export/train/00000000000000000017.case     asked about because it was doubtful
//! export/holdout/00000000000000000004.case   drawn by lottery: an unbiased sample, never to be trained on
//! ```
//!
//! A case is one line of JSON ([`Row`]) and behind it the input as it arrived. Nothing waits for it, and nothing is synced.

mod shelf;

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

use picket_core::limits;
use rand::{SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use self::shelf::Shelf;
pub use self::shelf::{Case, read};
use crate::{
    answer::hex,
    calendar::Calendar,
    ports::{Content, Request},
};

/// In the store's folder.
pub const FOLDER: &str = "export";

/// What a case is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    Train,
    Holdout,
}

impl Split {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Holdout => "holdout",
        }
    }
}

/// One labelled case, and where everything in it comes from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    pub id: String,
    /// When the label came; RFC 3339 in UTC.
    pub time: String,
    pub time_trusted: bool,
    pub model: String,
    pub model_version: String,
    pub model_sha256: String,
    /// Digest of the calibration file.
    pub calibration: Option<String>,
    pub s: Option<f32>,
    pub p_wrong: Option<f32>,
    pub local: Option<String>,
    /// What the provider says: the label.
    pub label: String,
    pub agree: bool,
    pub provider: String,
    pub provider_model: String,
    /// Why it was asked.
    pub reason: String,
    /// Probability that a case like this one gets a label.
    pub pi: f64,
    /// Drawn by lottery.
    pub audit: bool,
    /// The provider saw a redacted input; the one that is kept is whole.
    pub redacted: bool,
    /// Frames of one part have the same.
    pub group: Option<String>,
    pub input: Input,
}

/// The input, as it arrived.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// Of its bytes.
    pub sha256: String,
    pub bytes: u64,
    /// `raw`: a little-endian tensor; `oip`: an Open Inference Protocol request …
    pub form: String,
    /// … of so many bytes of JSON, with tensors behind them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json_bytes: Option<u64>,
    /// Where these differ from the model's first input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dtype: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<Vec<usize>>,
    /// Where it is in what was exported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

impl Row {
    pub const fn split(&self) -> Split {
        if self.audit { Split::Holdout } else { Split::Train }
    }
}

/// Cases that are not kept.
#[derive(Debug, Default)]
pub struct Counts {
    dropped: AtomicU64,
    aged: AtomicU64,
}

impl Counts {
    /// For `P/loss`.
    pub fn losses(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = [("cases_dropped", self.dropped.load(Relaxed)), ("cases_aged", self.aged.load(Relaxed))];
        counts.into_iter().filter(|(_, count)| *count > 0)
    }
}

enum Errand {
    Keep(Box<Row>, Arc<Request>),
    Close,
}

/// What keeps cases, with its thread.
pub struct Keeper {
    to: SyncSender<Errand>,
    thread: thread::JoinHandle<()>,
    counts: Arc<Counts>,
}

impl Keeper {
    /// `most` bounds the bytes of all cases together.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(store: PathBuf, most: u64, calendar: Box<dyn Calendar>) -> std::io::Result<Self> {
        let (to, errands) = sync_channel(limits::KEEP_QUEUE);
        let counts = Arc::new(Counts::default());
        let shelf = Shelf::new(store.join(FOLDER), most, StdRng::from_os_rng());
        let counted = counts.clone();
        let serve = move || serve(shelf, calendar, &errands, &counted);
        Ok(Self { to, thread: thread::Builder::new().name("export".to_owned()).spawn(serve)?, counts })
    }

    /// Never waits: what finds the queue full is not kept.
    pub fn keep(&self, row: Row, request: Arc<Request>) {
        if self.to.try_send(Errand::Keep(Box::new(row), request)).is_err() {
            self.counts.dropped.fetch_add(1, Relaxed);
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

fn serve(mut shelf: Shelf, calendar: Box<dyn Calendar>, errands: &Receiver<Errand>, counts: &Counts) {
    let mut failing = false;
    if let Err(error) = shelf.open() {
        tracing::error!(%error, "export/unwritable: cases are not kept until this works");
        failing = true;
    }
    while let Ok(Errand::Keep(mut row, request)) = errands.recv() {
        let stamp = calendar.stamp();
        row.time = crate::decisions::record::time(stamp.wall).unwrap_or_default();
        row.time_trusted = stamp.trusted;
        let (input, bytes) = input_of(&request.content);
        row.input = input;
        match shelf.put(&row, &bytes) {
            Ok(gone) => {
                failing = false;
                counts.aged.fetch_add(gone, Relaxed);
            }
            Err(error) => {
                counts.dropped.fetch_add(1, Relaxed);
                // Once per outage.
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(%error, "export/unwritable: cases are not kept until this works again");
                }
            }
        }
    }
}

fn input_of(content: &Content) -> (Input, Vec<u8>) {
    let (first, second) = content.parts();
    let bytes = [first.as_ref(), second.map(AsRef::as_ref).unwrap_or_default()].concat();
    let mut input = Input { sha256: hex(&Sha256::digest(&bytes)), bytes: bytes.len() as u64, ..Input::default() };
    match content {
        Content::Raw { dtype, shape, .. } => {
            input.form = "raw".to_owned();
            input.dtype = dtype.map(|dtype| dtype.to_string());
            input.shape.clone_from(shape);
        }
        Content::Oip { json, .. } => {
            input.form = "oip".to_owned();
            input.json_bytes = Some(json.len() as u64);
        }
        Content::Image { media, .. } => media.name().clone_into(&mut input.form),
    }
    (input, bytes)
}
