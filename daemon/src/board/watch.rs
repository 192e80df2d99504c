//! The board's temperature, from time to time, and what follows from it for everybody who makes work.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
        mpsc::{RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use picket_core::{
    heat::{Heat, ZoneLimits},
    limits,
    time::Span,
};

use super::{
    Board, Zone,
    profile::ThrottleProfile,
    root::Root,
    thermal::{self, Throttle},
};
use crate::ports::{Event, Inbox};

/// One look at the zones that have limits.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// In °C, by zone; `None`: it could not be read.
    pub celsius: Vec<Option<f64>>,
    pub throttle: Throttle,
}

/// What the loop is told of the board.
#[derive(Debug)]
pub struct Watched {
    pub board: String,
    /// Names of the zones that have limits, in the order of a [`Sample`].
    pub zones: Vec<String>,
    /// Of these, as they were last.
    pub celsius: Vec<Option<f64>>,
    pub heat: Heat,
    pub source_rate: SourceRate,
    /// Held for as long as somebody wants samples.
    pub sampler: Option<Sampler>,
}

impl Default for Watched {
    /// A board that is never hot.
    fn default() -> Self {
        let heat = Heat::new(&[], limits::HEAT_DWELL);
        let (board, zones, celsius) = (String::new(), Vec::new(), Vec::new());
        Self { board, zones, celsius, heat, source_rate: SourceRate::default(), sampler: None }
    }
}

/// Part of its configured rate that a source of jobs keeps while the board is hot. All clones are one; reading it costs
/// nothing, so a source reads it before each job: at 0.5 it makes every second one, or waits twice as long.
#[derive(Clone, Debug)]
pub struct SourceRate(Arc<AtomicU32>);

/// What 1.0 is kept as.
const WHOLE: f64 = 1_000_000.0;

impl Default for SourceRate {
    fn default() -> Self {
        let rate = Self(Arc::default());
        rate.set(1.0);
        rate
    }
}

impl SourceRate {
    /// Above 0 and at most 1.
    pub fn get(&self) -> f64 {
        f64::from(self.0.load(Ordering::Relaxed)) / WHOLE
    }

    pub(crate) fn set(&self, rate: f64) {
        self.0.store((rate.clamp(0.0, 1.0) * WHOLE).max(1.0) as u32, Ordering::Relaxed);
    }
}

/// Reads the zones on a thread of its own: some hang on a slow bus.
#[derive(Debug)]
pub struct Sampler {
    /// Its thread ends when this goes.
    _hold: SyncSender<()>,
}

impl Sampler {
    /// `None`: the board has nothing to watch.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(board: &Board, dwell: Span, inbox: Inbox) -> std::io::Result<Option<Self>> {
        let eyes = Eyes {
            zones: board.zones.iter().filter(|zone| zone.limits.is_some()).cloned().collect(),
            throttle: board.profile.throttle.clone(),
            root: board.root.clone(),
        };
        if eyes.zones.is_empty() && board.throttle.is_none() {
            return Ok(None);
        }
        // A dwell time that is shorter than usual wants more samples.
        let period = Span::from_micros(dwell.as_micros() / 4).min(limits::HEAT_PERIOD);
        let period = Duration::from(period);
        let (hold, held) = sync_channel(HELD);
        let look = move || {
            loop {
                if inbox.blocking_send(Event::Heat(eyes.look())).is_err() {
                    return;
                }
                // Nothing is ever sent: the other end is dropped.
                if held.recv_timeout(period) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        };
        thread::Builder::new().name("heat".to_owned()).stack_size(STACK_BYTES).spawn(look)?;
        Ok(Some(Self { _hold: hold }))
    }
}

const HELD: usize = 1;
/// It reads short files.
const STACK_BYTES: usize = 128 << 10;

struct Eyes {
    zones: Vec<Zone>,
    throttle: Option<ThrottleProfile>,
    root: Root,
}

impl Eyes {
    fn look(&self) -> Sample {
        let throttle = self.throttle.as_ref().and_then(|profile| thermal::throttle(&self.root, profile));
        Sample { celsius: self.zones.iter().map(Zone::read).collect(), throttle: throttle.unwrap_or_default() }
    }
}

impl Watched {
    /// Begins to watch `board`.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(board: &Board, dwell: Span, inbox: Inbox) -> std::io::Result<Self> {
        let zones = board.zones.iter().filter(|zone| zone.limits.is_some());
        let limits: Vec<ZoneLimits> = zones.clone().filter_map(|zone| zone.limits).collect();
        Ok(Self {
            board: board.profile.name.clone(),
            celsius: zones.clone().map(|zone| zone.celsius).collect(),
            zones: zones.map(|zone| zone.name.clone()).collect(),
            heat: Heat::new(&limits, dwell),
            source_rate: SourceRate::default(),
            sampler: Sampler::start(board, dwell, inbox)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_who_read_the_rate_read_the_same() {
        let rate = SourceRate::default();
        let source = rate.clone();
        assert_eq!(source.get(), 1.0);
        for wanted in [0.5, 0.25, 1.0] {
            rate.set(wanted);
            assert_eq!(source.get(), wanted);
        }
        rate.set(0.0);
        assert!(source.get() > 0.0, "who divides by it must not get infinity");
    }
}
