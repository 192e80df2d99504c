//! Fits the score of a calibration from labelled outputs: the temperature, and the logistic where it ranks better.
//!
//! The plain score is kept unless the logistic's AUGRC on held-out folds is lower by more than one standard error: a score
//! that only looks better on the cases that it was fitted on would cost local answers. The cases here must not be those
//! that the certificate is made of.

use std::collections::BTreeMap;

use super::score::{FEATURES, ScoreRule, features, sigmoid, softmax};

/// One output of the local model, and what would have been right.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelledLogits {
    pub logits: Vec<f32>,
    /// The right class.
    pub label: usize,
    /// Cases of the same part, track or run share it, and stay together in a fold.
    pub group: u64,
}

/// The score that the cases speak for.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen {
    pub rule: ScoreRule,
    /// Of `rule`, on held-out folds. NaN where there were too few groups to hold any out.
    pub augrc: f64,
    /// Of the plain softmax, on the same folds.
    pub augrc_msp: f64,
    /// How the logistic did; `None` where it could not be fitted.
    pub logistic: Option<Candidate>,
}

/// The logistic score on held-out folds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    pub augrc: f64,
    /// Of the difference between its AUGRC and that of the plain softmax.
    pub standard_error: f64,
}

const FOLDS: usize = 5;
/// Fewer groups than this are not divided into folds: the plain score is taken.
const GROUPS_MIN: usize = 50;
/// Exponents that are tried for the norm of the logits.
const PNORMS: [f64; 5] = [2.0, 3.0, 4.0, 6.0, 8.0];
/// Weight of the squared slopes, for features of unit variance; that of scikit-learn's default (`C = 1`).
const RIDGE: f64 = 1.0;
const NEWTON_STEPS: usize = 30;
/// Bounds of the temperature's grid, as ln T: 0.05 and 20.
const LN_T: (f64, f64) = (-3.0, 3.0);

/// Fits the temperature on all cases and takes the logistic only where it ranks better on held-out folds.
pub fn choose(select: &[LabelledLogits]) -> Chosen {
    let usable = |case: &&LabelledLogits| !case.logits.is_empty() && case.logits.iter().all(|z| z.is_finite());
    let cases: Vec<&LabelledLogits> = select.iter().filter(usable).collect();
    let plain = ScoreRule::Softmax { temperature: temperature(&cases) };
    let Some(folds) = folds(&cases) else {
        return Chosen { rule: plain, augrc: f64::NAN, augrc_msp: f64::NAN, logistic: None };
    };
    let held_out = compare(&cases, &folds);
    match (held_out.logistic, logistic(&cases)) {
        (Some(found), Some(rule)) if found.augrc < held_out.augrc_msp - found.standard_error => {
            Chosen { rule, augrc: found.augrc, ..held_out }
        }
        _ => Chosen { rule: plain, ..held_out },
    }
}

/// The number of each case's fold, whole groups together, groups dealt out in the order of their first case.
fn folds(cases: &[&LabelledLogits]) -> Option<Vec<usize>> {
    let mut seen = BTreeMap::new();
    let of_group: Vec<usize> = cases
        .iter()
        .map(|case| {
            let next = seen.len();
            *seen.entry(case.group).or_insert(next)
        })
        .collect();
    (seen.len() >= GROUPS_MIN).then(|| of_group.into_iter().map(|number| number % FOLDS).collect())
}

/// Fits both scores on all folds but one and ranks that one, in turn.
fn compare(cases: &[&LabelledLogits], folds: &[usize]) -> Chosen {
    let (mut plain, mut other, mut fitted) = (0.0, 0.0, true);
    let mut influence: BTreeMap<u64, f64> = BTreeMap::new();
    let n = cases.len() as f64;
    for fold in 0..FOLDS {
        let part = |inside: bool| -> Vec<&LabelledLogits> {
            cases.iter().zip(folds).filter(|(_, at)| (**at == fold) == inside).map(|(case, _)| *case).collect()
        };
        let (rest, held) = (part(false), part(true));
        let share = held.len() as f64 / n;
        let msp = ranked(&held, &ScoreRule::Softmax { temperature: temperature(&rest) });
        plain += share * augrc(&msp);
        let Some(rule) = logistic(&rest) else {
            fitted = false;
            continue;
        };
        let logistic = ranked(&held, &rule);
        other += share * augrc(&logistic);
        for ((case, a), b) in held.iter().zip(influences(&logistic)).zip(influences(&msp)) {
            *influence.entry(case.group).or_default() += a - b;
        }
    }
    // Groups are what is independent: their sums are what varies.
    let standard_error = influence.values().map(|x| x * x).sum::<f64>().sqrt() / n;
    let logistic = fitted.then_some(Candidate { augrc: other, standard_error });
    Chosen { rule: ScoreRule::Softmax { temperature: 1.0 }, augrc: plain, augrc_msp: plain, logistic }
}

