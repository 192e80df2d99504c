//! A provider's breaker: after failures in a row it is left alone for a while, then one request probes it.
//!
//! ```text
//!             failures reach the limit                cooldown over
//!  Admitting ──────────────────────────▶ Tripped ─────────────────────▶ Probing
//!      ▲                                    ▲                              │
//!      │                                    └────── probe fails ───────────┤
//!      └───────────────────────────────────────── probe succeeds ──────────┘
//! ```
//!
//! A provider that asks for a rest gets it, whatever the state, and is probed after it.

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
    /// The provider asked to be left alone until then.
    rests_until: Moment,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { state: State::Admitting { failures: 0 }, rests_until: Moment::ZERO }
    }
}

impl Breaker {
    pub const fn state(&self) -> State {
        self.state
    }

    /// Would a request pass now? Changes nothing.
    pub fn would_admit(&self, now: Moment) -> bool {
        now >= self.rests_until
            && match self.state {
                State::Admitting { .. } => true,
                State::Tripped { until, .. } => now >= until,
                State::Probing { .. } => false,
            }
    }

    /// Nothing passes until then; `None`: something does, or will when a request has come back.
    pub fn opens_at(&self) -> Option<Moment> {
        match self.state {
            State::Tripped { until, .. } => Some(until.max(self.rests_until)),
            State::Admitting { .. } => (self.rests_until > Moment::ZERO).then_some(self.rests_until),
            State::Probing { .. } => None,
        }
    }

    /// Takes the place of one request; `false` when none passes.
    pub fn admit(&mut self, now: Moment) -> bool {
        if !self.would_admit(now) {
            return false;
        }
        if let State::Tripped { cooldown, .. } = self.state {
            self.state = State::Probing { cooldown };
        }
        true
    }

    /// Returns true when this closed the breaker. It does not while the provider rests: the request was an earlier one.
    pub fn succeeded(&mut self, now: Moment) -> bool {
        if now < self.rests_until {
            return false;
        }
        let before = std::mem::replace(&mut self.state, State::Admitting { failures: 0 });
        !matches!(before, State::Admitting { .. })
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

    /// The provider wants a rest of so long, and gets it. Returns true when this tripped the breaker.
    pub fn limited(&mut self, now: Moment, rest: Span) -> bool {
        self.rests_until = self.rests_until.max(now + rest.min(limits::PROVIDER_REST_MAX));
        match self.state {
            State::Admitting { .. } => {
                self.trip(now, limits::BREAKER_COOLDOWN);
                true
            }
            State::Probing { .. } | State::Tripped { .. } => self.failed(now),
        }
    }

    /// The request that took this place was not made after all: the place is free again, and nothing is learned.
    pub fn unused(&mut self, now: Moment) {
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
        assert!(!breaker.succeeded(t0));
        assert!(!breaker.failed(t0) && !breaker.failed(t0) && breaker.failed(t0));
        assert!(!breaker.admit(t0));
        let later = t0 + limits::BREAKER_COOLDOWN;
        assert!(breaker.admit(later), "one probe passes after the cooldown");
        assert!(!breaker.admit(later), "only one");
        assert!(breaker.failed(later));
        assert!(!breaker.admit(later + limits::BREAKER_COOLDOWN), "the second cooldown is longer");
        assert!(breaker.admit(later + limits::BREAKER_COOLDOWN + limits::BREAKER_COOLDOWN));
        assert!(breaker.succeeded(later));
        assert!(breaker.admit(later));
    }

    #[test]
    fn a_probe_that_was_never_sent_leaves_its_place_to_the_next() {
        let mut breaker = Breaker::default();
        let now = Moment::ZERO;
        breaker.unused(now);
        assert_eq!(breaker.state(), State::Admitting { failures: 0 });
        for _ in 0..limits::BREAKER_FAILURES {
            breaker.failed(now);
        }
        let later = now + limits::BREAKER_COOLDOWN;
        assert!(breaker.admit(later) && !breaker.admit(later));
        breaker.unused(later);
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

    #[test]
    fn a_rest_that_the_provider_asks_for_is_kept() {
        let t0 = Moment::from_micros(1_000_000);
        let rest = Span::from_millis(60_000);
        let mut breaker = Breaker::default();
        assert!(breaker.limited(t0, rest), "one word of the provider is enough");
        breaker.limited(t0, Span::ZERO);
        let last = t0 + rest - Span::from_micros(1);
        assert!(!breaker.succeeded(last), "an earlier request succeeds late");
        assert!(!breaker.would_admit(last) && !breaker.admit(last));
        assert!(breaker.admit(t0 + rest));
    }

    #[test]
    fn after_a_rest_one_request_probes() {
        let t0 = Moment::ZERO;
        let mut breaker = Breaker::default();
        breaker.limited(t0, Span::from_millis(60_000));
        let later = t0 + Span::from_millis(60_000);
        assert!(breaker.admit(later) && !breaker.admit(later));
        assert!(breaker.limited(later, Span::ZERO), "it is still too much");
        assert!(!breaker.admit(later + limits::BREAKER_COOLDOWN), "without a time of its own the cooldown doubles");
        assert!(breaker.admit(later + limits::BREAKER_COOLDOWN + limits::BREAKER_COOLDOWN));
    }

    #[test]
    fn a_rest_has_an_upper_limit() {
        let mut breaker = Breaker::default();
        breaker.limited(Moment::ZERO, Span::from_micros(u64::MAX));
        let end = Moment::ZERO + limits::PROVIDER_REST_MAX;
        assert!(!breaker.would_admit(end - Span::from_micros(1)) && breaker.would_admit(end));
    }

    #[test]
    fn a_probe_that_was_not_made_leaves_its_place() {
        let mut breaker = Breaker::default();
        let t0 = Moment::ZERO;
        (0..limits::BREAKER_FAILURES).for_each(|_| assert!(breaker.failed(t0) || breaker.would_admit(t0)));
        let later = t0 + limits::BREAKER_COOLDOWN;
        assert!(breaker.admit(later) && !breaker.would_admit(later));
        breaker.unused(later);
        assert!(breaker.admit(later));
        breaker.failed(later);
        assert!(!breaker.would_admit(later + limits::BREAKER_COOLDOWN), "the next failure counts as before");
    }
}
