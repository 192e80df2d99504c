use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;

/// And some hours, so that its midnights are others.
const TEN_YEARS_S: u64 = 3_652 * 86_400 + 19_000;
const MAY: u64 = 20_000 * 86_400;

const fn at(seconds: u64) -> Moment {
    Moment::from_micros(seconds * 1_000_000)
}

const fn cents(cents: u64) -> Money {
    Money::from_nanos(cents * 10_000_000)
}

const fn cost(money: u64, bytes: u64) -> Cost {
    Cost { money: cents(money), bytes }
}

fn limits() -> Limits {
    Limits { money_per_day: Some(cents(100)), bytes_per_day: Some(10_000), calls_per_hour: Some(20) }
}

#[test]
fn what_is_under_way_is_not_spent_twice() {
    let mut budget = Budget::new(limits(), at(0), None);
    let first = budget.reserve(cost(60, 100)).unwrap();
    assert_eq!(budget.reserve(cost(60, 100)), None, "both together would be too much");
    assert_eq!(budget.settle(first, cost(10, 50)), None);
    let left = Left { money: Some(cents(90)), bytes: Some(9_950), calls: Some(19) };
    assert_eq!(budget.left(), left, "it cost less than feared");
    let second = budget.reserve(cost(90, 0)).unwrap();
    budget.cancel(second);
    assert_eq!(budget.left(), left, "what never left costs nothing");
}

#[test]
fn each_limit_alone_refuses() {
    for (limits, cost) in [
        (Limits { money_per_day: Some(cents(1)), ..Limits::default() }, cost(2, 0)),
        (Limits { bytes_per_day: Some(9), ..Limits::default() }, cost(0, 10)),
        (Limits { calls_per_hour: Some(0), ..Limits::default() }, Cost::ZERO),
    ] {
        assert_eq!(Budget::new(limits, at(0), None).reserve(cost), None, "{limits:?}");
    }
    let mut free = Budget::new(Limits::default(), at(0), None);
    assert!(free.reserve(Cost { money: Money::from_nanos(u64::MAX), bytes: u64::MAX }).is_some(), "no limit, no bound");
    assert!(free.reserve(cost(1, 1)).is_some());
}

#[test]
fn what_costs_more_than_its_most_is_charged_and_told() {
    let mut budget = Budget::new(limits(), at(0), None);
    let call = budget.reserve(cost(10, 100)).unwrap();
    assert_eq!(budget.settle(call, cost(130, 90)), Some(Overrun { beyond: cost(120, 0) }));
    assert_eq!(budget.left().money, Some(Money::ZERO));
    assert_eq!(budget.reserve(cost(1, 0)), None);
}

#[test]
fn what_was_reserved_at_a_crash_is_spent() {
    let mut budget = Budget::new(limits(), at(0), Some(MAY));
    let _open = budget.reserve(cost(40, 4_000)).unwrap();
    let settled = budget.reserve(cost(30, 0)).unwrap();
    assert_eq!(budget.settle(settled, cost(20, 0)), None);
    let written = serde_json::to_string(&budget.spent(at(60))).unwrap();
    let read: Spent = serde_json::from_str(&written).unwrap();
    let again = Budget::restore(limits(), &read, at(0), None).unwrap();
    assert_eq!(again.left(), Left { money: Some(cents(40)), bytes: Some(6_000), calls: Some(18) });
    let foreign = Budget::restore(limits(), &Spent { version: 2, ..read }, at(0), None).unwrap_err();
    assert!(foreign.to_string().starts_with("[store/foreign-version]"), "{foreign}");
}

#[test]
fn an_hour_brings_calls_and_a_day_brings_money() {
    let mut budget = Budget::new(limits(), at(0), Some(MAY));
    let call = budget.reserve(cost(100, 10_000)).unwrap();
    assert_eq!(budget.settle(call, cost(100, 10_000)), None);
    assert_eq!(budget.rolls_at(), at(3_600));
    assert_eq!(budget.roll(at(3_600), Some(MAY + 3_600)), Rolled { day: Turn::Same, hour: Turn::Fresh });
    let left = Left { money: Some(Money::ZERO), bytes: Some(0), calls: Some(20) };
    assert_eq!(budget.left(), left);
    assert_eq!(budget.roll(at(86_400), Some(MAY + 86_400)).day, Turn::Fresh);
    assert_eq!(budget.left().money, Some(cents(100)));
}

