//! Results, errors and dead letters as documents. What is rendered here is stored and sent as it is (I2).

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use picket_core::{
    Answer, Source,
    escalation::decide::{softmax, top_probability},
    job::{Digest, Failure, JobId},
    limits,
    time::Span,
};
use serde::Serialize;
use serde_json::{Map, Value, json, value::RawValue};

use crate::{
    inference::served::Served,
    oip,
    ports::{Content, Face, OutputForm, Upstream},
    tensor::Tensor,
};

/// Everything that a result is rendered from.
pub struct Facts<'a> {
    pub id: &'a JobId,
    /// The model's name in the configuration.
    pub model: &'a str,
    pub served: &'a Served,
    /// Outputs of the local model.
    pub outputs: &'a [Tensor],
    /// Scores of the local model, where the task has classes.
    pub scores: Option<&'a [f32]>,
    pub upstream: Option<&'a Upstream>,
    /// Name of the answering provider, when one answered.
    pub provider: Option<&'a str>,
}

/// A rendered document: bytes, and the length of its JSON part when tensors follow.
pub struct Document {
    pub payload: Bytes,
    pub json_len: Option<usize>,
}

#[derive(Serialize)]
struct ResultDocument<'a> {
    id: &'a str,
    model_name: &'a str,
    model_version: &'a str,
    revision: u32,
    #[serde(rename = "final")]
    is_final: bool,
    answer: Value,
    source: &'a str,
    certified: bool,
    reason: &'static str,
    proven: bool,
    evidence: EvidenceDocument,
    timing_ms: TimingDocument,
    #[serde(skip_serializing_if = "Option::is_none")]
    outputs: Option<Box<RawValue>>,
}

/// The fields of protocol.md 3. Those of the certificate are null until there is one.
#[derive(Serialize)]
struct EvidenceDocument {
    s: Option<f32>,
    lambda: Option<f32>,
    p_wrong: Option<f32>,
    price: f32,
    cost: f32,
    calibration: Option<&'static str>,
    n: Option<u32>,
    alpha: Option<f32>,
    delta: Option<f32>,
    /// What the local model would have answered, when somebody else did.
    #[serde(skip_serializing_if = "Option::is_none")]
    local: Option<Value>,
}

#[derive(Serialize)]
struct TimingDocument {
    queue: f64,
    prepare: f64,
    infer: f64,
    provider: Option<f64>,
    total: f64,
}

/// Renders a job's answer in the form that its asker reads.
pub fn result(answer: &Answer, facts: &Facts<'_>, face: &Face) -> Document {
    match face {
        Face::Message { outputs } => message(answer, facts, *outputs),
        Face::Oip { outputs: form } => {
            let parameters = parameters(answer, facts);
            let (payload, json_len) = oip::infer_response(
                facts.model,
                &facts.served.bundle.version,
                facts.id.as_str(),
                parameters,
                given_outputs(answer, facts),
                form,
            );
            Document { payload: payload.into(), json_len }
        }
    }
}

fn message(answer: &Answer, facts: &Facts<'_>, with_outputs: bool) -> Document {
    let evidence = answer.evidence;
    let by_other = answer.source != Source::Local;
    let document = ResultDocument {
        id: facts.id.as_str(),
        model_name: facts.model,
        model_version: &facts.served.bundle.version,
        revision: 1,
        is_final: true,
        answer: answer_value(answer, facts),
        source: facts.provider.unwrap_or("local"),
        certified: answer.certified,
        reason: answer.reason.code(),
        proven: facts.served.proven,
        evidence: EvidenceDocument {
            s: evidence.s,
            lambda: evidence.lambda,
            p_wrong: evidence.p_wrong,
            price: 0.0,
            cost: 0.0,
            calibration: None,
            n: None,
            alpha: None,
            delta: None,
            local: by_other.then(|| local_answer(facts, false)),
        },
        timing_ms: TimingDocument {
            queue: millis(answer.timing.queue),
            prepare: millis(answer.timing.prepare),
            infer: millis(answer.timing.infer),
            provider: answer.timing.provider.map(millis),
            total: millis(answer.timing.total),
        },
        outputs: (with_outputs || facts.scores.is_none()).then(|| outputs_json(given_outputs(answer, facts))).flatten(),
    };
    // Serialising plain structs into memory cannot fail.
    Document { payload: serde_json::to_vec(&document).unwrap_or_default().into(), json_len: None }
}

