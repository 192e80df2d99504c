//! From a checked configuration to the parts of the loop; the one place that looks into all registries.

use std::sync::Arc;

use anyhow::Context;
use picket_core::{
    engine::{Engine, ModelRules, ProviderRules},
    escalation::decide::Policy,
    job::{Failure, ModelId, Privacy, TransportId},
    limits,
};
use tokio::sync::mpsc;

use crate::{
    bundle::Bundle,
    config::{Config, ModelConfig},
    inference::{pool::Pool, served::Served},
    ports::{Clock, Event},
    run::{ModelSlot, Parts, ProviderSlot, TransportSlot},
    store::memory::MemoryStore,
    telemetry::Telemetry,
    transport::{ModelInfo, TransportContext},
};

/// Loads and proves the models, then opens the transports. To be called inside a tokio runtime.
///
/// A model that does not load or does not prove itself is no error here: it is not served, every job for it is told why,
/// and the others work.
///
/// # Errors
/// A socket cannot be opened, or the system gives no thread.
pub fn assemble(config: Config, clock: Clock) -> anyhow::Result<Parts> {
    let (inbox, events) = mpsc::channel::<Event>(limits::INBOX);
    let names: Vec<_> = config.models.iter().map(|model| model.name.clone()).collect();
    let telemetry = Arc::new(Telemetry::new(&names));
    let escalation = config.escalation;
    let asked = escalation.as_ref().map(|escalation| escalation.providers.clone()).unwrap_or_default();

    let mut models = Vec::new();
    let mut rules = Vec::new();
    for (index, model) in config.models.iter().enumerate() {
        let loaded = load(model);
        let policy = match &loaded {
            Ok(served) => Policy {
                temperature: served.bundle.temperature,
                threshold: served.bundle.threshold,
                providers: asked.clone(),
            },
            Err(_) => Policy { temperature: 1.0, threshold: None, providers: Vec::new() },
        };
        rules.push(ModelRules {
            workers: model.workers,
            queue: model.queue,
            when_full: model.when_full,
            deadline: model.deadline,
            policy,
        });
        models.push(slot(ModelId(index), model, loaded, &inbox)?);
    }
    let infos: Arc<[ModelInfo]> = models.iter().map(info).collect();
    let engine_providers = config.providers.iter().map(|setup| ProviderRules { timeout: setup.timeout }).collect();

    let device = config.device.id;
    let mut transports = Vec::new();
    for (index, (name, setup)) in config.transports.into_iter().enumerate() {
        let context = TransportContext {
            id: TransportId(index),
            inbox: inbox.clone(),
            clock,
            device: device.clone(),
            group: config.device.group.as_deref().map(Arc::from),
            models: infos.clone(),
            telemetry: telemetry.clone(),
        };
        let transport = setup.start(context).with_context(|| format!("transport {name} does not start"))?;
        transports.push(TransportSlot { name, transport });
    }
    Ok(Parts {
        device,
        engine: Engine::new(rules, engine_providers),
        store: Box::new(MemoryStore::new(usize::try_from(config.store.max_bytes).unwrap_or(usize::MAX))),
        models,
        transports,
        providers: config
            .providers
            .into_iter()
            .map(|setup| ProviderSlot { name: setup.name, provider: setup.provider })
            .collect(),
        telemetry,
        default_privacy: escalation.map_or(Privacy::Ok, |escalation| escalation.privacy),
        inbox,
        events,
    })
}

/// Reads, loads and proves one model.
///
/// # Errors
/// Why it is not served.
pub fn load(model: &ModelConfig) -> Result<Served, Failure> {
    let bundle = Bundle::read(&model.bundle).map_err(|error| Failure::new(error.code, error.message))?;
    for warning in &bundle.warnings {
        tracing::warn!(model = %model.name, warning);
    }
    Served::load(bundle)
}

fn slot(
    id: ModelId,
    model: &ModelConfig,
    loaded: Result<Served, Failure>,
    inbox: &mpsc::Sender<Event>,
) -> anyhow::Result<ModelSlot> {
    let (version, state) = match loaded {
        Ok(served) => {
            let served = Arc::new(served);
            let pool = Pool::start(id, &served, model.workers, inbox).context("no thread for inference")?;
            let version = served.bundle.version.clone();
            tracing::info!(model = %model.name, version, proven = served.proven, "model serves");
            (version, Ok((served, pool)))
        }
        Err(failure) => {
            tracing::error!(model = %model.name, code = failure.code, message = failure.message, "model is not served");
            (String::new(), Err(failure))
        }
    };
    Ok(ModelSlot { name: model.name.clone(), version, state })
}

fn info(slot: &ModelSlot) -> ModelInfo {
    let served = slot.state.as_ref().ok().map(|(served, _)| served);
    ModelInfo {
        name: slot.name.clone(),
        version: slot.version.clone(),
        signature: served.map(|served| served.signature.clone()),
        proven: served.is_some_and(|served| served.proven),
        refused: slot.state.as_ref().err().map(ToString::to_string),
    }
}
