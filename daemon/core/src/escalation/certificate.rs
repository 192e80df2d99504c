//! The certificate: with confidence 1 - δ over the draw of the cases, at most a share α of all requests is answered by the
//! local model *and* wrong.
//!
//! The loss 1{local and wrong} only grows when the threshold falls, so the bound holds for the threshold that is chosen on
//! the same cases, without a correction for having looked at many (Bates et al. 2021, "Distribution-Free, Risk-Controlling
//! Prediction Sets", <https://arxiv.org/abs/2101.02703>, theorem 1, with the exact binomial bound of Clopper and Pearson
//! 1934). By hand: sort the cases by confidence, walk down, stop before one wrong case too many.
//!
//! It says nothing about one single request, and nothing about requests that are not like the cases.

use serde::{Deserialize, Serialize};
use statrs::distribution::{Binomial, DiscreteCDF};
use statrs::function::beta::inv_beta_reg;

/// What is promised.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Promise {
    /// At most this share of requests is answered locally and wrong, in (0, 1).
    pub alpha: f64,
    /// The chance, over the draw of the cases, that the promise does not hold, in (0, 1).
    pub delta: f64,
}

/// One labelled case: what the local model said of it, and whether that was wrong.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// The local answer's score; the higher the surer. NaN is the least sure of all.
    pub s: f32,
    /// The class that was predicted; 0 where there are none.
    pub class: usize,
    pub wrong: bool,
}

/// A threshold that keeps a promise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Certificate {
    pub promise: Promise,
    /// Labelled cases behind it.
    pub cases: u64,
    /// So many of them may be local and wrong.
    pub allowed: u64,
    /// So many are.
    pub wrong: u64,
    /// Answers with a score of at least this are covered.
    pub lambda: f32,
    /// Cases at or above it.
    pub local: u64,
}

impl Certificate {
    /// Share of the cases that are answered locally.
    pub fn local_share(&self) -> f64 {
        self.local as f64 / self.cases as f64
    }
}

/// There are not enough cases for this promise, however right the model is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooFew {
    pub cases: u64,
    /// With so many, none of them wrong, it could be made.
    pub needed: u64,
}

impl std::fmt::Display for TooFew {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { cases, needed } = self;
        write!(f, "not certifiable with {cases} cases: {} more needed", needed - cases)
    }
}

/// Upper Clopper–Pearson bound of a share of which `k` in `n` cases were seen: it is exceeded with probability at most
/// `delta`. The 1 - δ quantile of Beta(k + 1, n - k).
pub fn upper(k: u64, n: u64, delta: f64) -> f64 {
    if k >= n { 1.0 } else { inv_beta_reg((k + 1) as f64, (n - k) as f64, 1.0 - delta) }
}

/// Lower Clopper–Pearson bound. The δ quantile of Beta(k, n - k + 1).
pub fn lower(k: u64, n: u64, delta: f64) -> f64 {
    if k == 0 || k > n { 0.0 } else { inv_beta_reg(k as f64, (n - k + 1) as f64, delta) }
}

/// The largest `k` with `upper(k, n, δ) <= α`, or `None`. That is the same as: seeing `k` or fewer is improbable (at most δ)
/// when the share is α. So it needs no inverse: the binomial distribution says it.
pub fn allowed_wrong(n: u64, promise: Promise) -> Option<u64> {
    let Promise { alpha, delta } = promise;
    let seen = Binomial::new(alpha, n).ok()?;
    // The cumulative distribution grows with k, so the largest k is found by halving.
    let (mut fits, mut fails): (Option<u64>, u64) = (None, n);
    while fits.map_or(0, |k| k + 1) < fails {
        let k = fits.map_or(0, |k| k + 1).midpoint(fails - 1);
        if seen.cdf(k) <= delta { fits = Some(k) } else { fails = k }
    }
    fits
}

/// With fewer cases than ⌈ln δ / ln(1 - α)⌉ nothing can be promised.
pub fn cases_needed(promise: Promise) -> u64 {
    (promise.delta.ln() / (1.0 - promise.alpha).ln()).ceil() as u64
}

/// δ of the `round`-th certificate that a device issues, counted from 1: δ · 6 / (π² j²). They sum to δ, so with confidence
/// 1 - δ *every* certificate that it will ever issue is valid.
pub fn delta_of_round(delta: f64, round: u32) -> f64 {
    let j = f64::from(round.max(1));
    delta * 6.0 / (std::f64::consts::PI * j).powi(2)
}

