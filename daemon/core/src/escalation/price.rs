//! The price of an escalation: so high that what is left of the budget lasts to the end of its period, and so low that
//! nothing of it is left then (escalation.md 2.2, "Budget price").
//!
//! For each limited resource (money, bytes, calls) on its own, with τ the part of the period's traffic that has passed:
//!
//! ```text
//! N      = (κ · forecast + seen) / (κ + τ seen)        κ = 0.1: a wrong forecast is corrected within the first hours
//! N_rem  = max(1, N · (1 - τ))
//! ρ      = clamp(left / (mean cost · N_rem) - audit rate, 0, 1)
//! price  = gain per unit of cost at which the dearest share ρ of all costs begins, among the last 512 requests and up to
//!          512 reference values from the calibration
//! ```
//!
//! With equal costs that is the (1 - ρ) quantile of gain / cost. With unequal ones each request weighs what it costs, which is
//! the greedy solution of the knapsack; one that costs nothing has no weight.
//!
//! **Several limits.** A request is bought when its gain reaches price × cost for *every* limited resource: the largest
//! product decides, not the sum. The sum would be right for prices that solve all limits together. Each of these is found as
//! if its limit were the only one, so each already contains the scarcity of the others where costs go together, and the sum
//! would count it twice. With the largest no resource runs ahead of its own plan, and where one limit binds it is exact.

use std::collections::VecDeque;

use super::{
    budget::{Budget, Cost, DAY, HOUR, Left, Limits, Rolled},
    money::Money,
    period::{Position, Turn},
    profile::Profile,
};
use crate::{limits, time::Moment};

/// Weight of the forecast against what was seen, in parts of a period.
const KAPPA: f64 = 0.1;
/// Below this part of a period, what was seen says nothing about the rest.
const SEEN_MIN: f64 = 1e-3;
/// Part of the traffic clock that runs evenly, whatever was learned: there is traffic at night, too.
const EVEN: f64 = 0.05;
/// The budget is not what binds when more is left of it than this times the straight line to the period's end.
const RICH: f64 = 1.15;

/// Gain that one unit of each resource must bring: 1.0 of money, one byte, one call. Not negative, never NaN; infinite: nothing
/// of it can be bought; 0: it is not scarce.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Prices {
    pub money: f64,
    pub bytes: f64,
    pub calls: f64,
}

impl Prices {
    /// Gain that a request of this cost must bring at least.
    pub fn threshold(&self, cost: Cost) -> f64 {
        let product = |price: f64, cost: f64| if cost > 0.0 { price * cost } else { 0.0 };
        self.pairs(cost).into_iter().map(|(price, cost)| product(price, cost)).fold(0.0, f64::max)
    }

    /// Is it worth it? What brings nothing is not, at any price.
    pub fn accepts(&self, gain: f64, cost: Cost) -> bool {
        gain > 0.0 && self.pairs(cost).into_iter().all(|(price, cost)| cost <= 0.0 || gain / cost >= price)
    }

    fn pairs(&self, cost: Cost) -> [(f64, f64); 3] {
        let [money, bytes, calls] = amounts(cost);
        [(self.money, money), (self.bytes, bytes), (self.calls, calls)]
    }
}

/// Money in units, bytes, calls.
const RESOURCES: usize = 3;

fn amounts(cost: Cost) -> [f64; RESOURCES] {
    [cost.money.as_units(), cost.bytes as f64, 1.0]
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Sample {
    gain: f64,
    amounts: [f64; RESOURCES],
}

impl Sample {
    fn new(gain: f64, cost: Cost) -> Self {
        // What is no number brings nothing.
        let gain = if gain.is_nan() { 0.0 } else { gain.clamp(-1e9, 1e9) };
        Self { gain, amounts: amounts(cost) }
    }
}

/// Costs of the samples, the one with the most gain per cost first.
#[derive(Clone, Debug, Default, PartialEq)]
struct Curve {
    /// Gain per cost, and the sum of all costs up to and with this one.
    steps: Vec<(f64, f64)>,
    mean: f64,
}

impl Curve {
    fn of(samples: impl Iterator<Item = Sample>, resource: usize) -> Self {
        let mut count = 0.0;
        let pairs = samples.inspect(|_| count += 1.0);
        let mut steps: Vec<(f64, f64)> = pairs
            .map(|sample| (sample.gain, sample.amounts.get(resource).copied().unwrap_or_default()))
            .filter(|(_, cost)| *cost > 0.0)
            .map(|(gain, cost)| (gain / cost, cost))
            .collect();
        steps.sort_unstable_by(|(a, _), (b, _)| b.total_cmp(a));
        let mut sum = 0.0;
        for (_, cost) in &mut steps {
            sum += *cost;
            *cost = sum;
        }
        Self { steps, mean: if count > 0.0 { sum / count } else { 0.0 } }
    }

    /// The price that makes this stock last for so many requests.
    fn price(&self, stock: Stock, to_come: f64, audit_rate: f64) -> f64 {
        if stock.left <= 0.0 {
            return f64::INFINITY;
        }
        if self.mean <= 0.0 {
            return 0.0;
        }
        let rho = stock.left / (self.mean * to_come) - audit_rate;
        // Nothing but the audits fits any more.
        if rho <= 0.0 {
            return f64::INFINITY;
        }
        let whole = self.steps.last().map_or(0.0, |(_, sum)| *sum);
        let bought = self.steps.partition_point(|(_, sum)| *sum <= rho.min(1.0) * whole);
        let Some((ratio, _)) = self.steps.get(bought) else { return 0.0 };
        // Where many samples have this same price, they are bought while the budget is behind its plan.
        let price = if stock.left < stock.plan { ratio.next_up() } else { *ratio };
        price.max(0.0)
    }
}

/// Requests of one period.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Watch {
    seen: u64,
    /// Traffic clock at which the watch began.
    from: Option<f64>,
}

