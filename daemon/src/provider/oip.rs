//! A bigger model behind the Open Inference Protocol: another Picket, Triton, KServe, OpenVINO model server …
//!
//! The whole call ends within the question's timeout, reads at most [`limits::MAX_PROVIDER_BYTES`] of an answer, follows no
//! redirect and uses no proxy: where the input of a job goes is what the configuration says, and nothing else.

use std::{error::Error as _, path::PathBuf, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use picket_core::{ProviderFault, limits, time::Span};
use reqwest::{Client, Url, header, redirect};
use serde::Deserialize;
use serde_json::{Map, Value};
use toml::Spanned;

use super::{ProviderKind, ProviderSetup};
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
        let timeout_ms = match raw.timeout_ms {
            Some(given) if *given.get_ref() == 0 => {
                return Err(section.error(Some(given.span()), "`timeout_ms` is at least 1"));
            }
            Some(given) => given.into_inner(),
            None => TIMEOUT_MS,
        };
        let timeout = Span::from_millis(timeout_ms).min(limits::DEADLINE_MAX);
        let token = match raw.token_file {
            Some(file) => {
                let line = section.secret_line(&file)?;
                Some(
                    bearer(line.trim())
                        .ok_or_else(|| section.error(Some(file.span()), "no header can carry this token"))?,
                )
            }
            None => None,
        };
        let client = client(&url, timeout).map_err(|why| {
            section.error(Some(raw.url.span()), format!("cannot make an HTTP client for {url}: {}", chain(&why)))
        })?;
        let upstream = Arc::new(Call { client, url, token });
        Ok(ProviderSetup { name: raw.name.into(), timeout, cost, provider: Arc::new(OipProvider(upstream)) })
    }
}

/// `{url}/v2/models/{model}/infer`
fn endpoint(url: &str, model: &str) -> Result<Url, String> {
    let mut endpoint = Url::parse(url).map_err(|why| format!("`{url}` is no URL: {why}"))?;
    if !matches!(endpoint.scheme(), "http" | "https") || endpoint.query().is_some() || endpoint.fragment().is_some() {
        return Err(format!("`{url}`: write http://host:port or https://host:port, with a path if need be"));
    }
    if !endpoint.username().is_empty() || endpoint.password().is_some() {
        return Err("a secret does not belong into a URL; use `token_file`".to_owned());
    }
    if model.is_empty() {
        return Err("`model` names the model to ask".to_owned());
    }
    let mut path = endpoint.path_segments_mut().map_err(|()| format!("`{url}` has no path"))?;
    path.pop_if_empty().extend(["v2", "models", model, "infer"]);
    drop(path);
    Ok(endpoint)
}

fn bearer(token: &str) -> Option<header::HeaderValue> {
    let mut value = header::HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn client(url: &Url, timeout: Span) -> reqwest::Result<Client> {
    super::use_ring();
    let builder = Client::builder()
        .connect_timeout(duration(timeout.min(limits::PROVIDER_CONNECT)))
        .redirect(redirect::Policy::none())
        .no_proxy()
        .tcp_nodelay(true)
        .pool_max_idle_per_host(limits::PROVIDER_CALLS);
    // With https the system's certificates are loaded, and having none is an error; plain http must not need any.
    if url.scheme() == "http" { builder.tls_certs_only([]).build() } else { builder.build() }
}

const fn duration(span: Span) -> Duration {
    Duration::from_micros(span.as_micros())
}

struct OipProvider(Arc<Call>);

/// What a call needs.
struct Call {
    client: Client,
    url: Url,
    token: Option<header::HeaderValue>,
}

type Fault = (ProviderFault, String);

impl Provider for OipProvider {
    fn ask(&self, question: Question) -> Asking {
        let call = self.0.clone();
        Box::pin(async move {
            let patience = question.timeout;
            let asked = tokio::time::timeout(duration(patience), call.ask(&question)).await;
            asked.unwrap_or_else(|_| {
                Err((ProviderFault::TooSlow, format!("no answer within {} ms", patience.as_millis_f64())))
            })
        })
    }
}

impl Call {
    async fn ask(&self, question: &Question) -> Result<Upstream, Fault> {
        let mut parameters = Map::new();
        // Another Picket then gives up when we do.
        parameters.insert("deadline-ms".to_owned(), (question.timeout.as_micros() / 1000).max(1).into());
        let (body, json_len) = oip::encode_request(question.id.as_str(), parameters, &question.inputs);
        let sent = body.len() as u64;
        let mut request = self
            .client
            .post(self.url.clone())
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .header(INFERENCE_HEADER, json_len)
            .body(body);
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, token.clone());
        }
        let response = request.send().await.map_err(fault)?;
        let status = response.status();
        let json_len = response.headers().get(INFERENCE_HEADER).cloned();
        let body = read(response).await?;
        if !status.is_success() {
            let said = oip::error_text(&body).unwrap_or_else(|| String::from_utf8_lossy(&body).into_owned());
            let said: String = said.chars().take(200).collect();
            return Err((ProviderFault::Refused, format!("HTTP status {status}: {said}")));
        }
        let split = match json_len {
            None => body.len(),
            Some(length) => {
                let number = length.to_str().ok().and_then(|text| text.parse().ok());
                number.filter(|n| *n <= body.len()).ok_or_else(|| bad("its JSON length does not fit the answer"))?
            }
        };
        let response = oip::decode_response(&body[..split], &body.slice(split..)).map_err(bad)?;
        let upstream = judge(response, &question.labels)?;
        Ok(Upstream { sent, ..upstream })
    }
}

const INFERENCE_HEADER: &str = "Inference-Header-Content-Length";

/// The body, as far as an answer may go.
async fn read(mut response: reqwest::Response) -> Result<Bytes, Fault> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(fault)? {
        if body.len() + chunk.len() > limits::MAX_PROVIDER_BYTES {
            return Err(bad(format!("more than {} bytes", limits::MAX_PROVIDER_BYTES)));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// What an answer says about the question's labels.
fn judge(response: Response, labels: &[String]) -> Result<Upstream, Fault> {
    let model = [&*response.model_name, &*response.model_version].join(" ").trim().to_owned();
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
    Ok(Upstream { index, confidence, outputs: response.outputs, model, cost: None, sent: 0 })
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

fn bad(why: impl std::fmt::Display) -> Fault {
    (ProviderFault::BadAnswer, why.to_string())
}

fn fault(error: reqwest::Error) -> Fault {
    let text = chain(&error);
    // A connection that did not come about in time is one that did not come about.
    let kind = if error.is_connect() {
        ProviderFault::Unreachable
    } else if error.is_timeout() {
        ProviderFault::TooSlow
    } else if error.is_decode() || no_http(&error) {
        ProviderFault::BadAnswer
    } else {
        ProviderFault::Unreachable
    };
    (kind, text)
}

/// Somebody answered, in another language.
fn no_http(error: &reqwest::Error) -> bool {
    causes(error).filter_map(|cause| cause.downcast_ref::<hyper::Error>()).any(hyper::Error::is_parse)
}

fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(error.source(), |cause| (*cause).source())
}

/// An error with its causes; reqwest's own text stops at "error sending request".
fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    for cause in causes(error) {
        text.push_str(": ");
        text.push_str(&cause.to_string());
    }
    text
}

#[cfg(test)]
#[path = "oip_tests.rs"]
mod tests;
