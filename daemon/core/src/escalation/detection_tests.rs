use std::sync::Arc;

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;
use crate::{
    escalation::{
        budget::Cost,
        calibration::{Certified, LabelSource, State},
        certificate::Promise,
        decide::{Circumstances, Observation, Policy, ProviderView, Reason, Verdict, decide},
        platt::Platt,
        score::ScoreRule,
        shift::Reference,
    },
    job::{Privacy, ProviderId},
    said::Measure,
    time::Span,
};

const MEASURE: Measure = Measure::Boxes { iou: 0.5, listed: Listed::ALL };

const fn a_box(score: f32) -> Found {
    Found { class: 2, score, x: 10.0, y: 20.0, w: 30.0, h: 40.0 }
}

fn seen(scores: &[f32], suppressed: f32, grey: u32) -> Detection {
    Detection { boxes: scores.iter().map(|score| a_box(*score)).collect(), suppressed, grey }
}

fn rated(seen: &Detection) -> Option<Rated> {
    rate(seen, 0.5, &Listed::ALL).map(|(_, rated)| rated)
}

#[test]
fn the_least_sure_box_and_what_was_nearly_shown_make_the_score() {
    let s = |scores: &[f32], suppressed, grey| rated(&seen(scores, suppressed, grey)).unwrap().s;
    assert_eq!((s(&[0.9, 0.75], 0.0, 0), s(&[0.75], 0.5, 0), s(&[0.75], 0.5, 2)), (0.75, 0.375, 0.125));
    assert_eq!((s(&[], 0.0, 0), s(&[], 0.25, 0), s(&[], 0.25, 2)), (1.0, 0.75, 0.25));
}

#[test]
fn an_empty_answer_is_a_side_of_its_own() {
    let some = rate(&seen(&[0.9], 0.1, 0), 0.5, &Listed::ALL).unwrap();
    assert_eq!((some.0.class(), some.1.class), (FOUND, FOUND));
    let none = rate(&seen(&[], 0.1, 0), 0.5, &Listed::ALL).unwrap();
    assert_eq!((none.0, none.1.class), (Said::Boxes(vec![]), EMPTY));
    // What is not listed is no part of the answer.
    let (said, unlisted) = rate(&seen(&[0.2], 0.1, 0), 0.5, &Listed::of([0])).unwrap();
    assert_eq!((said.class(), unlisted.class, unlisted.s), (EMPTY, EMPTY, none.1.s));
}

#[test]
fn what_is_no_detection_has_no_rating() {
    for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.1, 1.1] {
        assert_eq!(rated(&seen(&[0.9, odd], 0.0, 0)), None, "{odd}");
        assert_eq!(rated(&seen(&[], odd, 0)), None, "{odd}");
    }
    for bad in [Found { w: -1.0, ..a_box(0.9) }, Found { x: f32::NAN, ..a_box(0.9) }] {
        assert_eq!(rated(&Detection { boxes: vec![bad], ..seen(&[], 0.0, 0) }), None, "{bad:?}");
    }
    assert_eq!(rated(&seen(&vec![0.9; limits::BOXES + 1], 0.0, 0)), None);
    assert_eq!(rate(&seen(&[0.9], 0.0, 0), 0.0, &Listed::ALL), None);
    // A box without an area, or outside of every image, is one.
    assert!(rated(&Detection { boxes: vec![Found { w: 0.0, x: -9e9, ..a_box(0.9) }], ..seen(&[], 0.0, 0) }).is_some());
}

