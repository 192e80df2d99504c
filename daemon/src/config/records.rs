//! `[decisions]` and `[export]`: what is written down beside jobs and results, and how much of it is kept.

use picket_core::limits;
use serde::Deserialize;
use toml::Spanned;

use super::{
    document::Document,
    section::{ConfigError, Section},
    units,
};

/// Some hundred thousand decisions.
const DECISIONS: u64 = 64 << 20;

/// Bytes that are kept; `None`: none, it is switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Records {
    /// Of the log of decisions.
    pub decisions: Option<u64>,
    /// Of cases that a provider has labelled, with their inputs.
    pub keep: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDecisions {
    max: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawExport {
    keep: Option<Spanned<String>>,
}

/// `durable`: the store keeps things across restarts. Where it does not, nothing else does unasked.
pub(super) fn check(document: &mut Document<'_>, durable: bool) -> Result<Records, ConfigError> {
    let mut records = Records { decisions: durable.then_some(DECISIONS), keep: None };
    if let Some(section) = document.table("decisions")?
        && let Some(max) = section.parse::<RawDecisions>()?.max
    {
        records.decisions = size(&section, "max", &max)?;
    }
    if let Some(section) = document.table("export")?
        && let Some(keep) = section.parse::<RawExport>()?.keep
    {
        records.keep = size(&section, "keep", &keep)?;
    }
    Ok(records)
}

fn size(section: &Section<'_>, key: &str, text: &Spanned<String>) -> Result<Option<u64>, ConfigError> {
    if text.get_ref() == "off" {
        return Ok(None);
    }
    let fault = |why: String| section.error(Some(text.span()), why);
    match units::bytes(text.get_ref()).map_err(fault)? {
        0 => Ok(None),
        few if few < limits::DECISIONS_MIN_BYTES => {
            Err(fault(format!("`{key}` is at least {} MiB, or \"off\"", limits::DECISIONS_MIN_BYTES >> 20)))
        }
        bytes => Ok(Some(bytes)),
    }
}
