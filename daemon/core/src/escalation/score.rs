//! How sure the local model is, as one number per answer: the higher, the surer. The certificate does not care where the
//! number comes from; the better it ranks, the more answers stay local.

use serde::{Deserialize, Serialize};

/// How a score is computed from a classifier's logits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ScoreRule {
    /// The largest probability at this temperature (Hendrycks & Gimpel 2017; temperature after Guo et al. 2017).
    Softmax { temperature: f32 },
    /// 1 - the probability of being wrong, by a logistic regression on [`features`].
    Logistic { temperature: f32, weights: [f64; FEATURES + 1], pnorm: f64 },
    /// The distance from the operating threshold ([`super::anomaly`]).
    Distance,
    /// The model's own σ ([`super::regression`]).
    Spread,
    /// The least sure box, and what was nearly one ([`super::detection`]).
    Boxes,
}

/// Numbers of [`features`].
pub const FEATURES: usize = 4;

/// One answer, rated.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rated {
    pub class: usize,
    /// Its probability at the rule's temperature.
    pub confidence: f32,
    pub s: f32,
    /// Estimated probability that the answer is wrong. An estimate: nothing is promised with it.
    pub p_wrong: f32,
}

impl ScoreRule {
    pub const fn temperature(&self) -> f32 {
        match self {
            Self::Softmax { temperature } | Self::Logistic { temperature, .. } => *temperature,
            Self::Distance | Self::Spread | Self::Boxes => 1.0,
        }
    }

    /// There are two kinds of answers, and each has a promise of its own ([`super::sides`]).
    pub const fn has_sides(&self) -> bool {
        matches!(self, Self::Distance | Self::Boxes)
    }

    /// `None` without scores, and for rules that are none for classes. The first class wins a tie.
    pub fn rate(&self, logits: &[f32]) -> Option<Rated> {
        let probabilities = softmax(logits, self.temperature());
        let mut best: Option<(usize, f32)> = None;
        for (index, p) in probabilities.iter().copied().enumerate() {
            if best.is_none_or(|(_, q)| p > q) {
                best = Some((index, p));
            }
        }
        let (class, confidence) = best?;
        let s = match self {
            Self::Softmax { .. } => confidence,
            Self::Logistic { weights, pnorm, .. } => {
                let [bias, slopes @ ..] = weights;
                let phi = features(logits, &probabilities, *pnorm);
                let wrong = bias + slopes.iter().zip(phi).map(|(weight, x)| weight * x).sum::<f64>();
                1.0 - sigmoid(wrong) as f32
            }
            Self::Distance | Self::Spread | Self::Boxes => return None,
        };
        Some(Rated { class, confidence, s, p_wrong: 1.0 - s })
    }
}

/// What tells right answers from wrong ones beside the largest probability p₁ itself: the logit of p₁, the logit of the margin
/// p₁ - p₂, the negative entropy Σ p ln p, and the largest centred logit divided by the p-norm of all (Cattelan & Silva 2024,
/// "How to Fix a Broken Confidence Estimator", <https://arxiv.org/abs/2305.15508>). Finite whatever the probabilities.
pub fn features(logits: &[f32], probabilities: &[f32], pnorm: f64) -> [f64; FEATURES] {
    let (mut first, mut second) = (0.0_f64, 0.0_f64);
    for p in probabilities.iter().map(|p| f64::from(*p)) {
        if p > first {
            (first, second) = (p, first);
        } else if p > second {
            second = p;
        }
    }
    let entropy: f64 = probabilities.iter().map(|p| f64::from(*p)).filter(|p| *p > 0.0).map(|p| p * p.ln()).sum();
    let mean = logits.iter().map(|z| f64::from(*z)).sum::<f64>() / logits.len().max(1) as f64;
    let centred = || logits.iter().map(|z| f64::from(*z) - mean);
    let largest = centred().fold(0.0, f64::max);
    let norm = centred().map(|z| z.abs().powf(pnorm)).sum::<f64>().powf(1.0 / pnorm);
    [logit(first), logit(first - second), entropy, if norm > 0.0 { largest / norm } else { 0.0 }]
}

/// ln(p / (1 - p)), as if no probability were nearer to 0 or 1 than f32 can tell.
pub fn logit(p: f64) -> f64 {
    let p = p.clamp(f64::from(f32::EPSILON), 1.0 - f64::from(f32::EPSILON));
    (p / (1.0 - p)).ln()
}

pub fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// A score rule as a calibration file has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScoreSection {
    /// `softmax` or `logistic4` for classes, `distance` for anomalies, `spread` for numbers, `boxes` for boxes.
    pub kind: String,
    #[serde(rename = "T")]
    pub temperature: f32,
    /// Bias and slopes of the logistic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub b: Option<[f64; FEATURES + 1]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pnorm: Option<f64>,
}

impl ScoreSection {
    /// `None`: a kind that this version does not know, or numbers that are none.
    pub fn rule(&self) -> Option<ScoreRule> {
        let temperature = self.temperature;
        if !(temperature.is_finite() && temperature > 0.0) {
            return None;
        }
        match (self.kind.as_str(), self.b, self.pnorm) {
            ("distance", None, None) => Some(ScoreRule::Distance),
            ("spread", None, None) => Some(ScoreRule::Spread),
            ("boxes", None, None) => Some(ScoreRule::Boxes),
            ("softmax", None, None) => Some(ScoreRule::Softmax { temperature }),
            ("logistic4", Some(weights), Some(pnorm)) => {
                let finite = weights.iter().all(|weight| weight.is_finite()) && pnorm.is_finite() && pnorm >= 1.0;
                finite.then_some(ScoreRule::Logistic { temperature, weights, pnorm })
            }
            _ => None,
        }
    }
}

