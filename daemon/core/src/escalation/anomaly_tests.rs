use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;

fn s(score: f64, threshold: f64) -> f32 {
    rate(score, threshold).unwrap().1.s
}

#[test]
fn the_threshold_makes_the_class_and_the_distance_the_score() {
    for (score, class) in [(0.0, NORMAL), (1.999, NORMAL), (2.0, ANOMALY), (9.0, ANOMALY)] {
        let (said, rated) = rate(score, 2.0).unwrap();
        assert_eq!((said, rated.class), (Said::Class(class), class), "{score}");
    }
    assert_eq!((s(2.0, 2.0), s(0.0, 2.0), s(4.0, 2.0), s(6.0, 2.0)), (0.0, 0.5, 0.5, 2.0 / 3.0));
    assert_eq!(s(1.0, 0.0), 0.5, "a threshold of 0 has a scale too");
    assert_eq!(rate(2.0, 2.0).unwrap().1.p_wrong, 0.5);
}

#[test]
fn what_is_no_number_has_no_rating() {
    for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(rate(odd, 1.0), None);
        assert_eq!(rate(1.0, odd), None);
    }
}

/// Whatever the numbers: a score in [0, 1], growing with the distance, and lo and hi that undo it.
#[test]
fn every_finite_score_is_rated_and_the_band_is_where_the_thresholds_are() {
    let seed = 11;
    println!("seed {seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    for _ in 0..20_000 {
        let size = 10_f64.powi(dice.random_range(-300..=308));
        let threshold = dice.random_range(-1.0..1.0) * 10_f64.powi(dice.random_range(-3..=3));
        let (near, far) = (dice.random_range(-1.0..1.0) * size, dice.random_range(-1.0..1.0) * size);
        let (near, far) = if near.abs() < far.abs() { (near, far) } else { (far, near) };
        let (near, far) = (sureness(near, threshold), sureness(far, threshold));
        assert!((0.0..=1.0).contains(&near) && near <= far && far <= 1.0, "{near} {far}");
        let lambda = dice.random_range(0.01_f32..0.99);
        let (lo, hi) = band([lambda, lambda], threshold);
        assert!((s(lo, threshold) - lambda).abs() < 1e-4 && (s(hi, threshold) - lambda).abs() < 1e-4);
        assert!(lo < threshold && threshold < hi);
    }
    assert_eq!(band([f32::INFINITY, 0.0], 3.0), (f64::NEG_INFINITY, 3.0), "a side that is not covered has no end");
    assert_eq!(sureness(f64::MAX - f64::MIN, 1.0), 1.0);
}
