//! E8: days end to end. Every policy sees the same requests; what counts is how often the system is right, what it asks
//! upstream, and how many *certified* answers are wrong on each day, also on the day of a change.

use std::collections::VecDeque;

use picket_core::{
    escalation::{
        alarms::Alarms,
        budget::{Budget, Cost, Limits},
        certificate::{Promise, cases_needed, delta_of_round},
        fit::Chosen,
        lottery,
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
    rules,
    stats::{Frequency, Mean},
};

/// The first of these that the cases of a set can certify is what is promised.
const ALPHAS: [f64; 3] = [0.02, 0.05, 0.1];
const DELTA: f64 = 0.05;
/// Of a day's requests, what the budget affords to ask.
pub const BUDGET: f64 = 0.4;
const FRESH_CASES: usize = 500;
const DAY_US: u64 = 86_400_000_000;
const CALL: Cost = Cost { money: Money::from_nanos(2_000_000), bytes: 0 };
/// Requests that one point of the picture stands for.
pub const WINDOW: usize = 250;

/// What became of one request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    pub right: bool,
    pub asked: bool,
    pub certified: bool,
    pub certified_wrong: bool,
}

fn answered(request: &Scored, local: bool, certified: bool) -> Outcome {
    Outcome {
        right: if local { request.local_right } else { request.upstream_right },
        asked: !local,
        certified,
        certified_wrong: certified && !request.local_right,
    }
}

pub const POLICIES: [&str; 11] = [
    "always local",
    "always upstream",
    "fixed 0.90",
    "Sedna CrossEntropy 0.5",
    "random, within the budget",
    "fixed 0.90, token bucket within the budget",
    "SGR, static",
    "CRC, static",
    "certificate, static",
    "**Picket**, labels by humans",
    "**Picket**, labels by upstream",
];
/// By its number in [`POLICIES`].
pub const PICKET: usize = 9;
pub const STATIC: usize = 8;
/// From here on they promise something.
pub const PROMISING: usize = 6;

/// Tokens come in as the budget affords them; a twentieth of the day's may gather.
struct Bucket {
    tokens: f64,
    most: f64,
}

impl Bucket {
    fn take(&mut self, wanted: bool) -> bool {
        self.tokens = (self.tokens + BUDGET).min(self.most);
        let taken = wanted && self.tokens >= 1.0;
        self.tokens -= if taken { 1.0 } else { 0.0 };
        taken
    }
}

/// Picket's parts as the daemon puts them together: certificate, price and budget, lottery, alarms, new certificates.
struct Device {
    alpha: f64,
    calibrated: Calibrated,
    in_force: bool,
    round: u32,
    alarms: Alarms,
    budget: Budget,
    pricer: Pricer,
    /// Cases that the lottery drew since the alarm.
    fresh: Vec<Scored>,
    by_upstream: bool,
    paid: Vec<u64>,
    alarms_at: Vec<usize>,
}

impl Device {
    fn new(alpha: f64, cases: &[Scored], requests: usize, by_upstream: bool) -> Self {
        let promise = Promise { alpha, delta: delta_of_round(DELTA, 1) };
        let calibrated = Calibrated::of(cases, promise, by_upstream);
        let limit = CALL.money.times((requests as f64 * BUDGET) as u64);
        let limits = Limits { money_per_day: Some(limit), ..Limits::default() };
        Self {
            alpha,
            in_force: calibrated.lambda < rules::NEVER,
            round: 1,
            alarms: Alarms::new(alpha, calibrated.reference.clone()),
            budget: Budget::new(limits, Moment::ZERO, Some(0)),
            pricer: Pricer::new(Profile::new(Some(requests as f64)), calibrated.gains.iter().map(|gain| (*gain, CALL))),
            fresh: Vec::new(),
            by_upstream,
            calibrated,
            paid: Vec::new(),
            alarms_at: Vec::new(),
        }
    }

