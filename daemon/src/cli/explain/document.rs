//! A result as it was published: what can be told without the log.

use anyhow::{Context, bail};
use picket_core::escalation::decide::Reason;
use serde::Deserialize;
use serde_json::Value;

use crate::answer::boxes::{self, BoxDocument};

use super::{
    Telling,
    words::{self, Facts, Promise, percent},
};

#[derive(Deserialize)]
struct Document {
    id: String,
    #[serde(default)]
    model_name: String,
    /// The model that the job was for.
    instead_of: Option<String>,
    #[serde(default)]
    answer: Answer,
    #[serde(default)]
    source: String,
    #[serde(default)]
    certified: bool,
    reason: Option<String>,
    #[serde(default)]
    evidence: Evidence,
    #[serde(rename = "final")]
    is_final: Option<bool>,
    /// In an amendment: the answer that went out first.
    was: Option<Was>,
    age_ms: Option<f64>,
    error: Option<Error>,
}

#[derive(Default, Deserialize)]
struct Answer {
    label: Option<String>,
    confidence: Option<f64>,
    boxes: Option<Vec<BoxDocument>>,
}

impl Answer {
    /// As people call it.
    fn named(&self) -> Option<String> {
        named(&self.label, self.boxes.as_deref())
    }
}

fn named(label: &Option<String>, found: Option<&[BoxDocument]>) -> Option<String> {
    label.clone().or_else(|| found.map(boxes::in_words))
}

#[derive(Deserialize)]
struct Was {
    label: Option<String>,
    boxes: Option<Vec<BoxDocument>>,
    reason: Option<String>,
}

#[derive(Deserialize)]
struct Error {
    code: String,
    #[serde(default)]
    message: String,
}

#[derive(Default, Deserialize)]
struct Evidence {
    s: Option<f64>,
    lambda: Option<f64>,
    p_wrong: Option<f64>,
    gain: Option<f64>,
    #[serde(default)]
    audit: bool,
    round: Option<u64>,
    n: Option<u64>,
    alpha: Option<f64>,
    delta: Option<f64>,
    local: Option<Answer>,
}

/// # Errors
/// `explain/no-result`: it is no such document; `explain/unknown-reason`: it is of another version.
pub(super) fn tell(text: &[u8], whence: &str) -> anyhow::Result<Telling> {
    let value: Value = serde_json::from_slice(text).with_context(|| format!("error[explain/no-result]: {whence}"))?;
    let document = Document::deserialize(&value)
        .with_context(|| format!("error[explain/no-result]: {whence} is no result as Picket publishes it"))?;
    let Document { id, model_name, instead_of, answer, source, certified, evidence, is_final, .. } = document;
    let Document { was, age_ms, error, reason, .. } = document;
    if let Some(Error { code, message }) = error {
        let sentences = vec![format!("There was no answer: {message} ({code}).")];
        return Ok(Telling { id, code: Some(code), sentences, ..Telling::default() });
    }
    let Some(reason) = reason else {
        bail!("error[explain/no-result]: {whence} has no `reason`: it is no result as Picket publishes it");
    };
    let reason = known(&reason, whence)?;
    let is_local = source == "local";
    let local = match (&was, evidence.local, is_local) {
        (Some(was), ..) => (named(&was.label, was.boxes.as_deref()), None),
        (None, Some(local), _) => (local.named(), local.confidence),
        (None, None, true) => (answer.named(), answer.confidence),
        (None, None, false) => (None, None),
    };
    let promise = match (evidence.n, evidence.alpha, evidence.delta) {
        (Some(n), Some(alpha), Some(delta)) => Some(Promise { n, alpha, delta, round: evidence.round }),
        _ => None,
    };
    let facts = Facts {
        id: id.clone(),
        model: model_name,
        local: local.0,
        confidence: local.1,
        s: evidence.s,
        lambda: evidence.lambda,
        p_wrong: evidence.p_wrong,
        gain: evidence.gain,
        audit: evidence.audit,
        promise,
        ..Facts::default()
    };
    let mut sentences: Vec<String> =
        instead_of.map(|wanted| words::stood_in(&wanted, &facts.model)).into_iter().collect();
    sentences.push(facts.said());
    sentences.extend(facts.threshold());
    if let Some(first) = was.as_ref().and_then(|was| was.reason.as_deref()) {
        sentences.push(format!("{first}: {}", facts.because(known(first, whence)?)));
    }
    sentences.push(format!("{}: {}", reason.code(), facts.because(reason)));
    let given = answer.named().map_or_else(|| "an answer without a label".to_owned(), |label| format!("\"{label}\""));
    let sure = answer.confidence.map(|confidence| format!(", {} sure", percent(confidence))).unwrap_or_default();
    sentences.push(match (&was, is_local) {
        (Some(_), _) => {
            let late = age_ms.map(|age| format!(" {:.1} s later", age / 1e3)).unwrap_or_default();
            format!("{source} said {given}{sure}{late}: revision 2, which corrects the first answer.")
        }
        (None, true) if is_final == Some(false) => {
            format!("The answer {given} went out; somebody is asked afterwards, and a correction would be revision 2.")
        }
        (None, true) => {
            format!("The answer {given} went out; nothing about it left the device for an opinion in time.")
        }
        (None, false) => format!("{source} said {given}{sure}, in time: that is the answer that went out."),
    });
    sentences.push(facts.lottery());
    Ok(Telling {
        id,
        code: Some(reason.code().to_owned()),
        certified: Some(certified),
        facts,
        sentences,
        ..Telling::default()
    })
}

fn known(code: &str, whence: &str) -> anyhow::Result<Reason> {
    Reason::parse(code)
        .with_context(|| format!("error[explain/unknown-reason]: {whence}: {code:?} is no reason of this version"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn boxes_are_told_with_label_score_and_place() {
        let a_box =
            json!({ "label": "scratch", "index": 0, "confidence": 0.75, "x": 1.0, "y": 2.5, "w": 3.0, "h": 4.0 });
        let result = json!({
            "id": "press-4/1", "answer": { "boxes": [a_box], "model": "parts-large 1" }, "source": "hq",
            "reason": "ESC_EMPTY_OUTPUT", "final": true,
            "evidence": { "s": 0.5, "p_wrong": 0.5, "local": { "boxes": [] } },
        });
        let told = tell(result.to_string().as_bytes(), "here").unwrap().sentences.join("\n");
        assert!(told.contains("The local model said \"no boxes\""), "{told}");
        assert!(told.contains("ESC_EMPTY_OUTPUT: The local model found nothing"), "{told}");
        assert!(told.contains("hq said \"scratch 0.75 at (1, 2.5), 3 × 4\", in time"), "{told}");
    }
}
