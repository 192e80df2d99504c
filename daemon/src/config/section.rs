//! A piece of a TOML file that knows where it stands, so that every complaint can say file, line and column.

use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, de::DeserializeOwned};
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

/// The text of one or several files, for places. Offsets count through all files, so that a table merged from several of
/// them still knows for each of its keys which file it came from.
#[derive(Debug)]
pub struct Source {
    files: Vec<File>,
}

#[derive(Debug)]
struct File {
    path: PathBuf,
    /// Offset of the file's first byte.
    start: usize,
    /// The text behind as many spaces as there are bytes in earlier files: parsed like this, every span is an offset of
    /// the whole source.
    padded: String,
}

impl Source {
    pub fn new(path: impl Into<PathBuf>, text: &str) -> Self {
        let mut source = Self { files: Vec::new() };
        source.add(path, text);
        source
    }

    /// Appends a file.
    pub fn add(&mut self, path: impl Into<PathBuf>, text: &str) {
        // One byte apart, because an error at the end of a file points behind its last byte.
        let start = self.files.last().map_or(0, |file| file.padded.len() + 1);
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        self.files.push(File { path: path.into(), start, padded: " ".repeat(start) + text });
    }

    /// The files' texts as they are to be parsed.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|file| file.padded.as_str())
    }

    /// The files and what is in them.
    pub(super) fn files(&self) -> impl Iterator<Item = (&Path, &str)> {
        self.files.iter().map(|file| (file.path.as_path(), &file.padded[file.start..]))
    }

    /// `picket.toml:12:3: `; lines and columns count from 1, columns in characters. Without a span only the first file.
    pub(crate) fn place(&self, span: Option<&Range<usize>>) -> String {
        let offset = span.map_or(0, |span| span.start);
        let Some(file) = self.files.iter().rfind(|file| file.start <= offset) else { return String::new() };
        if span.is_none() {
            return format!("{}: ", file.path.display());
        }
        let end = file.padded.floor_char_boundary(offset.min(file.padded.len()));
        let before = &file.padded[file.start..end];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        format!("{}:{line}:{column}: ", file.path.display())
    }

    pub fn error(&self, code: &'static str, span: Option<Range<usize>>, message: impl Into<String>) -> ConfigError {
        ConfigError { code, place: self.place(span.as_ref()), message: message.into() }
    }

    /// The text is no TOML.
    pub fn syntax_error(&self, error: &toml::de::Error) -> ConfigError {
        self.error("config/syntax", error.span(), in_plain_words(error.message()))
    }
}

/// One table (`[mqtt]`, one `[[provider]]` …) that somebody parses into a struct of his own.
#[derive(Clone, Debug)]
pub struct Section<'a> {
    pub source: Arc<Source>,
    pub value: Spanned<DeValue<'a>>,
}

impl Section<'_> {
    /// Parses into a struct that denies unknown fields. What can be wrong in a way that only the struct's owner knows
    /// should be a `toml::Spanned` there, so that [`Section::error`] can say where.
    ///
    /// # Errors
    /// The first mistake, with its place.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        T::deserialize(toml::de::ValueDeserializer::from(self.value.clone())).map_err(|error| {
            let span = error.span().unwrap_or_else(|| self.value.span());
            let code = if is_unknown_key(error.message()) { "config/unknown-key" } else { "config/invalid" };
            self.source.error(code, Some(span), in_plain_words(error.message()))
        })
    }

    /// `config/invalid`; without a span it points at the section.
    pub fn error(&self, span: Option<Range<usize>>, message: impl Into<String>) -> ConfigError {
        self.fault("config/invalid", span, message)
    }

    /// As [`Section::error`], with a code of its own.
    pub fn fault(&self, code: &'static str, span: Option<Range<usize>>, message: impl Into<String>) -> ConfigError {
        self.source.error(code, Some(span.unwrap_or_else(|| self.value.span())), message)
    }

    /// A string of this section, for whoever must look at it before its owner does.
    pub fn text(&self, key: &str) -> Option<Spanned<&str>> {
        let value = self.value.get_ref().get(key)?;
        Some(Spanned::new(value.span(), value.get_ref().as_str()?))
    }

    /// As [`Section::text`], a number.
    pub fn number(&self, key: &str) -> Option<f64> {
        let value = self.value.get_ref().get(key)?;
        f64::deserialize(toml::de::ValueDeserializer::from(value.clone())).ok()
    }

    /// The section without a key that its owner does not have to know.
    #[must_use]
    pub fn without(&self, key: &str) -> Self {
        let mut section = self.clone();
        if let DeValue::Table(table) = section.value.get_mut() {
            table.remove(key);
        }
        section
    }

    /// Where a key of this section stands (the key, not its value).
    pub fn key_span(&self, key: &str) -> Option<Range<usize>> {
        self.value.get_ref().as_table()?.get_key_value(key).map(|(key, _)| key.span())
    }
}

/// Is this serde's message for a key that the struct does not have?
pub(crate) fn is_unknown_key(message: &str) -> bool {
    message.starts_with("unknown field")
}

/// A message of `toml` or `serde` in one line and in the words of TOML rather than of Rust; an unknown key gets the
/// nearest right one.
pub(crate) fn in_plain_words(message: &str) -> String {
    if is_unknown_key(message) {
        // unknown field `urll`, expected one of `url`, `prefix`
        let mut quoted = message.split('`').skip(1).step_by(2);
        let unknown = quoted.next().unwrap_or_default();
        let known: Vec<&str> = quoted.collect();
        return unknown_key(unknown, &known);
    }
    let message = message.trim_end().replace('\n', " ").replace("missing field", "missing key");
    let Some((got, expected)) = message.rsplit_once("expected ") else { return message };
    let plain = match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number from 0 up",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a sequence" => "an array",
        structure if structure.starts_with("struct ") => "a table",
        other => other,
    };
    format!("{got}expected {plain}")
}

/// The sentence for a key that nobody knows.
pub fn unknown_key(unknown: &str, known: &[&str]) -> String {
    unknown_word("key", unknown, known)
}

/// The sentence for a word (a key, a kind, a name) that is not among the known ones.
pub fn unknown_word(what: &str, unknown: &str, known: &[&str]) -> String {
    match nearest(unknown, known) {
        Some(word) => format!("unknown {what} `{unknown}`; did you mean `{word}`?"),
        None if known.is_empty() => format!("unknown {what} `{unknown}`; none is known here"),
        None => format!("unknown {what} `{unknown}`; known here: {}", known.join(", ")),
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
