//! A bigger model behind the Open Inference Protocol: another Picket, Triton, KServe, MLServer, OpenVINO model server …
//!
//! The protocol says how tensors travel, and not what they mean: what of an answer counts is configured. The whole call ends
//! within the question's timeout.

use std::{path::PathBuf, sync::Arc};

use picket_core::{
    ProviderFault,
    said::{Measure, Said},
};
use reqwest::{
    Url,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};
use serde::Deserialize;
use serde_json::{Map, Value};
use toml::Spanned;

use super::{
    ProviderKind, ProviderSetup,
    fault::{Fault, bad},
    http::{self, Address, Line},
};
use crate::{
    config::{ConfigError, Section},
    oip::{self, Response},
    ports::{Asking, Provider, Question, Upstream},
    tensor::Tensor,
};

/// The row of the registration table.
pub struct Oip;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    name: String,
    #[serde(rename = "kind")]
    _kind: String,
    url: Spanned<String>,
    model: Spanned<String>,
    /// Of the model; without it the server chooses.
    version: Option<Spanned<String>>,
    #[serde(default)]
    tensors: Tensors,
    /// The only output that is asked for and looked at.
    output: Option<Spanned<String>>,
    #[serde(default)]
    answer: Meaning,
    /// Patience of one request.
    timeout_ms: Option<Spanned<u64>>,
    token_file: Option<Spanned<PathBuf>>,
    ca_file: Option<Spanned<PathBuf>>,
    #[serde(default)]
    cost: Cost,
}

/// How tensors travel.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Tensors {
    /// Behind the document, by the binary tensor extension.
    #[default]
    Binary,
    /// Inside it: not every server knows the extension.
    Json,
}

/// What the output is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Meaning {
    /// A number for each label, in their order; or a Picket's decision, which names the label.
    #[default]
    Scores,
    /// The place of the label among the labels, from 0.
    Index,
    /// The label itself, as text or as a whole number.
    Label,
}

/// What is asked of the server beside the inputs, and how its answer is read.
#[derive(Clone)]
struct Manner {
    tensors: Tensors,
    output: Option<String>,
    answer: Meaning,
}

/// What a call costs.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cost {
    call: Option<Spanned<f64>>,
}

/// Patience of a provider that is configured without one.
const TIMEOUT_MS: u64 = 2_000;

/// Probabilities may miss a sum of one by this much.
const SUM_TOLERANCE: f32 = 1e-3;

impl ProviderKind for Oip {
    fn name(&self) -> &'static str {
        "oip"
    }

    fn configure(&self, section: Section<'_>) -> Result<ProviderSetup, ConfigError> {
        let raw: Raw = section.clone().parse()?;
        let cost = super::price(&section, raw.cost.call.as_ref())?;
        let version = raw.version.as_ref().map(Spanned::get_ref);
        for (key, given) in
            [("model", Some(&raw.model)), ("version", raw.version.as_ref()), ("output", raw.output.as_ref())]
        {
            if let Some(empty) = given.filter(|given| given.get_ref().is_empty()) {
                return Err(
                    section.error(Some(empty.span()), format!("`{key}` is a name on the server, not an empty one"))
                );
            }
        }
        let url = endpoint(raw.url.get_ref(), raw.model.get_ref(), version.map(String::as_str))
            .map_err(|why| section.error(Some(raw.url.span()), why))?;
        let timeout = http::timeout(&section, raw.timeout_ms.as_ref(), TIMEOUT_MS)?;
        let line = Line::new(Address {
            section: &section,
            given: &raw.url,
            url,
            timeout,
            ca_file: raw.ca_file.as_ref(),
            secret_file: raw.token_file.as_ref(),
            secret_header: (header::AUTHORIZATION, "Bearer "),
            headers: HeaderMap::from_iter([(
                header::CONTENT_TYPE,
                HeaderValue::from_static(match raw.tensors {
                    Tensors::Binary => "application/octet-stream",
                    Tensors::Json => "application/json",
                }),
            )]),
        })?;
        let output = raw.output.map(Spanned::into_inner);
        let manner = Manner { tensors: raw.tensors, output, answer: raw.answer };
        let provider = Arc::new(OipProvider(Arc::new((line, manner))));
        Ok(ProviderSetup { name: raw.name.into(), timeout, cost, provider })
    }
}

