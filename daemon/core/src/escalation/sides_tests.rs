//! The promises of anomalies, numbers and boxes, and whether they hold: calibrations are drawn many times from a population of which
//! the risks are known, and those that break their promise are counted.

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;
use crate::{
    boxes::{Found, Listed},
    escalation::{
        anomaly::{ANOMALY, NORMAL},
        calibration::{Certified, ClassPromise, LabelSource, State},
        decide::{Circumstances, Observation, Policy, Reason, Verdict, decide},
        detection::{Detection, EMPTY, FOUND},
        rating,
        score::ScoreRule,
    },
    said::{Measure, Said},
};

const DRAWS: u32 = 400;
const MEASURE: Measure = Measure::Anomaly { threshold: 2.0 };
const WITHIN: Measure = Measure::Value { tolerance: 1.0 };
/// Of three classes two are listed.
fn boxes() -> Measure {
    Measure::Boxes { iou: 0.5, listed: Listed::of([0, 1]) }
}

fn question(measure: &Measure, alpha: f64, classes: Vec<ClassPromise>) -> Question {
    Question {
        choosing: 0,
        created: "2026-01-01T00:00:00Z".into(),
        task: "anomaly".into(),
        model_sha256: "m".into(),
        preprocess_sha256: "p".into(),
        labels: rating::kinds(measure, &[]),
        score: rating::rule(measure, 1.0),
        promise: Promise { alpha, delta: 0.05 },
        round: 1,
        classes,
        given: 0,
        data_sha256: "d".into(),
        label_source: LabelSource::Human,
    }
}

/// An output, and what would be right.
type Drawn = (Observation, Said);

/// A third are anomalies; their scores and those of the others overlap, and not to the same extent on both sides.
fn anomaly(dice: &mut StdRng) -> Drawn {
    let truth = usize::from(dice.random_bool(0.3));
    let noise = (0..3).map(|_| dice.random_range(-1.0..1.0)).sum::<f64>();
    let score = if truth == ANOMALY { 3.2 + 1.2 * noise } else { 1.0 + 0.7 * noise };
    (Observation::Anomaly(score), Said::Class(truth))
}

/// σ says how far off the value may be.
fn number(dice: &mut StdRng) -> Drawn {
    let sigma: f64 = dice.random_range(0.05..1.5);
    let truth = dice.random_range(-10.0..10.0);
    let noise = (0..4).map(|_| dice.random_range(-1.0..1.0)).sum::<f64>();
    (Observation::Value { value: truth + sigma * noise, sigma: Some(sigma) }, Said::Value(truth))
}

/// Up to three things in an image, more often none. The display threshold is 0.5, the grey band 0.4 to 0.6. Things may be missed,
/// be seen as another class or in another place, and some boxes show nothing; the surer, the rarer.
fn image(dice: &mut StdRng) -> Drawn {
    let mut seen = Detection { boxes: vec![], suppressed: 0.0, grey: 0 };
    let mut truth = Vec::new();
    let mut candidates = Vec::new();
    for at in 0..dice.random_range(0..=5_u8).saturating_sub(2) {
        let thing = Found {
            class: dice.random_range(0..3),
            score: 1.0,
            x: 100.0 * f32::from(at),
            y: dice.random_range(0.0..100.0),
            w: dice.random_range(10.0..60.0),
            h: dice.random_range(10.0..60.0),
        };
        truth.push(thing);
        let score = 1.0 - 0.9 * dice.random::<f32>().powi(3);
        let doubt = 1.0 - score;
        let class = if dice.random_bool(f64::from(doubt) / 4.0) { (thing.class + 1) % 3 } else { thing.class };
        let x = thing.x + thing.w * doubt * dice.random_range(0.0..0.6);
        candidates.push(Found { class, score, x, ..thing });
    }
    if dice.random_bool(0.3) {
        let score = dice.random::<f32>().powi(3);
        candidates.push(Found { class: dice.random_range(0..3), score, x: -200.0, y: 0.0, w: 20.0, h: 20.0 });
    }
    for found in candidates {
        let counts = found.class < 2;
        seen.grey += u32::from(counts && (0.4..0.6).contains(&found.score));
        if found.score >= 0.5 {
            seen.boxes.push(found);
        } else if counts {
            seen.suppressed = seen.suppressed.max(found.score);
        }
    }
    (Observation::Boxes(seen), Said::Boxes(truth))
}

fn case((seen, truth): &Drawn, measure: &Measure) -> Case {
    let (said, rated) = rating::rate(seen, measure, &rating::rule(measure, 1.0)).unwrap();
    Case { s: rated.s, class: said.class(), wrong: !said.agrees(truth, measure) }
}