impl From<&ScoreRule> for ScoreSection {
    fn from(rule: &ScoreRule) -> Self {
        let plain = |kind: &str| Self { kind: kind.to_owned(), temperature: rule.temperature(), b: None, pnorm: None };
        match rule {
            ScoreRule::Softmax { .. } => plain("softmax"),
            ScoreRule::Distance => plain("distance"),
            ScoreRule::Spread => plain("spread"),
            ScoreRule::Boxes => plain("boxes"),
            ScoreRule::Logistic { temperature, weights, pnorm } => {
                Self { kind: "logistic4".to_owned(), temperature: *temperature, b: Some(*weights), pnorm: Some(*pnorm) }
            }
        }
    }
}

/// Softmax of `scores / temperature`: exp(z/T) / Σ exp(z/T) (Guo et al. 2017, "On Calibration of Modern Neural Networks").
/// The maximum is subtracted first, so that nothing overflows.
pub fn softmax(scores: &[f32], temperature: f32) -> Vec<f32> {
    let top = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f32> = scores.iter().map(|z| ((z - top) / temperature).exp()).collect();
    let sum: f32 = powers.iter().sum();
    powers.into_iter().map(|p| p / sum).collect()
}

/// Index and probability of the most probable class; `None` without scores. The first wins a tie.
pub fn top_probability(scores: &[f32], temperature: f32) -> Option<(usize, f32)> {
    let probabilities = softmax(scores, temperature);
    let mut best: Option<(usize, f32)> = None;
    for (index, p) in probabilities.into_iter().enumerate() {
        if best.is_none_or(|(_, q)| p > q) {
            best = Some((index, p));
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    const PLAIN: ScoreRule = ScoreRule::Softmax { temperature: 1.0 };

    #[test]
    fn the_plain_score_is_the_largest_probability() {
        let rated = PLAIN.rate(&[0.0, 3.0_f32.ln(), 0.0]).unwrap();
        assert_eq!(rated.class, 1);
        assert!((rated.s - 0.6).abs() < 1e-6 && (rated.p_wrong - 0.4).abs() < 1e-6);
        assert_eq!(PLAIN.rate(&[]), None);
        assert_eq!(PLAIN.rate(&[2.0]).unwrap().s, 1.0, "one class is always right");
    }

    #[test]
    fn a_temperature_makes_it_less_sure_and_changes_no_answer() {
        let warm = ScoreRule::Softmax { temperature: 4.0 };
        let (cold, warm) = (PLAIN.rate(&[1.0, 3.0]).unwrap(), warm.rate(&[1.0, 3.0]).unwrap());
        assert!(warm.s < cold.s && warm.class == cold.class);
    }

    #[test]
    fn the_logistic_is_the_sum_of_its_features() {
        let logits = [0.2, 2.0, -1.0];
        let p = softmax(&logits, 1.0);
        let weights = [0.5, -0.3, -0.2, -0.1, -0.7];
        let rule = ScoreRule::Logistic { temperature: 1.0, weights, pnorm: 2.0 };
        let phi = features(&logits, &p, 2.0);
        let z = 0.5 - 0.3 * phi[0] - 0.2 * phi[1] - 0.1 * phi[2] - 0.7 * phi[3];
        assert!((f64::from(rule.rate(&logits).unwrap().p_wrong) - sigmoid(z)).abs() < 1e-6);
    }

    /// Zero probabilities, one class, equal and huge logits: a number comes out, and the same one again.
    #[test]
    fn every_finite_output_has_a_finite_score() {
        let seed = 3;
        println!("seed {seed}");
        let mut dice = StdRng::seed_from_u64(seed);
        let rules = [
            PLAIN,
            ScoreRule::Softmax { temperature: 0.05 },
            ScoreRule::Logistic { temperature: 0.7, weights: [-2.0, -1.0, -0.5, -0.3, -4.0], pnorm: 4.0 },
        ];
        for _ in 0..20_000 {
            let classes = dice.random_range(1..=12);
            let size = *[0.0, 1.0, 100.0, 1e30].get(dice.random_range(0..4)).unwrap();
            let logits: Vec<f32> = (0..classes).map(|_| dice.random_range(-1.0..=1.0) * size).collect();
            for rule in &rules {
                let rated = rule.rate(&logits).unwrap();
                assert!(rated.class < classes);
                for number in [rated.s, rated.p_wrong, rated.confidence] {
                    assert!((0.0..=1.0).contains(&number), "{rule:?} of {logits:?}: {rated:?}");
                }
                assert_eq!(rule.rate(&logits), Some(rated));
            }
        }
    }

    #[test]
    fn a_rule_survives_its_file_and_a_foreign_one_is_none() {
        let rule = ScoreRule::Logistic { temperature: 0.7, weights: [1.0, 2.0, 3.0, 4.0, 5.0], pnorm: 2.0 };
        assert_eq!(ScoreSection::from(&rule).rule(), Some(rule));
        assert_eq!(ScoreSection::from(&PLAIN).rule(), Some(PLAIN));
        let foreign = |kind: &str, temperature| ScoreSection { kind: kind.into(), temperature, b: None, pnorm: None };
        for wrong in [foreign("energy", 1.0), foreign("softmax", 0.0), foreign("softmax", f32::NAN)] {
            assert_eq!(wrong.rule(), None, "{wrong:?}");
        }
    }

    #[test]
    fn softmax_survives_large_scores() {
        let p = softmax(&[1000.0, 0.0], 1.0);
        assert_eq!(p, vec![1.0, 0.0]);
        let (index, p) = top_probability(&[0.0, 2.0, 1.0], 2.0).unwrap();
        assert_eq!(index, 1);
        // e^1 / (e^0 + e^1 + e^0.5)
        assert!((p - 0.506_48).abs() < 1e-4);
    }
}