/// Whatever the numbers: a rating between 0 and 1 or none, and never surer with one more doubt.
#[test]
fn every_detection_is_rated_between_0_and_1_or_not_at_all() {
    let seed = 13;
    println!("seed {seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1.0, 0.0, 1.0, 2.0, f32::MAX, f32::MIN_POSITIVE];
    for _ in 0..20_000 {
        let mut number = || if dice.random_bool(0.03) { odd[dice.random_range(0..odd.len())] } else { dice.random() };
        let mut a = || Found { class: 1, score: number(), x: number(), y: number(), w: number(), h: number() };
        let boxes: Vec<Found> = vec![a(), a(), a()];
        let suppressed = number();
        let many = dice.random_range(0..=3);
        let grey = *[0, 1, 7, u32::MAX].get(dice.random_range(0..4)).unwrap();
        let seen = Detection { boxes: boxes[..many].to_vec(), suppressed, grey };
        let Some(found) = rated(&seen) else { continue };
        assert!([found.s, found.p_wrong, found.confidence].iter().all(|x| (0.0..=1.0).contains(x)), "{seen:?}");
        assert_eq!(found.class == EMPTY, seen.boxes.is_empty());
        let doubts = [
            Detection { suppressed: suppressed.max(dice.random()), ..seen.clone() },
            Detection { grey: grey.saturating_add(1), ..seen.clone() },
            Detection { boxes: [&seen.boxes[..], &[a_box(dice.random())]].concat(), ..seen.clone() },
        ];
        for doubt in doubts {
            assert!(rated(&doubt).unwrap().s <= found.s, "{doubt:?} is surer than {seen:?}");
        }
    }
}

/// Found boxes are covered from 0.6 on; empty answers from `empty` on.
fn policy(empty: f32) -> Policy {
    let certified = Certified {
        score: ScoreRule::Boxes,
        lambdas: vec![0.6, empty],
        cases: 500,
        promise: Promise { alpha: 0.02, delta: 0.05 },
        round: 1,
        wrong: Platt::fit(&[]),
        scores: Reference::of([0.5]),
        label_source: LabelSource::Human,
        digest: "sha256:00".into(),
    };
    Policy {
        measure: MEASURE,
        calibration: State::Valid(Arc::new(certified)),
        providers: vec![ProviderId(0)],
        ..Policy::alone(1.0, None)
    }
}

fn around() -> Circumstances {
    let hour = Span::from_millis(3_600_000);
    let view = ProviderView {
        id: ProviderId(0),
        admits: true,
        timeout: hour,
        accuracy: 0.95,
        cost: Cost::ZERO,
        affordable: true,
        threshold: 0.0,
        on_time: 1.0,
    };
    Circumstances { privacy: Privacy::Ok, providers: vec![view], left: hour, whole: hour, ..Circumstances::ALONE }
}

#[test]
fn an_empty_answer_is_asked_about_unless_the_empty_cases_bear_it() {
    let sure = Observation::Boxes(seen(&[], 0.0, 0));
    // Without enough empty cases, the surest one is asked about.
    let asked = decide(&sure, &policy(f32::INFINITY), &around());
    assert!(matches!(asked.verdict, Verdict::Escalate { reason: Reason::EscEmptyOutput, .. }), "{asked:?}");
    assert!(!asked.certified);
    let borne = decide(&sure, &policy(0.7), &around());
    assert_eq!((borne.verdict, borne.certified), (Verdict::AnswerLocal(Reason::LocalCertified), true));
    let doubtful = decide(&Observation::Boxes(seen(&[], 0.4, 0)), &policy(0.7), &around());
    assert!(matches!(doubtful.verdict, Verdict::Escalate { reason: Reason::EscEmptyOutput, .. }), "{doubtful:?}");
    // Boxes have their own threshold and their own reason.
    let boxes = |score| decide(&Observation::Boxes(seen(&[score], 0.0, 0)), &policy(f32::INFINITY), &around());
    assert!(boxes(0.6).certified);
    assert!(matches!(boxes(0.5).verdict, Verdict::Escalate { reason: Reason::EscBelowLambda, .. }));
    // The certificate is suspended: that comes first.
    let suspect = decide(&sure, &policy(0.7), &Circumstances { suspect: true, ..around() });
    assert!(matches!(suspect.verdict, Verdict::Escalate { reason: Reason::EscSuspect, .. }), "{suspect:?}");
}

#[test]
fn a_doubtful_empty_answer_that_nobody_can_be_asked_about_is_not_certified() {
    let decision = decide(&Observation::Boxes(seen(&[], 0.4, 0)), &policy(0.7), &Circumstances::ALONE);
    assert_eq!(decision.verdict, Verdict::AnswerLocal(Reason::LocalPolicyNoEgress));
    assert!(!decision.certified);
    let later = Policy { amends: true, at_once: true, ..policy(0.7) };
    let later = decide(&Observation::Boxes(seen(&[], 0.4, 0)), &later, &around()).later.unwrap();
    assert_eq!((later.reason, later.said), (Reason::EscEmptyOutput, Said::Boxes(vec![])));
}

#[test]
fn a_broken_detection_is_asked_about_or_fails() {
    let broken = Observation::Boxes(seen(&[f32::NAN], 0.0, 0));
    let asked = decide(&broken, &policy(0.7), &around());
    assert!(matches!(asked.verdict, Verdict::Escalate { reason: Reason::EscBadOutput, .. }), "{asked:?}");
    let alone = decide(&broken, &policy(0.7), &Circumstances::ALONE);
    assert!(matches!(alone.verdict, Verdict::Fail(_)) && !alone.certified, "{alone:?}");
    // Boxes of a model that is no detector are no usable output, nor are scores of one that is.
    let other = Policy { measure: Measure::Classes, ..Policy::alone(1.0, None) };
    let decision = decide(&Observation::Boxes(seen(&[0.9], 0.0, 0)), &other, &Circumstances::ALONE);
    assert!(matches!(decision.verdict, Verdict::Fail(_)));
    assert_eq!(ScoreRule::Boxes.rate(&[1.0]), None);
}
