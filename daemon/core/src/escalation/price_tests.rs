use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;

const DAY_S: f64 = 86_400.0;
const REQUESTS: usize = 10_000;
const CALLS: u64 = 1_000;

const fn clock(seconds: u64) -> Clock {
    Clock { now: Moment::from_micros(seconds * 1_000_000), unix_s: None }
}

const fn cost(nanos: u64, bytes: u64) -> Cost {
    Cost { money: Money::from_nanos(nanos), bytes }
}

const fn money(nanos: u64) -> Limits {
    Limits { money_per_day: Some(Money::from_nanos(nanos)), bytes_per_day: None, calls_per_hour: None }
}

/// Expected gains: mostly sure answers, a provider that is right 97 times in 100. The larger `sure`, the easier the day.
fn gain(dice: &mut StdRng, sure: f64) -> f64 {
    0.9 * dice.random::<f64>().powf(sure) - 0.03
}

/// How sure the local model is over a day of four parts: the hardness of escalation.md's E3.
/// Beside it what must be reached; nobody who does not know the afternoon can do as well on the last two.
const DAYS: [(&str, [f64; 4], f64); 4] = [
    ("normal", [4.0; 4], 0.97),
    ("hard", [1.5; 4], 0.95),
    ("easy then hard", [8.0, 8.0, 1.5, 1.5], 0.9),
    ("hard then easy", [1.5, 1.5, 8.0, 8.0], 0.9),
];

struct Run {
    gained: f64,
    /// By somebody who knows the whole day and buys the best.
    possible: f64,
    /// Part of the day at which the budget was gone.
    gone: f64,
}

/// One day, its requests spread evenly, each of the cost that `price_of` gives it.
fn day(seed: u64, sure: [f64; 4], forecast: Option<f64>, limits: Limits, price_of: fn(&mut StdRng) -> Cost) -> Run {
    let mut dice = StdRng::seed_from_u64(seed);
    let references: Vec<_> = (0..512).map(|_| (gain(&mut dice, 4.0), price_of(&mut dice))).collect();
    let mut pricer = Pricer::new(Profile::new(forecast), references);
    let mut budget = Budget::new(limits, clock(0).now, None);
    let (mut gained, mut gone, mut all) = (0.0, 1.0, Vec::new());
    for at in 0..REQUESTS {
        let clock = clock((at as f64 / REQUESTS as f64 * DAY_S) as u64);
        pricer.rolled(budget.roll(clock.now, None));
        let (gain, cost) = (gain(&mut dice, sure[at * 4 / REQUESTS]), price_of(&mut dice));
        pricer.saw(clock, &budget, gain, cost);
        all.push((gain, cost));
        if pricer.prices(clock, &budget, 0.0).accepts(gain, cost)
            && let Some(call) = budget.reserve(cost)
        {
            assert_eq!(budget.settle(call, cost), None);
            gained += gain;
        }
        if gone == 1.0 && !budget.can_reserve(cost) {
            gone = at as f64 / REQUESTS as f64;
        }
    }
    all.sort_by(|(a, c), (b, d)| (b / amounts(*d)[0]).total_cmp(&(a / amounts(*c)[0])));
    let mut best = Budget::new(limits, clock(0).now, None);
    let bought = all.iter().filter(|(gain, cost)| *gain > 0.0 && best.reserve(*cost).is_some());
    Run { gained, possible: bought.map(|(gain, _)| gain).sum(), gone }
}

/// A budget for 10 % of a day's requests, and forecasts of its traffic that are right, too low and too high.
#[test]
fn the_budget_buys_nearly_what_somebody_who_knows_the_day_would_buy() {
    for (name, sure, least) in DAYS {
        for forecast in [Some(1.0), Some(0.6), Some(1.6), None] {
            let runs: Vec<Run> = (0..2)
                .map(|seed| {
                    let forecast = forecast.map(|factor| factor * REQUESTS as f64);
                    day(seed, sure, forecast, money(1_000 * CALLS), |_| cost(1_000, 0))
                })
                .collect();
            let captured = runs.iter().map(|run| run.gained / run.possible).sum::<f64>() / runs.len() as f64;
            let gone = runs.iter().map(|run| run.gone).sum::<f64>() / runs.len() as f64;
            println!("{name}, forecast {forecast:?}, seeds 0 and 1: {captured:.3} of the best, gone at {gone:.2}");
            assert!(captured >= least, "{name}, forecast {forecast:?}: {captured}");
            assert!(gone > 0.95, "{name}, forecast {forecast:?}: the budget was gone at {gone}");
        }
    }
}

