//! When a budget's period is over.
//!
//! A period ends at a calendar boundary (UTC midnight, the full hour) as long as that can be had without trusting the wall
//! clock more than it deserves. The rule:
//!
//! 1. The end of a period is fixed on the monotonic clock when the period begins. What the wall clock does in between changes
//!    nothing, so it may jump as it likes.
//! 2. When a period begins, a trusted wall clock says where the next boundary is. It may only make the period *longer* than
//!    one length, never shorter. (Only the very first period of a device is shorter.) A boundary that is missed by less than
//!    1 % of the length was meant.
//! 3. Over a reboot the monotonic clock is lost. A trusted wall clock is then believed, but only forwards: a calendar number
//!    that is greater than every one seen before begins a period. Without it, the time that was left is left.
//!
//! Hence two fresh periods of one process are never less than one length apart, and a clock that jumps to and fro between two
//! times, over any number of reboots, wins one period once. The price: a device whose trusted clock was ahead by years counts
//! its periods by the hours that it is switched on, until the calendar has caught up. And a device that got its wall clock
//! only after its first period had begun has, once, a period of nearly two lengths.

use serde::{Deserialize, Serialize};

use crate::time::{Moment, Span};

const SECOND: u64 = 1_000_000;

/// Where in its period a budget is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    pub passed: Span,
    /// Planned length of this period; not zero.
    pub whole: Span,
}

/// What became of a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It goes on.
    Same,
    /// The next one began.
    Fresh,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Period {
    length: Span,
    ends: Moment,
    whole: Span,
    /// The greatest number of a calendar's period (Unix seconds / length) that was seen.
    number: Option<u64>,
    /// There was a reboot, and no trusted clock has said yet how long it took.
    gap: bool,
}

/// A [`Period`] for the next process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedPeriod {
    pub left_us: u64,
    pub whole_us: u64,
    pub number: Option<u64>,
}

impl Period {
    /// The first one of a device. `unix_s` is given only where something outside vouches for the wall clock.
    pub fn begin(length: Span, now: Moment, unix_s: Option<u64>) -> Self {
        let length = length.max(Span::from_micros(SECOND));
        let whole = unix_s.map_or(length, |unix| to_boundary(length, unix));
        Self { length, ends: now + whole, whole, number: unix_s.map(|unix| number(length, unix)), gap: false }
    }

    /// `away`: time since it was saved by a clock that does not jump (the same boot); `None` after a reboot.
    pub fn resume(length: Span, saved: &SavedPeriod, now: Moment, away: Option<Span>) -> Self {
        let length = length.max(Span::from_micros(SECOND));
        // No period is planned for more than two lengths, whatever a damaged file says.
        let longest = Span::from_micros(length.as_micros().saturating_mul(2));
        let left = Span::from_micros(saved.left_us).min(longest);
        let whole = Span::from_micros(saved.whole_us).min(longest).max(left).max(Span::from_micros(SECOND));
        let ends = match away {
            // It may have ended meanwhile: then its end lies before `now`, as far as this clock reaches back.
            Some(away) if away > left => now - away.saturating_sub(left),
            Some(away) => now + left.saturating_sub(away),
            None => now + left,
        };
        Self { length, ends, whole, number: saved.number, gap: away.is_none() }
    }

    pub const fn save(&self, now: Moment) -> SavedPeriod {
        SavedPeriod { left_us: self.ends.since(now).as_micros(), whole_us: self.whole.as_micros(), number: self.number }
    }

    /// To be called before anything is spent.
    pub fn roll(&mut self, now: Moment, unix_s: Option<u64>) -> Turn {
        if now >= self.ends {
            return self.next(now, unix_s);
        }
        let Some(unix) = unix_s else { return Turn::Same };
        let seen = number(self.length, unix);
        let gap = std::mem::take(&mut self.gap);
        match self.number {
            None => self.number = Some(seen),
            Some(known) if gap && seen > known => {
                self.whole = to_boundary(self.length, unix);
                (self.ends, self.number) = (now + self.whole, Some(seen));
                return Turn::Fresh;
            }
            // The same period still; how much of it is left, the calendar knows better.
            Some(known) if gap && seen == known => self.ends = self.ends.min(now + to_boundary(self.length, unix)),
            Some(_) => {}
        }
        Turn::Same
    }

    pub fn position(&self, now: Moment) -> Position {
        Position { passed: self.whole.saturating_sub(self.ends.since(now)), whole: self.whole }
    }

    pub const fn ends(&self) -> Moment {
        self.ends
    }

    fn next(&mut self, now: Moment, unix_s: Option<u64>) -> Turn {
        self.gap = false;
        let length = self.length.as_micros();
        let periods = now.since(self.ends).as_micros() / length + 1;
        let begun = self.ends + Span::from_micros((periods - 1).saturating_mul(length));
        let nominal = begun + self.length;
        // Every period that begins uses up a number, also where the calendar stands still or has gone back.
        self.number = self.number.map(|number| number.saturating_add(periods));
        let Some(unix) = unix_s else {
            (self.ends, self.whole) = (nominal, self.length);
            return Turn::Fresh;
        };
        let slack = Span::from_micros(length / 100);
        let seen = number(self.length, unix.saturating_add(slack.as_micros() / SECOND));
        self.number = self.number.max(Some(seen));
        let boundary = now + to_boundary(self.length, unix);
        self.ends = if boundary >= nominal {
            boundary
        } else if boundary + slack >= nominal {
            nominal
        } else {
            boundary + self.length
        };
        self.whole = self.ends.since(begun);
        Turn::Fresh
    }
}

