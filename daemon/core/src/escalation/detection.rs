//! Boxes: one answer for the whole image, wrong when any box of a listed class is missed or spurious.
//!
//! The scores of the boxes that are shown say nothing about boxes that are missing; so how sure an answer is comes also from
//! what was nearly shown (escalation.md 1.3). And an image without any box is a case of its own: there is nothing shown that
//! could be doubtful, which is why filters on box scores never ask about it. Empty answers are a side with a promise of their
//! own ([`super::sides`]), certified only if the calibration's empty cases bear it.

use serde::{Deserialize, Serialize};

use super::score::Rated;
use crate::{
    boxes::{Found, Listed, is_threshold},
    limits,
    said::Said,
};

/// Side of answers with at least one box of a listed class.
pub const FOUND: usize = 0;
/// Side of answers without any.
pub const EMPTY: usize = 1;
/// Names of the two.
pub const LABELS: [&str; 2] = ["found", "empty"];

/// What a detector made of an image, after boxes that are one thing have become one (non-maximum suppression).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detection {
    /// Those that are shown: from the display threshold on.
    pub boxes: Vec<Found>,
    /// The highest score below the display threshold, of a listed class; 0 where there is none.
    pub suppressed: f32,
    /// How many boxes of listed classes, shown or not, have a score in the grey band around the display threshold.
    pub grey: u32,
}

/// An answer and how sure it is. Boxes of classes that are not listed are no part of it. `None` for what is no detection: a box
/// that is not sound, a suppressed score that is none, more than [`limits::BOXES`], an IoU that is no threshold.
pub fn rate(seen: &Detection, iou: f64, listed: &Listed) -> Option<(Said, Rated)> {
    let sound = seen.boxes.len() <= limits::BOXES && seen.boxes.iter().all(Found::is_sound);
    if !sound || !(0.0..=1.0).contains(&seen.suppressed) || !is_threshold(iou) {
        return None;
    }
    let boxes: Vec<Found> = seen.boxes.iter().filter(|found| listed.contains(found.class)).copied().collect();
    let class = if boxes.is_empty() { EMPTY } else { FOUND };
    let least = boxes.iter().map(|found| found.score).fold(1.0, f32::min);
    let s = sureness(least, seen.suppressed, seen.grey);
    Some((Said::Boxes(boxes), Rated { class, confidence: s, s, p_wrong: 1.0 - s }))
}

/// s = a · (1 - b) / (1 + g), a the score of the least sure box that is shown (1 without any), b the highest suppressed score, g
/// the boxes in the grey band: as if a were the chance that nothing is spurious, 1 - b that nothing is missed, and each grey box
/// one more answer that would be as good. A choice that only has to rank. In [0, 1] for a and b in [0, 1].
pub fn sureness(least: f32, suppressed: f32, grey: u32) -> f32 {
    (f64::from(least) * (1.0 - f64::from(suppressed)) / (1.0 + f64::from(grey))) as f32
}

#[cfg(test)]
#[path = "detection_tests.rs"]
mod tests;
