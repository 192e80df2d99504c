//! Results, errors and dead letters as documents. What is rendered here is stored and sent as it is (I2).

pub mod boxes;
mod local;
mod stream;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use picket_core::{
    Answer, Source,
    escalation::decide::Observation,
    inquiry::Inquiry,
    job::{Digest, Failure, JobId},
    limits,
    time::Span,
};
use serde::Serialize;
use serde_json::{Map, Value, json};

use self::{
    boxes::BoxDocument,
    local::{local_answer, said},
    stream::StreamDocument,
};
use crate::{
    bundle::Task,
    inference::served::Served,
    oip,
    ports::{Content, Death, Face, OutputForm, StreamNote, Upstream},
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
    /// What the local model said.
    pub seen: Option<&'a Observation>,
    /// Of models with windows or states.
    pub stream: Option<&'a StreamNote>,
    pub upstream: Option<&'a Upstream>,
    /// Name of the answering provider, when one answered.
    pub provider: Option<&'a str>,
    /// The model that the job was for, when a smaller one answers because the board is too hot.
    pub instead_of: Option<&'a str>,
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
    /// The model that the job was for: the board is too hot for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    instead_of: Option<&'a str>,
    revision: u32,
    #[serde(rename = "final")]
    is_final: bool,
    answer: AnswerDocument<'a>,
    source: &'a str,
    certified: bool,
    reason: &'static str,
    proven: bool,
    evidence: EvidenceDocument<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<StreamDocument<'a>>,
    timing_ms: TimingDocument,
}

/// `{label, index, confidence, top}` for classes, `{label, index, score}` for anomalies, `{value, sigma, unit}` for numbers, `{boxes}` for detections; `{}` for tasks that nothing judges.
#[derive(Default, Serialize)]
struct AnswerDocument<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<f64>,
    /// The model's own standard deviation of the value.
    #[serde(skip_serializing_if = "Option::is_none")]
    sigma: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<&'a str>,
    /// Anomaly score.
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f64>,
    /// Of an image; none is an answer, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    boxes: Option<Vec<BoxDocument>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    confidence: Option<f32>,
    /// The answering provider's model and version.
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    top: Vec<Ranked<'a>>,
}

#[derive(Serialize)]
struct Ranked<'a> {
    label: &'a str,
    confidence: f32,
}

/// Most results have less; a larger one grows.
const RESULT_BYTES: usize = 1_024;

/// Classes that `top` lists.
const TOP: usize = 3;

/// The numbers that led to the decision. Those of the certificate are null where none is in force.
#[derive(Serialize)]
struct EvidenceDocument<'a> {
    s: Option<f32>,
    lambda: Option<f32>,
    p_wrong: Option<f32>,
    gain: Option<f64>,
    /// Gain that a call must bring for the budget to last; null: whatever it brings, nothing is left.
    price: Option<f64>,
    /// Most that a call may cost.
    cost: Option<f64>,
    /// Chance that a provider answers in time.
    on_time: Option<f64>,
    audit: bool,
    /// Digest of the calibration file.
    calibration: Option<&'a str>,
    /// Number of the certificate among this model's: the file's, or a later one that came of the lottery.
    round: Option<u32>,
    /// Labelled cases behind the certificate.
    n: Option<u64>,
    alpha: Option<f64>,
    delta: Option<f64>,
    /// What the local model would have answered, when somebody else did.
    #[serde(skip_serializing_if = "Option::is_none")]
    local: Option<AnswerDocument<'a>>,
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
        instead_of: facts.instead_of,
        revision: 1,
        is_final: answer.later.is_none(),
        answer: answer_document(answer, facts),
        source: facts.provider.unwrap_or("local"),
        certified: answer.certified,
        reason: answer.reason.code(),
        proven: facts.served.proven,
        evidence: EvidenceDocument {
            s: evidence.s,
            lambda: evidence.lambda,
            p_wrong: evidence.p_wrong,
            gain: evidence.gain,
            price: evidence.price.filter(|price| price.is_finite()),
            cost: evidence.cost.map(|cost| cost.money.as_units()),
            on_time: evidence.on_time,
            audit: evidence.audit,
            calibration: facts.served.bundle.calibration.state.certified().map(|certified| &*certified.digest),
            round: evidence.promise.map(|promise| promise.round),
            n: evidence.promise.map(|promise| promise.cases),
            alpha: evidence.promise.map(|promise| promise.alpha),
            delta: evidence.promise.map(|promise| promise.delta),
            local: by_other.then(|| local_answer(facts, 0)),
        },
        stream: facts.stream.map(StreamDocument::from),
        timing_ms: TimingDocument {
            queue: millis(answer.timing.queue),
            prepare: millis(answer.timing.prepare),
            infer: millis(answer.timing.infer),
            provider: answer.timing.provider.map(millis),
            total: millis(answer.timing.total),
        },
    };
    let mut payload = Vec::with_capacity(RESULT_BYTES);
    let written = serde_json::to_writer(&mut payload, &document);
    debug_assert!(written.is_ok(), "serialising plain structs into memory cannot fail");
    if with_outputs || facts.served.bundle.task == Task::Tensor {
        payload.pop();
        payload.extend_from_slice(b",\"outputs\":");
        oip::encode_outputs(given_outputs(answer, facts), &OutputForm::default(), &mut payload);
        payload.push(b'}');
    }
    // Results are kept for a while.
    payload.shrink_to_fit();
    Document { payload: payload.into(), json_len: None }
}

