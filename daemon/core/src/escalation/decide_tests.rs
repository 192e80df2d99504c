use std::sync::Arc;

use super::*;
use crate::escalation::{
    calibration::{Certified, LabelSource},
    certificate::Promise,
    platt::Platt,
    score::ScoreRule,
    shift::Reference,
};

const HOUR: Span = Span::from_millis(3_600_000);

fn policy(threshold: f32) -> Policy {
    Policy { providers: vec![ProviderId(0), ProviderId(1)], ..Policy::alone(1.0, Some(threshold)) }
}

fn view(id: usize, admits: bool) -> ProviderView {
    ProviderView {
        id: ProviderId(id),
        admits,
        timeout: Span::from_millis(2_000),
        accuracy: 0.95,
        cost: Cost::ZERO,
        affordable: true,
        threshold: 0.0,
        on_time: 1.0,
    }
}

fn around(privacy: Privacy, providers: &[ProviderView], left: Span, whole: Span, asked: usize) -> Circumstances {
    Circumstances { privacy, providers: providers.to_vec(), left, whole, asked, ..Circumstances::ALONE }
}

fn doubtful() -> Observation {
    Observation::Scores(vec![0.1, 0.0, 0.0])
}

#[test]
fn a_sure_answer_stays_local_and_is_not_certified() {
    let d = decide(
        &Observation::Scores(vec![9.0, 0.0]),
        &policy(0.9),
        &around(Privacy::Ok, &[view(0, true)], HOUR, HOUR, 0),
    );
    assert_eq!(d.verdict, Verdict::AnswerLocal(Reason::LocalUncertifiedNoCalibration));
    assert!(!d.certified);
    assert!(d.evidence.s.unwrap() > 0.99);
}

#[test]
fn a_doubtful_answer_goes_to_the_first_provider_that_admits() {
    let d = decide(&doubtful(), &policy(0.9), &around(Privacy::Ok, &[view(0, false), view(1, true)], HOUR, HOUR, 0));
    assert_eq!(
        d.verdict,
        Verdict::Escalate {
            provider: ProviderId(1),
            timeout: Span::from_millis(2_000),
            reason: Reason::EscBelowLambda
        }
    );
    let d = decide(&doubtful(), &policy(0.9), &around(Privacy::Ok, &[view(0, true), view(1, true)], HOUR, HOUR, 2));
    assert_eq!(d.verdict, Verdict::AnswerLocal(Reason::LocalUncertifiedLink), "each provider is asked once");
}

#[test]
fn privacy_and_deadline_keep_a_doubtful_answer_local() {
    for privacy in [Privacy::Never, Privacy::Redacted] {
        let d = decide(&doubtful(), &policy(0.9), &around(privacy, &[view(0, true)], HOUR, HOUR, 0));
        assert_eq!(d.verdict, Verdict::AnswerLocal(Reason::LocalPolicyNoEgress));
    }
    let redacts = Policy { redacts: true, ..policy(0.9) };
    for (privacy, leaves) in [(Privacy::Never, false), (Privacy::Redacted, true)] {
        let d = decide(&doubtful(), &redacts, &around(privacy, &[view(0, true)], HOUR, HOUR, 0));
        assert_eq!(matches!(d.verdict, Verdict::Escalate { .. }), leaves, "{privacy:?}");
    }
    let left = Span::from_millis(10);
    let d = decide(&doubtful(), &policy(0.9), &around(Privacy::Ok, &[view(0, true)], left, HOUR, 0));
    assert_eq!(d.verdict, Verdict::AnswerLocal(Reason::LocalUncertifiedDeadline));
}

#[test]
fn the_provider_is_given_up_before_the_deadline() {
    let whole = Span::from_millis(1_000);
    let d = decide(&doubtful(), &policy(0.9), &around(Privacy::Ok, &[view(0, true)], Span::from_millis(500), whole, 0));
    let Verdict::Escalate { timeout, .. } = d.verdict else { panic!("{d:?}") };
    assert_eq!(timeout, Span::from_millis(480));
}

