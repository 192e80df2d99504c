//! From what the local model said to an answer and one number for how sure it is; the only place that knows all tasks.

use super::{
    anomaly,
    decide::Observation,
    regression,
    score::{Rated, ScoreRule},
};
use crate::said::{Measure, Said};

/// `None`: there is nothing to rate, because nothing judges it, or it is no usable output of a model with this measure.
/// `rule` is that of the classes' scores; the other tasks have only one.
pub fn rate(seen: &Observation, measure: &Measure, rule: &ScoreRule) -> Option<(Said, Rated)> {
    match (seen, measure) {
        (Observation::Scores(scores), Measure::Classes) => {
            rule.rate(scores).map(|rated| (Said::Class(rated.class), rated))
        }
        (Observation::Anomaly(score), Measure::Anomaly { threshold }) => anomaly::rate(*score, *threshold),
        (Observation::Value { value, sigma }, Measure::Value { tolerance }) => {
            regression::rate(*value, *sigma, *tolerance)
        }
        _ => None,
    }
}

/// The rule that a model with this measure is rated by; `temperature` is for classes only.
pub const fn rule(measure: &Measure, temperature: f32) -> ScoreRule {
    match measure {
        Measure::Classes => ScoreRule::Softmax { temperature },
        Measure::Anomaly { .. } => ScoreRule::Distance,
        Measure::Value { .. } => ScoreRule::Spread,
    }
}