    fn step(&mut self, at: usize, requests: usize, request: &Scored, dice: &mut StdRng) -> Outcome {
        let us = at as u64 * DAY_US / requests as u64;
        let clock = Clock { now: Moment::from_micros(us), unix_s: Some(us / 1_000_000) };
        self.pricer.rolled(self.budget.roll(clock.now, clock.unix_s));
        let rate = lottery::rate(&lottery::Terms {
            configured: None,
            requests_per_day: requests as f64,
            calls_per_day: Some((requests as f64 * BUDGET).floor()),
            suspect: !self.in_force,
        });
        let audit = lottery::drawn(lottery::ticket(dice.random()), rate);
        let sure = self.in_force && request.s >= self.calibrated.lambda;
        let gain = if sure { 0.0 } else { self.calibrated.gain(request) };
        self.pricer.saw(clock, &self.budget, gain, CALL);
        let worth = || {
            let prices = self.pricer.prices(clock, &self.budget, rate);
            prices.accepts(gain, CALL) || self.pricer.rich(clock, &self.budget)
        };
        let want = audit || !sure && worth();
        let asked = want && self.pay(at / requests);
        if self.in_force {
            self.watch(at, request, sure, asked, audit);
        } else if audit && asked {
            self.collect(request);
        }
        Outcome { asked, ..answered(request, sure || !asked, sure) }
    }

    fn pay(&mut self, day: usize) -> bool {
        let Some(reservation) = self.budget.reserve(CALL) else { return false };
        let _ = self.budget.settle(reservation, CALL);
        self.paid.resize(day + 1, 0);
        self.paid[day] += 1;
        true
    }

    fn watch(&mut self, at: usize, request: &Scored, sure: bool, asked: bool, audit: bool) {
        let wrong = if self.by_upstream { !request.agree } else { !request.local_right };
        self.alarms.scored(request.s);
        if asked && audit {
            self.alarms.audited(sure && wrong);
        } else if asked {
            self.alarms.escalated(wrong, self.calibrated.platt.p_wrong(request.s));
        }
        if self.alarms.rung().is_some() {
            self.in_force = false;
            self.fresh.clear();
            self.alarms_at.push(at);
        }
    }

    fn collect(&mut self, request: &Scored) {
        self.fresh.push(*request);
        if self.fresh.len() < FRESH_CASES {
            return;
        }
        self.round += 1;
        let promise = Promise { alpha: self.alpha, delta: delta_of_round(DELTA, self.round) };
        self.calibrated = Calibrated::of(&self.fresh, promise, self.by_upstream);
        self.in_force = self.calibrated.lambda < rules::NEVER;
        self.alarms.reset(self.alpha, self.calibrated.reference.clone());
        self.fresh.clear();
    }
}

/// What a day's requests are drawn from.
#[derive(Clone)]
struct Day {
    name: String,
    phase: usize,
    /// Another phase, and the share of the requests that is of it.
    mixed: Option<(usize, f64)>,
}

fn days(set: &DataSet) -> Vec<Day> {
    let day = |phase: usize| Day { name: set.head.phases[phase].clone(), phase, mixed: None };
    match (set.phase("normal"), set.phase("hard"), set.phase("variant")) {
        (Some(normal), Some(hard), variant) => {
            let mut days = vec![day(normal), day(normal), day(hard), day(normal)];
            let mixed = variant.map(|variant| Day {
                name: "half variant".to_owned(),
                phase: normal,
                mixed: Some((variant, 0.5)),
            });
            days.extend(mixed.clone());
            days.extend(mixed);
            days
        }
        _ => [0].into_iter().chain(0..set.head.phases.len()).map(day).collect(),
    }
}

#[derive(Default)]
pub struct Cell {
    pub right: Mean,
    pub asked: Mean,
    pub certified: Mean,
    pub certified_wrong: Mean,
}

pub struct Found {
    /// What is promised.
    pub alpha: f64,
    /// Cases that the first certificate is made of.
    pub cases: usize,
    /// Days of all seeds on which more than that was certified and wrong: static certificate, Picket with labels by humans,
    /// by upstream.
    pub broken: [Frequency; 3],
    pub days: Vec<String>,
    /// By policy and day.
    pub cells: Vec<Vec<Cell>>,
    /// Calls beyond the budget, all days of all seeds.
    pub overspent: u64,
    /// Requests from the beginning of a day to its first alarm, by day, for labels by humans.
    pub alarms: Vec<Mean>,
    /// By window: certified and wrong, and certified, for the static certificate and for Picket.
    pub series: Vec<[f64; 4]>,
}

