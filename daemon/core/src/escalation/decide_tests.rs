use std::sync::Arc;

use super::*;
use crate::escalation::{
    calibration::{Certified, LabelSource},
    certificate::Promise,
    platt::Platt,
    score::ScoreRule,
    shift::Reference,
};
use crate::said::Said;

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

/// Nobody could say more than that the window is open: there is nothing to certify, to ask, or to judge later.
#[test]
fn an_open_window_is_answered_at_once_whatever_is_around() {
    for policy in [policy(0.9), certified(), Policy { amends: true, ..certified() }] {
        for (audit, suspect) in [(false, false), (true, false), (false, true)] {
            let around = around(Privacy::Ok, &[view(0, true)], HOUR, HOUR, 0);
            let d = decide(&Observation::WindowOpen, &policy, &Circumstances { audit, suspect, ..around });
            assert_eq!(d.verdict, Verdict::AnswerLocal(Reason::LocalWindowOpen));
            assert_eq!((d.certified, d.said, d.rated, d.later), (false, None, None, None));
        }
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

/// Two answers, equally doubtful; one of the labels is worth ten times as much.
#[test]
fn what_is_worth_more_may_cost_more() {
    let dear = ProviderView { threshold: 2.0, ..view(0, true) };
    let policy = Policy { values: Values { classes: vec![1.0, 10.0, 1.0], other: 1.0 }, ..policy(0.9) };
    let scarce = Circumstances { rich: false, ..around(Privacy::Ok, &[dear], HOUR, HOUR, 0) };
    let verdict = |scores: Vec<f32>| decide(&Observation::Scores(scores), &policy, &scarce).verdict;
    assert_eq!(verdict(vec![0.1, 0.0, 0.0]), Verdict::AnswerLocal(Reason::LocalUncertifiedBudget));
    assert!(matches!(verdict(vec![0.0, 0.1, 0.0]), Verdict::Escalate { reason: Reason::EscBelowLambda, .. }));
}

#[test]
fn with_plenty_left_the_promise_has_no_price_and_the_budget_has() {
    let dear = ProviderView { threshold: 2.0, ..view(0, true) };
    let plenty = around(Privacy::Ok, &[dear], HOUR, HOUR, 0);
    let verdict = |mode| decide(&doubtful(), &Policy { mode, ..policy(0.9) }, &plenty).verdict;
    assert!(matches!(verdict(Mode::PromiseFirst), Verdict::Escalate { .. }));
    assert_eq!(verdict(Mode::BudgetFirst), Verdict::AnswerLocal(Reason::LocalUncertifiedBudget));
}

#[test]
fn nobody_is_asked_who_is_not_expected_to_do_better() {
    let worse = ProviderView { accuracy: 0.2, ..view(0, true) };
    let asked = |rich, mode| {
        let around = Circumstances { rich, ..around(Privacy::Ok, &[worse], HOUR, HOUR, 0) };
        decide(&doubtful(), &Policy { mode, ..policy(0.9) }, &around).verdict
    };
    assert_eq!(asked(false, Mode::PromiseFirst), Verdict::AnswerLocal(Reason::LocalNoGain));
    assert_eq!(asked(true, Mode::BudgetFirst), Verdict::AnswerLocal(Reason::LocalNoGain));
    assert!(matches!(asked(true, Mode::PromiseFirst), Verdict::Escalate { .. }), "the promise is served in full");
}

#[test]
fn what_is_not_affordable_is_not_asked_and_the_next_provider_may_be() {
    let broke = ProviderView { affordable: false, ..view(0, true) };
    let one = around(Privacy::Ok, &[broke], HOUR, HOUR, 0);
    let verdict = |around: &Circumstances| decide(&doubtful(), &policy(0.9), around).verdict;
    assert_eq!(verdict(&one), Verdict::AnswerLocal(Reason::LocalUncertifiedBudget));
    let two = around(Privacy::Ok, &[broke, view(1, true)], HOUR, HOUR, 0);
    assert!(matches!(verdict(&two), Verdict::Escalate { provider: ProviderId(1), .. }));
}

#[test]
fn who_is_likelier_late_than_not_is_not_waited_for() {
    let slow = ProviderView { on_time: 0.49, ..view(0, true) };
    let one = around(Privacy::Ok, &[slow], HOUR, HOUR, 0);
    let verdict = |seen: &Observation| decide(seen, &policy(0.9), &one).verdict;
    assert_eq!(verdict(&doubtful()), Verdict::AnswerLocal(Reason::LocalUncertifiedDeadline));
    let unusable = Observation::Malformed("a NaN".to_owned());
    assert!(matches!(verdict(&unusable), Verdict::Escalate { .. }), "there is nothing to stay with");
}

#[test]
fn another_frame_of_a_part_is_asked_about_only_where_the_lottery_wants_it() {
    let with = |known, audit| {
        let around = Circumstances { known, audit, ..around(Privacy::Ok, &[view(0, true)], HOUR, HOUR, 0) };
        decide(&doubtful(), &policy(0.9), &around).verdict
    };
    let answered = Known::Answered((ProviderId(0), Said::Class(2)));
    assert_eq!(with(Some(Known::Asked), false), Verdict::AnswerLocal(Reason::LocalDuplicate));
    assert_eq!(with(Some(answered.clone()), false), Verdict::Reuse { provider: ProviderId(0), said: Said::Class(2) });
    assert!(matches!(with(Some(answered), true), Verdict::Escalate { .. }));
}
