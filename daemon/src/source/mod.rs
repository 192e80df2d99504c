//! Sources: what makes jobs by itself, without anybody who asks.
//!
//! All sources together are one transport, `source`: a frame or file is a request like any other, and what became of it
//! comes back like any other answer. So a source learns of the end of its job when, and only when, the store has it. The
//! answer itself goes to the first transport that has a place for answers without an address (`P/result/{model}`), and to
//! the outputs.

mod command;
mod desk;
mod exec;
mod folder;
mod frames;
mod hub;
mod mjpeg;
mod sampler;
mod sensor;
mod trigger;
mod turn;

use std::{future::Future, path::Path, pin::Pin};

use picket_core::{limits, time::Doubling};

pub use self::{
    desk::Desk,
    hub::{NAME, start},
};
use crate::{
    board::Profile,
    config::{ConfigError, Section},
    ports::Content,
};

/// The registration table: to add a kind of source, add its file, its `mod` line and its line here.
pub static SOURCES: &[&dyn SourceKind] = &[&exec::Exec, &folder::Folder, &sensor::SensorWindow];

/// A kind of source: `kind` of a `[[source]]` section, one row of [`SOURCES`].
pub trait SourceKind: Sync {
    fn name(&self) -> &'static str;

    /// Checks the section without the keys that every source has. Opens nothing; a relative path starts from `folder`, and
    /// pins are those of `board`.
    ///
    /// # Errors
    /// The first mistake in the section.
    fn configure(
        &self,
        section: Section<'_>,
        folder: &Path,
        board: &Profile,
    ) -> Result<Box<dyn SourceSetup>, ConfigError>;
}

/// A checked section, ready to start.
pub trait SourceSetup: Send {
    /// Its jobs are worth nothing unless the store keeps them: their model is to be `durable`.
    fn wants_durable(&self) -> bool {
        false
    }

    /// What of it is not there now, in a sentence: for `picket check`, which opens nothing.
    fn missing(&self) -> Option<String> {
        None
    }

    /// A job's content of the kind that it makes, where all of them have one size: does it fit the model?
    fn sample(&self) -> Option<Content> {
        None
    }

    /// Makes jobs until the daemon stops, and listens to what becomes of them until [`Desk::finished`] ends.
    fn run(self: Box<Self>, desk: Desk) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// Between one try to reach a camera, a bus or a line and the next.
const fn retry() -> Doubling {
    Doubling::new(limits::SOURCE_RETRY, limits::SOURCE_RETRY_MAX)
}
