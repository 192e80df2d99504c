use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;
use crate::escalation::{
    certificate::{Case, Promise, certify},
    platt::Platt,
};

const AUDIT_RATE: f64 = 0.02;
const PROMISE: Promise = Promise { alpha: 0.02, delta: 0.03 };

/// One request of a classifier that is wrong in 10 % of all cases: its score, and whether it is wrong. Of the new variant it
/// is as sure as of everything else, and wrong in a third: no score tells. (The sizes are those of escalation.md 3.3.)
fn request(dice: &mut StdRng, variant: f64) -> (f32, bool) {
    let p = 0.6 * dice.random::<f64>().powi(5);
    let s = 1.0 - p.powf(0.7);
    let p = if dice.random_bool(variant) { (0.08 + 2.5 * p).min(0.95) } else { p };
    (s as f32, dice.random_bool(p))
}

struct Certified {
    lambda: f32,
    platt: Platt,
    alarms: Alarms,
}

fn certified(dice: &mut StdRng, n: usize) -> Certified {
    let cases: Vec<Case> = (0..n)
        .map(|_| {
            let (s, wrong) = request(dice, 0.0);
            Case { s, class: 0, wrong }
        })
        .collect();
    let lambda = certify(&cases, PROMISE).unwrap().lambda;
    let alarms = Alarms::new(PROMISE.alpha, Reference::of(cases.iter().map(|case| case.s)));
    Certified { lambda, platt: Platt::fit(&cases), alarms }
}

/// Requests until an alarm rings, and which.
fn rings(dice: &mut StdRng, device: &mut Certified, variant: f64, requests: u64) -> Option<(u64, Kind)> {
    let Certified { lambda, platt, alarms } = device;
    for at in 1..=requests {
        let (s, wrong) = request(dice, variant);
        alarms.scored(s);
        if s < *lambda {
            alarms.escalated(wrong, platt.p_wrong(s));
        }
        if dice.random_bool(AUDIT_RATE) {
            alarms.audited(wrong && s >= *lambda);
        }
        if let Some(evidence) = alarms.rung() {
            return Some((at, evidence.kind));
        }
    }
    None
}

/// The target: at most one in 100,000 requests on average, whatever the size of the calibration. The same certificate comes
/// into force again after each.
#[test]
fn nothing_rings_where_nothing_has_changed() {
    const REQUESTS: u64 = 100_000;
    const RUNS: u64 = 20;
    for n in [300, 500, 1_000, 3_000] {
        let mut rang = [0; 3];
        for seed in 0..RUNS {
            let mut dice = StdRng::seed_from_u64(seed);
            let mut device = certified(&mut dice, n);
            let mut left = REQUESTS;
            while let Some((at, kind)) = rings(&mut dice, &mut device, 0.0, left) {
                rang[kind as usize] += 1;
                left -= at;
                let reference = device.alarms.scores.reference().clone();
                device.alarms.reset(PROMISE.alpha, reference);
            }
        }
        let per_run = rang.map(|count| f64::from(count) / RUNS as f64);
        println!(
            "{n} cases, seeds 0 to {RUNS}: audit, escalation, score rang {per_run:?} times in {REQUESTS} requests"
        );
        assert!(per_run.iter().sum::<f64>() <= 1.0, "{n} cases: {per_run:?}");
    }
}

/// 30 % of the requests are the new variant, and no score tells.
#[test]
fn harm_is_noticed_within_two_thousand_requests() {
    for n in [1_000, 3_000] {
        let mut delays: Vec<u64> = (0..60)
            .map(|seed| {
                let mut dice = StdRng::seed_from_u64(1_000 + seed);
                let mut device = certified(&mut dice, n);
                rings(&mut dice, &mut device, 0.0, 5_000);
                rings(&mut dice, &mut device, 0.3, 100_000).map_or(u64::MAX, |(at, _)| at)
            })
            .collect();
        delays.sort_unstable();
        println!(
            "{n} cases, seeds 1000 to 1059: median {}, nine in ten {}, all {}",
            delays[30], delays[54], delays[59]
        );
        assert!(delays[30] <= 2_000, "{n} cases: {delays:?}");
    }
}