#[test]
fn small_requests_are_preferred_to_large_ones_of_the_same_gain() {
    // Costs of 100 to 10,000: a price per call would waste most of the budget.
    let varied = |dice: &mut StdRng| cost((100.0 * 100.0_f64.powf(dice.random())) as u64, 0);
    for seed in 0..5 {
        let run = day(seed, [4.0; 4], Some(REQUESTS as f64), money(2_000_000), varied);
        println!("seed {seed}: {:.3} of the best, gone at {:.2}", run.gained / run.possible, run.gone);
        assert!(run.gained / run.possible >= 0.95 && run.gone > 0.95);
    }
}

/// Two limits that bind together: adding both prices would count one scarcity twice.
#[test]
fn two_limits_for_the_same_thing_are_one() {
    let both = Limits {
        money_per_day: Some(Money::from_nanos(1_000 * CALLS)),
        bytes_per_day: Some(500 * CALLS),
        calls_per_hour: None,
    };
    let run = day(1, [4.0; 4], Some(REQUESTS as f64), both, |_| cost(1_000, 500));
    assert!(run.gained / run.possible >= 0.95, "{}", run.gained / run.possible);
}

#[test]
fn what_is_unlimited_or_free_has_no_price() {
    let free = Budget::new(Limits::default(), clock(0).now, None);
    let mut pricer = Pricer::new(Profile::new(None), []);
    pricer.saw(clock(1), &free, 0.2, cost(5, 5));
    assert_eq!(pricer.prices(clock(1), &free, 0.02), Prices::default());
    assert!(pricer.rich(clock(1), &free));

    let mut budget = Budget::new(money(1_000), clock(0).now, None);
    let _under_way = budget.reserve(cost(1_000, 0)).unwrap();
    pricer.saw(clock(1), &budget, 0.2, cost(5, 5));
    let prices = pricer.prices(clock(1), &budget, 0.0);
    assert_eq!((prices.money, prices.bytes), (f64::INFINITY, 0.0), "nothing is left");
    assert!(!prices.accepts(1e9, cost(1, 0)) && prices.accepts(0.01, cost(0, 7)), "a free provider can still be asked");
    assert!(!prices.accepts(0.0, cost(0, 0)), "what brings nothing is not asked for");
    assert_eq!(prices.threshold(cost(0, 7)), 0.0);
}

/// Many requests of the very same gain: they are bought at the pace of the budget, neither all at first nor none.
#[test]
fn equal_gains_are_bought_evenly() {
    let mut pricer = Pricer::new(Profile::new(Some(REQUESTS as f64)), []);
    let mut budget = Budget::new(money(1_000 * CALLS), clock(0).now, None);
    let mut bought = [0_u64; 4];
    for at in 0..REQUESTS {
        let clock = clock((at as f64 / REQUESTS as f64 * DAY_S) as u64);
        pricer.saw(clock, &budget, 0.3, cost(1_000, 0));
        if pricer.prices(clock, &budget, 0.0).accepts(0.3, cost(1_000, 0))
            && let Some(call) = budget.reserve(cost(1_000, 0))
        {
            assert_eq!(budget.settle(call, cost(1_000, 0)), None);
            bought[at * 4 / REQUESTS] += 1;
        }
    }
    assert!(bought.iter().all(|quarter| (200..=300).contains(quarter)), "{bought:?}");
}

#[test]
fn calls_are_paced_within_their_hour() {
    let limits = Limits { calls_per_hour: Some(60), ..Limits::default() };
    let mut budget = Budget::new(limits, clock(0).now, None);
    let mut dice = StdRng::seed_from_u64(5);
    let mut pricer = Pricer::new(Profile::new(Some(86_400.0)), []);
    let mut quarters = [0_u64; 4];
    for second in 0..4 * 3_600 {
        pricer.rolled(budget.roll(clock(second).now, None));
        let gain = gain(&mut dice, 4.0);
        pricer.saw(clock(second), &budget, gain, Cost::ZERO);
        if pricer.prices(clock(second), &budget, 0.0).accepts(gain, Cost::ZERO)
            && let Some(call) = budget.reserve(Cost::ZERO)
        {
            assert_eq!(budget.settle(call, Cost::ZERO), None);
            quarters[second as usize / 900 % 4] += 1;
        }
    }
    assert!(quarters.iter().all(|calls| (30..=100).contains(calls)), "seed 5: {quarters:?}");
}

#[test]
fn rich_is_who_has_more_left_than_the_straight_line() {
    let pricer = Pricer::new(Profile::new(Some(1_000.0)), []);
    let mut budget = Budget::new(money(1_000), clock(0).now, None);
    assert!(!pricer.rich(clock(0), &budget), "at the start the line asks for everything");
    assert!(pricer.rich(clock(43_200), &budget), "half the day is over and nothing is spent");
    let call = budget.reserve(cost(450, 0)).unwrap();
    assert!(!pricer.rich(clock(43_200), &budget), "what is under way counts");
    budget.cancel(call);
    let zero = Budget::new(money(0), clock(0).now, None);
    assert!(!pricer.rich(clock(43_200), &zero));
}

