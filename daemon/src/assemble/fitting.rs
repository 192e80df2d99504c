//! Whether what the configuration says of a model can be, once the model is there.

use crate::{
    config::{ConfigError, Escalation, ModelConfig},
    inference::served::Served,
    pipeline::Redaction,
};

/// Whether the configuration fits the model; how its inputs are redacted before they leave.
///
/// # Errors
/// `config/workers` or `config/redaction`: it does not.
pub fn fitted(
    model: &ModelConfig,
    escalation: Option<&Escalation>,
    served: &Served,
) -> Result<Option<Redaction>, ConfigError> {
    one_worker(model, served)?;
    redaction(model, escalation, served)
}

/// What a model keeps between the jobs of a stream belongs to one thread.
///
/// # Errors
/// `config/workers`: there are to be several.
fn one_worker(model: &ModelConfig, served: &Served) -> Result<(), ConfigError> {
    if model.workers == 1 || !served.bundle.remembers() {
        return Ok(());
    }
    let message = format!(
        "`workers` is {}, but bundle {:?} keeps windows or states of its streams: it has one worker",
        model.workers, served.bundle.name
    );
    Err(ConfigError { code: "config/workers", place: model.workers_place.clone(), message })
}

/// How inputs of this model are redacted before they leave; `None`: there are no steps, so those that must be do not.
///
/// # Errors
/// `config/redaction`: a step cannot fit the model.
fn redaction(
    model: &ModelConfig,
    escalation: Option<&Escalation>,
    served: &Served,
) -> Result<Option<Redaction>, ConfigError> {
    let general = escalation.map(|escalation| escalation.redact.as_slice()).unwrap_or_default();
    Redaction::plan(model.redact.as_deref().unwrap_or(general), &served.signature)
}
