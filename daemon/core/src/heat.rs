//! What the daemon does less of while its board is hot, and when it goes back.
//!
//! ```text
//!            soft limit                 half way to the hard limit
//! Normal ───────────────▶ Eased ───────────────────────────────▶ Smaller
//!    ▲                    │   ▲                                  │
//!    └── as far below the └   └── below the soft limit ──────────┘
//!        soft limit as the
//!        hard one is above
//! ```
//!
//! Up is quick, and at the hard limit at once; down takes a dwell time in the stage, every zone readable, and nobody who
//! says that the processor is slowed down. So two changes back are never nearer to one another than the dwell time, and the
//! stages cannot flap faster.

use crate::{
    limits,
    time::{Moment, Span},
};

/// How much less is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    #[default]
    Normal,
    /// Sources run slower, and a provider that has trouble is not asked a second time.
    Eased,
    /// As `Eased`, and models with a smaller sibling leave their jobs to it.
    Smaller,
}

impl Stage {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Eased => "eased",
            Self::Smaller => "smaller",
        }
    }

    /// Part of its configured rate that a source keeps, above 0 and at most 1.
    pub const fn source_rate(self) -> f64 {
        match self {
            Self::Normal => 1.0,
            Self::Eased => 0.5,
            Self::Smaller => 0.25,
        }
    }

    /// Tries of one question at one provider.
    pub const fn provider_attempts(self) -> u32 {
        match self {
            Self::Normal => limits::PROVIDER_ATTEMPTS,
            Self::Eased | Self::Smaller => 1,
        }
    }
}

/// What a thermal zone bears, in °C.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ZoneLimits {
    soft: f64,
    hard: f64,
}

impl ZoneLimits {
    /// `soft`: less is to be done from here on. `hard`: the board slows itself down, or switches off. `None`: that is no
    /// pair of limits.
    pub fn new(soft: f64, hard: f64) -> Option<Self> {
        (plausible(soft) && plausible(hard) && soft < hard).then_some(Self { soft, hard })
    }

    pub const fn soft(&self) -> f64 {
        self.soft
    }

    pub const fn hard(&self) -> f64 {
        self.hard
    }

    /// 0 at the soft limit, 1 at the hard one.
    pub fn warmth(&self, celsius: f64) -> f64 {
        (celsius - self.soft) / (self.hard - self.soft)
    }
}

/// One look at the board.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    /// By zone, in °C; `None`: it could not be read.
    pub celsius: &'a [Option<f64>],
    /// Somebody else, such as the firmware, slows the processor down right now.
    pub throttled: bool,
}

/// The stage is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    pub from: Stage,
    pub to: Stage,
}

#[derive(Clone, Debug)]
struct Zone {
    limits: ZoneLimits,
    /// What it said last that was believed, and when.
    believed: Option<(f64, Moment)>,
    /// What it said last, too far from that to be believed at once.
    doubted: Option<f64>,
}

/// What a zone's reading is worth.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    Good,
    /// It cannot be read, or says what no board of ours can be.
    Unknown,
    /// The first one, which the next may confirm.
    First,
    /// Too far from the one before, which the next may confirm.
    Leap,
}

/// The stage of one board.
#[derive(Clone, Debug)]
pub struct Heat {
    zones: Vec<Zone>,
    dwell: Span,
    stage: Stage,
    changed: Option<Moment>,
    unknown: u64,
    leaps: u64,
}

impl Heat {
    /// A zone beyond the first [`limits::HEAT_ZONES`] is not looked at. `dwell`: least time in a stage before it goes down.
    pub fn new(zones: &[ZoneLimits], dwell: Span) -> Self {
        let zone = |limits: &ZoneLimits| Zone { limits: *limits, believed: None, doubted: None };
        let zones = zones.iter().take(limits::HEAT_ZONES).map(zone).collect();
        Self { zones, dwell, stage: Stage::Normal, changed: None, unknown: 0, leaps: 0 }
    }

    pub const fn stage(&self) -> Stage {
        self.stage
    }

    /// Readings that could not be had, so far.
    pub const fn unknown(&self) -> u64 {
        self.unknown
    }

    /// Readings that were too far from the one before to be believed at once, so far.
    pub const fn leaps(&self) -> u64 {
        self.leaps
    }