/// Whatever comes in, a number comes out.
#[test]
fn odd_inputs_have_prices_too() {
    let seed = 11;
    println!("seed {seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 0.0, f64::MIN_POSITIVE, 1e300, 0.5];
    let costs = [0, 1, 1_000, u64::MAX];
    for _ in 0..2_000 {
        let mut pick = |bound: usize| dice.random_range(0..bound);
        let limits = Limits {
            money_per_day: [None, Some(Money::from_nanos(costs[pick(4)]))][pick(2)],
            bytes_per_day: [None, Some(costs[pick(4)])][pick(2)],
            calls_per_hour: [None, Some(costs[pick(4)])][pick(2)],
        };
        let forecast = [None, Some(odd[pick(8)])][pick(2)];
        let mut pricer = Pricer::new(Profile::new(forecast), [(odd[pick(8)], cost(costs[pick(4)], costs[pick(4)]))]);
        let mut budget = Budget::new(limits, clock(0).now, None);
        for _ in 0..20 {
            let unix_s = [None, Some(costs[pick(4)]), Some(1_700_000_000)][pick(3)];
            let clock = Clock { now: Moment::from_micros([0, 1, 86_400_000_000, u64::MAX][pick(4)]), unix_s };
            pricer.rolled(budget.roll(clock.now, unix_s));
            let (gain, cost) = (odd[pick(8)], cost(costs[pick(4)], costs[pick(4)]));
            pricer.saw(clock, &budget, gain, cost);
            let prices = pricer.prices(clock, &budget, odd[pick(8)]);
            for price in [prices.money, prices.bytes, prices.calls, prices.threshold(cost)] {
                assert!(price >= 0.0, "{limits:?}, {clock:?}, gain {gain}, {cost:?}: {prices:?}");
            }
            assert!(!prices.accepts(f64::NAN, cost));
            assert!(!pricer.per_day(clock, &budget).is_nan());
            pricer.rich(clock, &budget);
        }
    }
}

#[test]
fn the_lottery_hears_what_a_day_pays_for() {
    let limits = Limits { calls_per_hour: Some(10), ..money(100_000) };
    let budget = Budget::new(limits, clock(0).now, None);
    let known = |cost| Pricer::new(Profile::new(None), [(0.5, cost)]).calls_per_day(&budget);
    assert!((known(cost(1_000, 7)).unwrap() - 100.0).abs() < 1e-6, "the money");
    assert!((known(cost(100, 7)).unwrap() - 240.0).abs() < 1e-6, "ten in each hour");
    let free = Budget::new(Limits::default(), clock(0).now, None);
    assert_eq!(Pricer::new(Profile::new(None), [(0.5, cost(1, 1))]).calls_per_day(&free), None);
}

/// Two weeks of shifts from eight to sixteen, a budget for one request in ten, a restart every noon that forgets what was seen
/// that day.
#[test]
fn a_budget_lasts_over_the_shift_and_over_restarts() {
    const MAY: u64 = 20_000 * 86_400;
    let seed = 53;
    println!("seed {seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    let clock = |second: u64| Clock { unix_s: Some(MAY + second), ..clock(second) };
    let mut pricer = Pricer::new(Profile::new(Some(2_880.0)), []);
    let mut budget = Budget::new(money(1_000 * 288), clock(0).now, Some(MAY));
    let mut bought = [0_u64; 8];
    for second in (0..14 * 86_400_u64).step_by(10) {
        let hour = second / 3_600 % 24;
        if second % 86_400 == 12 * 3_600 {
            pricer = Pricer::new(Profile::restore(&pricer.profile().save()).unwrap(), []);
        }
        if !(8..16).contains(&hour) {
            continue;
        }
        let now = clock(second);
        pricer.rolled(budget.roll(now.now, now.unix_s));
        let gain = gain(&mut dice, 4.0);
        pricer.saw(now, &budget, gain, cost(1_000, 0));
        if pricer.prices(now, &budget, 0.0).accepts(gain, cost(1_000, 0))
            && let Some(call) = budget.reserve(cost(1_000, 0))
        {
            assert_eq!(budget.settle(call, cost(1_000, 0)), None);
            // The second week: by then the first one has been learned.
            bought[(hour - 8) as usize] += u64::from(second > 7 * 86_400);
        }
    }
    let all: u64 = bought.iter().sum();
    println!("bought in each hour of the second week: {bought:?}");
    assert!(all * 100 >= 95 * 7 * 288, "{all} of {}", 7 * 288);
    assert!(bought.iter().all(|hour| (all / 16..all / 4).contains(hour)), "{bought:?}");
}