/// Output tensors as the array of an Open Inference Protocol response.
fn outputs_json(outputs: &[Tensor]) -> Option<Box<RawValue>> {
    let mut text = Vec::new();
    oip::encode_outputs(outputs, &OutputForm::default(), &mut text);
    // The codec writes JSON; were it none, the result would rather lack its outputs than be lost.
    String::from_utf8(text).ok().and_then(|text| RawValue::from_string(text).ok())
}

/// The outputs of whoever answered.
fn given_outputs<'a>(answer: &Answer, facts: &'a Facts<'_>) -> &'a [Tensor] {
    match (answer.source, facts.upstream) {
        (Source::Provider(_), Some(upstream)) => &upstream.outputs,
        _ => facts.outputs,
    }
}

fn answer_value(answer: &Answer, facts: &Facts<'_>) -> Value {
    match (answer.source, facts.upstream) {
        (Source::Provider(_), Some(upstream)) => {
            let label = facts.served.bundle.labels.get(upstream.index);
            json!({ "label": label, "index": upstream.index, "confidence": upstream.confidence, "model": upstream.model })
        }
        _ => local_answer(facts, true),
    }
}

/// `{label, index, confidence, top}`, or `{}` for tasks without classes.
fn local_answer(facts: &Facts<'_>, with_top: bool) -> Value {
    let bundle = &facts.served.bundle;
    let best = facts.scores.and_then(|scores| top_probability(scores, bundle.temperature).zip(Some(scores)));
    let Some(((index, confidence), scores)) = best else { return json!({}) };
    let mut value = json!({ "label": bundle.labels.get(index), "index": index, "confidence": confidence });
    if with_top {
        let mut ranked: Vec<(usize, f32)> = softmax(scores, bundle.temperature).into_iter().enumerate().collect();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
        let top = |(index, p): &(usize, f32)| json!({ "label": bundle.labels.get(*index), "confidence": p });
        value["top"] = ranked.iter().take(3).map(top).collect();
    }
    value
}

/// The decision as parameters of an Open Inference Protocol response: flat, as the protocol wants them.
fn parameters(answer: &Answer, facts: &Facts<'_>) -> Map<String, Value> {
    let mut parameters = Map::new();
    if let Value::Object(fields) = answer_value(answer, facts) {
        for key in ["label", "index", "confidence"] {
            if let Some(value) = fields.get(key) {
                parameters.insert(key.to_owned(), value.clone());
            }
        }
    }
    let evidence = answer.evidence;
    let rest = [
        ("source", json!(facts.provider.unwrap_or("local"))),
        ("certified", json!(answer.certified)),
        ("reason", json!(answer.reason.code())),
        ("revision", json!(1)),
        ("final", json!(true)),
        ("proven", json!(facts.served.proven)),
        ("s", json!(evidence.s)),
        ("lambda", json!(evidence.lambda)),
        ("total_ms", json!(millis(answer.timing.total))),
    ];
    parameters.extend(rest.into_iter().filter(|(_, value)| !value.is_null()).map(|(key, value)| (key.to_owned(), value)));
    parameters
}

/// Renders an error in the form that the asker reads.
pub fn error(id: &str, failure: &Failure, face: &Face) -> Document {
    let payload = match face {
        Face::Message { .. } => {
            let document = json!({ "id": id, "error": failure_value(failure) });
            serde_json::to_vec(&document).unwrap_or_default()
        }
        Face::Oip { .. } => oip::error_document(id, failure),
    };
    Document { payload: payload.into(), json_len: None }
}

/// A dead letter: what could not be answered, why, and enough of the input to recognise it.
pub fn dead_letter(id: &str, model: &str, failure: &Failure, content: &Content, digest: &Digest) -> Bytes {
    let (first, second) = content.parts();
    let shown = &first[..first.len().min(limits::DEAD_LETTER_BYTES)];
    let document = json!({
        "id": id,
        "model": model,
        "error": failure_value(failure),
        "attempts": 1,
        "digest": format!("sha256:{}", hex(digest)),
        "input": { "bytes": first.len() + second.map_or(0, Bytes::len), "first": BASE64_STANDARD.encode(shown) },
    });
    serde_json::to_vec(&document).unwrap_or_default().into()
}

fn failure_value(failure: &Failure) -> Value {
    let mut value = json!({ "code": failure.code, "message": failure.message });
    if let (Some(want), Some(got)) = (&failure.want, &failure.got) {
        value["want"] = json!(want);
        value["got"] = json!(got);
    }
    value
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Milliseconds with microsecond resolution.
fn millis(span: Span) -> f64 {
    span.as_millis_f64()
}
