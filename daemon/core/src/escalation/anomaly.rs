//! Anomaly scores: below lo it is normal, above hi an anomaly, and between the two somebody else is asked.
//!
//! The bundle's operating threshold makes two classes of the scores. How sure an answer is grows with its distance from
//! the threshold, and each side has its own promise ([`super::sides`]), because a missed anomaly and a false alarm do not
//! cost the same. The two thresholds on that distance are lo and hi (escalation.md 1.3).

use super::score::Rated;
use crate::said::Said;

/// Class of a score below the operating threshold.
pub const NORMAL: usize = 0;
/// Class of a score at or above it.
pub const ANOMALY: usize = 1;
/// Names of the two.
pub const LABELS: [&str; 2] = ["normal", "anomaly"];

/// An answer and how sure it is: s = d / (d + c), d the distance of the score from the threshold, c the size of the threshold
/// (1 where that is 0). Strictly growing in d, without a unit, in [0, 1]. Nothing saturates where scores are large, as it would
/// with an exponential. `None` for what is no finite number.
pub fn rate(score: f64, threshold: f64) -> Option<(Said, Rated)> {
    if !score.is_finite() || !threshold.is_finite() {
        return None;
    }
    let class = if score >= threshold { ANOMALY } else { NORMAL };
    let s = sureness(score - threshold, threshold);
    // On the threshold it is a toss.
    Some((Said::Class(class), Rated { class, confidence: s, s, p_wrong: (1.0 - s) / 2.0 }))
}

/// s of a distance from the threshold, whatever its sign.
pub fn sureness(distance: f64, threshold: f64) -> f32 {
    let distance = distance.abs();
    if distance.is_infinite() {
        return 1.0; // two finite numbers at the far ends of the scale
    }
    (distance / (distance + scale(threshold))) as f32
}

/// Lo and hi of the thresholds on s: a score of at most lo is covered as normal, one of at least hi as an anomaly. Infinite where
/// a side has nothing that is covered.
pub fn band(lambdas: [f32; 2], threshold: f64) -> (f64, f64) {
    let distance = |lambda: f32| {
        let lambda = f64::from(lambda);
        if lambda >= 1.0 { f64::INFINITY } else { scale(threshold) * lambda.max(0.0) / (1.0 - lambda.max(0.0)) }
    };
    (threshold - distance(lambdas[NORMAL]), threshold + distance(lambdas[ANOMALY]))
}

fn scale(threshold: f64) -> f64 {
    if threshold.abs() >= f64::MIN_POSITIVE { threshold.abs() } else { 1.0 }
}

#[cfg(test)]
#[path = "anomaly_tests.rs"]
mod tests;