fn certified(question: &Question, cases: &[Case]) -> Certified {
    Calibration::issue(question, cases).unwrap().certified("sha256:x").unwrap()
}

/// How many of the calibrations broke their promise: `risk` of the thresholds is to be at most α.
fn broken(draw: fn(&mut StdRng) -> Drawn, measure: &Measure, each_side: bool, n: usize, alpha: f64) -> u32 {
    let seed = 41;
    println!("seed {seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    let population: Vec<Case> = (0..60_000).map(|_| case(&draw(&mut dice), measure)).collect();
    let share = |class: Option<usize>, lambda: &dyn Fn(usize) -> f32| {
        let of: Vec<&Case> = population.iter().filter(|case| class.is_none_or(|class| case.class == class)).collect();
        of.iter().filter(|case| case.wrong && case.s >= lambda(case.class)).count() as f64 / of.len() as f64
    };
    let mut broken = 0;
    for _ in 0..DRAWS {
        let cases: Vec<Case> = (0..n).map(|_| population[dice.random_range(0..population.len())]).collect();
        let found = certified(&question(measure, alpha, vec![]), &cases);
        let lambda = |class| found.lambda(class);
        let kept = if each_side {
            [0, 1].into_iter().all(|class| share(Some(class), &lambda) <= alpha)
        } else {
            share(None, &lambda) <= alpha
        };
        broken += u32::from(!kept);
    }
    broken
}

/// δ = 5 % at round 1 is 5 % · 6 / π²; four standard deviations of the count above that is allowed.
fn within_delta(broken: u32) {
    let allowed = 0.05 * 6.0 / std::f64::consts::PI.powi(2) * f64::from(DRAWS);
    println!("{broken} of {DRAWS} broken, {allowed:.1} expected at most");
    assert!(f64::from(broken) <= allowed + 4.0 * allowed.sqrt(), "{broken} of {DRAWS}");
    assert!(broken > 0, "so cautious that it is useless");
}

#[test]
fn the_promise_for_each_side_of_anomalies_holds() {
    within_delta(broken(anomaly, &MEASURE, true, 800, 0.03));
}

#[test]
fn the_promise_for_numbers_holds() {
    within_delta(broken(number, &WITHIN, false, 500, 0.05));
}

#[test]
fn the_promise_for_images_with_boxes_and_for_empty_ones_holds() {
    within_delta(broken(image, &boxes(), true, 800, 0.03));
}

/// The cases decide whether nothing found may be believed, and they may be too few for it while those with boxes are not.
#[test]
fn empty_answers_are_certified_only_if_the_empty_cases_bear_it() {
    let mut dice = StdRng::seed_from_u64(4);
    let cases: Vec<Case> = (0..900).map(|_| case(&image(&mut dice), &boxes())).collect();
    let found = certified(&question(&boxes(), 0.03, vec![]), &cases);
    assert!(found.lambda(FOUND).is_finite() && found.lambda(EMPTY).is_finite());
    assert_ne!(found.lambda(FOUND), found.lambda(EMPTY));
    let few: Vec<Case> = {
        let empty = cases.iter().filter(|case| case.class == EMPTY).take(50);
        cases.iter().filter(|case| case.class == FOUND).chain(empty).copied().collect()
    };
    let file = Calibration::issue(&question(&boxes(), 0.03, vec![]), &few).unwrap();
    assert_eq!(file.per_class.keys().collect::<Vec<_>>(), ["found"]);
    assert!(file.sentence.contains("Answers 'empty' are not covered"), "{}", file.sentence);
    let policy = Policy {
        measure: boxes(),
        calibration: State::Valid(std::sync::Arc::new(file.certified("x").unwrap())),
        ..Policy::alone(1.0, None)
    };
    let nothing = Detection { boxes: vec![], suppressed: 0.0, grey: 0 };
    assert!(!decide(&Observation::Boxes(nothing), &policy, &Circumstances::ALONE).certified);
}

fn draw(n: usize) -> Vec<Case> {
    let mut dice = StdRng::seed_from_u64(3);
    (0..n).map(|_| case(&anomaly(&mut dice), &MEASURE)).collect()
}

#[test]
fn each_side_has_the_threshold_of_its_own_cases() {
    let cases = draw(900);
    let stricter = vec![ClassPromise { class: NORMAL, alpha: 0.01 }];
    let (plain, strict) = (question(&MEASURE, 0.03, vec![]), question(&MEASURE, 0.03, stricter));
    let (plain, strict) = (certified(&plain, &cases), certified(&strict, &cases));
    assert_eq!(plain.lambdas.len(), 2);
    assert_ne!(plain.lambda(NORMAL), plain.lambda(ANOMALY));
    assert!(strict.lambda(NORMAL) > plain.lambda(NORMAL), "1 % instead of 3 %");
    assert_eq!(strict.lambda(ANOMALY), plain.lambda(ANOMALY));
    // Made again of the lottery's cases it still has two sides.
    let again = plain.again(&cases).unwrap();
    assert!(again.lambda(NORMAL) >= plain.lambda(NORMAL) && again.lambda(NORMAL) != again.lambda(ANOMALY));
}

#[test]
fn a_side_with_too_few_cases_is_not_covered_and_the_sentence_says_so() {
    let mut cases = draw(900);
    let alarms = cases.iter().filter(|case| case.class == ANOMALY).take(20).copied().collect::<Vec<_>>();
    cases.retain(|case| case.class == NORMAL);
    cases.extend(alarms);
    let file = Calibration::issue(&question(&MEASURE, 0.03, vec![]), &cases).unwrap();
    assert_eq!(file.per_class.keys().collect::<Vec<_>>(), ["normal"]);
    assert!(file.sentence.contains("Answers 'anomaly' are not covered"), "{}", file.sentence);
    let found = file.certified("x").unwrap();
    assert_eq!(found.lambda(ANOMALY), f32::INFINITY);
    let policy =
        Policy { measure: MEASURE, calibration: State::Valid(std::sync::Arc::new(found)), ..Policy::alone(1.0, None) };
    let says = |score| decide(&Observation::Anomaly(score), &policy, &Circumstances::ALONE);
    assert!(says(-5.0).certified && !says(1e30).certified);
    let none: Vec<Case> = cases.iter().copied().take(30).collect();
    assert!(Calibration::issue(&question(&MEASURE, 0.03, vec![]), &none).is_err());
}

#[test]
fn a_file_that_promises_a_side_more_than_its_cases_allow_is_none() {
    let file = Calibration::issue(&question(&MEASURE, 0.03, vec![]), &draw(900)).unwrap();
    assert!(file.certified("x").is_ok());
    for spoil in [
        |file: &mut Calibration| file.per_class.get_mut("normal").unwrap().alpha = 0.2,
        |file: &mut Calibration| file.per_class.get_mut("normal").unwrap().n = 10,
        |file: &mut Calibration| file.per_class.get_mut("anomaly").unwrap().lambda = f32::NAN,
        |file: &mut Calibration| file.per_class.clear(),
        |file: &mut Calibration| file.promise.form = "joint".into(),
        |file: &mut Calibration| file.promise.wrong = 1_000,
    ] {
        let mut other = file.clone();
        spoil(&mut other);
        assert!(other.certified("x").is_err(), "{other:?}");
    }
}

#[test]
fn without_a_sigma_the_certificate_is_all_or_nothing() {
    let cases = |wrong: usize| -> Vec<Case> {
        let one =
            |at| ((Observation::Value { value: 0.0, sigma: None }), Said::Value(if at < wrong { 5.0 } else { 0.5 }));
        (0..500).map(|at| case(&one(at), &WITHIN)).collect()
    };
    let share =
        |wrong| Calibration::issue(&question(&WITHIN, 0.05, vec![]), &cases(wrong)).unwrap().promise.local_share;
    assert_eq!((share(3), share(100)), (1.0, 0.0));
}

#[test]
fn outputs_that_are_no_numbers_fail_or_are_asked_about_and_are_never_certified() {
    let anomalies = |score| (Observation::Anomaly(score), MEASURE);
    let numbers = |value, sigma| (Observation::Value { value, sigma }, WITHIN);
    for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        for (seen, measure) in [anomalies(odd), numbers(odd, None), numbers(1.0, Some(odd)), numbers(1.0, Some(-1.0))] {
            let policy = Policy { measure, ..Policy::alone(1.0, None) };
            let decision = decide(&seen, &policy, &Circumstances::ALONE);
            assert!(matches!(decision.verdict, Verdict::Fail(_)), "{seen:?}");
            assert!(!decision.certified && decision.said.is_none() && decision.later.is_none());
        }
    }
    // An output of another task than the model's is none either.
    let policy = Policy { measure: MEASURE, ..Policy::alone(1.0, None) };
    let decision = decide(&Observation::Scores(vec![1.0, 2.0]), &policy, &Circumstances::ALONE);
    assert!(matches!(decision.verdict, Verdict::Fail(_)));
    let fine = decide(&Observation::Anomaly(1.0), &policy, &Circumstances::ALONE);
    assert_eq!(fine.verdict, Verdict::AnswerLocal(Reason::LocalUncertifiedNoCalibration));
    assert_eq!(ScoreRule::Distance.rate(&[1.0]), None);
}
