//! From a question to a request, and from an answer to a label.

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use picket_core::{
    ProviderFault,
    said::{Measure, Said},
};
use reqwest::header::HeaderMap;

use super::{Ask, Dialect, Tariff};
use crate::{
    ports::{Asking, Provider, Question, Upstream},
    provider::{
        fault::{Fault, bad},
        http::{self, Line},
        label,
        picture::Picture,
    },
    tensor::{Dtype, Tensor},
};

/// A configured language model.
pub(in crate::provider) struct Chat {
    pub(super) line: Line,
    pub(super) dialect: Box<dyn Dialect>,
    pub(super) model: String,
    pub(super) prompt: String,
    pub(super) picture: Option<Picture>,
    pub(super) max_tokens: u64,
    /// Bytes of a request without its picture.
    pub(super) text_tokens: u64,
    pub(super) tariff: Tariff,
}

pub(super) struct Asker(pub Arc<Chat>);

impl Provider for Asker {
    fn ask(&self, question: Question) -> Asking {
        let chat = self.0.clone();
        Box::pin(async move {
            let (fault, why) = match chat.clone().ask(question).await {
                Ok(upstream) => return Ok(upstream),
                Err(fault) => fault,
            };
            Err((fault, chat.line.discreet(&why)))
        })
    }
}

impl Chat {
    async fn ask(self: Arc<Self>, question: Question) -> Result<Upstream, Fault> {
        let deadline = http::deadline(question.timeout);
        let labels = question.labels.clone();
        let chat = self.clone();
        // A large picture takes its time.
        let (attempts, meter) = (question.attempts, question.meter.clone());
        let made = tokio::task::spawn_blocking(move || chat.request(&question));
        let body = match tokio::time::timeout_at(deadline, made).await {
            Ok(Ok(body)) => body?,
            Ok(Err(_)) => return Err(unsuited("the question could not be put into words")),
            Err(_) => return Err((ProviderFault::TooSlow, "time ran out before the question was sent".to_owned())),
        };
        let reply = self.line.post(deadline, HeaderMap::new(), body, attempts, &meter).await?;
        self.judge(&reply.body, &labels)
    }

    /// The body of the request for a question.
    pub(super) fn request(&self, question: &Question) -> Result<Bytes, Fault> {
        if question.labels.is_empty() {
            return Err(unsuited("there are no labels to choose from: a language model is not asked for numbers"));
        }
        if matches!(question.measure, Measure::Boxes { .. }) {
            return Err(unsuited("a language model is not asked for boxes"));
        }
        let mut text = format!("{}\n\nLabels: {}\n", self.prompt, json(&question.labels[..]));
        let mut image = None;
        for tensor in &question.inputs {
            match &self.picture {
                Some(picture) if image.is_none() && picture.fits(tensor) => {
                    image = Some(BASE64_STANDARD.encode(picture.png(tensor).map_err(unsuited)?));
                    text.push_str(&format!("The picture is the input {}.\n", json(&tensor.name)));
                }
                _ => self.write(tensor, &mut text)?,
            }
        }
        if self.picture.is_some() && image.is_none() {
            let kinds: Vec<String> = question.inputs.iter().map(Tensor::kind).collect();
            return Err(unsuited(format!("no input is such a picture as `image` says: {}", kinds.join(", "))));
        }
        text.push_str(self.dialect.closing());
        let body = self.dialect.body(&Ask {
            model: &self.model,
            text: &text,
            image: image.as_deref(),
            labels: &question.labels,
            max_tokens: self.max_tokens,
        });
        let body = body.to_string();
        let words = (body.len() - image.map_or(0, |image| image.len())) as u64;
        if words > self.text_tokens {
            return Err(self.too_long(words));
        }
        Ok(body.into())
    }

    /// A tensor as numbers.
    fn write(&self, tensor: &Tensor, text: &mut String) -> Result<(), Fault> {
        // Every number has a digit and a comma: what is far too much is not even written.
        let least = 2 * tensor.elements() as u64;
        if least > self.text_tokens {
            return Err(self.too_long(least));
        }
        let numbers: Vec<String> = match tensor.dtype() {
            // The shortest form of a float depends on its type.
            Dtype::Fp32 | Dtype::Fp16 => tensor.to_f32().iter().map(f32::to_string).collect(),
            _ => tensor.to_f64().iter().map(f64::to_string).collect(),
        };
        text.push_str(&format!("Input {}, {}: [{}]\n", json(&tensor.name), tensor.kind(), numbers.join(", ")));
        Ok(())
    }

    fn too_long(&self, bytes: u64) -> Fault {
        let most = self.text_tokens;
        unsuited(format!("{bytes} bytes of text may be as many tokens, and `max_input_tokens` leaves {most}"))
    }

    /// What an answer says about the question's labels.
    pub(super) fn judge(&self, body: &[u8], labels: &[String]) -> Result<Upstream, Fault> {
        let said = self.dialect.read(body).map_err(bad)?;
        let index = label::find(&said.text, labels).map_err(|why| {
            let cut = if said.cut_off { " (it was cut off: `max_tokens`)" } else { "" };
            let start: String = said.text.chars().take(100).collect();
            bad(format!("{why}{cut}: {start:?}"))
        })?;
        let model = said.model.chars().take(MODEL_CHARS).collect();
        let cost = said.usage.map(|usage| self.tariff.cost(usage));
        Ok(Upstream { said: Said::Class(index), confidence: None, outputs: Vec::new(), model, cost })
    }
}

/// Of the name that a model gives itself.
const MODEL_CHARS: usize = 128;

fn unsuited(why: impl Into<String>) -> Fault {
    (ProviderFault::Unsuited, why.into())
}

/// As JSON: a name with a line break stays in its line.
fn json(value: impl serde::Serialize) -> String {
    serde_json::to_string(&value).unwrap_or_default()
}
