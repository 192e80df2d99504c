//! From a result document to what a node is told. The document is what is stored; the frame is made of it whenever it is
//! sent, and is the same each time (I2).

use std::sync::Arc;

use firmware_profiles::{
    units::Ratio,
    wire::{Outcome, TEXT_MAX, Verdict},
};
use serde::Deserialize;

use crate::ports::Message;

/// Of an answer that has no place in a verdict: boxes, bare tensors, windows that are not full yet.
const NO_VERDICT: &str = "node/no-verdict";

/// A verdict that waits for its receipt.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Said {
    pub revision: u16,
    last: bool,
    outcome: Kept,
}

/// [`Outcome`], without a frame that it borrows from.
#[derive(Clone, Debug, PartialEq)]
enum Kept {
    /// A confidence of 0: whoever answered did not say any.
    Class {
        class: u16,
        confidence: Ratio,
        certified: bool,
    },
    Anomaly {
        score: f32,
        anomalous: bool,
    },
    Value {
        value: f32,
    },
    Failed {
        code: Arc<str>,
    },
}

/// What is looked at of a result.
#[derive(Deserialize)]
struct Document {
    #[serde(default = "first")]
    revision: u16,
    #[serde(default = "last", rename = "final")]
    last: bool,
    #[serde(default)]
    answer: Answer,
    #[serde(default)]
    certified: bool,
}

const fn first() -> u16 {
    1
}

const fn last() -> bool {
    true
}

#[derive(Default, Deserialize)]
struct Answer {
    index: Option<u16>,
    confidence: Option<f32>,
    score: Option<f32>,
    value: Option<f32>,
}

impl Said {
    /// `None`: the message is no result. It was not made for a node.
    pub fn of(message: &Message) -> Option<Self> {
        let document: Document = serde_json::from_slice(&message.payload).ok()?;
        let Document { revision, last, answer, certified } = document;
        let outcome = match (&message.code, answer) {
            (Some(code), _) => Kept::Failed { code: shortened(code) },
            // The second of an anomaly's two labels.
            (None, Answer { score: Some(score), index, .. }) => Kept::Anomaly { score, anomalous: index == Some(1) },
            (None, Answer { value: Some(value), .. }) => Kept::Value { value },
            (None, Answer { index: Some(class), confidence, .. }) => {
                let confidence = Ratio::new(confidence.unwrap_or_default()).unwrap_or(Ratio::of(0.0));
                Kept::Class { class, confidence, certified }
            }
            (None, _) => Kept::Failed { code: NO_VERDICT.into() },
        };
        Some(Self { revision, last, outcome })
    }

    /// As a frame says it.
    pub fn verdict(&self, seq: u32) -> Verdict<'_> {
        let outcome = match &self.outcome {
            Kept::Class { class, confidence, certified } => {
                Outcome::Class { class: *class, confidence: *confidence, certified: *certified }
            }
            Kept::Anomaly { score, anomalous } => Outcome::Anomaly { score: *score, anomalous: *anomalous },
            Kept::Value { value } => Outcome::Value { value: *value },
            Kept::Failed { code } => Outcome::Failed { code },
        };
        Verdict { seq, revision: self.revision, last: self.last, outcome }
    }
}

/// A code is ASCII, and none is as long as this; a frame with a longer one could not be sent.
fn shortened(code: &Arc<str>) -> Arc<str> {
    match code.get(..TEXT_MAX) {
        Some(most) if code.len() > TEXT_MAX => most.into(),
        _ => code.clone(),
    }
}

#[cfg(test)]
mod tests {
    use picket_core::job::TransportId;
    use serde_json::json;

    use super::*;
    use crate::ports::Address;

    fn said(document: &serde_json::Value, code: Option<&str>) -> Option<Said> {
        let to = Address { transport: TransportId(0), to: "".into(), correlation: None };
        let payload = document.to_string().into_bytes().into();
        let code = code.map(Arc::from);
        Said::of(&Message { to, payload, json_len: None, code, job: None, expires_at: None })
    }

    #[test]
    fn a_verdict_says_what_the_document_says() {
        let class = json!({ "revision": 1, "final": false, "certified": true,
                            "answer": { "label": "weak", "index": 1, "confidence": 0.75, "top": [] } });
        let outcome = Outcome::Class { class: 1, confidence: Ratio::of(0.75), certified: true };
        assert_eq!(said(&class, None).unwrap().verdict(9), Verdict { seq: 9, revision: 1, last: false, outcome });
        let later = json!({ "revision": 2, "final": true, "certified": false,
                            "answer": { "index": 2, "confidence": null }, "was": { "index": 1 } });
        let outcome = Outcome::Class { class: 2, confidence: Ratio::of(0.0), certified: false };
        assert_eq!(said(&later, None).unwrap().verdict(9), Verdict { seq: 9, revision: 2, last: true, outcome });
        let anomaly = json!({ "answer": { "label": "anomaly", "index": 1, "score": 1.5 } });
        let outcome = Outcome::Anomaly { score: 1.5, anomalous: true };
        assert_eq!(said(&anomaly, None).unwrap().verdict(9).outcome, outcome);
        let number = json!({ "answer": { "value": -2.5, "sigma": 0.5 } });
        assert_eq!(said(&number, None).unwrap().verdict(9).outcome, Outcome::Value { value: -2.5 });
    }

    #[test]
    fn what_is_no_answer_fails_with_its_code() {
        let error = json!({ "id": "x", "error": { "code": "job/expired", "message": "…" } });
        let failed = said(&error, Some("job/expired")).unwrap();
        assert_eq!(
            failed.verdict(1),
            Verdict { seq: 1, revision: 1, last: true, outcome: Outcome::Failed { code: "job/expired" } }
        );
        let boxes = json!({ "answer": { "boxes": [] } });
        assert_eq!(said(&boxes, None).unwrap().verdict(1).outcome, Outcome::Failed { code: NO_VERDICT });
        assert_eq!(said(&json!("no document"), None), None);
    }
}
