//! Time of one decision, with a certificate in force. The target is 50 µs for the 99th percentile (escalation.md 3.2).

use std::{hint::black_box, sync::Arc};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use picket_core::{
    escalation::{
        budget::Cost,
        calibration::{Certified, LabelSource, State},
        certificate::Promise,
        decide::{Circumstances, Observation, Policy, ProviderView, decide},
        platt::Platt,
        score::ScoreRule,
        shift::Reference,
    },
    job::{Privacy, ProviderId},
    time::Span,
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

fn policy(classes: usize, score: ScoreRule) -> Policy {
    let certified = Certified {
        score,
        lambdas: vec![0.9; classes],
        cases: 1_000,
        promise: Promise { alpha: 0.01, delta: 0.05 },
        round: 1,
        wrong: Platt { a: 0.0, b: -1.0 },
        scores: Reference::of([]),
        label_source: LabelSource::Human,
        digest: "sha256:0".into(),
    };
    Policy {
        calibration: State::Valid(Arc::new(certified)),
        providers: vec![ProviderId(0)],
        ..Policy::alone(1.0, Some(0.9))
    }
}

fn bench(criterion: &mut Criterion) {
    let mut dice = StdRng::seed_from_u64(1);
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
    let mut group = criterion.benchmark_group("decide");
    for classes in [3, 10, 1_000] {
        let rules = [
            ("softmax", ScoreRule::Softmax { temperature: 0.8 }),
            ("logistic", ScoreRule::Logistic { temperature: 0.8, weights: [0.1, -0.5, -0.2, -0.1, -0.3], pnorm: 3.0 }),
        ];
        for (name, rule) in rules {
            let policy = policy(classes, rule);
            let outputs: Vec<Observation> = (0..256)
                .map(|_| Observation::Scores((0..classes).map(|_| dice.random_range(-5.0..5.0)).collect()))
                .collect();
            let mut at = 0;
            group.bench_function(BenchmarkId::new(name, classes), |bencher| {
                bencher.iter(|| {
                    at = (at + 1) % outputs.len();
                    decide(black_box(&outputs[at]), &policy, &around)
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
