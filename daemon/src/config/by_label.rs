//! Numbers by label: one for all answers, or a table with one for each label and `other` for the rest.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::section::{ConfigError, Section};

/// The label of a table that stands for all that are not in it.
pub const OTHER: &str = "other";

#[derive(Clone, Debug, PartialEq)]
pub struct ByLabel {
    pub other: f64,
    pub labels: BTreeMap<String, f64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Raw {
    One(f64),
    Table(BTreeMap<String, f64>),
}

impl ByLabel {
    /// The key of a section; `default` where it is not there, or its table has no `other`.
    ///
    /// # Errors
    /// It is neither a number nor a table of numbers, or one of them is not `good`; `what` says what they are.
    pub(super) fn read(
        section: &Section<'_>,
        key: &str,
        default: f64,
        good: fn(f64) -> bool,
        what: &str,
    ) -> Result<Self, ConfigError> {
        let Some(value) = section.value.get_ref().get(key) else {
            return Ok(Self { other: default, labels: BTreeMap::new() });
        };
        let wrong = || section.error(section.key_span(key), format!("`{key}` is {what}, or a table of such by label"));
        let raw = Raw::deserialize(toml::de::ValueDeserializer::from(value.clone())).map_err(|_| wrong())?;
        let mut labels = match raw {
            Raw::One(number) => BTreeMap::from([(OTHER.to_owned(), number)]),
            Raw::Table(table) => table,
        };
        if !labels.values().all(|number| good(*number)) {
            return Err(wrong());
        }
        let other = labels.remove(OTHER).unwrap_or(default);
        Ok(Self { other, labels })
    }

    /// By index of these labels; `None` where the table says nothing, and nothing at all where there is no table: every
    /// decision carries this along.
    pub fn by_class(&self, labels: &[String]) -> Vec<Option<f64>> {
        if self.labels.is_empty() {
            return Vec::new();
        }
        labels.iter().map(|label| self.labels.get(label).copied()).collect()
    }

    /// Those of its labels that are none of these.
    pub fn unknown<'s>(&'s self, labels: &'s [String]) -> impl Iterator<Item = &'s str> {
        self.labels.keys().filter(|label| !labels.contains(label)).map(String::as_str)
    }
}