#[test]
fn a_call_over_midnight_counts_on_both_days() {
    let mut budget = Budget::new(limits(), at(0), Some(MAY + 86_000));
    let call = budget.reserve(cost(70, 0)).unwrap();
    assert_eq!(budget.roll(at(400), Some(MAY + 86_400)).day, Turn::Fresh);
    assert_eq!(budget.left().money, Some(cents(30)));
    assert_eq!(budget.settle(call, cost(50, 0)), None);
    assert_eq!(budget.left().money, Some(cents(50)));
}

/// All three bind, at one time or another.
fn busy() -> Limits {
    Limits { money_per_day: Some(cents(3_000)), bytes_per_day: Some(300_000), calls_per_hour: Some(20) }
}

/// What a device does, and what its provider's bill says of it.
struct World {
    dice: StdRng,
    /// Cents that a call may cost.
    most: u64,
    /// True time, seconds since the start.
    time: u64,
    budget: Budget,
    open: Vec<Reservation>,
    money: Money,
    bytes: u64,
    calls: u64,
}

impl World {
    fn new(seed: u64, most: u64) -> Self {
        let dice = StdRng::seed_from_u64(seed);
        let budget = Budget::new(busy(), at(0), None);
        Self { dice, most, time: 0, budget, open: Vec::new(), money: Money::ZERO, bytes: 0, calls: 0 }
    }

    /// A wall clock that jumps ten years ahead and back twice a minute, or is not trusted at all.
    fn unix(&mut self) -> Option<u64> {
        let honest = MAY + self.time;
        [None, Some(honest), Some(honest + TEN_YEARS_S)][self.dice.random_range(0..3)]
    }

    fn call(&mut self) {
        let most = cost(self.dice.random_range(0..=self.most), self.dice.random_range(0..100 * self.most));
        let Some(reservation) = self.budget.reserve(most) else { return };
        // The provider books at once; the device hears of it later, or never.
        let actual = cost(self.dice.random_range(0..=self.most), 0).money.min(most.money);
        (self.money, self.bytes, self.calls) = (self.money + actual, self.bytes + most.bytes, self.calls + 1);
        if self.dice.random_bool(0.5) {
            let told = Cost { money: actual, bytes: most.bytes };
            assert_eq!(self.budget.settle(reservation, told), None);
        } else {
            self.open.push(reservation);
        }
    }

    fn settle_one(&mut self) {
        if let Some(reservation) = self.open.pop() {
            // No answer came: it may have cost everything.
            let all = reservation.cost();
            assert_eq!(self.budget.settle(reservation, all), None);
        }
    }

    /// `reboot`: the clock that does not jump is lost.
    fn crash(&mut self, reboot: bool) {
        let saved = self.budget.spent(at(self.time));
        self.open.clear();
        let off = self.dice.random_range(0..600);
        self.time += off;
        let away = (!reboot).then(|| Span::from_millis(off * 1_000));
        self.budget = Budget::restore(busy(), &saved, at(self.time), away).unwrap();
    }
}

/// The whole point: a jumping clock, crashes and calls that never end cost nothing beyond the limits.
#[test]
fn nothing_is_overspent_whatever_the_clock_does() {
    for seed in 0..60 {
        // Dear calls meet the limits of the day, cheap ones that of the hour.
        let (reboots, most) = (seed % 2 == 1, if seed % 4 < 2 { 30 } else { 1 });
        println!("seed {seed}, reboots {reboots}, a call costs at most {most} cents");
        let mut world = World::new(seed, most);
        while world.time < 3 * 86_400 {
            world.time += world.dice.random_range(1..60);
            let unix = world.unix();
            world.budget.roll(at(world.time), unix);
            match world.dice.random_range(0..40) {
                0 => world.crash(reboots && world.dice.clone().random_bool(0.5)),
                1..10 => world.settle_one(),
                _ => world.call(),
            }
            // One period is under way at the start; over reboots one more that a lie brought, and one that the calendar cut short.
            let periods = |length: u64| world.time / length + 1 + 2 * u64::from(reboots);
            assert!(world.money <= cents(3_000).times(periods(86_400)), "{} after {} s", world.money, world.time);
            assert!(world.bytes <= 300_000 * periods(86_400), "{} bytes after {} s", world.bytes, world.time);
            assert!(world.calls <= 20 * periods(3_600), "{} calls after {} s", world.calls, world.time);
        }
        let spent = if most > 1 { world.money > cents(2_500) } else { world.calls > 600 };
        assert!(spent, "so cautious that it is useless: {} in {} calls", world.money, world.calls);
    }
}
