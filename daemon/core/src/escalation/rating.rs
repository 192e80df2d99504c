//! From what the local model said to an answer and one number for how sure it is; the only place that knows all tasks.

use super::{
    anomaly,
    decide::Observation,
    detection, regression,
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
        (Observation::Boxes(seen), Measure::Boxes { iou, listed }) => detection::rate(seen, *iou, listed),
        _ => None,
    }
}

/// The rule that a model with this measure is rated by; `temperature` is for classes only.
pub const fn rule(measure: &Measure, temperature: f32) -> ScoreRule {
    match measure {
        Measure::Classes => ScoreRule::Softmax { temperature },
        Measure::Anomaly { .. } => ScoreRule::Distance,
        Measure::Value { .. } => ScoreRule::Spread,
        Measure::Boxes { .. } => ScoreRule::Boxes,
    }
}

/// Names of the classes or sides by which thresholds and accuracies are kept; `labels` are those of the model.
pub fn kinds(measure: &Measure, labels: &[String]) -> Vec<String> {
    match measure {
        Measure::Classes => labels.to_vec(),
        Measure::Anomaly { .. } => anomaly::LABELS.map(str::to_owned).to_vec(),
        Measure::Value { .. } => Vec::new(),
        Measure::Boxes { .. } => detection::LABELS.map(str::to_owned).to_vec(),
    }
}
