//! Does a provider answer in time? By how long its last calls took: with F their distribution and D the time that is left, the
//! chance is F(D) (escalation.md 2.2, "Deadline"). Waiting is worth it from one half on; else the job is better answered at once.

use std::collections::VecDeque;

use crate::{
    limits,
    time::{Moment, Span},
};

/// With fewer calls than this nothing is known, and trying is how one learns.
const LEAST: usize = 8;

#[derive(Clone, Copy, Debug)]
struct Call {
    ended: Moment,
    took: Span,
    /// It was given up after so long; nobody knows how long it would have taken.
    given_up: bool,
}

/// The last calls of one provider. Old ones say nothing about now, so that a provider that nobody asks any more is asked again.
#[derive(Clone, Debug, Default)]
pub struct Latencies(VecDeque<Call>);

impl Latencies {
    pub fn answered(&mut self, now: Moment, took: Span) {
        self.push(Call { ended: now, took, given_up: false });
    }

    /// No answer within this patience.
    pub fn gave_up(&mut self, now: Moment, patience: Span) {
        self.push(Call { ended: now, took: patience, given_up: true });
    }

    fn push(&mut self, call: Call) {
        if self.0.len() >= limits::LATENCIES {
            self.0.pop_front();
        }
        self.0.push_back(call);
    }

    /// Share of the calls that ended within this patience, in [0, 1]; 1 where too little is known.
    pub fn on_time(&self, now: Moment, patience: Span) -> f64 {
        let (mut known, mut late) = (0_usize, 0_usize);
        for call in self.0.iter().filter(|call| now.since(call.ended) < limits::LATENCY_AGE) {
            // One that was given up earlier than we would, says nothing about us.
            if call.given_up && call.took < patience {
                continue;
            }
            known += 1;
            late += usize::from(call.given_up || call.took > patience);
        }
        if known < LEAST { 1.0 } else { 1.0 - late as f64 / known as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Span {
        Span::from_millis(millis)
    }

    const fn at(seconds: u64) -> Moment {
        Moment::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn it_is_the_share_of_calls_that_were_fast_enough() {
        let mut calls = Latencies::default();
        assert_eq!(calls.on_time(at(0), ms(1)), 1.0, "nothing is known");
        (1..=10).for_each(|n| calls.answered(at(1), ms(n * 100)));
        for (patience, share) in [(50, 0.0), (100, 0.1), (500, 0.5), (999, 0.9), (1_000, 1.0)] {
            assert!((calls.on_time(at(2), ms(patience)) - share).abs() < 1e-9, "{patience} ms");
        }
    }

    #[test]
    fn what_was_given_up_is_late_for_whoever_has_no_more_patience() {
        let mut calls = Latencies::default();
        (0..10).for_each(|_| calls.gave_up(at(1), ms(200)));
        assert_eq!(calls.on_time(at(1), ms(200)), 0.0);
        assert_eq!(calls.on_time(at(1), ms(100)), 0.0);
        assert_eq!(calls.on_time(at(1), ms(201)), 1.0, "nobody waited so long");
    }

    #[test]
    fn old_calls_are_forgotten_and_the_last_ones_count() {
        let mut calls = Latencies::default();
        (0..1_000).for_each(|_| calls.answered(at(1), ms(5_000)));
        assert_eq!(calls.0.len(), limits::LATENCIES);
        assert_eq!(calls.on_time(at(2), ms(1_000)), 0.0);
        assert_eq!(calls.on_time(at(1) + limits::LATENCY_AGE, ms(1_000)), 1.0, "it may have recovered");
        (0..limits::LATENCIES).for_each(|_| calls.answered(at(3), ms(10)));
        assert_eq!(calls.on_time(at(3), ms(1_000)), 1.0);
    }
}