pub fn run(set: &DataSet, chosen: &Chosen, seeds: u64, requests: usize) -> Found {
    let days = days(set);
    let certify = pool(set, chosen, &[Split::Certify], 0);
    let pools: Vec<Groups<Scored>> =
        (0..set.head.phases.len()).map(|phase| pool(set, chosen, &[Split::Stream], phase)).collect();
    let count = sample(&certify, &mut StdRng::seed_from_u64(0)).len();
    let enough = |alpha: &f64| cases_needed(Promise { alpha: *alpha, delta: delta_of_round(DELTA, 1) }) <= count as u64;
    let empty = || days.iter().map(|_| Cell::default()).collect();
    let mut found = Found {
        alpha: ALPHAS.into_iter().find(enough).unwrap_or(0.2),
        cases: count,
        broken: Default::default(),
        days: days.iter().map(|day| day.name.clone()).collect(),
        cells: POLICIES.iter().map(|_| empty()).collect(),
        overspent: 0,
        alarms: days.iter().map(|_| Mean::default()).collect(),
        series: vec![[0.0; 4]; days.len() * requests / WINDOW],
    };
    for seed in 0..seeds {
        let mut dice = StdRng::seed_from_u64(seed);
        let cases = sample(&certify, &mut dice);
        let draw = |at: usize, dice: &mut StdRng| {
            let Day { phase, mixed, .. } = &days[at / requests];
            match mixed {
                Some((other, share)) if dice.random_bool(*share) => pools[*other].draw(dice),
                _ => pools[*phase].draw(dice),
            }
        };
        let stream: Vec<Scored> = (0..days.len() * requests).map(|at| draw(at, &mut dice)).collect();
        for place in 0..POLICIES.len() {
            let outcomes = play(place, &cases, &stream, requests, &mut dice, &mut found);
            found.count(place, &outcomes, requests, seeds);
        }
    }
    found
}

/// One policy on the whole stream.
fn play(
    place: usize,
    cases: &[Scored],
    stream: &[Scored],
    requests: usize,
    dice: &mut StdRng,
    found: &mut Found,
) -> Vec<Outcome> {
    let alpha = found.alpha;
    let plain: Vec<_> = cases.iter().map(Scored::case).collect();
    let lambda = match place {
        6 => rules::sgr(&plain, alpha, DELTA),
        7 => rules::crc(&plain, alpha),
        STATIC => Calibrated::of(cases, Promise { alpha, delta: DELTA }, false).lambda,
        _ => rules::NEVER,
    };
    if place < PICKET {
        let mut bucket = Bucket { tokens: 0.0, most: BUDGET * requests as f64 / 20.0 };
        let mut stays = |request: &Scored| match place {
            0 => true,
            1 => false,
            2 => request.raw >= 0.9,
            3 => request.sedna,
            4 => dice.random_bool(1.0 - BUDGET),
            5 => !bucket.take(request.raw < 0.9),
            _ => request.s >= lambda,
        };
        // What promises nothing certifies nothing.
        let promises = place >= PROMISING;
        let mut outcome = |request: &Scored| {
            let local = stays(request);
            answered(request, local, promises && local)
        };
        return stream.iter().map(&mut outcome).collect();
    }
    let mut device = Device::new(alpha, cases, requests, place > PICKET);
    let outcomes = stream.iter().enumerate().map(|(at, request)| device.step(at, requests, request, dice)).collect();
    let limit = (requests as f64 * BUDGET) as u64;
    found.overspent += device.paid.iter().map(|paid| paid.saturating_sub(limit)).sum::<u64>();
    if place == PICKET {
        let mut first: VecDeque<Option<usize>> = vec![None; found.days.len()].into();
        for at in device.alarms_at {
            first[at / requests].get_or_insert(at % requests);
        }
        for (mean, at) in found.alarms.iter_mut().zip(first) {
            at.into_iter().for_each(|at| mean.add(at as f64));
        }
    }
    outcomes
}

impl Found {
    fn count(&mut self, place: usize, outcomes: &[Outcome], requests: usize, seeds: u64) {
        for (day, cell) in outcomes.chunks(requests).zip(&mut self.cells[place]) {
            let share = |counts: fn(&Outcome) -> bool| {
                day.iter().filter(|outcome| counts(outcome)).count() as f64 / requests as f64
            };
            cell.right.add(share(|outcome| outcome.right));
            cell.asked.add(share(|outcome| outcome.asked));
            cell.certified.add(share(|outcome| outcome.certified));
            let wrong = share(|outcome| outcome.certified_wrong);
            cell.certified_wrong.add(wrong);
            if place >= STATIC {
                self.broken[place - STATIC].count(wrong > self.alpha);
            }
        }
        let column = match place {
            STATIC => 0,
            PICKET => 2,
            _ => return,
        };
        let part = 1.0 / (WINDOW as f64 * seeds as f64);
        for (window, sums) in outcomes.chunks(WINDOW).zip(&mut self.series) {
            sums[column] += part * window.iter().filter(|outcome| outcome.certified_wrong).count() as f64;
            sums[column + 1] += part * window.iter().filter(|outcome| outcome.certified).count() as f64;
        }
    }
}