/// Score and wrongness of each case.
fn ranked(cases: &[&LabelledLogits], rule: &ScoreRule) -> Vec<(f32, bool)> {
    let rated = cases.iter().map(|case| (rule.rate(&case.logits), case.label));
    rated.map(|(rated, label)| rated.map_or((0.0, true), |rated| (rated.s, rated.class != label))).collect()
}

/// Area under the generalised risk–coverage curve: the share of cases that are answered *and* wrong, averaged over all
/// coverages (Traub et al. 2024, "Overcoming Common Flaws in the Evaluation of Selective Classification Systems",
/// <https://arxiv.org/abs/2407.01032>). Lower is better; equal scores count as if in all their orders. 0 without cases.
pub fn augrc(ranked: &[(f32, bool)]) -> f64 {
    let n = ranked.len().max(1) as f64;
    let places = places(ranked);
    ranked.iter().zip(places).filter(|((_, wrong), _)| *wrong).map(|(_, place)| place.below).sum::<f64>() / n
}

/// Where a case stands among all, as shares.
#[derive(Clone, Copy, Default)]
struct Place {
    /// Cases that are no surer, itself included; equal ones half.
    below: f64,
    /// *Wrong* cases that are as sure or surer; equal ones half.
    wrong_above: f64,
}

fn places(ranked: &[(f32, bool)]) -> Vec<Place> {
    let n = ranked.len().max(1) as f64;
    let mut order: Vec<usize> = (0..ranked.len()).collect();
    order.sort_by(|a, b| ranked[*b].0.total_cmp(&ranked[*a].0));
    let mut places = vec![Place::default(); ranked.len()];
    let (mut above, mut wrong_above) = (0, 0);
    for block in order.chunk_by(|a, b| ranked[*a].0 == ranked[*b].0) {
        let wrong = block.iter().filter(|case| ranked[**case].1).count();
        let below = ranked.len() - above - block.len();
        let place = Place {
            below: (below as f64 + (block.len() + 1) as f64 / 2.0) / n,
            wrong_above: (wrong_above as f64 + wrong as f64 / 2.0) / n,
        };
        for case in block {
            places[*case] = place;
        }
        above += block.len();
        wrong_above += wrong;
    }
    places
}

/// How much each case moves the AUGRC: the first-order (Hoeffding) terms of that U-statistic, of mean zero.
fn influences(ranked: &[(f32, bool)]) -> Vec<f64> {
    let area = augrc(ranked);
    let term =
        |((_, wrong), place): (&(f32, bool), Place)| f64::from(u8::from(*wrong)) * place.below + place.wrong_above;
    ranked.iter().zip(places(ranked)).map(|case| term(case) - 2.0 * area).collect()
}

/// The temperature with the least cross-entropy, from a coarse grid and then a fine one. The targets are smoothed to
/// (n + 1) / (n + classes), as Platt did for two classes: without it, cases without an error ask for zero.
fn temperature(cases: &[&LabelledLogits]) -> f32 {
    let best = |from: f64, to: f64, steps: u32| {
        let grid = (0..=steps).map(|at| from + (to - from) * f64::from(at) / f64::from(steps));
        let rated = grid.map(|ln_t| (cross_entropy(cases, ln_t.exp()), ln_t));
        rated.min_by(|a, b| a.0.total_cmp(&b.0)).map_or(0.0, |(_, ln_t)| ln_t)
    };
    if cases.is_empty() {
        return 1.0;
    }
    let coarse = best(LN_T.0, LN_T.1, 60);
    best(coarse - 0.1, coarse + 0.1, 20).exp() as f32
}

fn cross_entropy(cases: &[&LabelledLogits], temperature: f64) -> f64 {
    let n = cases.len() as f64;
    let of = |case: &&LabelledLogits| {
        let scaled = || case.logits.iter().map(|z| f64::from(*z) / temperature);
        let top = scaled().fold(f64::NEG_INFINITY, f64::max);
        let ln_sum = top + scaled().map(|z| (z - top).exp()).sum::<f64>().ln();
        let others = 1.0 / (n + case.logits.len() as f64);
        let right = case.logits.get(case.label).map_or(ln_sum, |z| f64::from(*z) / temperature);
        let all: f64 = scaled().map(|z| ln_sum - z).sum();
        // The right class's target is (n + 1) parts, each other's one.
        others * (all + n * (ln_sum - right))
    };
    cases.iter().map(of).sum()
}

type Weights = [f64; FEATURES + 1];

/// The logistic regression of being wrong on the features, with the exponent that fits best. `None` where no case or every
/// case is wrong.
fn logistic(cases: &[&LabelledLogits]) -> Option<ScoreRule> {
    let temperature = temperature(cases);
    let rule = ScoreRule::Softmax { temperature };
    let wrong: Vec<bool> = ranked(cases, &rule).into_iter().map(|(_, wrong)| wrong).collect();
    if wrong.iter().all(|w| *w) || !wrong.iter().any(|w| *w) {
        return None;
    }
    let fits = PNORMS.iter().filter_map(|pnorm| {
        let phi = |case: &&LabelledLogits| features(&case.logits, &softmax(&case.logits, temperature), *pnorm);
        let (loss, weights) = regress(&cases.iter().map(phi).collect::<Vec<_>>(), &wrong)?;
        Some((loss, ScoreRule::Logistic { temperature, weights, pnorm: *pnorm }))
    });
    fits.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, rule)| rule)
}

