//! Boxes of a model's image as boxes of the job's.

use picket_core::{
    boxes::{Found, Listed},
    escalation::detection::Detection,
};

use super::Reading;
use crate::pipeline::view::View;

/// What is shown, and what was nearly shown. A box that does not touch the job's image (it lies in a letterbox's border) is none.
pub(super) fn detect(reading: &Reading<'_>, listed: &Listed) -> Detection {
    let (shown, grey) = (reading.shown, reading.grey);
    let mut detection = Detection { boxes: Vec::new(), suppressed: 0.0, grey: 0 };
    for found in reading.boxes.iter().filter_map(|found| in_the_job(found, &reading.view)) {
        if listed.contains(found.class) {
            detection.grey += u32::from((found.score - shown).abs() <= grey);
        }
        if found.score >= shown {
            detection.boxes.push(found);
        } else if listed.contains(found.class) {
            detection.suppressed = detection.suppressed.max(found.score);
        }
    }
    detection
}

/// In the job's own pixels, cut off at the edges of its image, where it brought one.
fn in_the_job(found: &Found, view: &View) -> Option<Found> {
    let ((left, top), (right, bottom)) =
        (view.point(found.x, found.y), view.point(found.x + found.w, found.y + found.h));
    let Some((width, height)) = view.size else {
        return Some(Found { x: left, y: top, w: right - left, h: bottom - top, ..*found });
    };
    let within = |from: f32, to: f32, length: usize| {
        let (from, to) = (from.clamp(0.0, length as f32), to.clamp(0.0, length as f32));
        (from, to - from)
    };
    let ((x, w), (y, h)) = (within(left, right, width), within(top, bottom, height));
    (w > 0.0 && h > 0.0).then_some(Found { x, y, w, h, ..*found })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::conclude::tests_support::reading;

    const FOUND: Found = Found { class: 0, score: 0.9, x: 0.0, y: 0.0, w: 10.0, h: 10.0 };

    #[test]
    fn boxes_come_back_to_the_jobs_pixels_and_end_with_its_image() {
        // 100 × 50 pixels, made 40 × 20 below a border of 5.
        let view = View { size: Some((100, 50)), ..View::WHOLE }.scaled(0.4, 0.4).cut(0.0, -5.0);
        let mut reading = reading(&[], &[]);
        (reading.view, reading.shown, reading.grey) = (view, 0.5, 0.1);
        reading.boxes = vec![
            Found { x: 4.0, y: 9.0, w: 8.0, h: 4.0, ..FOUND },
            Found { x: 38.0, y: 1.0, w: 8.0, h: 6.0, ..FOUND },
            Found { y: 0.0, h: 5.0, ..FOUND },
        ];
        let expected =
            [Found { x: 10.0, y: 10.0, w: 20.0, h: 10.0, ..FOUND }, Found { x: 95.0, y: 0.0, w: 5.0, h: 5.0, ..FOUND }];
        assert_eq!(detect(&reading, &Listed::ALL).boxes, expected);
    }

    #[test]
    fn what_was_nearly_shown_is_counted_if_it_is_listed() {
        let mut reading = reading(&[], &[]);
        (reading.shown, reading.grey) = (0.5, 0.125);
        reading.boxes = [(0, 0.9), (0, 0.5), (0, 0.375), (1, 0.46875), (0, 0.25)]
            .map(|(class, score)| Found { class, score, ..FOUND })
            .to_vec();
        let seen = detect(&reading, &Listed::of([0]));
        assert_eq!((seen.boxes.len(), seen.suppressed, seen.grey), (2, 0.375, 2));
        reading.boxes.clear();
        assert_eq!(detect(&reading, &Listed::ALL), Detection { boxes: vec![], suppressed: 0.0, grey: 0 });
    }
}
