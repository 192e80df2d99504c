//! `[escalation]`: who is asked about doubtful answers.

use picket_core::job::{Privacy, ProviderId};
use serde::{Deserialize, de::IgnoredAny};
use toml::Spanned;

use super::{
    section::{ConfigError, Section, unknown_word},
    words::choose,
};
use crate::provider::ProviderSetup;

/// Who is asked about doubtful answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Escalation {
    /// In the order in which they are asked.
    pub providers: Vec<ProviderId>,
    /// Class of a job that brings none.
    pub privacy: Privacy,
}

/// Keys that protocol.md knows and this version does not.
const NOT_YET: [&str; 5] = ["mode", "alpha", "delta", "audit_rate", "budget"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(default)]
    providers: Vec<Spanned<String>>,
    privacy: Option<Spanned<String>>,
    // Named so that they are no unknown keys; `check` refuses them before anything is parsed.
    #[serde(rename = "mode")]
    _mode: Option<IgnoredAny>,
    #[serde(rename = "alpha")]
    _alpha: Option<IgnoredAny>,
    #[serde(rename = "delta")]
    _delta: Option<IgnoredAny>,
    #[serde(rename = "audit_rate")]
    _audit_rate: Option<IgnoredAny>,
    #[serde(rename = "budget")]
    _budget: Option<IgnoredAny>,
}

pub(super) fn check(section: &Section<'_>, providers: &[ProviderSetup]) -> Result<Escalation, ConfigError> {
    let early = NOT_YET.iter().filter_map(|key| section.key_span(key));
    if let Some(span) = early.min_by_key(|span| span.start) {
        let message = "certified escalation and budgets are not there yet; remove this key";
        return Err(section.fault("config/not-yet", Some(span), message));
    }
    let raw: Raw = section.parse()?;
    let mut chosen = Vec::new();
    for name in &raw.providers {
        let id = provider_id(section, name, providers)?;
        if chosen.contains(&id) {
            return Err(section.error(Some(name.span()), format!("`{}` is in this list twice", name.get_ref())));
        }
        chosen.push(id);
    }
    let privacy = match &raw.privacy {
        Some(word) => {
            let choices = [("ok", Privacy::Ok), ("redacted", Privacy::Redacted), ("never", Privacy::Never)];
            choose(section, "privacy", word, &choices, &[])?
        }
        None => Privacy::default(),
    };
    Ok(Escalation { providers: chosen, privacy })
}

fn provider_id(
    section: &Section<'_>,
    name: &Spanned<String>,
    providers: &[ProviderSetup],
) -> Result<ProviderId, ConfigError> {
    if let Some(index) = providers.iter().position(|provider| *provider.name == **name.get_ref()) {
        return Ok(ProviderId(index));
    }
    let known: Vec<&str> = providers.iter().map(|provider| &*provider.name).collect();
    let message = unknown_word("provider", name.get_ref(), &known);
    Err(section.fault("config/unknown-name", Some(name.span()), message))
}
