//! E6: four hours without a link, 3,000 requests that wait for an answer from upstream, and a link that then carries a twentieth
//! or a fifth of their bytes. Who goes first? An answer is worth half after each hour; one request in ten is worth ten times as
//! much.

use picket_core::escalation::{
    backlog::{Backlog, Bounds},
    certificate::Promise,
    fit::Chosen,
    gain::gain,
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};

use crate::{
    device::{Calibrated, Scored, pool, sample},
    rows::{DataSet, Split},
    stats::Mean,
};

const ITEMS: usize = 3_000;
const HOURS: f64 = 4.0;
const HALF_LIFE_S: f64 = 3_600.0;
/// Parts of the waiting bytes that the link carries.
pub const CARRIED: [f64; 2] = [0.05, 0.2];

pub const ORDERS: [&str; 5] = ["FIFO", "LIFO", "random", "lowest score first", "**Picket's backlog**"];

struct Item {
    request: Scored,
    /// Seconds since the link broke.
    came: f64,
    value: f64,
}

impl Item {
    /// What an answer brings when the link is back.
    fn worth(&self) -> f64 {
        self.value * self.request.mends() * ((self.came - HOURS * 3_600.0) / HALF_LIFE_S).exp2()
    }
}

pub struct Found {
    /// By order and capacity: share of what one recovers who knows every answer.
    pub share: Vec<[Mean; 2]>,
}

/// `None`: where asking mends nothing there is no order to be right about.
pub fn run(set: &DataSet, chosen: &Chosen, seeds: u64) -> Option<Found> {
    let certify = pool(set, chosen, &[Split::Certify], 0);
    let stream = pool(set, chosen, &[Split::Stream], 0);
    let mut found = Found { share: ORDERS.iter().map(|_| Default::default()).collect() };
    for seed in 0..seeds {
        let mut dice = StdRng::seed_from_u64(seed);
        let promise = Promise { alpha: 0.02, delta: 0.05 };
        let calibrated = Calibrated::of(&sample(&certify, &mut dice), promise, false);
        // Where everything is certified nothing waits, and where upstream is worse nothing should be asked.
        let doubtful: Vec<Scored> =
            stream.weighted().into_iter().map(|(scored, _)| scored).filter(|r| r.s < calibrated.lambda).collect();
        if doubtful.len() < 50 || doubtful.iter().map(Scored::mends).sum::<f64>() <= 0.0 {
            return None;
        }
        let mut arrivals: Vec<f64> = (0..ITEMS).map(|_| dice.random_range(0.0..HOURS * 3_600.0)).collect();
        arrivals.sort_unstable_by(f64::total_cmp);
        let mut item = |came| Item {
            request: doubtful[dice.random_range(0..doubtful.len())],
            came,
            value: if dice.random_bool(0.1) { 10.0 } else { 1.0 },
        };
        let items: Vec<Item> = arrivals.into_iter().map(&mut item).collect();
        let bound = by(&items, |item| item.worth() / f64::from(item.request.bytes));
        for (place, shares) in found.share.iter_mut().enumerate() {
            let order = order(place, &items, &calibrated, &mut dice);
            for (carried, share) in CARRIED.iter().zip(shares) {
                let best = recovered(&items, &bound, *carried);
                if best > 0.0 {
                    share.add(recovered(&items, &order, *carried) / best);
                }
            }
        }
    }
    (found.share[0][0].len() > 0).then_some(found)
}

/// Largest first.
fn by(items: &[Item], key: impl Fn(&Item) -> f64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..items.len()).collect();
    order.sort_by(|a, b| key(&items[*b]).total_cmp(&key(&items[*a])));
    order
}

fn order(place: usize, items: &[Item], calibrated: &Calibrated, dice: &mut StdRng) -> Vec<usize> {
    match place {
        0 => (0..items.len()).collect(),
        1 => (0..items.len()).rev().collect(),
        2 => {
            let mut order: Vec<usize> = (0..items.len()).collect();
            order.shuffle(dice);
            order
        }
        3 => by(items, |item| -f64::from(item.request.s)),
        _ => {
            let bounds = Bounds { items: ITEMS, bytes: u64::MAX, ..Bounds::default() };
            let mut backlog = Backlog::new(HALF_LIFE_S, bounds);
            for (at, Item { request, came, value }) in items.iter().enumerate() {
                let q = calibrated.accuracy.of(request.class);
                let gain = gain(*value, q, calibrated.platt.p_wrong(request.s));
                let bytes = request.bytes.into();
                let dropped = backlog.push(at, bytes, backlog.key(gain, bytes, *came));
                assert!(dropped.is_empty(), "there is room for all");
            }
            std::iter::from_fn(|| backlog.pop().map(|(at, _)| at)).collect()
        }
    }
}

/// Sent in this order until the bytes are used up; what does not fit any more is left out.
fn recovered(items: &[Item], order: &[usize], carried: f64) -> f64 {
    let all: u64 = items.iter().map(|item| u64::from(item.request.bytes)).sum();
    let mut left = (all as f64 * carried) as u64;
    let mut sum = 0.0;
    for item in order.iter().map(|at| &items[*at]) {
        let Some(rest) = left.checked_sub(item.request.bytes.into()) else { break };
        left = rest;
        sum += item.worth();
    }
    sum
}
