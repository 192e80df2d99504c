//! A language model that is asked for a label: what all kinds of them share. The dialects are in files of their own.
//!
//! The question is one message: the task, the labels, and the input as a picture or as numbers. Its text is bounded in
//! tokens, a token being a byte at least, so that what one question costs at most is known before it is asked. What the
//! model says of its own confidence is not believed, and not asked for.

mod ask;

use std::{path::PathBuf, sync::Arc};

use picket_core::{
    escalation::money::{Money, Price},
    limits,
};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::{Value, json};
use toml::Spanned;

use self::ask::{Asker, Chat};
use super::{
    ProviderSetup,
    http::{self, Address, Line},
    picture::{self, Picture},
};
use crate::config::{ConfigError, Section};

/// The keys of a section that both kinds know.
pub(super) struct Keys {
    pub name: String,
    pub url: Spanned<String>,
    pub model: Spanned<String>,
    pub key_file: Option<Spanned<PathBuf>>,
    pub ca_file: Option<Spanned<PathBuf>>,
    pub timeout_ms: Option<Spanned<u64>>,
    pub max_tokens: Option<Spanned<u64>>,
    pub max_input_tokens: Option<Spanned<u64>>,
    pub prompt: Option<String>,
    pub send: Option<Spanned<Form>>,
    pub image: Option<Spanned<picture::Raw>>,
    pub cost: Cost,
}

/// How the input is shown.
#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Form {
    Image,
    Numbers,
}

/// What a call costs.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cost {
    input_token: Option<Spanned<f64>>,
    output_token: Option<Spanned<f64>>,
    call: Option<Spanned<f64>>,
}

/// How a vendor wants to be asked, and how it answers.
pub(super) trait Dialect: Send + Sync + 'static {
    /// The last words of the question's text: how the label is to be given.
    fn closing(&self) -> &'static str;

    /// The body of a request; `None` for what is not configured.
    fn body(&self, ask: &Ask<'_>) -> Value;

    /// # Errors
    /// The body is no answer.
    fn read(&self, body: &[u8]) -> Result<Said, String>;

    /// At most so many tokens are counted for a picture of this size.
    fn image_tokens(&self, width: usize, height: usize) -> u64;
}

/// What goes into a request.
pub(super) struct Ask<'a> {
    pub model: &'a str,
    pub text: &'a str,
    /// A PNG in base64.
    pub image: Option<&'a str>,
    pub labels: &'a [String],
    pub max_tokens: u64,
}

/// What came back.
pub(super) struct Said {
    pub text: String,
    pub model: String,
    pub usage: Option<Usage>,
    /// The answer ended because it had its most tokens.
    pub cut_off: bool,
}

/// Tokens that are paid for.
#[derive(Clone, Copy)]
pub(super) struct Usage {
    pub input: u64,
    pub output: u64,
}

impl Usage {
    /// `None` where one is not counted, or not in whole numbers from 0 up. `more`, also paid for, may be absent.
    pub fn of(input: &Value, more: &[&Value], output: &Value) -> Option<Self> {
        let mut sum = input.as_u64()?;
        for count in more.iter().filter(|count| !count.is_null()) {
            sum = sum.saturating_add(count.as_u64()?);
        }
        Some(Self { input: sum, output: output.as_u64()? })
    }
}

/// The schema of an answer: an object with one of the labels.
pub(super) fn schema(labels: &[String]) -> Value {
    json!({
        "type": "object",
        "properties": { "label": { "type": "string", "enum": labels } },
        "required": ["label"],
        "additionalProperties": false,
    })
}

/// The text of a message's content: a string, or blocks of which some are text.
pub(super) fn text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => blocks.iter().filter_map(|block| block["text"].as_str()).collect(),
        _ => String::new(),
    }
}

/// Where the way leads, and the secret's place on it.
pub(super) struct Route {
    pub path: &'static [&'static str],
    pub secret_header: (HeaderName, &'static str),
    pub headers: HeaderMap,
}

/// Patience of a provider that is configured without one: language models take seconds.
const TIMEOUT_MS: u64 = 20_000;

/// Most tokens of an answer, unless configured. A label is short, the thoughts of some models are not.
const MAX_TOKENS: u64 = 256;

/// What servers add to a question by themselves: templates of the chat, a preamble for tools.
const ENVELOPE_TOKENS: u64 = 1_024;

const PROMPT: &str = "Which of the labels fits this input best?";

