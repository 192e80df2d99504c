//! Numbers with, or without, a spread: an answer is right when it is off by no more than the bundle's tolerance.
//!
//! How sure it is falls with the model's own σ, which only has to rank: the certificate makes no use of its size
//! (escalation.md 1.3). A model that gives no σ is equally sure of everything, and its certificate is all or nothing.

use super::score::Rated;
use crate::said::Said;

/// s of a model that gives no σ.
pub const SAME: f32 = 0.5;

/// An answer and how sure it is: s = t / (t + σ), t the tolerance. Strictly falling in σ, without a unit, in [0, 1]; 0.5 where σ is
/// as large as the tolerance. `None` for a value that is no finite number, and for a σ that is none or less than 0.
pub fn rate(value: f64, sigma: Option<f64>, tolerance: f64) -> Option<(Said, Rated)> {
    let numbers = value.is_finite() && tolerance.is_finite() && tolerance > 0.0;
    if !numbers {
        return None;
    }
    let s = match sigma {
        None => SAME,
        Some(sigma) if sigma.is_finite() && sigma >= 0.0 => sureness(sigma, tolerance),
        Some(_) => return None,
    };
    Some((Said::Value(value), Rated { class: 0, confidence: s, s, p_wrong: 1.0 - s }))
}

/// s of a σ, both finite, neither less than 0.
pub fn sureness(sigma: f64, tolerance: f64) -> f32 {
    (1.0 / (1.0 + sigma / tolerance)) as f32
}

/// The largest σ that is covered with this threshold on s; infinite where every one is, negative where none is.
pub fn largest_sigma(lambda: f32, tolerance: f64) -> f64 {
    let lambda = f64::from(lambda);
    if lambda <= 0.0 { f64::INFINITY } else { tolerance * (1.0 - lambda) / lambda }
}

#[cfg(test)]
#[path = "regression_tests.rs"]
mod tests;