const fn number(length: Span, unix_s: u64) -> u64 {
    unix_s / seconds(length)
}

const fn to_boundary(length: Span, unix_s: u64) -> Span {
    let length = seconds(length);
    Span::from_micros((length - unix_s % length).saturating_mul(SECOND))
}

/// At least one.
const fn seconds(length: Span) -> u64 {
    let seconds = length.as_micros() / SECOND;
    if seconds == 0 { 1 } else { seconds }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600;
    const DAY: u64 = 24 * HOUR;
    const MAY: u64 = 20_000 * DAY;

    const fn s(seconds: u64) -> Span {
        Span::from_micros(seconds * SECOND)
    }

    const fn at(seconds: u64) -> Moment {
        Moment::from_micros(seconds * SECOND)
    }

    #[test]
    fn a_trusted_clock_ends_the_day_at_midnight() {
        let mut day = Period::begin(s(DAY), at(100), Some(MAY + 22 * HOUR));
        assert_eq!(day.position(at(100 + HOUR)), Position { passed: s(HOUR), whole: s(2 * HOUR) });
        assert_eq!(day.roll(at(100 + 2 * HOUR - 1), Some(MAY + DAY - 1)), Turn::Same);
        assert_eq!(day.roll(at(100 + 2 * HOUR), Some(MAY + DAY)), Turn::Fresh);
        assert_eq!(day.ends(), at(100 + 26 * HOUR));
    }

    #[test]
    fn a_clock_that_is_some_seconds_off_moves_no_day_by_a_whole_one() {
        for off in [-30_i64, -1, 0, 1, 30] {
            let mut day = Period::begin(s(DAY), at(0), Some(MAY));
            assert_eq!(day.roll(at(DAY), (MAY + DAY).checked_add_signed(off)), Turn::Fresh);
            let next = day.ends().as_micros().abs_diff(at(2 * DAY).as_micros()) / SECOND;
            assert!(next <= 30, "off by {off} s: the next day ends {next} s beside its midnight");
        }
    }

    #[test]
    fn without_a_clock_a_day_lasts_a_day() {
        let mut day = Period::begin(s(DAY), at(7), None);
        assert_eq!(day.roll(at(7 + DAY - 1), None), Turn::Same);
        assert_eq!(day.roll(at(7 + DAY), None), Turn::Fresh);
        assert_eq!(day.roll(at(7 + 4 * DAY + 5), None), Turn::Fresh, "days in which nothing happened");
        assert_eq!(day.ends(), at(7 + 5 * DAY));
    }

    #[test]
    fn a_clock_that_comes_late_makes_a_day_longer_and_never_shorter() {
        // Begun at eight in the morning, by a clock that nobody had set.
        let mut day = Period::begin(s(DAY), at(0), None);
        assert_eq!(day.roll(at(60), Some(MAY + 8 * HOUR)), Turn::Same);
        assert_eq!(day.roll(at(17 * HOUR), Some(MAY + 25 * HOUR)), Turn::Same, "it is not over at midnight");
        assert_eq!(day.roll(at(DAY), Some(MAY + 32 * HOUR)), Turn::Fresh);
        assert_eq!(day.ends(), at(64 * HOUR), "the first midnight that is a day away");
    }

    #[test]
    fn after_a_reboot_the_calendar_says_whether_it_is_another_day() {
        let day = Period::begin(s(DAY), at(0), Some(MAY + 8 * HOUR));
        let saved = day.save(at(2 * HOUR));
        let resumed = |away| Period::resume(s(DAY), &saved, at(5), away);
        assert_eq!(resumed(None).roll(at(6), Some(MAY + DAY + HOUR)), Turn::Fresh);
        let mut same = resumed(None);
        assert_eq!(same.roll(at(6), Some(MAY + 20 * HOUR)), Turn::Same);
        assert_eq!(same.ends(), at(6 + 4 * HOUR), "the time without power counts");
        let mut unknown = resumed(None);
        assert_eq!(unknown.roll(at(6), None), Turn::Same);
        assert_eq!(unknown.ends(), at(5 + 14 * HOUR), "nobody knows how long it was");
        let mut quick = resumed(Some(s(HOUR)));
        assert_eq!(
            quick.roll(at(6), Some(MAY + 3_650 * DAY)),
            Turn::Same,
            "the same boot: the wall clock says nothing"
        );
        assert_eq!(quick.ends(), at(5 + 13 * HOUR));
        assert_eq!(resumed(Some(s(20 * HOUR))).roll(at(6), None), Turn::Fresh, "it ended meanwhile");
    }

    #[test]
    fn a_lie_over_a_reboot_is_believed_once() {
        let future = MAY + 3_650 * DAY;
        let mut day = Period::begin(s(DAY), at(0), Some(MAY));
        let mut fresh = 0;
        for reboot in 0..100 {
            day = Period::resume(s(DAY), &day.save(at(60)), at(0), None);
            let unix = if reboot % 2 == 0 { future } else { MAY };
            fresh += u32::from(day.roll(at(1), Some(unix)) == Turn::Fresh);
        }
        assert_eq!(fresh, 1);
        assert_eq!(day.roll(at(DAY), Some(MAY + DAY)), Turn::Fresh, "a day without a reboot is a day");
    }
}
