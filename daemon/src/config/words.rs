//! Words and numbers that several sections check alike.

use std::ops::RangeInclusive;

use toml::Spanned;

use super::section::{ConfigError, Section, unknown_word};

/// Longest name of a device, a group, a model or a provider.
const NAME_BYTES: usize = 63;

/// What is wrong with a device id or a group: they are `[a-z0-9][a-z0-9-]{0,62}`, because they become parts of topics
/// and host names.
pub fn id_fault(id: &str) -> Option<String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let good = id.chars().all(fits) && !id.is_empty() && !id.starts_with('-') && id.len() <= NAME_BYTES;
    (!good).then(|| format!("`{id}` is no id: 1 to 63 of a-z, 0-9 and -, and no - in front"))
}

/// What is wrong with the name of a model or provider: they are `[A-Za-z0-9][A-Za-z0-9._-]{0,62}`, because they become
/// parts of topics, paths and metrics.
pub fn name_fault(name: &str) -> Option<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let good =
        name.chars().all(fits) && name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.len() <= NAME_BYTES;
    (!good).then(|| format!("`{name}` is no name: 1 to 63 of A-Z, a-z, 0-9, ., _ and -, a letter or digit in front"))
}

/// The names of an array of tables, each given once.
pub struct Names {
    what: &'static str,
    taken: Vec<String>,
}

impl Names {
    pub const fn new(what: &'static str) -> Self {
        Self { what, taken: Vec::new() }
    }

    /// # Errors
    /// It is no name, or `config/duplicate-name`.
    pub fn claim<T: AsRef<str>>(&mut self, section: &Section<'_>, name: &Spanned<T>) -> Result<(), ConfigError> {
        let text = name.get_ref().as_ref();
        if let Some(message) = name_fault(text) {
            return Err(section.error(Some(name.span()), message));
        }
        if self.taken.iter().any(|taken| taken == text) {
            let message = format!("there is a {} `{text}` already", self.what);
            return Err(section.fault("config/duplicate-name", Some(name.span()), message));
        }
        self.taken.push(text.to_owned());
        Ok(())
    }
}

/// The meaning of a word out of a short list; `not_yet` holds words that will mean something one day.
///
/// # Errors
/// `config/not-yet`, or `config/invalid` with the words that are possible.
pub fn choose<T: Copy>(
    section: &Section<'_>,
    key: &str,
    word: &Spanned<String>,
    choices: &[(&str, T)],
    not_yet: &[&str],
) -> Result<T, ConfigError> {
    let text = word.get_ref().as_str();
    if let Some((_, meaning)) = choices.iter().find(|(name, _)| *name == text) {
        return Ok(*meaning);
    }
    let known: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
    if not_yet.contains(&text) {
        let message = format!("`{key} = \"{text}\"` is not there yet; possible: {}", known.join(", "));
        return Err(section.fault("config/not-yet", Some(word.span()), message));
    }
    Err(section.error(Some(word.span()), unknown_word(key, text, &known)))
}

/// A number within its range, or the default where there is none.
///
/// # Errors
/// It is outside.
pub fn number(
    section: &Section<'_>,
    key: &str,
    value: Option<&Spanned<u64>>,
    range: RangeInclusive<u64>,
    default: u64,
) -> Result<u64, ConfigError> {
    let Some(value) = value else { return Ok(default) };
    if range.contains(value.get_ref()) {
        return Ok(*value.get_ref());
    }
    let message = format!("`{key}` is {}; possible: {} to {}", value.get_ref(), range.start(), range.end());
    Err(section.error(Some(value.span()), message))
}
