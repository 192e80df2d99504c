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
    section::{ConfigError, Section, unknown_word},
    store::StoreConfig,
    words::{Names, choose, number},
};
use crate::{board::Profile, bundle};

/// A model that is served.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// The name that jobs use; not necessarily that of the bundle.
    pub name: Arc<str>,
    /// A bundle's folder, or a bare `.onnx` file. It was there when the configuration was checked.
    pub bundle: PathBuf,
    /// Inference threads.
    pub workers: usize,
    /// Where that is said; `None`: the board's profile says so.
    pub workers_place: Option<String>,
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
    /// Who answers in its place while the board is too hot.
    pub smaller: Option<Smaller>,
}

/// Another model, which takes the same inputs and gives the same kind of answers for less.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Smaller {
    pub name: Arc<str>,
    /// Where that is said.
    pub place: String,
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
    smaller: Option<Spanned<String>>,
}

pub(super) fn check_all(
    sections: &[Section<'_>],
    folder: &Path,
    store: &StoreConfig,
    board: &Profile,
) -> Result<Vec<ModelConfig>, ConfigError> {
    if let Some(section) = sections.get(limits::MODELS) {
        return Err(section.error(None, format!("one Picket serves at most {} models", limits::MODELS)));
    }
    let mut names = Names::new("model");
    let check = |section| check(section, (folder, store), board, &mut names);
    let models = sections.iter().map(check).collect::<Result<Vec<_>, _>>()?;
    for (model, section) in models.iter().zip(sections) {
        smaller(model, section, &models)?;
    }
    Ok(models)
}

/// The smaller sibling is another model, whose jobs are kept as this one's are.
fn smaller(model: &ModelConfig, section: &Section<'_>, models: &[ModelConfig]) -> Result<(), ConfigError> {
    let Some(wanted) = &model.smaller else { return Ok(()) };
    let span = section.text("smaller").map(|name| name.span());
    let Some(other) = models.iter().find(|other| other.name == wanted.name) else {
        let known: Vec<&str> =
            models.iter().filter(|other| other.name != model.name).map(|other| &*other.name).collect();
        return Err(section.fault("config/unknown-name", span, unknown_word("model", &wanted.name, &known)));
    };
    let fault = if other.name == model.name {
        "`smaller` names the model itself"
    } else if other.durable != model.durable {
        "one of the two models is `durable`, the other is not"
    } else {
        return Ok(());
    };
    Err(section.fault("config/smaller", span, fault))
}

fn check(
    section: &Section<'_>,
    (folder, store): (&Path, &StoreConfig),
    board: &Profile,
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
    let workers = number(section, "workers", raw.workers.as_ref(), 1..=most_workers, board.workers as u64)?;
    let most_queue = limits::MODEL_QUEUE_MAX as u64;
    let queue = number(section, "queue", raw.queue.as_ref(), 1..=most_queue, board.queue as u64)?;
    let (usual, longest) = (limits::DEADLINE.as_micros() / 1000, limits::DEADLINE_MAX.as_micros() / 1000);
    let deadline_ms = number(section, "deadline_ms", raw.deadline_ms.as_ref(), 1..=longest, usual)?;
    let redact = raw.redact.as_ref().map(|steps| redact::check(section, steps)).transpose()?;
    let place = |name: &Spanned<String>| section.source.place(Some(&name.span()));
    let smaller = raw.smaller.map(|name| Smaller { place: place(&name), name: name.into_inner().into() });
    Ok(ModelConfig {
        name: raw.name.into_inner().into(),
        bundle: resolve(section, &raw.bundle, folder, store)?,
        // Both are within limits that are usize themselves.
        workers: workers as usize,
        workers_place: raw.workers.as_ref().map(|workers| section.source.place(Some(&workers.span()))),
        queue: queue as usize,
        when_full,
        deadline: Span::from_millis(deadline_ms),
        at_once,
        durable: raw.durable.unwrap_or(true),
        redact,
        value,
        smaller,
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
