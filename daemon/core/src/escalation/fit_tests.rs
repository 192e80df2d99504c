use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;

fn dice(seed: u64) -> StdRng {
    println!("seed {seed}");
    StdRng::seed_from_u64(seed)
}

/// Logits that are drawn at random, and labels that follow softmax(logits / temperature).
fn drawn(n: u64, temperature: f32, dice: &mut StdRng) -> Vec<LabelledLogits> {
    let draw = |group| {
        let logits: Vec<f32> = (0..4).map(|_| dice.random_range(-4.0..4.0)).collect();
        let mut left: f32 = dice.random();
        let probabilities = softmax(&logits, temperature);
        let label = probabilities.iter().position(|p| {
            left -= p;
            left < 0.0
        });
        LabelledLogits { logits, label: label.unwrap_or(0), group }
    };
    (0..n).map(draw).collect()
}

/// The same, but each output is blown up or shrunk by chance, so that its size says nothing of how sure it is.
fn of_any_size(n: u64, dice: &mut StdRng) -> Vec<LabelledLogits> {
    let mut cases = drawn(n, 1.0, dice);
    for case in &mut cases {
        let factor = dice.random_range(-2.0_f32..2.0).exp();
        case.logits.iter_mut().for_each(|z| *z *= factor);
    }
    cases
}

#[test]
fn the_area_is_that_of_a_small_example_by_hand() {
    // At coverages 1/4 … 4/4, 0, 1, 1 and 2 of 4 are answered and wrong.
    let area = augrc(&[(0.9, false), (0.8, true), (0.7, false), (0.6, true)]);
    assert!((area - (0.0 + 1.0 + 1.0 + 2.0) / 16.0).abs() < 1e-12, "{area}");
    // Two equal ones, either first: (1 + 1) / 4 or (0 + 1) / 4.
    let tied = augrc(&[(0.5, true), (0.5, false)]);
    assert!((tied - 0.375).abs() < 1e-12, "{tied}");
    assert_eq!((augrc(&[]), augrc(&[(0.1, false)])), (0.0, 0.0));
}

#[test]
fn influences_tell_how_much_the_area_varies() {
    let mut dice = dice(4);
    let mut draw = |n: usize| -> Vec<(f32, bool)> {
        let case = |_| {
            let s: f32 = dice.random();
            (s, dice.random_bool(f64::from(1.0 - s) / 2.0))
        };
        (0..n).map(case).collect()
    };
    let areas: Vec<f64> = (0..2_000).map(|_| augrc(&draw(400))).collect();
    let mean = areas.iter().sum::<f64>() / 2_000.0;
    let seen = (areas.iter().map(|a| (a - mean).powi(2)).sum::<f64>() / 2_000.0).sqrt();
    let sample = draw(400);
    let told = influences(&sample).iter().map(|x| x * x).sum::<f64>().sqrt() / 400.0;
    assert!(told > 0.8 * seen && told < 1.25 * seen, "told {told}, seen {seen}");
}

#[test]
fn the_temperature_is_the_one_that_the_labels_were_drawn_with() {
    let mut dice = dice(1);
    for truth in [0.5, 1.0, 3.0] {
        let rule = choose(&drawn(4_000, truth, &mut dice)).rule;
        let found = rule.temperature();
        assert!((found / truth - 1.0).abs() < 0.1, "{found}, and not {truth}");
    }
}

#[test]
fn the_logistic_is_taken_where_the_size_of_an_output_says_nothing() {
    let mut dice = dice(2);
    let chosen = choose(&of_any_size(1_000, &mut dice));
    assert!(matches!(chosen.rule, ScoreRule::Logistic { .. }), "{chosen:?}");
    let found = chosen.logistic.unwrap();
    assert_eq!(chosen.augrc, found.augrc);
    assert!(chosen.augrc < chosen.augrc_msp - found.standard_error, "{chosen:?}");
    // It holds on cases that were not fitted, too.
    let fresh = of_any_size(4_000, &mut dice);
    let fresh: Vec<&LabelledLogits> = fresh.iter().collect();
    let plain = ScoreRule::Softmax { temperature: chosen.rule.temperature() };
    let (found, plain) = (augrc(&ranked(&fresh, &chosen.rule)), augrc(&ranked(&fresh, &plain)));
    assert!(found < 0.9 * plain, "{found}, plain {plain}");
}

/// Where the softmax is the truth there is nothing to gain, and chance must not look like a gain most of the time.
#[test]
fn the_plain_score_stays_where_it_is_the_truth() {
    let mut dice = dice(3);
    let taken = (0..40).filter(|_| {
        let rule = choose(&drawn(300, 1.0, &mut dice)).rule;
        matches!(rule, ScoreRule::Logistic { .. })
    });
    // One standard error is exceeded by chance in a sixth of the cases; the fit's own errors make it fewer.
    let taken = taken.count();
    assert!(taken <= 10, "{taken} of 40");
}

#[test]
fn the_logistic_is_the_minimum_of_its_loss() {
    let mut dice = dice(5);
    let phi: Vec<[f64; FEATURES]> = (0..500).map(|_| std::array::from_fn(|_| dice.random_range(-1.0..3.0))).collect();
    let wrong: Vec<bool> = phi.iter().map(|x| dice.random_bool(sigmoid(x[0] - 2.0 * x[1] - 1.0))).collect();
    let (_, weights) = regress(&phi, &wrong).unwrap();
    assert!((weights[0] + 1.0).abs() < 0.5 && (weights[1] - 1.0).abs() < 0.4, "{weights:?}");
    assert!((weights[2] + 2.0).abs() < 0.5 && weights[3].abs() < 0.4 && weights[4].abs() < 0.4, "{weights:?}");
}

#[test]
fn cases_of_a_group_stay_in_one_fold() {
    let mut dice = dice(6);
    let mut cases = drawn(600, 1.0, &mut dice);
    for (at, case) in cases.iter_mut().enumerate() {
        case.group = (at as u64 * 8) % 203;
    }
    let cases: Vec<&LabelledLogits> = cases.iter().collect();
    let folds = folds(&cases).unwrap();
    let mut of_group = BTreeMap::new();
    for (case, fold) in cases.iter().zip(&folds) {
        assert_eq!(of_group.entry(case.group).or_insert(fold), &fold);
    }
    assert!((0..FOLDS).all(|fold| folds.iter().filter(|at| **at == fold).count().abs_diff(120) < 6));
}

#[test]
fn odd_samples_have_a_plain_score() {
    let case = |logits: &[f32], label, group| LabelledLogits { logits: logits.to_vec(), label, group };
    let never_wrong: Vec<LabelledLogits> = (0..200).map(|at| case(&[3.0, 0.0], 0, at)).collect();
    let always_wrong: Vec<LabelledLogits> = (0..200).map(|at| case(&[3.0, 0.0], 7, at)).collect();
    let few = vec![case(&[1.0, 0.0], 0, 1); 200];
    let broken: Vec<LabelledLogits> =
        (0..200).map(|at| if at % 2 == 0 { case(&[], 0, at) } else { case(&[f32::NAN, 1.0], 0, at) }).collect();
    for sample in [never_wrong, always_wrong, few, broken, Vec::new()] {
        let chosen = choose(&sample);
        let ScoreRule::Softmax { temperature } = chosen.rule else { panic!("{chosen:?}") };
        assert!(temperature.is_finite() && temperature > 0.0, "{chosen:?}");
        assert_eq!(chosen.logistic, None);
    }
}
