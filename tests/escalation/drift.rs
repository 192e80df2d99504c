//! E4: how soon is a change noticed, and how often is one believed that was none? The product's alarms watch requests that are
//! drawn from the calibration's own phase, and then from something else.

use picket_core::escalation::{
    alarms::{Alarms, Kind},
    certificate::Promise,
    fit::Chosen,
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use crate::{
    device::{Calibrated, Scored, pool},
    rows::{DataSet, Groups, Split},
    stats::Mean,
};

pub const PROMISE: Promise = Promise { alpha: 0.02, delta: 0.05 };
pub const CASES: usize = 1_000;
pub const AUDIT_RATE: f64 = 0.02;
/// A change that is not noticed within so many requests is not noticed.
pub const PATIENCE: u64 = 40_000;
/// Requests without a change before one comes.
const BEFORE: u64 = 2_000;

/// What happens to the requests.
#[derive(Clone, Copy, Debug)]
pub enum Change {
    None,
    /// So many of them are of another phase.
    Mixed(&'static str, f64),
    /// One class has another meaning from now on; no score tells.
    Relabelled(u16),
}

pub const CHANGES: [(&str, Change); 4] = [
    ("30 % new variant", Change::Mixed("variant", 0.3)),
    ("10 % new variant", Change::Mixed("variant", 0.1)),
    ("hard day", Change::Mixed("hard", 1.0)),
    ("class 4 relabelled", Change::Relabelled(4)),
];

/// Who listens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Watch {
    /// All three alarms, audits at [`AUDIT_RATE`].
    Picket,
    /// Only audits, at this rate.
    Audits(f64),
}

pub const WATCHES: [(&str, Watch); 4] = [
    ("**Picket's three alarms**, audits 2 %", Watch::Picket),
    ("audits alone, 2 %", Watch::Audits(0.02)),
    ("audits alone, 0.1 %", Watch::Audits(0.001)),
    ("audits alone, 0.001 % (Groundlight's default)", Watch::Audits(0.000_01)),
];

struct Source<'a> {
    usual: &'a Groups<Scored>,
    other: Option<&'a Groups<Scored>>,
    change: Change,
}

impl Source<'_> {
    fn draw(&self, dice: &mut StdRng) -> Scored {
        let usual = self.usual.draw(dice);
        match (self.change, self.other) {
            (Change::Mixed(_, share), Some(other)) if dice.random_bool(share) => other.draw(dice),
            (Change::Relabelled(class), _) if usual.truth == class => Scored { local_right: false, ..usual },
            _ => usual,
        }
    }
}

struct Watcher {
    lambda: f32,
    calibrated: Calibrated,
    alarms: Alarms,
    watch: Watch,
}

impl Watcher {
    fn new(calibrated: Calibrated, watch: Watch) -> Self {
        let alarms = Alarms::new(PROMISE.alpha, calibrated.reference.clone());
        Self { lambda: calibrated.lambda, calibrated, alarms, watch }
    }

    /// Requests until an alarm rings, and which.
    fn listen(&mut self, source: &Source<'_>, requests: u64, dice: &mut StdRng) -> Option<(u64, Kind)> {
        let rate = if let Watch::Audits(rate) = self.watch { rate } else { AUDIT_RATE };
        for at in 1..=requests {
            let request = source.draw(dice);
            let local = request.s >= self.lambda;
            if self.watch == Watch::Picket {
                self.alarms.scored(request.s);
            }
            if dice.random_bool(rate) {
                self.alarms.audited(local && !request.local_right);
            } else if !local && self.watch == Watch::Picket {
                self.alarms.escalated(!request.local_right, self.calibrated.platt.p_wrong(request.s));
            }
            if let Some(evidence) = self.alarms.rung() {
                return Some((at, evidence.kind));
            }
        }
        None
    }

    fn reset(&mut self) {
        self.alarms.reset(PROMISE.alpha, self.calibrated.reference.clone());
    }
}

#[derive(Default)]
pub struct Noticed {
    pub runs: u64,
    pub delays: Mean,
    /// By [`Kind`]: which rang first.
    pub first: [u64; 3],
    /// Rang before there was anything.
    pub early: u64,
    /// Share of requests that are certified and wrong under the change, before anybody notices.
    pub harm: Mean,
}

pub struct Found {
    /// By watch and change; `None`: the set has no such phase.
    pub noticed: Vec<Vec<Option<Noticed>>>,
    /// Requests without a change, and alarms in them by kind.
    pub quiet: u64,
    pub false_alarms: [u64; 3],
}

impl Found {
    pub fn false_per_100_000(&self) -> f64 {
        self.false_alarms.iter().sum::<u64>() as f64 * 100_000.0 / self.quiet.max(1) as f64
    }
}

pub fn run(set: &DataSet, chosen: &Chosen, seeds: u64, quiet_each: u64) -> Found {
    let usual = pool(set, chosen, &[Split::Certify, Split::Stream], 0);
    let mut found = Found { noticed: Vec::new(), quiet: 0, false_alarms: [0; 3] };
    for (_, watch) in WATCHES {
        let each = CHANGES.iter().map(|(_, change)| notice(set, chosen, &usual, watch, *change, seeds));
        found.noticed.push(each.collect());
    }
    let nothing = Source { usual: &usual, other: None, change: Change::None };
    for seed in 0..seeds {
        let mut dice = StdRng::seed_from_u64(seed);
        let calibrated = Calibrated::draw(&usual, CASES, PROMISE, &mut dice);
        let mut watcher = Watcher::new(calibrated, Watch::Picket);
        let mut left = quiet_each;
        found.quiet += quiet_each;
        while let Some((at, kind)) = watcher.listen(&nothing, left, &mut dice) {
            found.false_alarms[kind as usize] += 1;
            left -= at;
            watcher.reset();
        }
    }
    found
}

fn notice(
    set: &DataSet,
    chosen: &Chosen,
    usual: &Groups<Scored>,
    watch: Watch,
    change: Change,
    seeds: u64,
) -> Option<Noticed> {
    let other = match change {
        Change::Mixed(phase, _) => Some(pool(set, chosen, &[Split::Stream], set.phase(phase)?)),
        Change::Relabelled(class) if usize::from(class) >= set.head.labels.len() => return None,
        Change::Relabelled(_) | Change::None => None,
    };
    let changed = Source { usual, other: other.as_ref(), change };
    let nothing = Source { usual, other: None, change: Change::None };
    let mut noticed = Noticed::default();
    for seed in 0..seeds {
        let mut dice = StdRng::seed_from_u64(seed);
        let mut watcher = Watcher::new(Calibrated::draw(usual, CASES, PROMISE, &mut dice), watch);
        noticed.runs += 1;
        if watcher.listen(&nothing, BEFORE, &mut dice).is_some() {
            noticed.early += 1;
            watcher.reset();
        }
        let harmed = (0..10_000).map(|_| changed.draw(&mut dice));
        let harmed = harmed.filter(|request| request.s >= watcher.lambda && !request.local_right).count();
        noticed.harm.add(harmed as f64 / 10_000.0);
        if let Some((at, kind)) = watcher.listen(&changed, PATIENCE, &mut dice) {
            noticed.delays.add(at as f64);
            noticed.first[kind as usize] += 1;
        }
    }
    Some(noticed)
}
