//! A provider's breaker: after failures in a row it is left alone for a while, then one request probes it.
//!
//! ```text
//!             failures reach the limit                cooldown over
//!  Admitting ──────────────────────────▶ Tripped ─────────────────────▶ Probing
//!      ▲                                    ▲                              │
//!      │                                    └────── probe fails ───────────┤
//!      └───────────────────────────────────────── probe succeeds ──────────┘
//! ```

use crate::{
    limits,
    time::{Moment, Span},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Requests pass; so many failures in a row so far.
    Admitting { failures: u32 },
    /// Nothing passes until then.
    Tripped { until: Moment, cooldown: Span },
    /// One request is under way to find out; the rest does not pass.
    Probing { cooldown: Span },
}

#[derive(Clone, Debug)]
pub struct Breaker {
    state: State,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { state: State::Admitting { failures: 0 } }
    }
}

impl Breaker {
    pub const fn state(&self) -> State {
        self.state
    }

    /// Would a request pass now? Changes nothing.
    pub fn would_admit(&self, now: Moment) -> bool {
        match self.state {
            State::Admitting { .. } => true,
            State::Tripped { until, .. } => now >= until,
            State::Probing { .. } => false,
        }
    }

    /// Takes the place of one request; `false` when none passes.
    pub fn admit(&mut self, now: Moment) -> bool {
        match self.state {
            State::Admitting { .. } => true,
            State::Tripped { until, cooldown } if now >= until => {
                self.state = State::Probing { cooldown };
                true
            }
            State::Tripped { .. } | State::Probing { .. } => false,
        }
    }

    pub fn succeeded(&mut self) {
        self.state = State::Admitting { failures: 0 };
    }

    /// Returns true when this failure tripped the breaker.
    pub fn failed(&mut self, now: Moment) -> bool {
        match self.state {
            State::Admitting { failures } if failures + 1 < limits::BREAKER_FAILURES => {
                self.state = State::Admitting { failures: failures + 1 };
                false
            }
            State::Admitting { .. } => {
                self.trip(now, limits::BREAKER_COOLDOWN);
                true
            }
            State::Probing { cooldown } => {
                let doubled = Span::from_micros(cooldown.as_micros().saturating_mul(2));
                self.trip(now, doubled.min(limits::BREAKER_COOLDOWN_MAX));
                true
            }
            // A request from before the trip comes back late: nothing new is learned.
            State::Tripped { .. } => false,
        }
    }

    /// The request that had a place was never sent: nothing is learned, and the next one may probe.
    pub fn withdrawn(&mut self, now: Moment) {
        if let State::Probing { cooldown } = self.state {
            self.state = State::Tripped { until: now, cooldown };
        }
    }

    fn trip(&mut self, now: Moment, cooldown: Span) {
        self.state = State::Tripped { until: now + cooldown, cooldown };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trips_after_failures_in_a_row_and_probes_once() {
        let mut breaker = Breaker::default();
        let t0 = Moment::from_micros(1_000_000);
        assert!(!breaker.failed(t0));
        breaker.succeeded();
        assert!(!breaker.failed(t0) && !breaker.failed(t0) && breaker.failed(t0));
        assert!(!breaker.admit(t0));
        let later = t0 + limits::BREAKER_COOLDOWN;
        assert!(breaker.admit(later), "one probe passes after the cooldown");
        assert!(!breaker.admit(later), "only one");
        assert!(breaker.failed(later));
        assert!(!breaker.admit(later + limits::BREAKER_COOLDOWN), "the second cooldown is longer");
        assert!(breaker.admit(later + limits::BREAKER_COOLDOWN + limits::BREAKER_COOLDOWN));
        breaker.succeeded();
        assert!(breaker.admit(later));
    }

    #[test]
    fn a_probe_that_was_never_sent_leaves_its_place_to_the_next() {
        let mut breaker = Breaker::default();
        let now = Moment::ZERO;
        breaker.withdrawn(now);
        assert_eq!(breaker.state(), State::Admitting { failures: 0 });
        for _ in 0..limits::BREAKER_FAILURES {
            breaker.failed(now);
        }
        let later = now + limits::BREAKER_COOLDOWN;
        assert!(breaker.admit(later) && !breaker.admit(later));
        breaker.withdrawn(later);
        assert!(breaker.admit(later) && breaker.failed(later));
        assert!(!breaker.would_admit(later + limits::BREAKER_COOLDOWN), "the cooldown still doubles");
    }

    #[test]
    fn the_cooldown_has_an_upper_limit() {
        let mut breaker = Breaker::default();
        let mut now = Moment::ZERO;
        for _ in 0..limits::BREAKER_FAILURES {
            breaker.failed(now);
        }
        for _ in 0..20 {
            now += limits::BREAKER_COOLDOWN_MAX;
            assert!(breaker.admit(now));
            breaker.failed(now);
        }
        assert!(breaker.would_admit(now + limits::BREAKER_COOLDOWN_MAX));
    }
}
