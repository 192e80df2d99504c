//! What somebody said, as a document.

use picket_core::{
    escalation::{
        decide::Observation,
        rating,
        score::{softmax, top_probability},
    },
    said::Said,
};

use super::{AnswerDocument, Facts, Ranked, boxes};
use crate::bundle::Bundle;

/// An answer by itself.
pub(super) fn said<'a>(said: &Said, bundle: &'a Bundle) -> AnswerDocument<'a> {
    match said {
        Said::Class(index) => AnswerDocument {
            label: bundle.labels.get(*index).map(String::as_str),
            index: Some(*index),
            ..AnswerDocument::default()
        },
        Said::Value(value) => {
            AnswerDocument { value: Some(*value), unit: bundle.unit.as_deref(), ..AnswerDocument::default() }
        }
        Said::Boxes(found) => {
            AnswerDocument { boxes: Some(boxes::documents(found, &bundle.labels)), ..AnswerDocument::default() }
        }
    }
}

/// What the local model said, with so many of the classes that came next.
pub(super) fn local_answer<'a>(facts: &'a Facts<'_>, top: usize) -> AnswerDocument<'a> {
    let bundle = &facts.served.bundle;
    let temperature = bundle.scale();
    let best = match facts.seen {
        Some(Observation::Scores(scores)) => top_probability(scores, temperature).zip(Some(scores)),
        Some(seen) => return local_number(seen, bundle),
        None => None,
    };
    let Some(((index, confidence), scores)) = best else { return AnswerDocument::default() };
    let mut ranked: Vec<(f32, &String)> = softmax(scores, temperature).into_iter().zip(&*bundle.labels).collect();
    let top = top.min(ranked.len());
    if top > 0 && top < ranked.len() {
        // Of a thousand classes only the first few are worth sorting.
        ranked.select_nth_unstable_by(top - 1, |a, b| b.0.total_cmp(&a.0));
    }
    ranked.truncate(top);
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    AnswerDocument {
        label: bundle.labels.get(index).map(String::as_str),
        index: Some(index),
        confidence: Some(confidence),
        top: ranked.into_iter().map(|(confidence, label)| Ranked { label, confidence }).collect(),
        ..AnswerDocument::default()
    }
}

/// Of tasks without a list of scores.
fn local_number<'a>(seen: &Observation, bundle: &'a Bundle) -> AnswerDocument<'a> {
    let rated = rating::rate(seen, &bundle.measure, &rating::rule(&bundle.measure, bundle.temperature));
    let answer = rated.map_or_else(AnswerDocument::default, |(local, _)| said(&local, bundle));
    match seen {
        Observation::Anomaly(score) => AnswerDocument { score: Some(*score), ..answer },
        Observation::Value { sigma, .. } => AnswerDocument { sigma: *sigma, ..answer },
        _ => answer,
    }
}

#[cfg(test)]
mod tests {
    use picket_core::{
        boxes::{Found, Listed},
        escalation::detection::Detection,
        said::Measure,
    };
    use serde_json::json;

    use super::*;

    #[test]
    fn a_detection_is_a_list_of_boxes_and_nothing_found_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("parts.onnx");
        std::fs::write(&path, "x").unwrap();
        let measure = Measure::Boxes { iou: 0.5, listed: Listed::ALL };
        let bundle = Bundle { labels: ["scratch".to_owned()].into(), measure, ..Bundle::read(&path).unwrap() };
        let found = Found { class: 0, score: 0.75, x: 1.0, y: 2.0, w: 3.0, h: 4.0 };
        let answer = |boxes: Vec<Found>| {
            let seen = Observation::Boxes(Detection { boxes, suppressed: 0.1, grey: 0 });
            json!(local_number(&seen, &bundle))
        };
        let shown =
            json!({ "label": "scratch", "index": 0, "confidence": 0.75, "x": 1.0, "y": 2.0, "w": 3.0, "h": 4.0 });
        assert_eq!(answer(vec![found]), json!({ "boxes": [shown] }));
        assert_eq!(answer(vec![]), json!({ "boxes": [] }));
        assert_eq!(answer(vec![Found { w: -1.0, ..found }]), json!({}));
    }
}
