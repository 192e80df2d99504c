//! A bigger model behind the Open Inference Protocol: another Picket, Triton, KServe, OpenVINO model server …
//!
//! The whole call ends within the question's timeout.

use std::{path::PathBuf, sync::Arc};

use picket_core::said::{Measure, Said};
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
    /// Patience of one request.
    timeout_ms: Option<Spanned<u64>>,
    token_file: Option<Spanned<PathBuf>>,
    ca_file: Option<Spanned<PathBuf>>,
    region: Option<String>,
    #[serde(default)]
    cost: Cost,
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
        let url =
            endpoint(raw.url.get_ref(), raw.model.get_ref()).map_err(|why| section.error(Some(raw.url.span()), why))?;
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
                HeaderValue::from_static("application/octet-stream"),
            )]),
        })?;
        let provider = Arc::new(OipProvider(Arc::new(line)));
        Ok(ProviderSetup { name: raw.name.into(), timeout, cost, region: raw.region.map(Into::into), provider })
    }
}

/// `{url}/v2/models/{model}/infer`
fn endpoint(url: &str, model: &str) -> Result<Url, String> {
    if model.is_empty() {
        return Err("`model` names the model to ask".to_owned());
    }
    http::endpoint(url, &["v2", "models", model, "infer"], "token_file")
}

struct OipProvider(Arc<Line>);

impl Provider for OipProvider {
    fn ask(&self, question: Question) -> Asking {
        let line = self.0.clone();
        Box::pin(async move {
            let (fault, why) = match ask(&line, &question).await {
                Ok(upstream) => return Ok(upstream),
                Err(fault) => fault,
            };
            Err((fault, line.discreet(&why)))
        })
    }
}

async fn ask(line: &Line, question: &Question) -> Result<Upstream, Fault> {
    let deadline = http::deadline(question.timeout);
    let mut parameters = Map::new();
    // Another Picket then gives up when we do.
    parameters.insert("deadline-ms".to_owned(), (question.timeout.as_micros() / 1000).max(1).into());
    let (body, json_len) = oip::encode_request(question.id.as_str(), parameters, &question.inputs);
    let sent = body.len() as u64;
    let headers = HeaderMap::from_iter([(INFERENCE_HEADER, HeaderValue::from(json_len))]);
    let reply = line.post(deadline, headers, body.into()).await?;
    let split = match reply.headers.get(INFERENCE_HEADER) {
        None => reply.body.len(),
        Some(length) => {
            let number = length.to_str().ok().and_then(|text| text.parse().ok());
            number.filter(|n| *n <= reply.body.len()).ok_or_else(|| bad("its JSON length does not fit the answer"))?
        }
    };
    let response = oip::decode_response(&reply.body[..split], &reply.body.slice(split..)).map_err(bad)?;
    let upstream = match question.measure {
        Measure::Value { .. } => number(response)?,
        Measure::Classes | Measure::Anomaly { .. } => judge(response, &question.labels)?,
    };
    Ok(Upstream { sent, ..upstream })
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
    Ok(Upstream { said: Said::Value(value), confidence: None, outputs: response.outputs, model, cost: None, sent: 0 })
}

/// Model and version, as it states them.
fn name(response: &Response) -> String {
    [&*response.model_name, &*response.model_version].join(" ").trim().to_owned()
}

/// What an answer says about the question's labels.
fn judge(response: Response, labels: &[String]) -> Result<Upstream, Fault> {
    let model = name(&response);
    let (index, confidence) = match response.parameters.get("label").and_then(Value::as_str) {
        Some(label) => {
            let index = labels.iter().position(|known| known == label);
            let index = index.ok_or_else(|| bad(format!("its label {label:?} is none of ours")))?;
            let confidence = response.parameters.get("confidence").and_then(Value::as_f64);
            (index, confidence.filter(|c| (0.0..=1.0).contains(c)).map(|c| c as f32))
        }
        None => {
            let fits = |output: &&Tensor| !labels.is_empty() && output.elements() == labels.len();
            let scores = response.outputs.iter().find(fits);
            let scores = scores.ok_or_else(|| bad(format!("neither a label nor {} scores", labels.len())))?;
            let (index, confidence) = best(&scores.to_f32())?;
            (index, Some(confidence))
        }
    };
    Ok(Upstream { said: Said::Class(index), confidence, outputs: response.outputs, model, cost: None, sent: 0 })
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