#[test]
fn malformed_output_fails_unless_a_provider_helps() {
    let bad = Observation::Malformed("output 0 has a NaN".into());
    let d = decide(&bad, &policy(0.9), &around(Privacy::Ok, &[view(0, true)], HOUR, HOUR, 0));
    assert!(matches!(d.verdict, Verdict::Escalate { reason: Reason::EscBadOutput, .. }));
    let d = decide(&bad, &policy(0.9), &around(Privacy::Never, &[view(0, true)], HOUR, HOUR, 0));
    assert_eq!(d.verdict, Verdict::Fail("output 0 has a NaN".into()));
}

#[test]
fn without_threshold_or_classes_nothing_escalates() {
    let none = Policy { threshold: None, ..policy(0.9) };
    for seen in [doubtful(), Observation::Opaque] {
        let d = decide(&seen, &none, &around(Privacy::Ok, &[view(0, true)], HOUR, HOUR, 0));
        assert_eq!(d.verdict, Verdict::AnswerLocal(Reason::LocalUncertifiedNoCalibration));
    }
}

/// A promise of at most 2 % with λ 0.9, and 0.99 for class 1.
fn certified() -> Policy {
    let certified = Certified {
        score: ScoreRule::Softmax { temperature: 1.0 },
        lambdas: vec![0.9, 0.99],
        cases: 300,
        promise: Promise { alpha: 0.02, delta: 0.05 },
        round: 1,
        // 1 - s
        wrong: Platt { a: 0.0, b: -1.0 },
        scores: Reference::of([]),
        label_source: LabelSource::Human,
        digest: "sha256:0".into(),
    };
    Policy { threshold: Some(0.0), calibration: State::Valid(Arc::new(certified)), ..policy(0.0) }
}

/// Two classes, the first of this probability.
fn scores(p: f32) -> Observation {
    Observation::Scores(vec![p.ln(), (1.0 - p).ln()])
}

#[test]
fn what_the_certificate_covers_stays_here() {
    let d = decide(&scores(0.95), &certified(), &around(Privacy::Ok, &[view(0, true)], HOUR, HOUR, 0));
    assert_eq!((d.verdict, d.certified), (Verdict::AnswerLocal(Reason::LocalCertified), true));
    let promised = Promised { alpha: 0.02, delta: 0.05, cases: 300, round: 1 };
    assert_eq!((d.evidence.lambda, d.evidence.promise), (Some(0.9), Some(promised)));
}

#[test]
fn what_it_does_not_cover_is_asked_or_says_so() {
    // Class 1 has a stricter threshold of its own.
    for seen in [scores(0.89), scores(0.04)] {
        let d = decide(&seen, &certified(), &around(Privacy::Ok, &[view(0, true)], HOUR, HOUR, 0));
        assert!(matches!(d.verdict, Verdict::Escalate { reason: Reason::EscBelowLambda, .. }), "{d:?}");
        let nobody = decide(&seen, &certified(), &around(Privacy::Ok, &[], HOUR, HOUR, 0));
        assert_eq!(nobody.verdict, Verdict::AnswerLocal(Reason::LocalPolicyNoEgress));
        assert!(!d.certified && !nobody.certified);
    }
    let beyond = Observation::Scores(vec![0.0, 0.0, 90.0]);
    let d = decide(&beyond, &certified(), &around(Privacy::Ok, &[], HOUR, HOUR, 0));
    assert!(!d.certified, "a class that was never certified");
}

#[test]
fn a_foreign_calibration_certifies_nothing() {
    let policy = Policy { calibration: State::Mismatch, ..policy(0.9) };
    let d = decide(&scores(0.999), &policy, &around(Privacy::Ok, &[view(0, true)], HOUR, HOUR, 0));
    let verdict = Verdict::AnswerLocal(Reason::LocalUncertifiedModelMismatch);
    assert_eq!((d.verdict, d.certified), (verdict, false));
}

#[test]
fn no_scores_are_no_answer() {
    for policy in [certified(), policy(0.9)] {
        let d = decide(&Observation::Scores(vec![]), &policy, &around(Privacy::Ok, &[view(0, true)], HOUR, HOUR, 0));
        assert!(matches!(d.verdict, Verdict::Escalate { reason: Reason::EscBadOutput, .. }), "{d:?}");
        let d = decide(&Observation::Scores(vec![]), &policy, &around(Privacy::Never, &[view(0, true)], HOUR, HOUR, 0));
        assert!(matches!(d.verdict, Verdict::Fail(_)) && !d.certified, "{d:?}");
    }
}
