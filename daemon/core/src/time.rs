//! Time as the core sees it: numbers that the caller brings.

use serde::{Deserialize, Serialize};

use std::{
    ops::{Add, AddAssign, Sub},
    time::Duration,
};

/// A point on the daemon's monotonic clock, in microseconds since some start that only the caller knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

/// A length of time, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Span(u64);

impl Moment {
    pub const ZERO: Self = Self(0);

    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Time from `earlier` to here; zero when `earlier` is later.
    pub const fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

impl Span {
    pub const ZERO: Self = Self(0);

    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1000))
    }

    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    pub const fn as_micros(self) -> u64 {
        self.0
    }

    pub fn as_millis_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        Self::from_micros(span.0)
    }
}

/// How long to wait before the next try: the first time `first`, then twice as long each time, at most `longest`.
#[derive(Clone, Debug)]
pub struct Doubling {
    first: Span,
    longest: Span,
    tries: u32,
}

impl Doubling {
    pub const fn new(first: Span, longest: Span) -> Self {
        Self { first, longest, tries: 0 }
    }

    /// The wait after `tries` that failed before this one.
    pub fn after(&self, tries: u32) -> Span {
        // Beyond that any span is at its longest.
        let factor = 1 << tries.min(32);
        Span(self.first.0.saturating_mul(factor)).min(self.longest)
    }

    /// The wait after one more try that failed.
    pub fn wait(&mut self) -> Span {
        let wait = self.after(self.tries);
        self.tries = self.tries.saturating_add(1);
        wait
    }

    /// A try succeeded.
    pub const fn reset(&mut self) {
        self.tries = 0;
    }
}

/// A moment that means something to the next process, too: what a stored deadline is measured by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Identifies the boot of the machine.
    pub boot: [u8; 16],
    /// Microseconds since that boot, including sleep. Comparable within one boot only.
    pub up: u64,
    /// Microseconds since 1970 by the wall clock.
    pub wall: u64,
    /// Something outside (NTP) vouches for the wall clock.
    pub trusted: bool,
}

impl Stamp {
    /// Time from `earlier` to here as far as it is known: exact within a boot, by the wall clock across boots only where
    /// both ends trust it, and zero otherwise. A clock that jumps or was never set expires nothing.
    pub const fn since(&self, earlier: &Self) -> Span {
        if u128::from_le_bytes(self.boot) == u128::from_le_bytes(earlier.boot) {
            Span(self.up.saturating_sub(earlier.up))
        } else if self.trusted && earlier.trusted {
            Span(self.wall.saturating_sub(earlier.wall))
        } else {
            Span::ZERO
        }
    }
}

impl Add<Span> for Moment {
    type Output = Self;
    fn add(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl AddAssign<Span> for Moment {
    fn add_assign(&mut self, span: Span) {
        *self = *self + span;
    }
}

impl Sub<Span> for Moment {
    type Output = Self;
    fn sub(self, span: Span) -> Self {
        Self(self.0.saturating_sub(span.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;
    const TEN_YEARS: u64 = 3_652 * 86_400 * SECOND;

    fn stamp(boot: u8, up: u64, wall: u64, trusted: bool) -> Stamp {
        Stamp { boot: [boot; 16], up, wall, trusted }
    }

    #[test]
    fn waits_double_up_to_the_longest_and_begin_again_after_a_success() {
        let mut wait = Doubling::new(Span::from_millis(250), Span::from_millis(5_000));
        let mut next = |times| (0..times).map(|_| wait.wait().as_micros() / 1_000).collect::<Vec<_>>();
        assert_eq!(next(7), [250, 500, 1_000, 2_000, 4_000, 5_000, 5_000]);
        assert_eq!(wait.after(u32::MAX), Span::from_millis(5_000));
        wait.reset();
        assert_eq!(wait.wait(), Span::from_millis(250));
    }

    #[test]
    fn within_a_boot_the_wall_clock_says_nothing() {
        let before = stamp(1, 5 * SECOND, TEN_YEARS, true);
        for wall in [0, TEN_YEARS, 2 * TEN_YEARS] {
            assert_eq!(stamp(1, 7 * SECOND, wall, true).since(&before), Span::from_millis(2_000), "wall {wall}");
        }
    }

    #[test]
    fn across_boots_only_a_trusted_clock_counts() {
        let before = stamp(1, 5 * SECOND, 100 * SECOND, true);
        assert_eq!(stamp(2, SECOND, 130 * SECOND, true).since(&before), Span::from_millis(30_000));
        assert_eq!(stamp(2, SECOND, TEN_YEARS, false).since(&before), Span::ZERO, "no NTP yet");
        assert_eq!(stamp(2, SECOND, 0, true).since(&before), Span::ZERO, "back to 1970");
        let unset = stamp(1, 5 * SECOND, 0, false);
        assert_eq!(stamp(2, SECOND, TEN_YEARS, true).since(&unset), Span::ZERO, "the clock was never set before");
    }
}