/// `{url}/v2/models/{model}/infer`, or `…/{model}/versions/{version}/infer`
fn endpoint(url: &str, model: &str, version: Option<&str>) -> Result<Url, String> {
    let versions = version.map(|version| ["versions", version]);
    let path = ["v2", "models", model].into_iter().chain(versions.into_iter().flatten()).chain(["infer"]);
    http::endpoint(url, &path.collect::<Vec<_>>(), "token_file")
}

struct OipProvider(Arc<(Line, Manner)>);

impl Provider for OipProvider {
    fn ask(&self, question: Question) -> Asking {
        let shared = self.0.clone();
        Box::pin(async move {
            let (line, manner) = &*shared;
            let (fault, why) = match ask(line, manner, &question).await {
                Ok(upstream) => return Ok(upstream),
                Err(fault) => fault,
            };
            Err((fault, line.discreet(&why)))
        })
    }
}

async fn ask(line: &Line, manner: &Manner, question: &Question) -> Result<Upstream, Fault> {
    if matches!(question.measure, Measure::Boxes { .. }) {
        return Err(boxes());
    }
    let deadline = http::deadline(question.timeout);
    let mut parameters = Map::new();
    // Another Picket then gives up when we do.
    parameters.insert("deadline-ms".to_owned(), (question.timeout.as_micros() / 1000).max(1).into());
    let (id, inputs, output) = (question.id.as_str(), &question.inputs, manner.output.as_deref());
    let mut headers = HeaderMap::new();
    let body = match manner.tensors {
        Tensors::Binary => {
            let (body, json_len) = oip::binary_request(id, parameters, inputs, output);
            headers.insert(INFERENCE_HEADER, HeaderValue::from(json_len));
            body
        }
        Tensors::Json => oip::json_request(id, parameters, inputs, output)
            .map_err(|failure| (ProviderFault::Unsuited, failure.message))?,
    };
    let reply = line.post(deadline, headers, body.into(), question.attempts, &question.meter).await?;
    let split = match reply.headers.get(INFERENCE_HEADER) {
        None => reply.body.len(),
        Some(length) => {
            let number = length.to_str().ok().and_then(|text| text.parse().ok());
            number.filter(|n| *n <= reply.body.len()).ok_or_else(|| bad("its JSON length does not fit the answer"))?
        }
    };
    let response = oip::decode_response(&reply.body[..split], &reply.body.slice(split..)).map_err(bad)?;
    match question.measure {
        Measure::Value { .. } => number(response),
        Measure::Classes | Measure::Anomaly { .. } => judge(response, manner, &question.labels),
        Measure::Boxes { .. } => Err(boxes()),
    }
}

/// Nothing leaves for an answer that could not be read.
fn boxes() -> Fault {
    (ProviderFault::Unsuited, "the answer would be boxes, and these are not read yet".to_owned())
}

const INFERENCE_HEADER: HeaderName = HeaderName::from_static("inference-header-content-length");

/// A number: what another Picket says it is, or else the first output, of which a second element is a sigma.
fn number(response: Response) -> Result<Upstream, Fault> {
    let value = match response.parameters.get("value").and_then(Value::as_f64) {
        Some(value) => Some(value),
        None => {
            let output = response.outputs.first().filter(|output| matches!(output.elements(), 1 | 2));
            output.and_then(|output| output.to_f64().first().copied())
        }
    };
    let value = value.ok_or_else(|| bad("neither a value nor an output of one number, or of two"))?;
    if !value.is_finite() {
        return Err(bad(format!("its value is {value}")));
    }
    let model = name(&response);
    Ok(Upstream { said: Said::Value(value), confidence: None, outputs: response.outputs, model, cost: None })
}

