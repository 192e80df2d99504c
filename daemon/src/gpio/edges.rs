//! Lines that are watched.

use std::{io, path::Path, time::Duration};

use gpiocdev::{Request, line::EdgeDetection};
use tokio::{
    io::{AsyncReadExt, unix::AsyncFd},
    net::unix::pipe,
};

use super::{Fault, Place, device};

/// Which changes of a level count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    Rising,
    Falling,
    Both,
}

/// A line that is ours to watch.
#[derive(Debug)]
pub enum Edges {
    Chip(AsyncFd<Request>),
    Pipe(pipe::Receiver),
}

impl Edges {
    /// Takes the line. `debounce`: a level counts when it has lasted so long; the kernel looks after that. A pipe has no
    /// levels: each line of text is an edge.
    ///
    /// # Errors
    /// Somebody else has it; there is none, or it may not be used.
    pub fn open(place: &Place, edge: Edge, debounce: Duration) -> Result<Self, Fault> {
        match place {
            Place::File(path) => open_pipe(path).map(Self::Pipe),
            Place::Chip { chip, line } => {
                let path = device(chip)?;
                let mut builder = Request::builder();
                builder.on_chip(&path).with_consumer(super::CONSUMER).with_line(*line);
                builder.with_edge_detection(match edge {
                    Edge::Rising => EdgeDetection::RisingEdge,
                    Edge::Falling => EdgeDetection::FallingEdge,
                    Edge::Both => EdgeDetection::BothEdges,
                });
                if !debounce.is_zero() {
                    builder.with_debounce_period(debounce);
                }
                let request = builder.request().map_err(|error| Fault::of(*line, &path, &error))?;
                // SAFETY: a request owns its descriptor, and has the same one until it is dropped.
                #[expect(unsafe_code, reason = "no safe way to register a descriptor is left in tokio")]
                let watched = unsafe { AsyncFd::register(request) };
                watched.map(Self::Chip).map_err(|error| Fault::NoLine(format!("{place} cannot be watched: {error}")))
            }
        }
    }

    /// Waits for the next edges; returns how many there were. Dropped while it waits, it has taken none.
    ///
    /// # Errors
    /// The line is gone.
    pub async fn next(&mut self) -> Result<u64, Fault> {
        let gone = |error: &dyn std::fmt::Display| Fault::NoLine(format!("the line is gone: {error}"));
        match self {
            Self::Chip(request) => {
                let mut guard = request.readable().await.map_err(|error| gone(&error))?;
                let request = guard.get_inner();
                let mut edges = 0;
                while request.has_edge_event().map_err(|error| gone(&error))? {
                    request.read_edge_event().map_err(|error| gone(&error))?;
                    edges += 1;
                }
                guard.clear_ready();
                Ok(edges)
            }
            Self::Pipe(pipe) => {
                let mut buffer = [0; 512];
                let read = pipe.read(&mut buffer).await.map_err(|error| gone(&error))?;
                let text = buffer.get(..read).unwrap_or_default();
                Ok(text.iter().filter(|byte| **byte == b'\n').count() as u64)
            }
        }
    }
}

/// Open for writing too, so that it does not end with whoever writes.
fn open_pipe(path: &Path) -> Result<pipe::Receiver, Fault> {
    let mut options = pipe::OpenOptions::new();
    let opened = options.read_write(true).open_receiver(path);
    opened.map_err(|error| {
        let hint = if error.kind() == io::ErrorKind::InvalidInput { "; it is to be a named pipe (mkfifo)" } else { "" };
        Fault::NoLine(format!("{} cannot be watched: {error}{hint}", path.display()))
    })
}
