//! E3: a budget for a tenth of the day's requests. Who buys the most with it, when the forecast of the traffic is wrong too?
//! And is it never overspent?

use picket_core::{
    escalation::{
        budget::{Budget, Cost, Limits, Reservation},
        certificate::Promise,
        fit::Chosen,
        money::Money,
        price::{Clock, Pricer},
        profile::Profile,
    },
    time::Moment,
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use crate::{
    device::{Calibrated, Scored, pool, sample},
    rows::{DataSet, Groups, Split},
    stats::Mean,
};

/// Of one call, in billionths.
const CALL_NANOS: u64 = 2_000_000;
const DAY_US: u64 = 86_400_000_000;
/// How long a call is under way: at 10,000 requests a day three others begin meanwhile.
const CALL_US: u64 = 30_000_000;

pub const FORECASTS: [f64; 3] = [1.0, 0.6, 1.6];

/// What a policy knows beforehand.
pub struct Terms<'a> {
    pub calls: u64,
    /// Requests that are expected.
    pub forecast: f64,
    pub calibrated: &'a Calibrated,
}

/// Which requests of the day it asks upstream.
type Policy = fn(&[Scored], &Terms<'_>, &mut StdRng) -> Vec<bool>;

pub const POLICIES: [(&str, Policy); 7] = [
    ("random", random),
    ("fixed 0.90 until the money is gone", fixed),
    ("fixed 0.90, token bucket", bucket),
    ("fixed 0.90, cooldown", cooldown),
    ("threshold of the calibration, static", quantile),
    ("**Picket's price**", |day, terms, _| picket(day, terms).0),
    ("clairvoyant", clairvoyant),
];

/// By its number in [`POLICIES`].
pub const PICKET: usize = 5;

fn random(day: &[Scored], terms: &Terms<'_>, dice: &mut StdRng) -> Vec<bool> {
    let rate = (terms.calls as f64 / terms.forecast).min(1.0);
    stop_when_empty(day.iter().map(|_| dice.random_bool(rate)), terms.calls)
}

fn fixed(day: &[Scored], terms: &Terms<'_>, _: &mut StdRng) -> Vec<bool> {
    stop_when_empty(day.iter().map(|request| request.raw < 0.9), terms.calls)
}

fn stop_when_empty(wanted: impl Iterator<Item = bool>, calls: u64) -> Vec<bool> {
    let mut left = calls;
    let mut buy = |wanted: bool| {
        let bought = wanted && left > 0;
        left -= u64::from(bought);
        bought
    };
    wanted.map(&mut buy).collect()
}

/// Tokens come in evenly, as the forecast says; a twentieth of the day's may gather.
fn bucket(day: &[Scored], terms: &Terms<'_>, _: &mut StdRng) -> Vec<bool> {
    let most = terms.calls as f64 / 20.0;
    let mut tokens = most;
    let wanted = day.iter().map(|request| {
        tokens = (tokens + terms.calls as f64 / terms.forecast).min(most);
        let wanted = request.raw < 0.9 && tokens >= 1.0;
        tokens -= if wanted { 1.0 } else { 0.0 };
        wanted
    });
    stop_when_empty(wanted.collect::<Vec<_>>().into_iter(), terms.calls)
}

/// No two within the time in which the forecast affords one.
fn cooldown(day: &[Scored], terms: &Terms<'_>, _: &mut StdRng) -> Vec<bool> {
    let pause = terms.forecast / terms.calls as f64;
    let mut last = f64::NEG_INFINITY;
    let wanted = day.iter().enumerate().map(|(at, request)| {
        let wanted = request.raw < 0.9 && at as f64 - last >= pause;
        last = if wanted { at as f64 } else { last };
        wanted
    });
    stop_when_empty(wanted.collect::<Vec<_>>().into_iter(), terms.calls)
}

/// The gain that the forecast share of the calibration's cases reaches.
fn quantile(day: &[Scored], terms: &Terms<'_>, _: &mut StdRng) -> Vec<bool> {
    let mut gains = terms.calibrated.gains.clone();
    gains.sort_unstable_by(|a, b| b.total_cmp(a));
    let place = (gains.len() as f64 * terms.calls as f64 / terms.forecast) as usize;
    let threshold = gains[place.min(gains.len() - 1)].max(0.0);
    stop_when_empty(day.iter().map(|request| terms.calibrated.gain(request) >= threshold), terms.calls)
}

fn clairvoyant(day: &[Scored], terms: &Terms<'_>, _: &mut StdRng) -> Vec<bool> {
    best(day, terms.calls, |request| request.mends())
}

/// The best by a score, for one who sees the whole day at once.
pub fn best(day: &[Scored], calls: u64, score: impl Fn(&Scored) -> f64) -> Vec<bool> {
    let mut order: Vec<usize> = (0..day.len()).filter(|at| score(&day[*at]) > 0.0).collect();
    order.sort_by(|a, b| score(&day[*b]).total_cmp(&score(&day[*a])));
    let mut asked = vec![false; day.len()];
    order.iter().take(calls as usize).for_each(|at| asked[*at] = true);
    asked
}

/// The product's own budget and price. Also says by how much it overspent.
pub fn picket(day: &[Scored], terms: &Terms<'_>) -> (Vec<bool>, u64) {
    let cost = Cost { money: Money::from_nanos(CALL_NANOS), bytes: 0 };
    let limit = cost.money.times(terms.calls);
    let limits = Limits { money_per_day: Some(limit), ..Limits::default() };
    let mut budget = Budget::new(limits, Moment::ZERO, Some(0));
    let references = terms.calibrated.gains.iter().map(|gain| (*gain, cost));
    let mut pricer = Pricer::new(Profile::new(Some(terms.forecast)), references);
    let mut open: std::collections::VecDeque<(u64, Reservation)> = std::collections::VecDeque::new();
    let mut asked = Vec::with_capacity(day.len());
    for (at, request) in day.iter().enumerate() {
        let us = at as u64 * DAY_US / day.len() as u64;
        let clock = Clock { now: Moment::from_micros(us), unix_s: Some(us / 1_000_000) };
        pricer.rolled(budget.roll(clock.now, clock.unix_s));
        while open.front().is_some_and(|(until, _)| *until <= us) {
            let Some((_, reservation)) = open.pop_front() else { break };
            let _ = budget.settle(reservation, cost);
        }
        let gain = terms.calibrated.gain(request);
        pricer.saw(clock, &budget, gain, cost);
        let reserved = if pricer.prices(clock, &budget, 0.0).accepts(gain, cost) { budget.reserve(cost) } else { None };
        asked.push(reserved.is_some());
        open.extend(reserved.map(|reservation| (us + CALL_US, reservation)));
    }
    let paid = cost.money.times(asked.iter().filter(|asked| **asked).count() as u64);
    (asked, paid.saturating_sub(limit).as_nanos())
}

/// A kind of day: which phases follow one another, by halves.
pub const DAYS: [(&str, [&str; 2]); 4] = [
    ("normal", ["normal", "normal"]),
    ("hard", ["hard", "hard"]),
    ("easy, then hard", ["easy", "hard"]),
    ("hard, then easy", ["hard", "easy"]),
];

#[derive(Default)]
pub struct Cell {
    /// Errors mended, as a share of what the best by the same score mends.
    pub share: Mean,
    /// Part of the day at whose end the money was gone.
    pub gone: Mean,
}

pub struct Found {
    /// Kinds of days that the set has.
    pub days: Vec<usize>,
    /// By day, forecast, policy.
    pub cells: Vec<Vec<Vec<Cell>>>,
    /// Over all days: spent beyond the limit, in billionths.
    pub overspent: u64,
    /// Money against accuracy on a normal day: budget, and the accuracy of each way to spend it.
    pub curve: Vec<(f64, [f64; 5])>,
}

pub const CURVES: [&str; 5] =
    ["Picket's price", "fixed 0.90, token bucket", "random", "best by the same score", "clairvoyant"];

/// `None`: no day of this set has anything to gain.
pub fn run(set: &DataSet, chosen: &Chosen, seeds: u64, requests: usize) -> Found {
    let calibration = pool(set, chosen, &[Split::Certify], 0);
    let phase = |name: &str| match (set.phase(name), name) {
        (Some(phase), _) => Some(phase),
        (None, "normal") => Some(0),
        // Where time is what makes it hard: the last of the phases.
        (None, "hard") => Some(set.head.phases.len() - 1),
        (None, _) => None,
    };
    let known = |day: &&usize| DAYS[**day].1.iter().all(|name| phase(name).is_some());
    let days: Vec<usize> = [0, 1, 2, 3].iter().filter(known).copied().collect();
    let pools: Vec<[Groups<Scored>; 2]> = days
        .iter()
        .map(|day| DAYS[*day].1.map(|name| pool(set, chosen, &[Split::Stream], phase(name).unwrap_or(0))))
        .collect();
    let empty = || (0..POLICIES.len()).map(|_| Cell::default()).collect::<Vec<_>>();
    let mut cells: Vec<Vec<Vec<Cell>>> = days.iter().map(|_| FORECASTS.iter().map(|_| empty()).collect()).collect();
    let mut overspent = 0;
    for seed in 0..seeds {
        let mut dice = StdRng::seed_from_u64(seed);
        let promise = Promise { alpha: 0.02, delta: 0.05 };
        let calibrated = Calibrated::of(&sample(&calibration, &mut dice), promise, false);
        for (pools, cells) in pools.iter().zip(&mut cells) {
            let day: Vec<Scored> = (0..requests).map(|at| pools[at * 2 / requests].draw(&mut dice)).collect();
            for (factor, cells) in FORECASTS.iter().zip(cells) {
                let terms =
                    Terms { calls: requests as u64 / 10, forecast: requests as f64 * factor, calibrated: &calibrated };
                overspent += picket(&day, &terms).1;
                judge(&day, &terms, cells, &mut dice);
            }
        }
    }
    let curve = curve(&calibration, &pools, requests);
    Found { days, cells, overspent, curve }
}

fn mended(day: &[Scored], asked: &[bool]) -> f64 {
    day.iter().zip(asked).filter(|(_, asked)| **asked).map(|(request, _)| request.mends()).sum()
}

fn judge(day: &[Scored], terms: &Terms<'_>, cells: &mut [Cell], dice: &mut StdRng) {
    let oracle = mended(day, &best(day, terms.calls, |request| terms.calibrated.gain(request)));
    for ((_, policy), cell) in POLICIES.iter().zip(cells) {
        let asked = policy(day, terms, dice);
        // Where hardly anything can be mended, a share of it means nothing.
        if oracle >= day.len() as f64 * 0.005 {
            cell.share.add(mended(day, &asked) / oracle);
        }
        let spent: Vec<usize> = asked.iter().enumerate().filter(|(_, asked)| **asked).map(|(at, _)| at).collect();
        let gone = spent.get(terms.calls as usize - 1).map_or(1.0, |at| *at as f64 / day.len() as f64);
        cell.gone.add(gone);
    }
}

/// Accuracy at budgets for 0 to 60 % of the requests of a normal day.
fn curve(calibration: &Groups<Scored>, pools: &[[Groups<Scored>; 2]], requests: usize) -> Vec<(f64, [f64; 5])> {
    let Some(normal) = pools.first() else { return Vec::new() };
    let mut dice = StdRng::seed_from_u64(0);
    let promise = Promise { alpha: 0.02, delta: 0.05 };
    let calibrated = Calibrated::of(&sample(calibration, &mut dice), promise, false);
    let day: Vec<Scored> = (0..requests).map(|_| normal[0].draw(&mut dice)).collect();
    let local = day.iter().filter(|request| request.local_right).count() as f64;
    let mut at = |share: f64| {
        let terms = Terms {
            calls: ((requests as f64 * share) as u64).max(1),
            forecast: requests as f64,
            calibrated: &calibrated,
        };
        let accuracy = |asked: Vec<bool>| (local + mended(&day, &asked)) / requests as f64;
        let all = [
            accuracy(picket(&day, &terms).0),
            accuracy(bucket(&day, &terms, &mut dice)),
            accuracy(random(&day, &terms, &mut dice)),
            accuracy(best(&day, terms.calls, |request| calibrated.gain(request))),
            accuracy(clairvoyant(&day, &terms, &mut dice)),
        ];
        (share, all)
    };
    (0..=24).map(|step| at(f64::from(step) / 40.0)).collect()
}