    /// Takes one look; `Some` when that changed the stage.
    pub fn step(&mut self, now: Moment, reading: &Reading<'_>) -> Option<Change> {
        let mut warmest: Option<f64> = None;
        let mut certain = true;
        for (zone, said) in self.zones.iter_mut().zip(reading.celsius.iter().copied().chain(std::iter::repeat(None))) {
            let word = zone.hear(now, said);
            self.unknown += u64::from(word == Word::Unknown);
            self.leaps += u64::from(word == Word::Leap);
            let Some((celsius, _)) = zone.believed else { continue };
            certain &= word == Word::Good;
            let warmth = zone.limits.warmth(celsius);
            warmest = Some(warmest.map_or(warmth, |other| other.max(warmth)));
        }
        if reading.throttled {
            // Whatever the zones say, somebody found it too hot; and nothing goes back from here.
            warmest = Some(warmest.map_or(0.0, |warmth| warmth.max(0.0)));
        }
        let to = self.next(now, warmest?, certain);
        let from = std::mem::replace(&mut self.stage, to);
        if from == to {
            return None;
        }
        self.changed = Some(now);
        Some(Change { from, to })
    }

    /// `certain`: every zone that counts has been read just now.
    fn next(&self, now: Moment, warmth: f64, certain: bool) -> Stage {
        let in_stage = self.changed.map(|changed| now.since(changed));
        let lasted = |span: Span| in_stage.is_none_or(|in_stage| in_stage >= span);
        // What was done last needs a moment before one sees what it does.
        let settled = lasted(limits::HEAT_SETTLE.min(self.dwell));
        let dwelt = certain && lasted(self.dwell);
        match self.stage {
            _ if warmth >= 1.0 => Stage::Smaller,
            Stage::Normal if warmth >= 0.0 && settled => Stage::Eased,
            Stage::Eased if warmth >= limits::HEAT_SMALLER_AT && settled => Stage::Smaller,
            Stage::Smaller if warmth < 0.0 && dwelt => Stage::Eased,
            Stage::Eased if warmth < limits::HEAT_NORMAL_BELOW && dwelt => Stage::Normal,
            same => same,
        }
    }
}

impl Zone {
    fn hear(&mut self, now: Moment, said: Option<f64>) -> Word {
        let Some(celsius) = said.filter(|celsius| plausible(*celsius)) else {
            self.doubted = None;
            // One that stays away for so long holds nobody up any more: zones of a part without power cannot be read.
            self.believed = self.believed.filter(|(_, at)| now.since(*at) < limits::HEAT_BLIND);
            return Word::Unknown;
        };
        let near = |other: f64| (celsius - other).abs() <= limits::HEAT_LEAP_CELSIUS;
        let before = self.believed.map(|(before, _)| before);
        if before.is_some_and(near) || self.doubted.is_some_and(near) {
            self.believed = Some((celsius, now));
            self.doubted = None;
            return Word::Good;
        }
        self.doubted = Some(celsius);
        if before.is_some() { Word::Leap } else { Word::First }
    }
}