impl Watch {
    fn count(&mut self, tau: f64) {
        self.from = Some(self.from.unwrap_or(tau));
        self.seen = self.seen.saturating_add(1);
    }

    /// Requests of the whole period, seen and to come.
    fn whole(self, traffic: Traffic) -> f64 {
        let watched = (traffic.tau - self.from.unwrap_or(traffic.tau)).max(0.0);
        let seen = self.seen as f64;
        match traffic.forecast {
            Some(forecast) => (KAPPA * forecast + seen) / (KAPPA + watched),
            None => seen / watched.max(SEEN_MIN),
        }
    }

    fn to_come(self, traffic: Traffic) -> f64 {
        (self.whole(traffic) * (1.0 - traffic.tau)).max(1.0)
    }
}

/// A period as its traffic goes.
#[derive(Clone, Copy, Debug)]
struct Traffic {
    /// Part of the period's requests that has passed, in [0, 1].
    tau: f64,
    /// Requests of the whole period; positive.
    forecast: Option<f64>,
}

/// Time as the pricing needs it.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    pub now: Moment,
    /// Given only where something outside vouches for the wall clock.
    pub unix_s: Option<u64>,
}

/// Prices for the budget of one device, over all its models. The reference values are to be those of the models together.
#[derive(Clone, Debug)]
pub struct Pricer {
    references: Vec<Sample>,
    recent: VecDeque<Sample>,
    curves: [Curve; RESOURCES],
    /// Samples since the curves were made.
    news: usize,
    day: Watch,
    hour: Watch,
    profile: Profile,
}

impl Pricer {
    /// `references`: gain and cost of calibration cases, as if each had been a request; the first 512 count.
    pub fn new(profile: Profile, references: impl IntoIterator<Item = (f64, Cost)>) -> Self {
        let mut pricer = Self {
            references: Vec::new(),
            recent: VecDeque::new(),
            curves: Default::default(),
            news: 0,
            day: Watch::default(),
            hour: Watch::default(),
            profile,
        };
        pricer.refer(references);
        pricer
    }

    /// Other calibrations are in force. What was seen of the requests stays.
    pub fn refer(&mut self, references: impl IntoIterator<Item = (f64, Cost)>) {
        let references = references.into_iter().map(|(gain, cost)| Sample::new(gain, cost));
        self.references = references.take(limits::PRICE_SAMPLES).collect();
        self.rebuild();
    }

    /// To be saved now and then. All else that is known here is found anew soon after a restart.
    pub const fn profile(&self) -> &Profile {
        &self.profile
    }

    /// What [`Budget::roll`] said.
    pub fn rolled(&mut self, rolled: Rolled) {
        for (turn, watch) in [(rolled.day, &mut self.day), (rolled.hour, &mut self.hour)] {
            if turn == Turn::Fresh {
                *watch = Watch { seen: 0, from: Some(0.0) };
            }
        }
    }

    /// One request, whatever becomes of it; before its price is asked for. `gain` is 0 for what will not be escalated however
    /// cheap it is (certified where the promise comes first, not allowed to leave). `cost` is what it would cost.
    pub fn saw(&mut self, clock: Clock, budget: &Budget, gain: f64, cost: Cost) {
        self.counted(clock, budget);
        if self.recent.len() >= limits::PRICE_SAMPLES {
            self.recent.pop_front();
        }
        self.recent.push_back(Sample::new(gain, cost));
        self.news += 1;
        // Sorting a thousand numbers for every request would be most of its cost; while there are few, each one matters.
        if self.news >= limits::PRICE_NEWS || self.recent.len() <= limits::PRICE_NEWS {
            self.rebuild();
        }
    }

    /// One request where nothing has a price: only the traffic is to be known.
    pub fn counted(&mut self, clock: Clock, budget: &Budget) {
        let [day, hour] = self.both(clock, budget);
        self.day.count(day.tau);
        self.hour.count(hour.tau);
        self.profile.count(clock.now, clock.unix_s);
    }

