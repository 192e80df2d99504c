//! The keys of a step as they are written in a bundle.

use serde::de::DeserializeOwned;

use crate::config::section::{in_plain_words, is_unknown_key};

/// Why a step cannot be as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepFault {
    /// `bundle/invalid` or `bundle/unknown-key`.
    pub code: &'static str,
    pub message: String,
}

impl StepFault {
    pub fn invalid(message: impl Into<String>) -> Self {
        Self { code: "bundle/invalid", message: message.into() }
    }
}

/// The keys of one step, and no others.
///
/// # Errors
/// A key is missing, unknown or of another type.
pub fn read<T: DeserializeOwned>(keys: toml::Table) -> Result<T, StepFault> {
    keys.try_into().map_err(|error: toml::de::Error| {
        let code = if is_unknown_key(error.message()) { "bundle/unknown-key" } else { "bundle/invalid" };
        StepFault { code, message: in_plain_words(error.message()) }
    })
}

/// Exactly these numbers, whoever prints them.
pub fn bits(numbers: &[f32]) -> String {
    numbers.iter().map(|number| format!("{:08x}", number.to_bits())).collect::<Vec<_>>().join(",")
}
