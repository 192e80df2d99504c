//! Whether what the configuration says of a model can be, once the model is there.

use picket_core::job::ModelId;

use crate::{
    config::{ConfigError, Escalation, ModelConfig},
    inference::served::Served,
    pipeline::Redaction,
    ports::TensorSpec,
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
    let Some(place) = model.workers_place.as_ref().filter(|_| model.workers > 1 && served.bundle.remembers()) else {
        return Ok(());
    };
    let message = format!(
        "`workers` is {}, but bundle {:?} keeps windows or states of its streams: it has one worker",
        model.workers, served.bundle.name
    );
    Err(ConfigError { code: "config/workers", place: place.clone(), message })
}

/// Inference threads: as the configuration says, or the board's profile where that can be.
pub fn workers(model: &ModelConfig, served: &Served) -> usize {
    if served.bundle.remembers() { 1 } else { model.workers }
}

/// By model, who answers in its place while the board is too hot. `served` has `None` where a model is not served; nobody
/// answers for it then, nor does it for others.
///
/// # Errors
/// `config/smaller`: the two do not take the same inputs, or do not give the same kind of answers.
pub fn siblings(models: &[ModelConfig], served: &[Option<&Served>]) -> Result<Vec<Option<ModelId>>, ConfigError> {
    let sibling = |(model, own): (&ModelConfig, &Option<&Served>)| {
        let Some(wanted) = &model.smaller else { return Ok(None) };
        let Some(index) = models.iter().position(|other| other.name == wanted.name) else { return Ok(None) };
        let (Some(own), Some(other)) = (own, served[index]) else { return Ok(None) };
        let Some(difference) = difference(own, other) else { return Ok(Some(ModelId(index))) };
        let message = format!("{} cannot answer for {}: {difference}", wanted.name, model.name);
        Err(ConfigError { code: "config/smaller", place: wanted.place.clone(), message })
    };
    models.iter().zip(served).map(sibling).collect()
}

/// Why whoever sends jobs to one could not as well send them to the other.
fn difference(one: &Served, other: &Served) -> Option<String> {
    let inputs = |served: &Served| {
        let spec = |input: &TensorSpec| format!("{} {}", input.name, input.kind());
        served.signature.inputs.iter().map(spec).collect::<Vec<_>>().join(", ")
    };
    if inputs(one) != inputs(other) {
        return Some(format!("its inputs are {}, not {}", inputs(other), inputs(one)));
    }
    if one.bundle.task != other.bundle.task {
        return Some(format!("its task is {:?}, not {:?}", other.bundle.task, one.bundle.task));
    }
    if one.bundle.labels != other.bundle.labels {
        return Some("it has other labels".to_owned());
    }
    let remembers = one.bundle.remembers() || other.bundle.remembers();
    remembers.then(|| "one of them keeps windows or states, which would begin anew".to_owned())
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
