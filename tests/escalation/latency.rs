//! Time of one decision on a set's own outputs, with its own score and a certificate in force.

use std::{sync::Arc, time::Instant};

use picket_core::{
    escalation::{
        budget::Cost,
        calibration::{Certified, LabelSource, State},
        certificate::Promise,
        decide::{Circumstances, Observation, Policy, ProviderView, decide},
        fit::Chosen,
        platt::Platt,
        shift::Reference,
    },
    job::{Privacy, ProviderId},
    time::Span,
};

use crate::rows::{DataSet, Split};

const DECISIONS: usize = 200_000;

pub struct Found {
    /// In microseconds, the clock's own time included.
    pub median: f64,
    pub p99: f64,
}

pub fn run(set: &DataSet, chosen: &Chosen) -> Found {
    let certified = Certified {
        score: chosen.rule.clone(),
        lambdas: vec![0.9; set.head.labels.len()],
        cases: 1_000,
        promise: Promise { alpha: 0.01, delta: 0.05 },
        round: 1,
        wrong: Platt { a: 0.0, b: -1.0 },
        scores: Reference::of([]),
        label_source: LabelSource::Human,
        digest: "sha256:0".into(),
    };
    let policy = Policy {
        calibration: State::Valid(Arc::new(certified)),
        providers: vec![ProviderId(0)],
        ..Policy::alone(1.0, Some(0.9))
    };
    let hour = Span::from_millis(3_600_000);
    let providers = vec![ProviderView {
        id: ProviderId(0),
        admits: true,
        timeout: Span::from_millis(2_000),
        accuracy: 0.9,
        cost: Cost::ZERO,
        affordable: true,
        threshold: 0.0,
        on_time: 1.0,
    }];
    let around = Circumstances { privacy: Privacy::Ok, providers, left: hour, whole: hour, ..Circumstances::ALONE };
    let seen: Vec<Observation> =
        set.of(Split::Stream, 0).iter().map(|row| Observation::Scores(row.logits.clone())).collect();
    let mut took: Vec<u128> = (0..DECISIONS)
        .map(|at| {
            let begun = Instant::now();
            std::hint::black_box(decide(&seen[at % seen.len()], &policy, &around));
            begun.elapsed().as_nanos()
        })
        .collect();
    took.sort_unstable();
    Found { median: took[DECISIONS / 2] as f64 / 1e3, p99: took[DECISIONS * 99 / 100] as f64 / 1e3 }
}
