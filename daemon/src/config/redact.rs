//! `redact = [ { step = "…" }, … ]` of `[escalation]` and `[[model]]`: what is taken out of an input before it leaves.
//!
//! Whether a step fits a model's inputs is known when the model is loaded ([`crate::pipeline::redact`]).

use picket_core::limits;
use serde::Deserialize;
use toml::Spanned;

use super::section::{ConfigError, Section, in_plain_words, is_unknown_key, unknown_word};

/// The steps as they are written.
pub type RawSteps = Vec<Spanned<toml::Table>>;

/// A checked step that still has to meet its model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedactStep {
    /// `file:line:column: `
    pub place: String,
    pub what: Redact,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Redact {
    /// One input stays here.
    DropInput { name: String },
    /// Only this region leaves.
    Crop { x: usize, y: usize, w: usize, h: usize, input: Option<String>, image: Option<Image> },
    /// Every square of so many pixels becomes one: their mean.
    Downscale { factor: usize, input: Option<String>, image: Option<Image> },
    /// Regions become their mean; with a radius, each pixel the mean of those around it in its region.
    Blur { regions: Vec<Region>, radius: Option<usize>, input: Option<String>, image: Option<Image> },
    /// These outputs of the local model leave instead of its inputs.
    FeaturesOnly { outputs: Vec<String> },
}

/// A rectangle, in pixels from the upper left corner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Region {
    pub x: usize,
    pub y: usize,
    pub w: usize,
    pub h: usize,
}

/// How an input is to be seen as images; `channels` is 1 where it is not said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    pub width: usize,
    pub height: usize,
    #[serde(default = "one")]
    pub channels: usize,
    #[serde(default)]
    pub layout: Layout,
}

/// The order of an image's elements; the last one changes fastest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Height, width, channels.
    #[default]
    Hwc,
    /// Channels, height, width.
    Chw,
}

const fn one() -> usize {
    1
}

const STEPS: [&str; 5] = ["drop-input", "crop", "downscale", "blur", "features-only"];

/// # Errors
/// `config/unknown-name`, `config/unknown-key` or `config/invalid`, with the step's place.
pub(super) fn check(section: &Section<'_>, raw: &RawSteps) -> Result<Vec<RedactStep>, ConfigError> {
    if let Some(surplus) = raw.get(limits::REDACTION_STEPS) {
        let message = format!("at most {} redaction steps", limits::REDACTION_STEPS);
        return Err(section.error(Some(surplus.span()), message));
    }
    let steps = raw.iter().map(|raw| step(section, raw)).collect::<Result<Vec<_>, _>>()?;
    let alone = steps.iter().any(|step| matches!(step.what, Redact::FeaturesOnly { .. }));
    match raw.get(1) {
        Some(second) if alone => {
            Err(section.error(Some(second.span()), "with `features-only` no input leaves; it stands alone"))
        }
        _ => Ok(steps),
    }
}

fn step(section: &Section<'_>, raw: &Spanned<toml::Table>) -> Result<RedactStep, ConfigError> {
    let fault = |code, message: String| section.fault(code, Some(raw.span()), message);
    let Some(name) = raw.get_ref().get("step").and_then(toml::Value::as_str) else {
        let message = format!("a redaction step needs a `step`, one of: {}", STEPS.join(", "));
        return Err(fault("config/invalid", message));
    };
    if !STEPS.contains(&name) {
        return Err(fault("config/unknown-name", unknown_word("redaction step", name, &STEPS)));
    }
    let what: Redact = raw.get_ref().clone().try_into().map_err(|error: toml::de::Error| {
        let code = if is_unknown_key(error.message()) { "config/unknown-key" } else { "config/invalid" };
        fault(code, in_plain_words(error.message()))
    })?;
    match fault_of(&what) {
        Some(why) => Err(fault("config/invalid", why)),
        None => Ok(RedactStep { place: section.source.place(Some(&raw.span())), what }),
    }
}

/// What no model could make right.
fn fault_of(what: &Redact) -> Option<String> {
    let most = limits::REDACTION_REGIONS;
    match what {
        Redact::Downscale { factor, .. } if *factor < 2 => Some("`factor` is at least 2".to_owned()),
        Redact::Blur { radius: Some(0), .. } => {
            Some("a `radius` of 0 changes nothing; without one, regions get their mean".to_owned())
        }
        Redact::Blur { regions, .. } if regions.is_empty() || regions.len() > most => {
            Some(format!("`regions` has 1 to {most} regions"))
        }
        Redact::FeaturesOnly { outputs } if outputs.is_empty() || outputs.len() > most => {
            Some(format!("`outputs` has 1 to {most} names"))
        }
        _ => None,
    }
}
