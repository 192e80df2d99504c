//! Boxes, for programs and for people.

use picket_core::boxes::Found;
use serde::{Deserialize, Serialize};

/// One box of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BoxDocument {
    /// `None`: a class that has no label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    pub index: usize,
    pub confidence: f32,
    /// The left upper corner, in pixels of the job's image …
    pub x: f32,
    pub y: f32,
    /// … and width and height.
    pub w: f32,
    pub h: f32,
}

pub fn documents(boxes: &[Found], labels: &[String]) -> Vec<BoxDocument> {
    let document = |found: &Found| BoxDocument {
        label: labels.get(found.class).cloned(),
        index: found.class,
        confidence: found.score,
        x: found.x,
        y: found.y,
        w: found.w,
        h: found.h,
    };
    boxes.iter().map(document).collect()
}

/// As a list in JSON.
pub fn json(boxes: &[Found], labels: &[String]) -> String {
    serde_json::to_string(&documents(boxes, labels)).unwrap_or_default()
}

/// Boxes that a sentence lists.
const TOLD: usize = 10;

/// `scratch 0.91 at (10, 20), 30 × 40; dent 0.77 at …`, or `no boxes`.
pub fn in_words(boxes: &[BoxDocument]) -> String {
    if boxes.is_empty() {
        return "no boxes".to_owned();
    }
    let one = |found: &BoxDocument| {
        let BoxDocument { label, index, confidence, x, y, w, h } = found;
        let class = label.clone().unwrap_or_else(|| format!("class {index}"));
        format!("{class} {confidence:.2} at ({x}, {y}), {w} × {h}")
    };
    let mut text = boxes.iter().take(TOLD).map(one).collect::<Vec<_>>().join("; ");
    if boxes.len() > TOLD {
        text += &format!("; and {} more", boxes.len() - TOLD);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOUND: Found = Found { class: 1, score: 0.914, x: -10.5, y: 20.0, w: 30.0, h: 40.0 };

    #[test]
    fn a_box_has_its_label_its_score_and_its_place() {
        let labels = ["dent".to_owned(), "scratch".to_owned()];
        let text = json(&[FOUND, Found { class: 7, ..FOUND }], &labels);
        assert_eq!(
            text,
            r#"[{"label":"scratch","index":1,"confidence":0.914,"x":-10.5,"y":20.0,"w":30.0,"h":40.0},{"index":7,"confidence":0.914,"x":-10.5,"y":20.0,"w":30.0,"h":40.0}]"#
        );
        let read: Vec<BoxDocument> = serde_json::from_str(&text).unwrap();
        assert_eq!(read, documents(&[FOUND, Found { class: 7, ..FOUND }], &labels));
        assert_eq!(in_words(&read), "scratch 0.91 at (-10.5, 20), 30 × 40; class 7 0.91 at (-10.5, 20), 30 × 40");
    }

    #[test]
    fn nothing_is_said_in_words_and_a_crowd_is_counted() {
        assert_eq!((json(&[], &[]), in_words(&[])), ("[]".to_owned(), "no boxes".to_owned()));
        assert!(in_words(&documents(&[FOUND; 14], &[])).ends_with("; and 4 more"));
    }
}