/// A checked section.
///
/// # Errors
/// The first mistake in it.
pub(super) fn configure(
    section: &Section<'_>,
    keys: Keys,
    route: Route,
    dialect: impl Dialect,
) -> Result<ProviderSetup, ConfigError> {
    let url = http::endpoint(keys.url.get_ref(), route.path, "key_file")
        .map_err(|why| section.error(Some(keys.url.span()), why))?;
    if keys.model.get_ref().is_empty() {
        return Err(section.error(Some(keys.model.span()), "`model` names the model to ask"));
    }
    let timeout = http::timeout(section, keys.timeout_ms.as_ref(), TIMEOUT_MS)?;
    let mut headers = route.headers;
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let line = Line::new(Address {
        section,
        given: &keys.url,
        url,
        timeout,
        ca_file: keys.ca_file.as_ref(),
        secret_file: keys.key_file.as_ref(),
        secret_header: route.secret_header,
        headers,
    })?;
    let picture = picture(section, keys.send.as_ref(), keys.image)?;
    let prompt = keys.prompt.unwrap_or_else(|| PROMPT.to_owned());
    let size = picture.as_ref().map(Picture::shown);
    // The prompt is counted twice: quotes and line breaks have a byte more in JSON.
    let fixed = size.map_or(0, |(width, height)| dialect.image_tokens(width, height)) + ENVELOPE_TOKENS;
    let least = fixed + 2 * prompt.len() as u64;
    let default = fixed + limits::QUESTION_TOKENS;
    let max_input_tokens = tokens(section, "max_input_tokens", keys.max_input_tokens.as_ref(), default, least)?;
    let max_tokens = tokens(section, "max_tokens", keys.max_tokens.as_ref(), MAX_TOKENS, 1)?;
    let tariff = Tariff {
        input: token_price(section, keys.cost.input_token.as_ref())?,
        output: token_price(section, keys.cost.output_token.as_ref())?,
        call: super::price(section, keys.cost.call.as_ref())?,
    };
    let cost = tariff.cost(Usage { input: max_input_tokens, output: max_tokens });
    let chat = Chat {
        line,
        dialect: Box::new(dialect),
        model: keys.model.into_inner(),
        prompt,
        picture,
        max_tokens,
        text_tokens: max_input_tokens - fixed,
        tariff,
    };
    Ok(ProviderSetup { name: keys.name.into(), timeout, cost, provider: Arc::new(Asker(Arc::new(chat))) })
}

/// Which tensors are shown as pictures; `None`: all are numbers.
fn picture(
    section: &Section<'_>,
    send: Option<&Spanned<Form>>,
    image: Option<Spanned<picture::Raw>>,
) -> Result<Option<Picture>, ConfigError> {
    match (send.map(|send| (*send.get_ref(), send.span())), image) {
        (Some((Form::Image, span)), None) => Err(section.error(Some(span), IMAGE_WANTED)),
        (Some((Form::Numbers, span)), Some(_)) => {
            Err(section.error(Some(span), "numbers are sent, and `image` is set"))
        }
        (_, None) => Ok(None),
        (_, Some(image)) => {
            let span = image.span();
            image.into_inner().try_into().map(Some).map_err(|why: String| section.error(Some(span), why))
        }
    }
}

const IMAGE_WANTED: &str =
    "say which tensors are pictures: `image = { width = 8, height = 8, channels = 1, range = [0.0, 16.0] }`";

/// A number of tokens, from `least` to the most that may be allowed.
fn tokens(
    section: &Section<'_>,
    key: &str,
    given: Option<&Spanned<u64>>,
    default: u64,
    least: u64,
) -> Result<u64, ConfigError> {
    let tokens = given.map_or(default, |given| *given.get_ref());
    if (least..=limits::QUESTION_TOKENS_MAX).contains(&tokens) {
        return Ok(tokens);
    }
    let message = format!("`{key}` is {least} to {} here, not {tokens}", limits::QUESTION_TOKENS_MAX);
    Err(section.error(given.map(Spanned::span), message))
}

fn token_price(section: &Section<'_>, given: Option<&Spanned<f64>>) -> Result<Price, ConfigError> {
    let Some(given) = given else { return Ok(Price::default()) };
    let price = Price::from_units(*given.get_ref());
    price.ok_or_else(|| section.error(Some(given.span()), "a price is a number of at least 0, in units of money"))
}

/// What a provider takes.
pub(super) struct Tariff {
    input: Price,
    output: Price,
    call: Money,
}

impl Tariff {
    fn cost(&self, usage: Usage) -> Money {
        Price::total(&[(self.input, usage.input), (self.output, usage.output)]) + self.call
    }
}

#[cfg(test)]
#[path = "chat_tests.rs"]
mod tests;
