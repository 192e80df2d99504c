use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;

#[test]
fn the_smaller_sigma_the_surer() {
    let s = |sigma| rate(7.0, sigma, 0.5).unwrap().1.s;
    assert_eq!((s(Some(0.0)), s(Some(0.5)), s(Some(1.5))), (1.0, 0.5, 0.25));
    assert_eq!(s(None), SAME);
    assert_eq!(rate(7.0, None, 0.5).unwrap().0, Said::Value(7.0));
    assert!((largest_sigma(0.25, 0.5) - 1.5).abs() < 1e-9);
    assert!(largest_sigma(f32::MIN, 0.5).is_infinite() && largest_sigma(1.5, 0.5) < 0.0);
}

#[test]
fn what_is_no_number_has_no_rating() {
    for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(rate(odd, Some(1.0), 0.5), None);
        assert_eq!(rate(1.0, Some(odd), 0.5), None);
        assert_eq!(rate(1.0, Some(1.0), odd), None);
    }
    assert_eq!(rate(1.0, Some(-0.001), 0.5), None, "no spread is less than none");
    assert_eq!(rate(1.0, None, 0.0), None);
}

#[test]
fn every_sigma_has_a_score_between_0_and_1_in_their_order() {
    let seed = 12;
    println!("seed {seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    for _ in 0..20_000 {
        let size = 10_f64.powi(dice.random_range(-300..=300));
        let tolerance = 10_f64.powi(dice.random_range(-20..=20));
        let (a, b) = (dice.random_range(0.0..1.0) * size, dice.random_range(0.0..1.0) * size);
        let (small, large) = (sureness(a.min(b), tolerance), sureness(a.max(b), tolerance));
        assert!(0.0 <= large && large <= small && small <= 1.0, "{small} {large}");
    }
}
