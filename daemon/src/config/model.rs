//! `[[model]]`: what is served, and how.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use picket_core::{engine::WhenFull, limits, time::Span};
use serde::Deserialize;
use toml::Spanned;

use super::{
    by_label::ByLabel,
    redact::{self, RawSteps, RedactStep},
    section::{ConfigError, Section},
    store::StoreConfig,
    words::{Names, choose, number},
};
use crate::bundle;

/// A model that is served.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// The name that jobs use; not necessarily that of the bundle.
    pub name: Arc<str>,
    /// A bundle's folder, or a bare `.onnx` file. It was there when the configuration was checked.
    pub bundle: PathBuf,
    /// Inference threads.
    pub workers: usize,
    /// Where that is said.
    pub workers_place: String,
    /// Jobs that wait at most.
    pub queue: usize,
    pub when_full: WhenFull,
    /// For jobs that bring none.
    pub deadline: Span,
    /// Doubtful answers leave at once, and a provider corrects them later.
    pub at_once: bool,
    /// A job is on the disk before it is acknowledged. Without, it is in memory only: for control loops, whose answers are
    /// worth nothing a moment later. Lost with the process, never amended, not among the dead letters.
    pub durable: bool,
    /// What is taken out of its jobs' inputs before they leave redacted; `None`: what `[escalation]` says.
    pub redact: Option<Vec<RedactStep>>,
    /// What a right answer is worth, by the label that the model gives: of a budget, the most valuable get the most.
    pub value: ByLabel,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    name: Spanned<String>,
    bundle: Spanned<String>,
    workers: Option<Spanned<u64>>,
    queue: Option<Spanned<u64>>,
    when_full: Option<Spanned<String>>,
    deadline_ms: Option<Spanned<u64>>,
    answer: Option<Spanned<String>>,
    durable: Option<bool>,
    redact: Option<RawSteps>,
}

pub(super) fn check_all(
    sections: &[Section<'_>],
    folder: &Path,
    store: &StoreConfig,
) -> Result<Vec<ModelConfig>, ConfigError> {
    if let Some(section) = sections.get(limits::MODELS) {
        return Err(section.error(None, format!("one Picket serves at most {} models", limits::MODELS)));
    }
    let mut names = Names::new("model");
    sections.iter().map(|section| check(section, folder, store, &mut names)).collect()
}

fn check(
    section: &Section<'_>,
    folder: &Path,
    store: &StoreConfig,
    names: &mut Names,
) -> Result<ModelConfig, ConfigError> {
    let value =
        ByLabel::read(section, "value", 1.0, |value| (0.0..=1e6).contains(&value), "a number from 0 to 1000000")?;
    let raw: Raw = section.without("value").parse()?;
    names.claim(section, &raw.name)?;
    let when_full = match &raw.when_full {
        Some(word) => {
            let choices = [("shed", WhenFull::Shed), ("newest-wins", WhenFull::NewestWins)];
            choose(section, "when_full", word, &choices, &[])?
        }
        None => WhenFull::Shed,
    };
    let at_once = match &raw.answer {
        Some(word) => choose(section, "answer", word, &[("with-deadline", false), ("amend", true)], &[])?,
        None => false,
    };
    if let (true, Some(false), Some(word)) = (at_once, raw.durable, &raw.answer) {
        let message = "a job that is not kept (`durable = false`) cannot be corrected later";
        return Err(section.error(Some(word.span()), message));
    }
    let most_workers = limits::WORKERS_PER_MODEL as u64;
    let workers = number(section, "workers", raw.workers.as_ref(), 1..=most_workers, 1)?;
    let most_queue = limits::MODEL_QUEUE_MAX as u64;
    let queue = number(section, "queue", raw.queue.as_ref(), 1..=most_queue, limits::MODEL_QUEUE as u64)?;
    let (usual, longest) = (limits::DEADLINE.as_micros() / 1000, limits::DEADLINE_MAX.as_micros() / 1000);
    let deadline_ms = number(section, "deadline_ms", raw.deadline_ms.as_ref(), 1..=longest, usual)?;
    let redact = raw.redact.as_ref().map(|steps| redact::check(section, steps)).transpose()?;
    Ok(ModelConfig {
        name: raw.name.into_inner().into(),
        bundle: resolve(section, &raw.bundle, folder, store)?,
        // Both are within limits that are usize themselves.
        workers: workers as usize,
        workers_place: section.source.place(raw.workers.as_ref().map(Spanned::span).as_ref()),
        queue: queue as usize,
        when_full,
        deadline: Span::from_millis(deadline_ms),
        at_once,
        durable: raw.durable.unwrap_or(true),
        redact,
        value,
    })
}

/// A bare word is a folder under the store's `models/`; what has a `/` or ends in `.onnx` is a path, and a relative one
/// starts from the configuration's folder.
fn resolve(
    section: &Section<'_>,
    bundle: &Spanned<String>,
    folder: &Path,
    store: &StoreConfig,
) -> Result<PathBuf, ConfigError> {
    let text = bundle.get_ref().as_str();
    let is_path = text.contains('/') || Path::new(text).is_absolute() || bundle::is_bare_model(Path::new(text));
    let path = if is_path { folder.join(text) } else { store.models().join(text) };
    let missing = match bundle::look(&path) {
        _ if text.is_empty() => "`bundle` is empty".to_owned(),
        Ok(()) => return Ok(path),
        Err(why) => why,
    };
    Err(section.fault("config/missing-bundle", Some(bundle.span()), missing))
}
