//! OpenAI's chat completions, and the many servers that speak them: Azure, vLLM, llama.cpp, Ollama …

use std::path::PathBuf;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName};
use serde::Deserialize;
use serde_json::{Value, json};
use toml::Spanned;

use super::{
    ProviderKind, ProviderSetup,
    chat::{self, Ask, Cost, Dialect, Form, Keys, Route, Said, Usage},
    picture,
};
use crate::config::{ConfigError, Section};

/// The row of the registration table.
pub struct OpenAi;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    name: String,
    #[serde(rename = "kind")]
    _kind: String,
    url: Spanned<String>,
    model: Spanned<String>,
    key_file: Option<Spanned<PathBuf>>,
    ca_file: Option<Spanned<PathBuf>>,
    timeout_ms: Option<Spanned<u64>>,
    max_tokens: Option<Spanned<u64>>,
    max_input_tokens: Option<Spanned<u64>>,
    /// Absent: not sent, because OpenAI's reasoning models refuse it.
    temperature: Option<Spanned<f64>>,
    prompt: Option<String>,
    send: Option<Spanned<Form>>,
    image: Option<Spanned<picture::Raw>>,
    #[serde(default)]
    cost: Cost,
    #[serde(default)]
    structured: Structured,
    /// The header of the key: `authorization` (with `Bearer`) or another one, `api-key` for Azure.
    auth_header: Option<Spanned<String>>,
    #[serde(default)]
    max_tokens_field: MaxTokensField,
}

/// What holds the answer to the labels.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Structured {
    /// A schema with the labels: the server lets nothing else through.
    #[default]
    JsonSchema,
    /// The server sees to it that the answer is JSON.
    JsonObject,
    /// Only the words of the question.
    None,
}

/// Older servers know one name, OpenAI's reasoning models only the other.
#[derive(Clone, Copy, Default, Deserialize)]
enum MaxTokensField {
    #[default]
    #[serde(rename = "max_tokens")]
    Tokens,
    #[serde(rename = "max_completion_tokens")]
    CompletionTokens,
}

impl ProviderKind for OpenAi {
    fn name(&self) -> &'static str {
        "openai"
    }

    fn configure(&self, section: Section<'_>) -> Result<ProviderSetup, ConfigError> {
        let raw: Raw = section.clone().parse()?;
        let secret_header = match &raw.auth_header {
            Some(given) => match given.get_ref().parse::<HeaderName>() {
                Ok(AUTHORIZATION) => (AUTHORIZATION, "Bearer "),
                Ok(other) => (other, ""),
                Err(_) => return Err(section.error(Some(given.span()), "this is no name of a header")),
            },
            None => (AUTHORIZATION, "Bearer "),
        };
        let route = Route { path: &["chat", "completions"], secret_header, headers: HeaderMap::new() };
        if let Some(odd) = raw.temperature.as_ref().filter(|t| !(0.0..=2.0).contains(t.get_ref())) {
            return Err(section.error(Some(odd.span()), "`temperature` is 0 to 2"));
        }
        let dialect = Completions {
            structured: raw.structured,
            max_tokens_field: raw.max_tokens_field,
            temperature: raw.temperature.map(Spanned::into_inner),
        };
        let keys = Keys {
            name: raw.name,
            url: raw.url,
            model: raw.model,
            key_file: raw.key_file,
            ca_file: raw.ca_file,
            timeout_ms: raw.timeout_ms,
            max_tokens: raw.max_tokens,
            max_input_tokens: raw.max_input_tokens,
            prompt: raw.prompt,
            send: raw.send,
            image: raw.image,
            cost: raw.cost,
        };
        chat::configure(&section, keys, route, dialect)
    }
}

struct Completions {
    structured: Structured,
    max_tokens_field: MaxTokensField,
    temperature: Option<f64>,
}

impl Dialect for Completions {
    fn closing(&self) -> &'static str {
        match self.structured {
            Structured::None => "Answer with one of the labels, and with nothing else.",
            // OpenAI refuses to make JSON of a question that does not speak of JSON.
            _ => "Answer in JSON, with one of the labels: {\"label\": \"…\"}",
        }
    }

    fn body(&self, ask: &Ask<'_>) -> Value {
        let text = json!({ "type": "text", "text": ask.text });
        let picture = ask.image.map(
            |image| json!({ "type": "image_url", "image_url": { "url": format!("data:image/png;base64,{image}") } }),
        );
        let content: Vec<Value> = picture.into_iter().chain([text]).collect();
        let mut body = json!({ "model": ask.model, "messages": [{ "role": "user", "content": content }] });
        body[match self.max_tokens_field {
            MaxTokensField::Tokens => "max_tokens",
            MaxTokensField::CompletionTokens => "max_completion_tokens",
        }] = ask.max_tokens.into();
        if let Some(temperature) = self.temperature {
            body["temperature"] = temperature.into();
        }
        match self.structured {
            Structured::JsonSchema => {
                let schema = json!({ "name": "answer", "strict": true, "schema": chat::schema(ask.labels) });
                body["response_format"] = json!({ "type": "json_schema", "json_schema": schema });
            }
            Structured::JsonObject => body["response_format"] = json!({ "type": "json_object" }),
            Structured::None => {}
        }
        body
    }

    fn read(&self, body: &[u8]) -> Result<Said, String> {
        let answer: Value = serde_json::from_slice(body).map_err(|why| format!("no JSON: {why}"))?;
        let choice = &answer["choices"][0];
        if !choice.is_object() {
            return Err(format!("no choices: {}", super::fault::message(body)));
        }
        let message = &choice["message"];
        if let Some(refusal) = message["refusal"].as_str() {
            return Err(format!("the model refused: {refusal}"));
        }
        Ok(Said {
            text: chat::text(&message["content"]),
            model: answer["model"].as_str().unwrap_or_default().to_owned(),
            // What came from a cache is among them.
            usage: Usage::of(&answer["usage"]["prompt_tokens"], &[], &answer["usage"]["completion_tokens"]),
            cut_off: choice["finish_reason"] == "length",
        })
    }

    /// After the tiles of gpt-4o-mini, which counts most: 2,833 and 5,667 for each tile of 512 pixels of what was scaled
    /// into 2,048 pixels, and then to a shorter side of 768.
    fn image_tokens(&self, width: usize, height: usize) -> u64 {
        let (long, short) = (width.max(height) as f64, width.min(height) as f64);
        let scale = (2048.0 / long).min(768.0 / short).min(1.0);
        let tiles = |side: f64| (side * scale / 512.0).ceil().max(1.0);
        2_833 + 5_667 * (tiles(long) * tiles(short)) as u64
    }
}

#[cfg(test)]
#[path = "openai_tests.rs"]
mod tests;
