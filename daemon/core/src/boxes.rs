//! What a detector finds in an image, and when two findings are the same.

use serde::{Deserialize, Serialize};

use crate::limits;

/// A box around something. Lengths are in pixels or in any other unit, the same for all boxes that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// Index among the model's labels.
    pub class: usize,
    /// 0 to 1; 1 for a box that somebody has drawn.
    pub score: f32,
    /// The corner with the smallest coordinates; a box may reach out of the image.
    pub x: f32,
    pub y: f32,
    /// 0 or more. What has no area is a box, but is the same as no other one.
    pub w: f32,
    pub h: f32,
}

impl Found {
    /// All numbers are finite, no length is less than 0, the score lies between 0 and 1.
    pub fn is_sound(&self) -> bool {
        let Self { score, x, y, w, h, .. } = *self;
        x.is_finite() && y.is_finite() && is_length(w) && is_length(h) && (0.0..=1.0).contains(&score)
    }

    /// Intersection over union, 0 to 1; 0 where one of the two has no area or is not sound. Does not depend on their order.
    pub fn iou(&self, other: &Self) -> f64 {
        let area = |one: &Self| f64::from(one.w) * f64::from(one.h);
        let common = overlap((self.x, self.w), (other.x, other.w)) * overlap((self.y, self.h), (other.y, other.h));
        let union = area(self) + area(other) - common;
        let sound = self.is_sound() && other.is_sound() && union > 0.0;
        if sound { (common / union).min(1.0) } else { 0.0 }
    }
}

fn is_length(length: f32) -> bool {
    length.is_finite() && length >= 0.0
}

/// What two intervals (start, length) have in common. Reckoned from the first start, so that far from the origin nothing is lost.
fn overlap(a: (f32, f32), b: (f32, f32)) -> f64 {
    let (first, second) = if a.0 <= b.0 { (a, b) } else { (b, a) };
    let left = f64::from(first.1) - (f64::from(second.0) - f64::from(first.0));
    left.min(f64::from(second.1)).max(0.0)
}

/// Classes whose boxes count, as bits. Classes from 256 on always do: of what is not known, nothing is overlooked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed([u64; 4]);

impl Listed {
    pub const ALL: Self = Self([u64::MAX; 4]);

    pub fn of(classes: impl IntoIterator<Item = usize>) -> Self {
        let mut words = [0_u64; 4];
        for class in classes {
            if let Some(word) = words.get_mut(class / 64) {
                *word |= 1 << (class % 64);
            }
        }
        Self(words)
    }

    pub fn contains(&self, class: usize) -> bool {
        self.0.get(class / 64).is_none_or(|word| word >> (class % 64) & 1 == 1)
    }
}

/// More than 0, at most 1: from such an IoU on, two boxes are the same.
pub fn is_threshold(iou: f64) -> bool {
    iou > 0.0 && iou <= 1.0
}

/// Do both find the same? Each box of a listed class has exactly one counterpart of its class with at least this IoU, so none
/// is missed and none is spurious. Pairs are made greedily, those with the largest IoU first. Nothing in both is the same. What
/// cannot be compared (a box that is not sound, more than [`limits::BOXES`], an IoU that is no threshold) is never the same.
pub fn same(ours: &[Found], theirs: &[Found], iou: f64, listed: &Listed) -> bool {
    let counted = |boxes: &[Found]| -> Vec<Found> {
        boxes.iter().filter(|found| listed.contains(found.class)).copied().collect()
    };
    let (ours, theirs) = (counted(ours), counted(theirs));
    let all_sound = ours.iter().chain(&theirs).all(Found::is_sound);
    if !is_threshold(iou) || !all_sound || ours.len() != theirs.len() || ours.len() > limits::BOXES {
        return false;
    }
    let mut pairs: Vec<(f64, usize, usize)> = Vec::new();
    for (at, one) in ours.iter().enumerate() {
        let near = theirs.iter().enumerate().filter(|(_, other)| other.class == one.class);
        pairs.extend(near.map(|(to, other)| (one.iou(other), at, to)).filter(|(found, ..)| *found >= iou));
    }
    // Of equals those of the first boxes, whoever they belong to: the order of the two answers must not matter.
    let place = |(_, a, b): &(f64, usize, usize)| (*a.min(b), *a.max(b));
    pairs.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| place(a).cmp(&place(b))));
    let (mut used, mut taken, mut matched) = (vec![false; ours.len()], vec![false; theirs.len()], 0);
    for (_, at, to) in pairs {
        if !used[at] && !taken[to] {
            (used[at], taken[to]) = (true, true);
            matched += 1;
        }
    }
    matched == ours.len()
}

#[cfg(test)]
#[path = "boxes_tests.rs"]
mod tests;
