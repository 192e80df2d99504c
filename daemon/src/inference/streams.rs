//! What a model keeps between the jobs of a stream: samples that wait for their window, and the states of its last call.
//!
//! It belongs to the model's one thread and ends with it: a restart begins every stream anew, and the answer says so.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use picket_core::{job::Failure, limits};

use super::served::Served;
use crate::{
    pipeline::window::{Chunk, Per, Tail, Windowed},
    ports::{Begun, InStream, StreamNote},
    tensor::Tensor,
};

/// Where a job stands, and when it comes to be run.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    pub key: &'a str,
    pub seq: Option<u64>,
    pub now: Instant,
}

impl<'a> Place<'a> {
    /// `group` is the key where there is no other; without either there is one stream for all.
    pub fn of(place: &'a InStream, group: Option<&'a str>) -> Self {
        Self { key: place.key.as_deref().or(group).unwrap_or_default(), seq: place.seq, now: Instant::now() }
    }
}

/// The streams of one model.
#[derive(Debug, Default)]
pub struct Streams {
    open: HashMap<Arc<str>, Stream>,
}

#[derive(Debug)]
pub(super) struct Stream {
    last: Option<u64>,
    used: Instant,
    pub tail: Option<Tail>,
    pub states: Vec<Tensor>,
}

impl Stream {
    fn continues(&self, place: Place<'_>, age: Duration) -> Result<(), Begun> {
        if place.now.saturating_duration_since(self.used) > age {
            return Err(Begun::Age);
        }
        match (self.last, place.seq) {
            (Some(last), Some(seq)) if seq != last.wrapping_add(1) => Err(Begun::Gap),
            _ => Ok(()),
        }
    }
}

impl Streams {
    /// Takes a stream out, or a new one of `begin`: what fails with it in hand ends it.
    pub(super) fn take(
        &mut self,
        place: Place<'_>,
        age: Duration,
        begin: impl FnOnce() -> Stream,
    ) -> (Stream, Option<Begun>) {
        match self.open.remove(place.key) {
            Some(stream) => match stream.continues(place, age) {
                Ok(()) => (stream, None),
                Err(why) => (begin(), Some(why)),
            },
            None => (begin(), Some(Begun::New)),
        }
    }

    /// Keeps a stream. Returns how many others had to go because there are `most`.
    pub(super) fn keep(
        &mut self,
        place: Place<'_>,
        key: Arc<str>,
        mut stream: Stream,
        (most, age): (usize, Duration),
    ) -> usize {
        stream.used = place.now;
        stream.last = place.seq.or(stream.last);
        if self.open.len() >= most {
            self.open.retain(|_, other| place.now.saturating_duration_since(other.used) <= age);
        }
        let mut evicted = 0;
        while self.open.len() >= most {
            let oldest = self.open.iter().min_by_key(|(_, other)| other.used).map(|(key, _)| key.clone());
            let Some(oldest) = oldest else { break };
            self.open.remove(&oldest);
            evicted += 1;
        }
        self.open.insert(key, stream);
        evicted
    }
}

/// How many streams of a bundle fit into the memory that a model's streams may take.
///
/// # Errors
/// `model/mismatch`: not even one.
pub(super) fn most(served: &Served) -> Result<usize, Failure> {
    // A window has at most this, and what waits for one has less.
    let tail = served.bundle.windowed().map_or(0, |windowed| windowed.bytes(&served.bundle.inputs));
    let states: usize = served.binding.states.iter().map(|state| state.data().len()).sum();
    match limits::STREAM_BYTES / (tail + states + limits::JOB_TEXT_BYTES) {
        0 => {
            let message = format!("a stream keeps {} bytes, at most {}", tail + states, limits::STREAM_BYTES);
            Err(Failure::new("model/mismatch", message))
        }
        fit => Ok(fit.min(limits::STREAMS)),
    }
}

/// A job's stream, in hand.
pub(super) struct Hand<'s> {
    place: Place<'s>,
    pub stream: Stream,
    note: StreamNote,
}

impl<'s> Hand<'s> {
    /// Where nothing is kept, a stream of one job.
    ///
    /// # Errors
    /// `input/too-large` or `input/shape-mismatch`: the job completes too many windows, or could never complete one. The
    /// stream stays as it was.
    pub fn open(
        served: &Served,
        streams: &mut Streams,
        place: Place<'s>,
        chunk: Option<(&Windowed<'_>, &Chunk)>,
    ) -> Result<Self, Failure> {
        let begin = || Stream {
            last: None,
            used: place.now,
            tail: chunk.map(|(windowed, chunk)| Tail::new(&windowed.window, chunk.sample())),
            states: served.binding.states.clone(),
        };
        let kept = served.bundle.remembers();
        let (stream, begun) = if kept { streams.take(place, served.stream_age(), begin) } else { (begin(), None) };
        let key = kept.then(|| Arc::from(place.key));
        let mut hand = Self { place, stream, note: StreamNote { key, begun, ..StreamNote::default() } };
        if let Some((windowed, chunk)) = chunk
            && let Err(failure) = hand.push(windowed, chunk)
        {
            hand.close(served, streams);
            return Err(failure);
        }
        Ok(hand)
    }

    fn push(&mut self, windowed: &Windowed<'_>, chunk: &Chunk) -> Result<(), Failure> {
        let (window, Some(tail)) = (&windowed.window, &mut self.stream.tail) else { return Ok(()) };
        let samples = chunk.bytes().len() / chunk.sample();
        let windows = tail.completes(window, samples);
        if windows > limits::WINDOWS_PER_JOB {
            let message = format!("{samples} samples complete {windows} windows at once");
            let (want, got) = (format!("at most {} windows", limits::WINDOWS_PER_JOB), format!("{windows} windows"));
            return Err(Failure::new("input/too-large", message).expected(want, got));
        }
        if windows == 0 && window.per == Per::Job {
            let (want, got) =
                (format!("at least {} samples", window.length - window.pad), format!("{samples} samples"));
            return Err(
                Failure::new("input/shape-mismatch", format!("{samples} samples make no window")).expected(want, got)
            );
        }
        self.note.windows = Some(windows);
        tail.push(chunk.bytes());
        Ok(())
    }

    /// Puts the stream back, and says what became of it.
    pub fn close(mut self, served: &Served, streams: &mut Streams) -> Option<StreamNote> {
        if let (Some(tail), Some(windowed)) = (&mut self.stream.tail, served.bundle.windowed()) {
            tail.settle();
            if self.note.key.is_some() {
                self.note.have = Some(tail.have());
                self.note.need = Some(tail.need(&windowed.window));
            }
        }
        if let Some(key) = self.note.key.clone() {
            let bounds = (served.most_streams, served.stream_age());
            self.note.evicted = streams.keep(self.place, key, self.stream, bounds);
        }
        (self.note.key.is_some() || self.note.windows.is_some()).then_some(self.note)
    }
}

#[cfg(test)]
#[path = "streams_tests.rs"]
mod tests;
