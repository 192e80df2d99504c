//! Anthropic's messages.

use std::path::PathBuf;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
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
pub struct Anthropic;

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
    prompt: Option<String>,
    send: Option<Spanned<Form>>,
    image: Option<Spanned<picture::Raw>>,
    #[serde(default)]
    cost: Cost,
    #[serde(default)]
    structured: Structured,
}

/// What holds the answer to the labels.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Structured {
    /// The model has to call a tool whose schema has the labels: every model knows tools.
    #[default]
    Tool,
    /// A schema with the labels, for models that cannot be made to call a tool while they think.
    JsonSchema,
    /// Only the words of the question.
    None,
}

const VERSION: &str = "2023-06-01";

/// The only tool.
const TOOL: &str = "answer";

impl ProviderKind for Anthropic {
    fn name(&self) -> &'static str {
        "anthropic"
    }

    fn configure(&self, section: Section<'_>) -> Result<ProviderSetup, ConfigError> {
        let raw: Raw = section.clone().parse()?;
        let version = (HeaderName::from_static("anthropic-version"), HeaderValue::from_static(VERSION));
        let route = Route {
            path: &["v1", "messages"],
            secret_header: (HeaderName::from_static("x-api-key"), ""),
            headers: HeaderMap::from_iter([version]),
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
        chat::configure(&section, keys, route, Messages { structured: raw.structured })
    }
}

struct Messages {
    structured: Structured,
}

impl Dialect for Messages {
    fn closing(&self) -> &'static str {
        match self.structured {
            Structured::Tool | Structured::JsonSchema => "Answer with one of the labels.",
            Structured::None => "Answer with one of the labels, and with nothing else.",
        }
    }

    fn body(&self, ask: &Ask<'_>) -> Value {
        let text = json!({ "type": "text", "text": ask.text });
        let picture = ask.image.map(|image| {
            json!({ "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": image } })
        });
        let content: Vec<Value> = picture.into_iter().chain([text]).collect();
        let mut body = json!({
            "model": ask.model,
            "max_tokens": ask.max_tokens,
            "messages": [{ "role": "user", "content": content }],
        });
        let schema = chat::schema(ask.labels);
        match self.structured {
            Structured::Tool => {
                body["tools"] = json!([{ "name": TOOL, "description": "Takes the answer.", "input_schema": schema }]);
                body["tool_choice"] = json!({ "type": "tool", "name": TOOL, "disable_parallel_tool_use": true });
            }
            Structured::JsonSchema => {
                body["output_config"] = json!({ "format": { "type": "json_schema", "schema": schema } });
            }
            Structured::None => {}
        }
        body
    }

    fn read(&self, body: &[u8]) -> Result<Said, String> {
        let answer: Value = serde_json::from_slice(body).map_err(|why| format!("no JSON: {why}"))?;
        let Some(blocks) = answer["content"].as_array() else {
            return Err(format!("no content: {}", super::fault::message(body)));
        };
        if answer["stop_reason"] == "refusal" {
            return Err("the model refused".to_owned());
        }
        let called = blocks.iter().find(|block| block["type"] == "tool_use" && block["name"] == TOOL);
        let text = match called {
            Some(call) => call["input"].to_string(),
            None => chat::text(&answer["content"]),
        };
        let usage = &answer["usage"];
        // What was read from a cache, or written to one, is counted apart.
        let more = [&usage["cache_creation_input_tokens"], &usage["cache_read_input_tokens"]];
        Ok(Said {
            text,
            model: answer["model"].as_str().unwrap_or_default().to_owned(),
            usage: Usage::of(&usage["input_tokens"], &more, &usage["output_tokens"]),
            cut_off: answer["stop_reason"] == "max_tokens",
        })
    }

    /// One for 750 pixels; what the server scales down first becomes less.
    fn image_tokens(&self, width: usize, height: usize) -> u64 {
        (width * height).div_ceil(750) as u64
    }
}

#[cfg(test)]
#[path = "anthropic_tests.rs"]
mod tests;
