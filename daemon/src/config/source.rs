//! `[[source]]`: the keys that every source has; the rest is its kind's own.

use std::{path::Path, sync::Arc};

use picket_core::{job::Privacy, limits, time::Span};
use serde::Deserialize;
use toml::Spanned;

use super::{
    model::ModelConfig,
    section::{ConfigError, Section, unknown_word},
    words::{Names, choose, number},
};
use crate::{
    board::Profile,
    source::{SOURCES, SourceSetup},
};

/// A checked source.
pub struct SourceConfig {
    pub name: Arc<str>,
    /// Whose jobs it makes.
    pub model: Arc<str>,
    /// `None`: the model's.
    pub deadline: Option<Span>,
    /// `None`: as `[escalation]` says.
    pub privacy: Option<Privacy>,
    pub setup: Box<dyn SourceSetup>,
    /// Where it names its model.
    pub model_place: String,
}

#[derive(Deserialize)]
struct Raw {
    name: Spanned<String>,
    kind: Spanned<String>,
    model: Spanned<String>,
    deadline_ms: Option<Spanned<u64>>,
    privacy: Option<Spanned<String>>,
}

/// `keeps`: the store outlives the process.
pub(super) fn check_all(
    sections: &[Section<'_>],
    surroundings: (&Path, &Profile),
    models: &[ModelConfig],
    keeps: bool,
) -> Result<Vec<SourceConfig>, ConfigError> {
    if let Some(section) = sections.get(limits::SOURCES) {
        return Err(section.error(None, format!("one Picket has at most {} sources", limits::SOURCES)));
    }
    let mut names = Names::new("source");
    sections.iter().map(|section| check(section, surroundings, models, keeps, &mut names)).collect()
}

fn check(
    section: &Section<'_>,
    (folder, board): (&Path, &Profile),
    models: &[ModelConfig],
    keeps: bool,
    names: &mut Names,
) -> Result<SourceConfig, ConfigError> {
    let raw: Raw = section.parse()?;
    names.claim(section, &raw.name)?;
    let kinds: Vec<&str> = SOURCES.iter().map(|kind| kind.name()).collect();
    let Some(kind) = SOURCES.iter().find(|kind| kind.name() == raw.kind.get_ref()) else {
        let message = unknown_word("kind", raw.kind.get_ref(), &kinds);
        return Err(section.fault("config/unknown-name", Some(raw.kind.span()), message));
    };
    let model = model_of(section, &raw.model, models)?;
    let own = ["name", "kind", "model", "deadline_ms", "privacy"];
    let rest = own.iter().fold(section.clone(), |section, key| section.without(key));
    let setup = kind.configure(rest, folder, board)?;
    if setup.wants_durable() && !(keeps && model.durable) {
        let message =
            "this kind of source needs a store and a model that are `durable`: it lets go of what was answered";
        return Err(section.error(Some(raw.kind.span()), message));
    }
    let longest = limits::DEADLINE_MAX.as_micros() / 1000;
    let deadline = raw.deadline_ms.as_ref().map(|given| number(section, "deadline_ms", Some(given), 1..=longest, 1));
    let classes = [Privacy::Ok, Privacy::Redacted, Privacy::Never].map(|class| (class.name(), class));
    let privacy = raw.privacy.as_ref().map(|word| choose(section, "privacy", word, &classes, &[])).transpose()?;
    Ok(SourceConfig {
        name: raw.name.into_inner().into(),
        model: model.name.clone(),
        deadline: deadline.transpose()?.map(Span::from_millis),
        privacy,
        setup,
        model_place: section.source.place(Some(&raw.model.span())),
    })
}

/// The model that a section names.
pub(super) fn model_of<'m>(
    section: &Section<'_>,
    wanted: &Spanned<String>,
    models: &'m [ModelConfig],
) -> Result<&'m ModelConfig, ConfigError> {
    models.iter().find(|model| &*model.name == wanted.get_ref()).ok_or_else(|| {
        let known: Vec<&str> = models.iter().map(|model| &*model.name).collect();
        section.fault("config/unknown-name", Some(wanted.span()), unknown_word("model", wanted.get_ref(), &known))
    })
}
