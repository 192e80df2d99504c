//! How many requests there usually are in each hour of the week: 24 × 7 exponentially smoothed counts. A budget that is paced
//! by it lasts over the busy hours; paced by time alone it would wait at night for requests that never come.

use serde::{Deserialize, Serialize};

use super::saved::ForeignVersion;
use crate::time::{Moment, Span};

const HOURS: usize = 168;
const HOUR_S: u64 = 3_600;
const HOUR_US: u64 = HOUR_S * 1_000_000;
/// Weight of the newest week in an hour's count, and of the newest hour in the mean of all.
const WEEK_WEIGHT: f64 = 0.3;
const HOUR_WEIGHT: f64 = 0.05;
/// Hours without a request that are believed to have been silent. What is longer was a jump of the clock.
const SILENT_HOURS: u64 = 24;

/// Which hour it is; by a clock that nobody vouches for, only that it is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hour {
    Calendar(u64),
    Running(u64),
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Tally {
    hour: Hour,
    requests: u64,
    /// It was watched from its beginning.
    whole: bool,
}

/// Requests per hour, as far as they are known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Profile {
    mean: Option<f64>,
    /// Empty, or one for each hour of the week. The first is that of Unix time 0, a Thursday.
    week: Vec<Option<f64>>,
    now: Option<Tally>,
}

/// A [`Profile`] for the next process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedProfile {
    pub version: u32,
    pub mean: Option<f64>,
    pub week: Vec<Option<f64>>,
}

impl SavedProfile {
    pub const VERSION: u32 = 1;
}

impl Profile {
    /// Flat. A forecast that is no positive number is none.
    pub fn new(requests_per_day: Option<f64>) -> Self {
        let mean = requests_per_day.filter(|n| n.is_finite() && *n > 0.0).map(|n| n / 24.0);
        Self { mean, week: Vec::new(), now: None }
    }

    /// # Errors
    /// When another version wrote it.
    pub fn restore(saved: &SavedProfile) -> Result<Self, ForeignVersion> {
        ForeignVersion::check("traffic profile", saved.version, SavedProfile::VERSION)?;
        let sound = |n: Option<f64>| n.filter(|n| n.is_finite() && *n >= 0.0);
        let week: Vec<_> = saved.week.iter().copied().map(sound).collect();
        let week = if week.len() == HOURS { week } else { Vec::new() };
        Ok(Self { mean: sound(saved.mean), week, now: None })
    }

    pub fn save(&self) -> SavedProfile {
        SavedProfile { version: SavedProfile::VERSION, mean: self.mean, week: self.week.clone() }
    }

    /// One request. `unix_s` is given only where something outside vouches for the wall clock.
    pub fn count(&mut self, now: Moment, unix_s: Option<u64>) {
        let hour = match unix_s {
            Some(unix) => Hour::Calendar(unix / HOUR_S),
            None => Hour::Running(now.as_micros() / HOUR_US),
        };
        match &mut self.now {
            Some(tally) if tally.hour == hour => tally.requests = tally.requests.saturating_add(1),
            _ => self.turn(hour),
        }
    }

    /// Requests that are expected from `from_s` on; without a calendar that of the mean. `None`: nothing is known.
    pub fn requests(&self, from_s: Option<u64>, length: Span) -> Option<f64> {
        let hours = length.as_micros() as f64 / HOUR_US as f64;
        let Some(from) = from_s.filter(|_| !self.week.is_empty()) else { return Some(self.mean? * hours) };
        let (mut at, end) = (from, from.saturating_add(length.as_micros() / 1_000_000));
        let mut sum = 0.0;
        while at < end {
            let next = (at / HOUR_S + 1).saturating_mul(HOUR_S).min(end);
            sum += self.of_hour(at / HOUR_S)? * (next - at) as f64 / HOUR_S as f64;
            at = next;
        }
        Some(sum)
    }

    fn of_hour(&self, hour: u64) -> Option<f64> {
        self.week.get(place(hour)).copied().flatten().or(self.mean)
    }