    /// `audit_rate`: share of the requests that the lottery draws; their costs are set aside.
    pub fn prices(&self, clock: Clock, budget: &Budget, audit_rate: f64) -> Prices {
        let [day, hour] = self.both(clock, budget);
        let [money, bytes, calls] = stocks(budget, day.tau, hour.tau);
        let (in_day, in_hour) = (self.day.to_come(day), self.hour.to_come(hour));
        let [of_money, of_bytes, of_calls] = &self.curves;
        let price = |curve: &Curve, stock: Option<Stock>, to_come: f64| {
            stock.map_or(0.0, |stock| curve.price(stock, to_come, audit_rate.clamp(0.0, 1.0)))
        };
        let money = price(of_money, money, in_day);
        let bytes = price(of_bytes, bytes, in_day);
        let calls = price(of_calls, calls, in_hour);
        Prices { money, bytes, calls }
    }

    /// More is left of every limited resource than the straight line to its period's end asks for, by 15 %: the budget is not
    /// what binds, and a promise can be served in full.
    pub fn rich(&self, clock: Clock, budget: &Budget) -> bool {
        let [day, hour] = self.both(clock, budget);
        stocks(budget, day.tau, hour.tau).into_iter().flatten().all(|stock| stock.left > RICH * stock.plan)
    }

    /// Requests per day, as far as is known; the lottery's rate is chosen by it.
    pub fn per_day(&self, clock: Clock, budget: &Budget) -> f64 {
        let [day, _] = self.both(clock, budget);
        let days = share(budget.day(clock.now).whole.as_micros() as f64, DAY.as_micros() as f64).max(SEEN_MIN);
        self.day.whole(day) / days
    }

    /// Calls that the whole budget of a day pays for at their mean cost; `None`: as many as one likes.
    pub fn calls_per_day(&self, budget: &Budget) -> Option<f64> {
        let whole = stocks(budget, 0.0, 0.0).map(|stock| stock.map(|stock| stock.plan));
        let periods = [1.0, 1.0, share(HOUR.as_micros() as f64, DAY.as_micros() as f64).recip()];
        let paid = whole.into_iter().zip(&self.curves).zip(periods).filter_map(|((limit, curve), periods)| {
            // What costs nothing is not used up; without a single sample nothing is known of any cost.
            (curve.mean > 0.0).then_some(limit? * periods / curve.mean)
        });
        paid.reduce(f64::min)
    }

    fn both(&self, clock: Clock, budget: &Budget) -> [Traffic; 2] {
        [budget.day(clock.now), budget.hour(clock.now)].map(|position| self.traffic(clock, position))
    }

    fn traffic(&self, clock: Clock, position: Position) -> Traffic {
        let Position { passed, whole } = position;
        let begun_s = clock.unix_s.map(|unix| unix.saturating_sub(passed.as_micros() / 1_000_000));
        let even = share(passed.as_micros() as f64, whole.as_micros() as f64);
        let forecast = self.profile.requests(begun_s, whole).filter(|n| *n > 0.0);
        let learned = forecast.zip(self.profile.requests(begun_s, passed)).map_or(even, |(all, part)| share(part, all));
        Traffic { tau: (EVEN * even + (1.0 - EVEN) * learned).clamp(0.0, 1.0), forecast }
    }

    fn rebuild(&mut self) {
        let samples = || self.references.iter().chain(&self.recent).copied();
        let curves = std::array::from_fn(|resource| Curve::of(samples(), resource));
        self.curves = curves;
        self.news = 0;
    }
}

/// What is left of a limited resource, and what the straight line to its period's end would leave.
#[derive(Clone, Copy, Debug)]
struct Stock {
    left: f64,
    plan: f64,
}

/// `None`: unlimited.
fn stocks(budget: &Budget, day: f64, hour: f64) -> [Option<Stock>; RESOURCES] {
    let Limits { money_per_day, bytes_per_day, calls_per_hour } = budget.limits();
    let Left { money, bytes, calls } = budget.left();
    let stock = |limit: Option<f64>, left: Option<f64>, tau: f64| {
        limit.zip(left).map(|(limit, left)| Stock { left, plan: limit * (1.0 - tau) })
    };
    let units = |money: Option<Money>| money.map(Money::as_units);
    let count = |count: Option<u64>| count.map(|count| count as f64);
    [
        stock(units(money_per_day), units(money), day),
        stock(count(bytes_per_day), count(bytes), day),
        stock(count(calls_per_hour), count(calls), hour),
    ]
}

/// `part / whole` in [0, 1]; 1 of nothing.
fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { (part / whole).clamp(0.0, 1.0) } else { 1.0 }
}

#[cfg(test)]
#[path = "price_tests.rs"]
mod tests;
