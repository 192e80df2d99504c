//! `[[output]]`: lines that move when a model answers.

use std::{path::Path, sync::Arc};

use picket_core::{limits, output::Act, time::Span};
use serde::Deserialize;
use toml::Spanned;

use super::{
    model::ModelConfig,
    pin::{self, Given},
    section::{ConfigError, Section},
    source::model_of,
    words::{Names, choose, number},
};
use crate::{board::Profile, gpio::Place};

/// A checked output. Whether the model has these labels is seen when it is there.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputConfig {
    pub name: Arc<str>,
    /// Whose answers it looks at.
    pub model: Arc<str>,
    pub place: Place,
    /// Answers that count.
    pub labels: Vec<String>,
    /// Where that is said.
    pub labels_place: String,
    pub min_confidence: Option<f32>,
    pub certified: bool,
    pub deadline: Option<Span>,
    pub act: Act,
    pub safe_high: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    name: Spanned<String>,
    model: Spanned<String>,
    pin: Option<Spanned<String>>,
    chip: Option<Spanned<String>>,
    line: Option<Spanned<u64>>,
    label: Option<Spanned<String>>,
    labels: Option<Spanned<Vec<String>>>,
    anomalous: Option<Spanned<bool>>,
    min_confidence: Option<Spanned<f64>>,
    certified: Option<bool>,
    pulse_ms: Option<Spanned<u64>>,
    set: Option<Spanned<bool>>,
    hold_ms: Option<Spanned<u64>>,
    deadline_ms: Option<Spanned<u64>>,
    safe: Option<Spanned<String>>,
}

pub(super) fn check_all(
    sections: &[Section<'_>],
    folder: &Path,
    models: &[ModelConfig],
    board: &Profile,
) -> Result<Vec<OutputConfig>, ConfigError> {
    if let Some(section) = sections.get(limits::OUTPUTS) {
        return Err(section.error(None, format!("one Picket has at most {} outputs", limits::OUTPUTS)));
    }
    let mut names = Names::new("output");
    let mut outputs: Vec<OutputConfig> = Vec::new();
    for section in sections {
        let output = check(section, (folder, models, board), &mut names)?;
        if let Some(other) = outputs.iter().find(|other| other.place == output.place) {
            return Err(section.error(None, format!("output `{}` has this line already", other.name)));
        }
        outputs.push(output);
    }
    Ok(outputs)
}

fn check(
    section: &Section<'_>,
    (folder, models, board): (&Path, &[ModelConfig], &Profile),
    names: &mut Names,
) -> Result<OutputConfig, ConfigError> {
    let raw: Raw = section.parse()?;
    names.claim(section, &raw.name)?;
    let model = model_of(section, &raw.model, models)?;
    let (labels, span) = labels(section, &raw)?;
    let min_confidence = raw.min_confidence.as_ref().map(|least| {
        let fits = (0.0..=1.0).contains(least.get_ref());
        let fault = || section.error(Some(least.span()), "`min_confidence` is a number from 0 to 1");
        fits.then_some(*least.get_ref() as f32).ok_or_else(fault)
    });
    let longest = limits::DEADLINE_MAX.as_micros() / 1000;
    let deadline = raw.deadline_ms.as_ref().map(|given| number(section, "deadline_ms", Some(given), 1..=longest, 1));
    let safe_high = match &raw.safe {
        Some(word) => choose(section, "safe", word, &[("low", false), ("high", true)], &[])?,
        None => false,
    };
    Ok(OutputConfig {
        place: pin::place(section, Given { pin: &raw.pin, chip: &raw.chip, line: &raw.line }, folder, board)?,
        act: act(section, &raw)?,
        name: raw.name.into_inner().into(),
        model: model.name.clone(),
        labels,
        labels_place: section.source.place(Some(&span)),
        min_confidence: min_confidence.transpose()?,
        certified: raw.certified.unwrap_or(false),
        deadline: deadline.transpose()?.map(Span::from_millis),
        safe_high,
    })
}

fn labels(section: &Section<'_>, raw: &Raw) -> Result<(Vec<String>, std::ops::Range<usize>), ConfigError> {
    match (&raw.label, &raw.labels, &raw.anomalous) {
        (Some(label), None, None) => Ok((vec![label.get_ref().clone()], label.span())),
        (None, Some(labels), None) if !labels.get_ref().is_empty() => Ok((labels.get_ref().clone(), labels.span())),
        (None, None, Some(anomalous)) if *anomalous.get_ref() => Ok((vec!["anomaly".to_owned()], anomalous.span())),
        _ => Err(section.error(None, "an output needs one of `label`, `labels` and `anomalous = true`")),
    }
}

fn act(section: &Section<'_>, raw: &Raw) -> Result<Act, ConfigError> {
    let longest = limits::OUTPUT_SPAN_MAX.as_micros() / 1000;
    let span = |key, given: &Spanned<u64>| number(section, key, Some(given), 1..=longest, 1).map(Span::from_millis);
    match (&raw.pulse_ms, &raw.set, &raw.hold_ms) {
        (Some(pulse), None, None) => Ok(Act::Pulse(span("pulse_ms", pulse)?)),
        (None, Some(set), hold) if *set.get_ref() => {
            Ok(Act::Set { hold: hold.as_ref().map(|hold| span("hold_ms", hold)).transpose()? })
        }
        _ => Err(section.error(None, "an output needs `pulse_ms`, or `set = true` (and perhaps `hold_ms`)")),
    }
}