/// The lowest threshold that keeps the promise.
///
/// # Errors
/// When there are too few cases for it.
pub fn certify(cases: &[Case], promise: Promise) -> Result<Certificate, TooFew> {
    let n = cases.len() as u64;
    let needed = cases_needed(promise);
    let allowed = allowed_wrong(n, promise).ok_or(TooFew { cases: n, needed: needed.max(n + 1) })?;
    let mut wrong: Vec<f32> = cases.iter().filter(|case| case.wrong).map(|case| rank(case.s)).collect();
    wrong.sort_unstable_by(|a, b| b.total_cmp(a));
    let least = cases.iter().map(|case| rank(case.s)).fold(f32::INFINITY, f32::min);
    // Just above the first wrong case that is one too many; where there is none, nothing less sure than the cases is covered.
    let lambda = match usize::try_from(allowed).ok().and_then(|allowed| wrong.get(allowed)) {
        Some(s) => s.next_up(),
        None => least.max(f32::MIN),
    };
    let local = cases.iter().filter(|case| case.s >= lambda);
    let wrong = local.clone().filter(|case| case.wrong).count() as u64;
    Ok(Certificate { promise, cases: n, allowed, wrong, lambda, local: local.count() as u64 })
}

/// NaN last.
fn rank(s: f32) -> f32 {
    if s.is_nan() { f32::NEG_INFINITY } else { s }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    const fn promise(alpha: f64, delta: f64) -> Promise {
        Promise { alpha, delta }
    }

    /// The table of escalation.md 2.2, computed there with SciPy.
    #[test]
    fn so_many_wrong_cases_are_allowed() {
        // By α: 0.5, 1, 2, 5 %.
        type Row = [Option<u64>; 4];
        let table: [(u64, Row, Row); 6] = [
            (150, [None, None, Some(0), Some(2)], [None; 4]),
            (300, [None, Some(0), Some(1), Some(8)], [None, None, Some(0), Some(6)]),
            (500, [None, Some(1), Some(4), Some(16)], [None, Some(0), Some(3), Some(13)]),
            (1_000, [Some(1), Some(4), Some(12), Some(38)], [Some(0), Some(2), Some(9), Some(34)]),
            (2_000, [Some(4), Some(12), Some(29), Some(83)], [Some(2), Some(9), Some(25), Some(77)]),
            (5_000, [Some(16), Some(38), Some(83), Some(224)], [Some(13), Some(33), Some(77), Some(214)]),
        ];
        for (n, five, one) in table {
            for (place, alpha) in [0.005, 0.01, 0.02, 0.05].into_iter().enumerate() {
                assert_eq!(allowed_wrong(n, promise(alpha, 0.05)), five[place], "n {n}, alpha {alpha}, delta 5 %");
                if n > 150 {
                    assert_eq!(allowed_wrong(n, promise(alpha, 0.01)), one[place], "n {n}, alpha {alpha}, delta 1 %");
                }
            }
        }
        let least = [(0.05, 59), (0.02, 149), (0.01, 299), (0.005, 598), (0.001, 2_995)];
        for (alpha, n) in least {
            assert_eq!(cases_needed(promise(alpha, 0.05)), n);
            assert_eq!(allowed_wrong(n, promise(alpha, 0.05)), Some(0));
            assert_eq!(allowed_wrong(n - 1, promise(alpha, 0.05)), None);
        }
    }

    /// Two ways to the same number.
    #[test]
    fn the_bound_and_the_count_agree() {
        for n in [59, 300, 1_000, 5_000] {
            for alpha in [0.005, 0.01, 0.02, 0.05] {
                let Some(k) = allowed_wrong(n, promise(alpha, 0.05)) else { continue };
                assert!(upper(k, n, 0.05) <= alpha + 1e-9, "n {n}, alpha {alpha}: {}", upper(k, n, 0.05));
                assert!(upper(k + 1, n, 0.05) > alpha, "n {n}, alpha {alpha}");
            }
        }
        // 0 wrong in 300: 1 - 0.05^(1/300).
        assert!((upper(0, 300, 0.05) - 0.009_936).abs() < 1e-5);
        assert!((lower(300, 300, 0.05) - 0.990_064).abs() < 1e-5);
        assert_eq!((upper(5, 5, 0.05), lower(0, 5, 0.05)), (1.0, 0.0));
    }

    #[test]
    fn the_rounds_share_one_delta() {
        let sum: f64 = (1..10_000).map(|round| delta_of_round(0.05, round)).sum();
        assert!(sum < 0.05 && sum > 0.0499, "{sum}");
        assert!((delta_of_round(0.05, 1) - 0.030_396).abs() < 1e-5);
    }

    fn cases(right: &[f32], wrong: &[f32]) -> Vec<Case> {
        let case = |wrong| move |s: &f32| Case { s: *s, class: 0, wrong };
        right.iter().map(case(false)).chain(wrong.iter().map(case(true))).collect()
    }

    #[test]
    fn the_threshold_is_just_above_one_wrong_case_too_many() {
        // 300 cases at 2 %: one may be wrong.
        let sample = cases(&vec![0.95; 297], &[0.99, 0.9, 0.5]);
        let found = certify(&sample, promise(0.02, 0.05)).unwrap();
        assert_eq!((found.allowed, found.wrong, found.local), (1, 1, 298));
        assert_eq!(found.lambda, 0.9_f32.next_up());
    }

    #[test]
    fn equal_scores_stay_together() {
        let sample = cases(&vec![1.0; 298], &[1.0, 1.0]);
        let found = certify(&sample, promise(0.02, 0.05)).unwrap();
        assert_eq!((found.local, found.wrong), (0, 0), "two wrong cases cannot be told from the right ones");
        assert!(found.lambda > 1.0);
    }

    #[test]
    fn nothing_less_sure_than_the_cases_is_covered() {
        let found = certify(&cases(&vec![0.7; 300], &[]), promise(0.01, 0.05)).unwrap();
        assert_eq!((found.lambda, found.local), (0.7, 300));
    }

    #[test]
    fn odd_scores_have_defined_outcomes() {
        let mut sample = cases(&vec![0.9; 300], &[f32::NAN, f32::NAN, f32::NEG_INFINITY]);
        sample.extend(cases(&[f32::NAN, f32::INFINITY, 0.0], &[]));
        let found = certify(&sample, promise(0.02, 0.05)).unwrap();
        assert!(found.lambda.is_finite() && found.lambda <= 0.0, "{found:?}");
        assert_eq!(found.wrong, 0, "what has no score is never answered locally");
        assert_eq!(found.local, 302);
    }

    #[test]
    fn too_few_cases_say_how_many_are_missing() {
        let few = certify(&cases(&[0.9; 40], &[]), promise(0.01, 0.05)).unwrap_err();
        assert_eq!(few.to_string(), "not certifiable with 40 cases: 259 more needed");
        assert!(certify(&[], promise(0.01, 0.05)).is_err());
    }

    /// The promise itself: over many draws of the cases, the true risk exceeds α in at most δ of them.
    #[test]
    fn the_promise_is_kept_in_all_but_delta_of_the_draws() {
        const DRAWS: u32 = 2_000;
        let seed = 7;
        println!("seed {seed}");
        let mut dice = StdRng::seed_from_u64(seed);
        // A right answer's score is the larger of two dice, so that mistakes gather below; their risk at a threshold is known.
        let share_wrong = 0.1;
        let risk = |lambda: f64| share_wrong * (1.0 - lambda.clamp(0.0, 1.0));
        for (n, alpha) in [(300, 0.02), (1_000, 0.02), (1_000, 0.01)] {
            let mut broken = 0;
            for _ in 0..DRAWS {
                let sample: Vec<Case> = (0..n)
                    .map(|_| {
                        let wrong = dice.random_bool(share_wrong);
                        let s: f32 = dice.random();
                        let s = if wrong { s } else { s.max(dice.random()) };
                        Case { s, class: 0, wrong }
                    })
                    .collect();
                let found = certify(&sample, promise(alpha, 0.05)).unwrap();
                broken += u32::from(risk(f64::from(found.lambda)) > alpha);
            }
            // Five standard deviations of the count above what is allowed.
            let allowed = 0.05 * f64::from(DRAWS);
            assert!(
                f64::from(broken) < allowed + 5.0 * (allowed * 0.95).sqrt(),
                "n {n}, alpha {alpha}: {broken} of {DRAWS}"
            );
            assert!(broken > 0, "n {n}, alpha {alpha}: so cautious that it is useless");
        }
    }
}