/// Ridge logistic regression by Newton's method on features of zero mean and unit variance. Returns the penalised loss and the
/// weights for the raw features, bias first.
fn regress(phi: &[[f64; FEATURES]], wrong: &[bool]) -> Option<(f64, Weights)> {
    let n = phi.len() as f64;
    let mean: [f64; FEATURES] = std::array::from_fn(|k| phi.iter().map(|x| x[k]).sum::<f64>() / n);
    let spread: [f64; FEATURES] =
        std::array::from_fn(|k| (phi.iter().map(|x| (x[k] - mean[k]).powi(2)).sum::<f64>() / n).sqrt().max(1e-9));
    let rows: Vec<Weights> = phi
        .iter()
        .map(|x| std::array::from_fn(|k| if k == 0 { 1.0 } else { (x[k - 1] - mean[k - 1]) / spread[k - 1] }))
        .collect();
    let mut weights = [0.0; FEATURES + 1];
    let mut loss = penalised(&rows, wrong, &weights);
    for _ in 0..NEWTON_STEPS {
        let step = newton(&rows, wrong, &weights)?;
        // A full step, or the longest of its halves that helps.
        let tried = (0..20).map(|half| {
            let shorter = 0.5_f64.powi(half);
            let next: Weights = std::array::from_fn(|k| weights[k] - shorter * step[k]);
            (penalised(&rows, wrong, &next), next)
        });
        let Some((better, next)) = tried.into_iter().find(|(tried, _)| *tried < loss) else { break };
        let gained = loss - better;
        (loss, weights) = (better, next);
        if gained < 1e-9 * n {
            break;
        }
    }
    let mut raw: Weights = std::array::from_fn(|k| if k == 0 { weights[0] } else { weights[k] / spread[k - 1] });
    raw[0] -= raw[1..].iter().zip(mean).map(|(slope, mean)| slope * mean).sum::<f64>();
    raw.iter().all(|weight| weight.is_finite()).then_some((loss, raw))
}

fn dot(a: &Weights, b: &Weights) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn penalised(rows: &[Weights], wrong: &[bool], weights: &Weights) -> f64 {
    let loss = |(x, wrong): (&Weights, &bool)| {
        let z = dot(x, weights);
        // ln(1 + e^z) - z·wrong, without overflow.
        z.max(0.0) + (-z.abs()).exp().ln_1p() - if *wrong { z } else { 0.0 }
    };
    let slopes: f64 = weights[1..].iter().map(|w| w * w).sum();
    rows.iter().zip(wrong).map(loss).sum::<f64>() + 0.5 * RIDGE * slopes
}

/// Hessian⁻¹ · gradient.
fn newton(rows: &[Weights], wrong: &[bool], weights: &Weights) -> Option<Weights> {
    let mut gradient: Weights = std::array::from_fn(|k| if k == 0 { 0.0 } else { RIDGE * weights[k] });
    let mut hessian = [[0.0; FEATURES + 1]; FEATURES + 1];
    for (k, row) in hessian.iter_mut().enumerate() {
        // The bias bears no penalty; a trifle keeps the matrix regular.
        row[k] = if k == 0 { 1e-9 } else { RIDGE };
    }
    for (x, wrong) in rows.iter().zip(wrong) {
        let p = sigmoid(dot(x, weights));
        for i in 0..=FEATURES {
            gradient[i] += (p - f64::from(u8::from(*wrong))) * x[i];
            for j in 0..=FEATURES {
                hessian[i][j] += p * (1.0 - p) * x[i] * x[j];
            }
        }
    }
    solve(hessian, gradient)
}

/// Gaussian elimination of a symmetric positive definite system, which needs no pivots. `None` where it is none.
fn solve(mut a: [[f64; FEATURES + 1]; FEATURES + 1], mut b: Weights) -> Option<Weights> {
    for at in 0..=FEATURES {
        if a[at][at].is_nan() || a[at][at] <= 0.0 {
            return None;
        }
        let pivot = a[at];
        for row in at + 1..=FEATURES {
            let factor = a[row][at] / pivot[at];
            for (x, above) in a[row].iter_mut().zip(pivot) {
                *x -= factor * above;
            }
            b[row] -= factor * b[at];
        }
    }
    for at in (0..=FEATURES).rev() {
        let known: f64 = (at + 1..=FEATURES).map(|k| a[at][k] * b[k]).sum();
        b[at] = (b[at] - known) / a[at][at];
    }
    Some(b)
}

#[cfg(test)]
#[path = "fit_tests.rs"]
mod tests;