fn plausible(celsius: f64) -> bool {
    (limits::HEAT_CELSIUS_MIN..=limits::HEAT_CELSIUS_MAX).contains(&celsius)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DWELL: Span = Span::from_millis(60_000);

    /// It has been 65 °C for two readings.
    fn heat(zones: usize) -> Heat {
        let limits = ZoneLimits::new(70.0, 80.0).expect("limits");
        let mut heat = Heat::new(&vec![limits; zones], DWELL);
        for _ in 0..2 {
            assert_eq!(read(&mut heat, 0, &vec![Some(65.0); zones]), Stage::Normal);
        }
        heat
    }

    fn at(seconds: u64) -> Moment {
        Moment::from_micros(seconds * 1_000_000)
    }

    fn read(heat: &mut Heat, seconds: u64, celsius: &[Option<f64>]) -> Stage {
        heat.step(at(seconds), &Reading { celsius, throttled: false });
        heat.stage()
    }

    #[test]
    fn it_climbs_one_stage_at_a_time_and_at_the_hard_limit_at_once() {
        let mut slow = heat(1);
        assert_eq!(read(&mut slow, 0, &[Some(69.9)]), Stage::Normal);
        assert_eq!(read(&mut slow, 2, &[Some(77.0)]), Stage::Eased);
        assert_eq!(read(&mut slow, 4, &[Some(77.0)]), Stage::Eased, "easing has had no time to help");
        assert_eq!(read(&mut slow, 20, &[Some(77.0)]), Stage::Smaller);
        let mut quick = heat(1);
        read(&mut quick, 0, &[Some(75.0)]);
        assert_eq!(read(&mut quick, 2, &[Some(80.0)]), Stage::Smaller);
    }

    #[test]
    fn it_goes_back_below_the_limits_after_the_dwell_time() {
        let mut heat = heat(1);
        read(&mut heat, 0, &[Some(80.0)]);
        assert_eq!(read(&mut heat, 59, &[Some(60.0)]), Stage::Smaller, "too early");
        assert_eq!(read(&mut heat, 60, &[Some(70.0)]), Stage::Smaller, "at the soft limit");
        assert_eq!(read(&mut heat, 61, &[Some(69.9)]), Stage::Eased);
        assert_eq!(read(&mut heat, 120, &[Some(50.0)]), Stage::Eased, "too early");
        assert_eq!(read(&mut heat, 130, &[Some(60.0)]), Stage::Eased, "not far enough below");
        assert_eq!(read(&mut heat, 132, &[Some(59.9)]), Stage::Normal);
    }

    #[test]
    fn the_warmest_zone_counts_by_its_own_limits() {
        let zones = [ZoneLimits::new(70.0, 80.0).expect("limits"), ZoneLimits::new(90.0, 99.0).expect("limits")];
        let mut heat = Heat::new(&zones, DWELL);
        for _ in 0..2 {
            assert_eq!(read(&mut heat, 0, &[Some(60.0), Some(89.0)]), Stage::Normal);
        }
        assert_eq!(read(&mut heat, 2, &[Some(71.0), Some(89.0)]), Stage::Eased);
    }

    #[test]
    fn a_sensor_that_vanishes_holds_the_stage_and_is_counted() {
        let mut heat = heat(2);
        read(&mut heat, 0, &[Some(72.0), Some(50.0)]);
        assert_eq!(read(&mut heat, 100, &[None, Some(50.0)]), Stage::Eased, "the one that was hot says nothing");
        assert_eq!(read(&mut heat, 101, &[Some(59.0), Some(50.0)]), Stage::Normal, "it is back, and cool");
        let mut heat = self::heat(2);
        read(&mut heat, 0, &[Some(72.0), Some(50.0)]);
        read(&mut heat, 2, &[Some(59.0), Some(50.0)]);
        assert_eq!(read(&mut heat, 100, &[None, Some(50.0)]), Stage::Eased, "it was cool when it was seen last");
        assert_eq!(read(&mut heat, 102, &[None, None]), Stage::Eased);
        assert_eq!(read(&mut heat, 104, &[]), Stage::Eased);
        assert_eq!(heat.unknown(), 5);
        let blind = 2 + limits::HEAT_BLIND.as_micros() / 1_000_000;
        assert_eq!(read(&mut heat, blind, &[None, Some(50.0)]), Stage::Normal, "the other one is believed in the end");
        assert_eq!(read(&mut heat, 2 * blind, &[None, None]), Stage::Normal);
    }

    #[test]
    fn a_zone_that_never_spoke_holds_nobody_up() {
        let limits = ZoneLimits::new(70.0, 80.0).expect("limits");
        let mut heat = Heat::new(&[limits, limits], DWELL);
        read(&mut heat, 0, &[Some(72.0), None]);
        assert_eq!(read(&mut heat, 2, &[Some(72.0), None]), Stage::Eased);
        assert_eq!(read(&mut heat, 62, &[Some(59.0), None]), Stage::Normal);
    }

    #[test]
    fn a_leap_is_believed_when_the_next_reading_confirms_it() {
        let mut heat = heat(1);
        assert_eq!(read(&mut heat, 2, &[Some(120.0)]), Stage::Normal, "a bus that glitched");
        assert_eq!(read(&mut heat, 4, &[Some(61.0)]), Stage::Normal);
        assert_eq!(read(&mut heat, 6, &[Some(85.0)]), Stage::Normal);
        assert_eq!(read(&mut heat, 8, &[Some(86.0)]), Stage::Smaller, "it is really that hot");
        assert_eq!(heat.leaps(), 2);
        for nonsense in [f64::NAN, f64::INFINITY, -274.0, 1_000.0] {
            assert_eq!(read(&mut heat, 400, &[Some(nonsense)]), Stage::Smaller, "{nonsense}");
        }
        assert_eq!(heat.unknown(), 4);
    }

    #[test]
    fn a_throttled_processor_eases_and_keeps_from_going_back() {
        let mut heat = heat(1);
        heat.step(at(0), &Reading { celsius: &[Some(50.0)], throttled: true });
        assert_eq!(heat.stage(), Stage::Eased);
        heat.step(at(100), &Reading { celsius: &[Some(50.0)], throttled: true });
        assert_eq!(heat.stage(), Stage::Eased);
        assert_eq!(read(&mut heat, 102, &[Some(50.0)]), Stage::Normal);
    }

    #[test]
    fn nonsense_at_the_start_is_no_heat() {
        let limits = ZoneLimits::new(70.0, 80.0).expect("limits");
        let mut heat = Heat::new(&[limits], DWELL);
        for (second, celsius) in [(0, 120.0), (2, 40.0), (4, 41.0)] {
            assert_eq!(read(&mut heat, second, &[Some(celsius)]), Stage::Normal);
        }
        assert_eq!(heat.leaps(), 0);
    }

    #[test]
    fn limits_that_are_none_are_refused() {
        for (soft, hard) in [(80.0, 80.0), (90.0, 80.0), (f64::NAN, 80.0), (70.0, 400.0), (-273.0, 80.0)] {
            assert_eq!(ZoneLimits::new(soft, hard), None, "{soft} {hard}");
        }
    }
}
