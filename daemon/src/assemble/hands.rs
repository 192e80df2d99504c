//! Sources and outputs, from their configuration to the parts of the loop.

use std::sync::Arc;

use anyhow::Context;
use picket_core::{escalation::rating, job::TransportId, output::Rule, said::Measure};

use crate::{
    board::watch::SourceRate,
    config::{Config, ConfigError, OutputConfig, SourceConfig},
    inference::served::Served,
    output::Plan,
    pipeline,
    run::{ModelSlot, TransportSlot},
    source,
    transport::TransportContext,
};

/// Names of the transports, in the order of their ids: those of the configuration, then the one that the sources are.
pub(super) fn transport_names(config: &Config) -> Vec<Arc<str>> {
    let names = config.transports.iter().map(|(name, _)| *name);
    names.chain((!config.sources.is_empty()).then_some(source::NAME)).map(Arc::from).collect()
}

/// `id`: the next transport's.
pub(super) fn start_sources(
    sources: Vec<SourceConfig>,
    context: &TransportContext,
    id: usize,
    rate: &SourceRate,
) -> anyhow::Result<Option<TransportSlot>> {
    if sources.is_empty() {
        return Ok(None);
    }
    let context = TransportContext { id: TransportId(id), ..context.clone() };
    let transport = source::start(sources, context, rate).context("no thread for sources")?;
    Ok(Some(TransportSlot { name: source::NAME, transport }))
}

/// The daemon serves all the same: the other sources and models are good.
pub(super) fn say_what_does_not_fit(sources: &[SourceConfig], models: &[ModelSlot]) {
    for source in sources {
        let slot = models.iter().find(|slot| slot.name == source.model);
        let served = slot.and_then(|slot| slot.state.as_ref().ok()).map(|(served, _)| &**served);
        if let Err(ConfigError { code, message, .. }) = fits(source, served) {
            tracing::error!(source = %source.name, model = %source.model, code, why = message, "source");
        }
    }
}

pub(super) fn plans(outputs: &[OutputConfig], models: &[ModelSlot]) -> Result<Vec<Plan>, ConfigError> {
    let served = |output: &OutputConfig| {
        let slot = models.iter().find(|slot| slot.name == output.model);
        slot.and_then(|slot| slot.state.as_ref().ok()).map(|(served, _)| &**served)
    };
    outputs.iter().map(|output| plan(output, served(output))).collect()
}

/// Does what the source makes fit its model? `served`: `None` where the model is not served.
///
/// # Errors
/// `config/window`: every job of it would fail.
pub fn fits(source: &SourceConfig, served: Option<&Served>) -> Result<(), ConfigError> {
    let Some((content, served)) = source.setup.sample().zip(served) else { return Ok(()) };
    match pipeline::decode(&content, &served.signature.inputs) {
        Ok(_) => Ok(()),
        Err(failure) => Err(ConfigError {
            code: "config/window",
            place: source.model_place.clone(),
            message: format!(
                "the windows of source {} do not fit model {}: {}",
                source.name, source.model, failure.message
            ),
        }),
    }
}

/// An output whose labels are those of its model. `served`: `None` where the model is not served; the output never moves then.
///
/// # Errors
/// `config/unknown-label`: the model never says that.
pub fn plan(output: &OutputConfig, served: Option<&Served>) -> Result<Plan, ConfigError> {
    let labels = served.map(|served| match served.bundle.measure {
        Measure::Boxes { .. } => served.bundle.labels.to_vec(),
        measure => rating::kinds(&measure, &served.bundle.labels),
    });
    let mut classes = Vec::new();
    for wanted in labels.is_some().then_some(&output.labels).into_iter().flatten() {
        let known = labels.as_deref().unwrap_or_default();
        let Some(class) = known.iter().position(|label| label == wanted) else {
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            let message = crate::config::section::unknown_word("label", wanted, &known);
            let message = format!("model {}: {message}", output.model);
            return Err(ConfigError { code: "config/unknown-label", place: output.labels_place.clone(), message });
        };
        classes.push(class);
    }
    let OutputConfig { min_confidence, certified, deadline, act, .. } = *output;
    Ok(Plan {
        name: output.name.clone(),
        model: output.model.clone(),
        place: output.place.clone(),
        rule: Rule { classes, min_confidence, certified, deadline, act },
        safe_high: output.safe_high,
    })
}
