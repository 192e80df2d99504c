//! The egress ledger: what left this device, to whom, why, how large, at what cost; one line per request, and one for what
//! became of it.
//!
//! **No line, no request.** The line is written and synced (`fdatasync`) before the request is handed to its provider. So a
//! crash at any moment leaves at most a line too many: of a request that did not leave after all, or whose outcome nobody
//! knows. It never leaves a request without a line:
//!
//! - killed before the line is whole: nothing left; the unfinished line is cut off at the next start;
//! - killed, or without power, between line and request: the line stands, without an outcome;
//! - the disk is full or fails: the line is taken back, nothing leaves, the job gets its local answer.
//!
//! Lines are chained by their hashes (see [`line`]), `ledger.head` names the last one (see [`files`]). What that finds and
//! what it cannot, [`read`] says. A ledger that was damaged is moved aside, never repaired in silence.
//!
//! Writing waits for the disk, so it has a thread of its own. Requests that come together share one sync.

pub mod book;
pub mod files;
pub mod line;
pub mod open;
pub mod read;

#[cfg(test)]
mod tests;

use std::{
    path::PathBuf,
    sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    thread,
};

use picket_core::limits;
use tokio::sync::oneshot;

use self::{
    book::Book,
    line::{Leaving, Settled, What},
};
use crate::{
    calendar::Calendar,
    ports::{Event, Inbox},
};

/// Why there is no line, and so no request. The code is stable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Refused {
    pub code: &'static str,
    pub message: String,
}

impl Refused {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub(crate) fn closed() -> Self {
        Self::new("ledger/unwritable", "the ledger is closed")
    }
}

/// Something about the ledger that an operator wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// It was not what was written; another chain has begun.
    Corrupt { moved_to: PathBuf, why: String },
    /// An unfinished line was cut off: the process or the machine ended while it was written.
    Torn { bytes: u64 },
    /// The oldest file went, to keep the ledger's size.
    Dropped { file: String, lines: u64 },
}

enum Errand {
    Record(Box<Leaving>, oneshot::Sender<Result<u64, Refused>>),
    Settle(Settled),
    Close,
}

/// A ledger with its thread.
pub struct Ledger {
    pen: Pen,
    thread: thread::JoinHandle<()>,
}

/// The right to write into a ledger.
#[derive(Clone)]
pub struct Pen(SyncSender<Errand>);

impl Ledger {
    /// Opens the ledger of this folder on its own thread. One that cannot be opened is tried again with every request;
    /// until then nothing leaves.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(folder: PathBuf, calendar: Box<dyn Calendar>, inbox: Inbox) -> std::io::Result<Self> {
        let (to, errands) = sync_channel(limits::LEDGER_QUEUE);
        let book = Book::new(folder, calendar);
        let thread = thread::Builder::new().name("ledger".to_owned()).spawn(move || serve(book, &errands, &inbox))?;
        Ok(Self { pen: Pen(to), thread })
    }

    pub fn pen(&self) -> Pen {
        self.pen.clone()
    }

    /// Writes what was handed over before, and ends. Waits for the disk.
    pub fn close(self) {
        let _ = self.pen.0.send(Errand::Close);
        let _ = self.thread.join();
    }
}

impl Pen {
    /// Hands a line over; the answer comes when it is on the disk, with its number.
    ///
    /// # Errors
    /// `ledger/busy`: too many wait already; `ledger/unwritable`: the ledger is closed.
    pub fn record(&self, leaving: Leaving) -> Result<oneshot::Receiver<Result<u64, Refused>>, Refused> {
        let (answer, recorded) = oneshot::channel();
        match self.0.try_send(Errand::Record(Box::new(leaving), answer)) {
            Ok(()) => Ok(recorded),
            Err(TrySendError::Full(_)) => Err(Refused::new("ledger/busy", "too many lines wait for the disk")),
            Err(TrySendError::Disconnected(_)) => Err(Refused::closed()),
        }
    }

    /// What became of a request. Nobody waits for it; without it the ledger says that the outcome is unknown.
    pub fn settle(&self, settled: Settled) {
        let of = settled.of;
        if self.0.try_send(Errand::Settle(settled)).is_err() {
            tracing::warn!(of, "ledger/busy: the outcome of a request is not in the ledger");
        }
    }
}

fn serve(mut book: Book, errands: &Receiver<Errand>, inbox: &Inbox) {
    if let Err(why) = book.open() {
        tracing::error!(code = why.code, why = why.message, "the ledger cannot be written: nothing leaves this device");
    }
    tell(&mut book, inbox);
    while let Ok(first) = errands.recv() {
        let mut group = vec![first];
        group.extend(errands.try_iter().take(limits::LEDGER_GROUP - 1));
        let closing = write(&mut book, group);
        tell(&mut book, inbox);
        if closing {
            break;
        }
    }
}

/// One sync for all of them. Was one of them the last?
fn write(book: &mut Book, group: Vec<Errand>) -> bool {
    let mut closing = false;
    let mut waiting = Vec::new();
    for errand in group {
        match errand {
            Errand::Record(leaving, answer) => match book.stage(What::Leaves(leaving)) {
                Ok(number) => waiting.push((answer, number)),
                Err(why) => answer_to(answer, Err(why)),
            },
            Errand::Settle(settled) => {
                let of = settled.of;
                if let Err(why) = book.stage(What::Settled(settled)) {
                    tracing::warn!(of, code = why.code, "the outcome of a request is not in the ledger");
                }
            }
            Errand::Close => closing = true,
        }
    }
    let written = book.commit();
    if let (Err(why), true) = (&written, waiting.is_empty()) {
        tracing::warn!(code = why.code, why = why.message, "outcomes of requests are not in the ledger");
    }
    for (answer, number) in waiting {
        answer_to(answer, written.clone().map(|()| number));
    }
    if written.is_ok() {
        book.note_head();
    }
    closing
}

fn answer_to(answer: oneshot::Sender<Result<u64, Refused>>, what: Result<u64, Refused>) {
    // Who does not wait any more has not let anything leave.
    let _ = answer.send(what);
}

fn tell(book: &mut Book, inbox: &Inbox) {
    for notice in book.take_notices() {
        match &notice {
            Notice::Corrupt { moved_to, why } => {
                tracing::error!(moved_to = %moved_to.display(), why, "ledger/corrupt: the ledger is not what was written; it was moved aside and another begins");
            }
            Notice::Torn { bytes } => {
                tracing::warn!(bytes, "ledger/torn: an unfinished line was cut off; its request never left");
            }
            Notice::Dropped { file, lines } => {
                tracing::warn!(file, lines, "ledger/dropped: the oldest file went, the ledger has its size");
            }
        }
        // At the end of the run loop nobody listens.
        let _ = inbox.blocking_send(Event::Ledger(notice));
    }
}