fn alarms() -> Alarms {
    Alarms::new(0.02, Reference::of((0..1_000_u16).map(|at| f32::from(at) / 1_000.0)))
}

/// A class is labelled otherwise from now on: the model is as sure as ever, and the scores are the same.
#[test]
fn sure_mistakes_are_found_by_the_audit() {
    let mut alarms = alarms();
    let rang = (1..=100).find_map(|audit| alarms.audited(audit % 5 == 0)).unwrap();
    assert_eq!(rang.kind, Kind::Audit);
    assert!(rang.value >= rang.limit && rang.trials <= 50 && rang.wrong == rang.trials / 5, "{rang:?}");
    assert!((rang.allowed - 0.02 * rang.trials as f64).abs() < 1e-9);
}

#[test]
fn a_visible_change_is_found_by_the_scores() {
    let mut alarms = alarms();
    let rang = (0..500_u16).find_map(|at| alarms.scored(f32::from(at) / 1_000.0)).unwrap();
    assert_eq!((rang.kind, rang.trials), (Kind::Score, 500));
}

#[test]
fn what_was_expected_to_be_wrong_may_be_wrong() {
    let mut alarms = alarms();
    assert!((0..2_000).all(|at| alarms.escalated(at % 10 < 3, 0.3).is_none()), "three in ten were expected");
    let rang = (0..2_000).find_map(|at| alarms.escalated(at % 10 < 6, 0.3)).unwrap();
    assert_eq!(rang.kind, Kind::Escalation);
}

#[test]
fn an_alarm_rings_once_and_lasts_until_there_is_another_certificate() {
    let mut alarms = alarms();
    let rang = (0..100).find_map(|_| alarms.audited(true)).unwrap();
    assert!((0..1_000).all(|at| alarms.audited(true).is_none() && alarms.scored(at as f32).is_none()));
    assert_eq!(alarms.rung(), Some(rang));
    let reference = alarms.scores.reference().clone();
    alarms.reset(0.02, reference.clone());
    assert_eq!(alarms, Alarms::new(0.02, reference));
}

/// All three detectors are half way when the process ends.
#[test]
fn a_restart_forgets_nothing() {
    let feed = |alarms: &mut Alarms, steps: std::ops::Range<u32>| {
        steps.into_iter().find(|at| {
            alarms.scored((at % 10) as f32 / 10.0);
            alarms.escalated(at % 2 == 0, 0.3);
            alarms.audited(at % 12 == 0).is_some()
        })
    };
    let (mut steady, mut restarted) = (alarms(), alarms());
    assert_eq!(feed(&mut restarted, 0..20), None);
    let written = serde_json::to_string(&restarted.save("sha256:1")).unwrap();
    let saved: SavedAlarms = serde_json::from_str(&written).unwrap();
    let reference = || alarms().scores.reference().clone();
    let mut restarted = Alarms::restore(0.02, reference(), "sha256:1", &saved).unwrap();
    assert_eq!((restarted.escalation.seen().trials, restarted.scores.len()), (20, 20));
    let rang = feed(&mut restarted, 20..10_000);
    assert!(rang.is_some());
    assert_eq!(feed(&mut steady, 0..10_000), rang);
    let kept = Alarms::restore(0.02, reference(), "sha256:1", &restarted.save("sha256:1")).unwrap();
    assert_eq!(kept.rung(), restarted.rung(), "suspended stays suspended");
    assert_eq!(Alarms::restore(0.02, reference(), "sha256:2", &saved), Ok(alarms()), "another calibration's state");
    assert!(Alarms::restore(0.02, reference(), "sha256:1", &SavedAlarms { version: 0, ..saved }).is_err());
}