/// The outputs of whoever answered.
fn given_outputs<'a>(answer: &Answer, facts: &'a Facts<'_>) -> &'a [Tensor] {
    match (answer.source, facts.upstream) {
        (Source::Provider(_), Some(upstream)) => &upstream.outputs,
        _ => facts.outputs,
    }
}

fn answer_document<'a>(answer: &Answer, facts: &'a Facts<'_>) -> AnswerDocument<'a> {
    match (answer.source, facts.upstream) {
        (Source::Provider(_), Some(upstream)) => AnswerDocument {
            confidence: upstream.confidence,
            model: Some(&*upstream.model).filter(|model| !model.is_empty()),
            ..said(&upstream.said, &facts.served.bundle)
        },
        _ => local_answer(facts, TOP),
    }
}

/// The decision as parameters of an Open Inference Protocol response: flat, as the protocol wants them.
fn parameters(answer: &Answer, facts: &Facts<'_>) -> Map<String, Value> {
    let mut parameters = Map::new();
    let given = answer_document(answer, facts);
    let evidence = answer.evidence;
    let fields = [
        ("label", json!(given.label)),
        ("index", json!(given.index)),
        ("value", json!(given.value)),
        ("sigma", json!(given.sigma)),
        ("unit", json!(given.unit)),
        ("score", json!(given.score)),
        // A parameter is a word or a number; a list is one in JSON.
        ("boxes", json!(given.boxes.and_then(|boxes| serde_json::to_string(&boxes).ok()))),
        ("confidence", number(given.confidence)),
        ("source", json!(facts.provider.unwrap_or("local"))),
        ("certified", json!(answer.certified)),
        ("reason", json!(answer.reason.code())),
        ("instead_of", json!(facts.instead_of)),
        ("revision", json!(1)),
        ("final", json!(answer.later.is_none())),
        ("proven", json!(facts.served.proven)),
        ("audit", json!(evidence.audit.then_some(true))),
        ("s", number(evidence.s)),
        ("lambda", number(evidence.lambda)),
        ("alpha", json!(evidence.promise.map(|promise| promise.alpha))),
        ("delta", json!(evidence.promise.map(|promise| promise.delta))),
        ("n", json!(evidence.promise.map(|promise| promise.cases))),
        ("total_ms", json!(millis(answer.timing.total))),
    ];
    let known = fields.into_iter().chain(stream::parameters(facts.stream)).filter(|(_, value)| !value.is_null());
    parameters.extend(known.map(|(key, value)| (key.to_owned(), value)));
    parameters
}

/// An f32 by its own shortest decimal form, not by that of the f64 next to it.
fn number(value: Option<f32>) -> Value {
    value.and_then(|value| value.to_string().parse::<f64>().ok()).map_or(Value::Null, |value| json!(value))
}

/// A provider's answer that came after ours and says something else.
pub struct Late<'a> {
    pub id: &'a JobId,
    /// The model's name in the configuration.
    pub model: &'a str,
    pub served: &'a Served,
    pub was: &'a Inquiry,
    pub upstream: &'a Upstream,
    pub provider: &'a str,
    /// Since the first answer went out.
    pub age: Span,
}

/// Revision 2 of an answer, on its way to whoever wants to know of corrections.
pub fn amendment(late: &Late<'_>) -> Bytes {
    let Late { id, model, served, was, upstream, provider, age } = late;
    let bundle = &served.bundle;
    let mut answer = json!(said(&upstream.said, bundle));
    answer["confidence"] = number(upstream.confidence);
    answer["model"] = json!(upstream.model);
    let mut before = json!(said(&was.said, bundle));
    before["certified"] = was.certified.into();
    before["reason"] = was.answered.code().into();
    let document = json!({
        "id": id.as_str(),
        "model_name": model,
        "model_version": served.bundle.version,
        "revision": 2,
        "final": true,
        "answer": answer,
        "source": provider,
        "certified": false,
        "reason": was.reason.code(),
        "agree": false,
        "age_ms": millis(*age),
        "was": before,
        "evidence": {
            "s": number(Some(was.s)), "p_wrong": number(Some(was.p_wrong)), "gain": was.gain, "audit": was.audit,
        },
    });
    document.to_string().into_bytes().into()
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
pub fn dead_letter(
    id: &str,
    model: &str,
    Death { failure, attempts }: &Death,
    content: &Content,
    digest: &Digest,
) -> Bytes {
    let (first, _) = content.parts();
    let document = json!({
        "id": id,
        "model": model,
        "error": failure_value(failure),
        "attempts": attempts,
        "digest": format!("sha256:{}", hex(digest)),
        "input": { "bytes": content.size(), "first": first_bytes(first) },
    });
    serde_json::to_vec(&document).unwrap_or_default().into()
}

/// Enough of an input to recognise it, in base64.
pub fn first_bytes(input: &[u8]) -> String {
    BASE64_STANDARD.encode(&input[..input.len().min(limits::DEAD_LETTER_BYTES)])
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