    /// A request is the first of its hour: learn from those before it.
    fn turn(&mut self, hour: Hour) {
        let last = self.now.take();
        let passed = match (last.map(|tally| tally.hour), hour) {
            (Some(Hour::Calendar(a)), Hour::Calendar(b)) | (Some(Hour::Running(a)), Hour::Running(b)) => {
                b.checked_sub(a).filter(|passed| *passed <= SILENT_HOURS)
            }
            _ => None,
        };
        if let (Some(tally), Some(passed)) = (last, passed) {
            if tally.whole {
                self.learn(tally.hour, tally.requests);
            }
            for silent in 1..passed {
                let hour = match tally.hour {
                    Hour::Calendar(hour) => Hour::Calendar(hour.saturating_add(silent)),
                    Hour::Running(hour) => Hour::Running(hour.saturating_add(silent)),
                };
                self.learn(hour, 0);
            }
        }
        self.now = Some(Tally { hour, requests: 1, whole: passed.is_some() });
    }

    fn learn(&mut self, hour: Hour, requests: u64) {
        let smooth = |old: Option<f64>, weight: f64| {
            let new = requests as f64;
            Some(old.map_or(new, |old| old + weight * (new - old)))
        };
        if let Hour::Calendar(hour) = hour {
            if self.week.is_empty() {
                self.week = vec![None; HOURS];
            }
            // The first week is believed as it is: a night that was taken for a mean hour would take weeks to become one.
            if let Some(known) = self.week.get_mut(place(hour)) {
                *known = smooth(*known, WEEK_WEIGHT);
            }
        }
        self.mean = smooth(self.mean, HOUR_WEIGHT);
    }
}

const fn place(hour: u64) -> usize {
    (hour % HOURS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Span = Span::from_millis(86_400_000);
    const MONDAY: u64 = (20_000 - 20_000 % 7 + 4) * 86_400;

    /// 60 requests in each hour from eight to sixteen, so many days long.
    fn shifts(profile: &mut Profile, days: u64, trusted: bool) {
        for minute in 0..days * 1_440 {
            let second = minute * 60;
            if (8..16).contains(&(second / 3_600 % 24)) {
                profile.count(Moment::from_micros(second * 1_000_000), trusted.then_some(MONDAY + second));
            }
        }
    }

    #[test]
    fn hours_of_work_are_told_from_nights() {
        let mut profile = Profile::new(Some(1_000.0));
        shifts(&mut profile, 70, true);
        let day = profile.requests(Some(MONDAY), DAY).unwrap();
        let morning = profile.requests(Some(MONDAY + 8 * HOUR_S), Span::from_millis(2 * 3_600_000)).unwrap();
        assert!((day - 480.0).abs() < 40.0 && (morning - 120.0).abs() < 5.0, "{day} a day, {morning} in the morning");
        let night = profile.requests(Some(MONDAY + 20 * HOUR_S), Span::from_millis(3 * 3_600_000)).unwrap();
        assert!(night < 5.0, "{night}");
        let restored = Profile::restore(&profile.save()).unwrap();
        assert_eq!(restored.requests(Some(MONDAY), DAY), Some(day));
    }

    #[test]
    fn without_a_calendar_there_is_a_mean() {
        let mut profile = Profile::new(None);
        assert_eq!(profile.requests(Some(MONDAY), DAY), None, "nobody said anything");
        shifts(&mut profile, 30, false);
        let day = profile.requests(None, DAY).unwrap();
        assert!((200.0..900.0).contains(&day), "{day}");
    }

    #[test]
    fn a_jumping_clock_teaches_nothing() {
        let mut profile = Profile::new(Some(2_400.0));
        for step in 0..1_000_u64 {
            let unix = if step % 2 == 0 { MONDAY + step } else { MONDAY + 315_360_000 + step };
            profile.count(Moment::from_micros(step), Some(unix));
        }
        assert_eq!(profile, Profile { now: profile.now, ..Profile::new(Some(2_400.0)) });
    }
}
