//! A piece of a TOML file that knows where it stands, so that every complaint can say file, line and column.

use std::{ops::Range, path::PathBuf, sync::Arc};

use serde::de::DeserializeOwned;
use toml::{Spanned, de::DeValue};

/// A mistake in a configuration: exit code 78, one line, with the place and, for a misspelt key, the nearest right one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("error[{code}]: {place}{message}")]
pub struct ConfigError {
    pub code: &'static str,
    /// `file:line:column: `, or empty when there is no place to point at.
    pub place: String,
    pub message: String,
}

/// A file's name and text, for places.
#[derive(Debug)]
pub struct Source {
    pub path: PathBuf,
    pub text: String,
}

impl Source {
    /// `picket.toml:12:3: `; lines and columns count from 1, columns in characters.
    fn place(&self, offset: usize) -> String {
        let before = &self.text[..self.text.floor_char_boundary(offset.min(self.text.len()))];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        format!("{}:{line}:{column}: ", self.path.display())
    }

    pub fn error(&self, code: &'static str, span: Option<Range<usize>>, message: impl Into<String>) -> ConfigError {
        let place = match span {
            Some(span) => self.place(span.start),
            None => format!("{}: ", self.path.display()),
        };
        ConfigError { code, place, message: message.into() }
    }

    pub fn toml_error(&self, error: &toml::de::Error) -> ConfigError {
        self.error(code_of(error.message()), error.span(), with_nearest(error.message()))
    }
}

/// One table (`[mqtt]`, one `[[provider]]` …) that somebody parses into a struct of his own.
#[derive(Clone, Debug)]
pub struct Section<'a> {
    pub source: Arc<Source>,
    pub value: Spanned<DeValue<'a>>,
}

impl Section<'_> {
    /// Parses into a struct that denies unknown fields.
    ///
    /// # Errors
    /// The first mistake, with its place.
    pub fn parse<T: DeserializeOwned>(self) -> Result<T, ConfigError> {
        let whole = self.value.span();
        T::deserialize(toml::de::ValueDeserializer::from(self.value)).map_err(|error| {
            let span = error.span().or(Some(whole));
            self.source.error(code_of(error.message()), span, with_nearest(error.message()))
        })
    }

    pub fn error(&self, span: Option<Range<usize>>, message: impl Into<String>) -> ConfigError {
        self.source.error("config/invalid", span.or(Some(self.value.span())), message)
    }
}

fn code_of(message: &str) -> &'static str {
    if message.starts_with("unknown field") { "config/unknown-key" } else { "config/invalid" }
}

/// serde says ``unknown field `urll`, expected one of `url`, `prefix` ``: adds which of them was meant.
fn with_nearest(message: &str) -> String {
    let first = message.lines().next().unwrap_or(message);
    if !first.starts_with("unknown field") {
        return message.trim_end().replace('\n', " ");
    }
    let mut quoted = first.split('`').skip(1).step_by(2);
    let unknown = quoted.next().unwrap_or_default();
    let known: Vec<&str> = quoted.collect();
    unknown_key(unknown, &known)
}

/// The sentence for a key that nobody knows.
pub fn unknown_key(unknown: &str, known: &[&str]) -> String {
    match nearest(unknown, known) {
        Some(key) => format!("unknown key `{unknown}`; did you mean `{key}`?"),
        None => format!("unknown key `{unknown}`; known here: {}", known.join(", ")),
    }
}

/// The most similar of the known words, when it is similar enough to be meant.
pub fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), *candidate))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(similarity, _)| *similarity > 0.75)
        .map(|(_, candidate)| candidate)
}
