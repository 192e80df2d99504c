//! From a score to a probability of being wrong: σ(a + b · logit s), by maximum likelihood with Platt's targets, which keep it
//! finite where nothing, or everything, was wrong (Platt 1999, "Probabilistic Outputs for Support Vector Machines"). Two
//! numbers, so that it does not follow the chance of single cases: an isotonic curve rang the residual alarm falsely.

use serde::{Deserialize, Serialize};

use super::{
    certificate::Case,
    score::{logit, sigmoid},
};

const ITERATIONS: u32 = 50;
/// Keeps the slope small where all scores are the same.
const RIDGE: f64 = 1e-6;

/// Bias and slope.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Platt {
    pub a: f64,
    pub b: f64,
}

impl Platt {
    /// Of a calibration's cases. Without any it says 0.5 to everything.
    pub fn fit(cases: &[Case]) -> Self {
        let wrongs = cases.iter().filter(|case| case.wrong).count() as f64;
        let rights = cases.len() as f64 - wrongs;
        let (target_wrong, target_right) = ((wrongs + 1.0) / (wrongs + 2.0), 1.0 / (rights + 2.0));
        let points: Vec<(f64, f64)> =
            cases.iter().map(|case| (place(case.s), if case.wrong { target_wrong } else { target_right })).collect();
        let mut best = Self { a: 0.0, b: 0.0 };
        let mut loss = best.loss(&points);
        for _ in 0..ITERATIONS {
            let (da, db) = best.newton(&points);
            let mut step = 1.0;
            // Newton's step may go too far where the curve is flat.
            let found = loop {
                let next = Self { a: best.a - step * da, b: best.b - step * db };
                let lower = next.loss(&points);
                if lower < loss {
                    break Some((next, lower));
                }
                step /= 2.0;
                if step < 1e-6 {
                    break None;
                }
            };
            let Some((next, lower)) = found else { break };
            let gained = loss - lower;
            (best, loss) = (next, lower);
            if gained < 1e-10 * loss {
                break;
            }
        }
        best
    }

    /// In [0, 1]; that of the lowest score where there is none.
    pub fn p_wrong(&self, s: f32) -> f64 {
        let p = sigmoid(self.a + self.b * place(s));
        if p.is_nan() { 1.0 } else { p }
    }

    fn loss(&self, points: &[(f64, f64)]) -> f64 {
        let of = |(x, target): &(f64, f64)| {
            let z = self.a + self.b * x;
            // ln(1 + e^z) - target z, without overflow.
            z.max(0.0) + (-z.abs()).exp().ln_1p() - target * z
        };
        points.iter().map(of).sum::<f64>() + RIDGE * (self.a * self.a + self.b * self.b)
    }

    fn newton(&self, points: &[(f64, f64)]) -> (f64, f64) {
        let (mut ga, mut gb) = (2.0 * RIDGE * self.a, 2.0 * RIDGE * self.b);
        let (mut haa, mut hab, mut hbb) = (2.0 * RIDGE, 0.0, 2.0 * RIDGE);
        for (x, target) in points {
            let p = sigmoid(self.a + self.b * x);
            let (slope, curve) = (p - target, p * (1.0 - p));
            (ga, gb) = (ga + slope, gb + slope * x);
            (haa, hab, hbb) = (haa + curve, hab + curve * x, hbb + curve * x * x);
        }
        let determinant = haa * hbb - hab * hab;
        ((hbb * ga - hab * gb) / determinant, (haa * gb - hab * ga) / determinant)
    }
}

fn place(s: f32) -> f64 {
    logit(if s.is_nan() { 0.0 } else { f64::from(s) })
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    fn case(s: f32, wrong: bool) -> Case {
        Case { s, class: 0, wrong }
    }

    #[test]
    fn it_finds_the_curve_that_the_cases_were_drawn_from() {
        let seed = 23;
        println!("seed {seed}");
        let mut dice = StdRng::seed_from_u64(seed);
        let truth = Platt { a: -1.0, b: -0.6 };
        let cases: Vec<Case> = (0..20_000)
            .map(|_| {
                let s = dice.random_range(0.3..0.999);
                case(s, dice.random_bool(truth.p_wrong(s)))
            })
            .collect();
        let found = Platt::fit(&cases);
        for s in [0.4, 0.7, 0.9, 0.99] {
            assert!((found.p_wrong(s) - truth.p_wrong(s)).abs() < 0.015, "at {s}: {found:?}");
        }
    }

    #[test]
    fn odd_cases_have_finite_curves() {
        let tied = [case(1.0, false), case(1.0, true)];
        let apart = [case(0.2, true), case(0.9, false)];
        let odd = [case(f32::NAN, true), case(f32::INFINITY, false), case(-3.0, true)];
        let right: Vec<Case> = (0..500).map(|at| case(at as f32 / 500.0, false)).collect();
        for cases in [&[][..], &tied, &apart, &odd, &right] {
            let found = Platt::fit(cases);
            for s in [f32::NAN, 0.0, 0.5, 1.0, f32::INFINITY] {
                assert!((0.0..=1.0).contains(&found.p_wrong(s)), "{cases:?}: {found:?}");
            }
        }
        assert!(Platt::fit(&right).p_wrong(0.5) < 0.01);
        assert_eq!(Platt::fit(&[]).p_wrong(0.9), 0.5);
    }
}
