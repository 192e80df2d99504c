//! `[escalation]`: who is asked about doubtful answers.

use picket_core::job::{Privacy, ProviderId};
use serde::{Deserialize, de::IgnoredAny};
use toml::Spanned;

use super::{
    provider::ProviderConfig,
    redact::{self, RawSteps, RedactStep},
    section::{ConfigError, Section, unknown_word},
    words::{choose, id_fault},
};

/// Who is asked about doubtful answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Escalation {
    /// In the order in which they are asked; only those in a region that is allowed.
    pub providers: Vec<ProviderId>,
    /// Class of a job that brings none.
    pub privacy: Privacy,
    /// For models that have no steps of their own.
    pub redact: Vec<RedactStep>,
    /// Sentences for the operator.
    pub warnings: Vec<String>,
}

/// Keys that protocol.md knows and this version does not.
const NOT_YET: [&str; 5] = ["mode", "alpha", "delta", "audit_rate", "budget"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(default)]
    providers: Vec<Spanned<String>>,
    privacy: Option<Spanned<String>>,
    regions: Option<Spanned<Vec<Spanned<String>>>>,
    #[serde(default)]
    redact: RawSteps,
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

pub(super) fn check(section: &Section<'_>, providers: &[ProviderConfig]) -> Result<Escalation, ConfigError> {
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
    let mut warnings = Vec::new();
    if let Some(regions) = &raw.regions {
        let allowed = regions_of(section, regions)?;
        let before = chosen.len();
        chosen.retain(|id| may_be_asked(&providers[id.0], &allowed, &mut warnings));
        if chosen.is_empty() && before > 0 {
            warnings
                .push(format!("no provider is in an allowed region ({}): nobody is ever asked", allowed.join(", ")));
        }
    }
    let redact = redact::check(section, &raw.redact)?;
    Ok(Escalation { providers: chosen, privacy, redact, warnings })
}

fn regions_of<'r>(
    section: &Section<'_>,
    regions: &'r Spanned<Vec<Spanned<String>>>,
) -> Result<Vec<&'r str>, ConfigError> {
    if regions.get_ref().is_empty() {
        let message = "`regions` allows no region, so nobody could be asked; without it every region is allowed";
        return Err(section.error(Some(regions.span()), message));
    }
    let mut allowed = Vec::new();
    for region in regions.get_ref() {
        if let Some(why) = id_fault(region.get_ref()) {
            return Err(section.error(Some(region.span()), why));
        }
        allowed.push(region.get_ref().as_str());
    }
    Ok(allowed)
}

/// A provider that does not say where it is, is not where it may be.
fn may_be_asked(provider: &ProviderConfig, allowed: &[&str], warnings: &mut Vec<String>) -> bool {
    let region = provider.region.as_deref();
    let may = region.is_some_and(|region| allowed.contains(&region));
    if !may {
        let name = &provider.setup.name;
        warnings.push(match region {
            Some(region) => format!("provider {name} is never asked: its region {region} is not in `regions`"),
            None => format!("provider {name} is never asked: it states no `region`, and `regions` is set"),
        });
    }
    may
}

fn provider_id(
    section: &Section<'_>,
    name: &Spanned<String>,
    providers: &[ProviderConfig],
) -> Result<ProviderId, ConfigError> {
    if let Some(index) = providers.iter().position(|provider| *provider.setup.name == **name.get_ref()) {
        return Ok(ProviderId(index));
    }
    let known: Vec<&str> = providers.iter().map(|provider| &*provider.setup.name).collect();
    let message = unknown_word("provider", name.get_ref(), &known);
    Err(section.fault("config/unknown-name", Some(name.span()), message))
}