/// Model and version, as it states them.
fn name(response: &Response) -> String {
    [&*response.model_name, &*response.model_version].join(" ").trim().to_owned()
}

/// What an answer says about the question's labels.
fn judge(mut response: Response, manner: &Manner, labels: &[String]) -> Result<Upstream, Fault> {
    let model = name(&response);
    if let Some(wanted) = &manner.output {
        response.outputs.retain(|output| output.name == *wanted);
        response.texts.retain(|(name, _)| name == wanted);
    }
    let (index, confidence) = match (manner.answer, response.parameters.get("label").and_then(Value::as_str)) {
        (Meaning::Scores, Some(label)) => {
            let confidence = response.parameters.get("confidence").and_then(Value::as_f64);
            (index_of(label, labels)?, confidence.filter(|c| (0.0..=1.0).contains(c)).map(|c| c as f32))
        }
        (Meaning::Scores, None) => {
            let fits = |output: &&Tensor| !labels.is_empty() && output.elements() == labels.len();
            let scores = response.outputs.iter().find(fits);
            let scores = scores.ok_or_else(|| bad(neither(&response, labels.len())))?;
            let (index, confidence) = best(&scores.to_f32())?;
            (index, Some(confidence))
        }
        (Meaning::Index, _) => {
            let number = whole_number(&response)?.ok_or_else(|| bad("no output of one whole number"))?;
            let index = usize::try_from(number).ok().filter(|index| *index < labels.len());
            (index.ok_or_else(|| bad(format!("there is no label with the index {number}")))?, None)
        }
        (Meaning::Label, _) => match (response.texts.first(), whole_number(&response)?) {
            (Some((_, text)), _) => (index_of(text, labels)?, None),
            (None, Some(number)) => (index_of(&number.to_string(), labels)?, None),
            (None, None) => return Err(bad("no output of one text or one whole number")),
        },
    };
    Ok(Upstream { said: Said::Class(index), confidence, outputs: response.outputs, model, cost: None })
}

fn index_of(label: &str, labels: &[String]) -> Result<usize, Fault> {
    let index = labels.iter().position(|known| known == label);
    index.ok_or_else(|| bad(format!("its label {label:?} is none of ours")))
}

fn neither(response: &Response, labels: usize) -> String {
    let single = !response.texts.is_empty() || response.outputs.iter().any(|output| output.elements() == 1);
    let advice = if single { "; `answer = \"label\"` or `answer = \"index\"` reads a single value" } else { "" };
    format!("neither a label nor {labels} scores{advice}")
}

/// The value of the first output that has only one.
fn whole_number(response: &Response) -> Result<Option<i64>, Fault> {
    let Some(output) = response.outputs.iter().find(|output| output.elements() == 1) else { return Ok(None) };
    let number = output.to_f64().first().copied().unwrap_or(f64::NAN);
    // Beyond this, whole numbers are no longer apart; no model has so many labels.
    if number.fract() != 0.0 || number.abs() > 9e15 {
        return Err(bad(format!("{number} is no whole number")));
    }
    Ok(Some(number as i64))
}

/// The first of the highest scores, and its probability: the score itself when the scores are probabilities already,
/// else by softmax.
fn best(scores: &[f32]) -> Result<(usize, f32), Fault> {
    if let Some(odd) = scores.iter().find(|score| !score.is_finite()) {
        return Err(bad(format!("one of its scores is {odd}")));
    }
    let mut top = (0, f32::NEG_INFINITY);
    for (index, score) in scores.iter().enumerate() {
        if *score > top.1 {
            top = (index, *score);
        }
    }
    let probabilities = scores.iter().all(|s| *s >= 0.0) && (scores.iter().sum::<f32>() - 1.0).abs() <= SUM_TOLERANCE;
    if probabilities {
        return Ok((top.0, top.1.min(1.0)));
    }
    // The highest score becomes exp(0) = 1, so that nothing overflows.
    Ok((top.0, 1.0 / scores.iter().map(|score| (score - top.1).exp()).sum::<f32>()))
}

#[cfg(test)]
#[path = "oip_tests.rs"]
mod tests;
