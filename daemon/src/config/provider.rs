//! `[[provider]]`: the keys that every provider has; the rest is its kind's own.

use std::sync::Arc;

use super::{
    by_label::ByLabel,
    section::{ConfigError, Section, unknown_word},
    words::{Names, id_fault},
};
use crate::provider::{ProviderKind, ProviderSetup};

/// A checked provider, and where in the world it is.
pub struct ProviderConfig {
    pub setup: ProviderSetup,
    /// `None`: nobody says.
    pub region: Option<Arc<str>>,
    /// Share of its answers that are right where the local model gives a label, as its owner believes.
    pub accuracy: ByLabel,
}

pub(super) fn check_all(
    sections: &[Section<'_>],
    kinds: &[&'static dyn ProviderKind],
) -> Result<Vec<ProviderConfig>, ConfigError> {
    let known: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
    let mut names = Names::new("provider");
    let mut providers = Vec::new();
    for section in sections {
        let Some(name) = section.text("name") else {
            return Err(section.error(section.key_span("name"), "a provider needs a `name`, in quotes"));
        };
        names.claim(section, &name)?;
        let Some(wanted) = section.text("kind") else {
            let message = format!("a provider needs a `kind`, one of: {}", known.join(", "));
            return Err(section.error(section.key_span("kind"), message));
        };
        let Some(kind) = kinds.iter().find(|kind| kind.name() == *wanted.get_ref()) else {
            let message = unknown_word("kind", wanted.get_ref(), &known);
            return Err(section.fault("config/unknown-name", Some(wanted.span()), message));
        };
        let region = region(section)?;
        let accuracy = accuracy(section)?;
        let setup = kind.configure(section.without("region").without("accuracy"))?;
        providers.push(ProviderConfig { setup, region, accuracy });
    }
    Ok(providers)
}

fn region(section: &Section<'_>) -> Result<Option<Arc<str>>, ConfigError> {
    let Some(span) = section.key_span("region") else { return Ok(None) };
    let Some(region) = section.text("region") else {
        return Err(section.error(Some(span), "`region` is a word in quotes, such as \"eu\""));
    };
    match id_fault(region.get_ref()) {
        Some(why) => Err(section.error(Some(region.span()), why)),
        None => Ok(Some((*region.get_ref()).into())),
    }
}

/// A model that is worth asking is right nearly always; whoever has measured it says better.
pub const ACCURACY: f64 = 0.95;

fn accuracy(section: &Section<'_>) -> Result<ByLabel, ConfigError> {
    let good = |share| share > 0.0 && share <= 1.0;
    ByLabel::read(section, "accuracy", ACCURACY, good, "a share, above 0 and at most 1")
}
