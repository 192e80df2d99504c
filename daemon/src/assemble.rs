//! From a checked configuration to the parts of the loop; the one place that looks into all registries.

mod fitting;
mod hands;

use std::{collections::HashSet, sync::Arc, time::Duration};

use anyhow::Context;
use picket_core::{
    engine::{Engine, Funds, ModelRules, Past, ProviderRules},
    escalation::{
        budget::Limits,
        calibration::State,
        decide::{Mode, Policy},
        gain::Values,
        rating,
    },
    job::{Failure, ModelId, Privacy, ProviderId, TransportId},
    limits,
    time::Span,
};
use tokio::sync::mpsc;

pub use self::{
    fitting::{fitted, siblings},
    hands::{fits, plan},
};
use crate::{
    answer::hex,
    board::{Board, Warning, watch::Watched},
    bundle::Bundle,
    calendar::{Calendar, SystemCalendar},
    config::{AUDIT_RATE, Config, Demand, Device, Escalation, ModelConfig, ProviderConfig, StoreConfig},
    decisions,
    export::Keeper,
    inference::{admit::admit, pool::Pool, prover::Prover, served::Served},
    ledger::{Ledger, line::Booked, open::last_budget},
    output::Outputs,
    ports::{Attempts, Clock, Event, Store},
    run::{ModelSlot, Parts, ProviderSlot, TransportSlot},
    store::{
        Names,
        attempts::NoAttempts,
        memory::MemoryStore,
        redb::{RedbStore, Setup},
    },
    telemetry::Telemetry,
    transport::{ModelInfo, TransportContext, TransportSetup},
};

/// Proves the models, each in a child of `prover`'s, and loads them; then opens the transports. To be called inside a tokio runtime.
///
/// A model that does not load or does not prove itself is no error here: it is not served, every job for it is told why,
/// and the others work.
///
/// # Errors
/// The store cannot be opened ([`crate::store::redb::OpenError`]), or a socket, or the system gives no thread.
pub fn assemble(config: Config, clock: Clock, prover: &Prover) -> anyhow::Result<Parts> {
    let (inbox, events) = mpsc::channel::<Event>(limits::INBOX);
    let names: Vec<_> = config.models.iter().map(|model| model.name.clone()).collect();
    let telemetry = Arc::new(Telemetry::new(&names));
    // First of all: whoever else holds the store, has the sockets, too.
    let names = Names { models: names, transports: hands::transport_names(&config) };
    let (store, attempts) = open_store(&config.store, names, clock)?;
    let escalation = config.escalation.clone();
    let warnings = escalation.iter().flat_map(|escalation| &escalation.warnings);
    warnings.for_each(|warning| tracing::warn!(warning, "escalation"));
    let asked = escalation.as_ref().map(|escalation| escalation.providers.clone()).unwrap_or_default();

    let models = model_slots(&config, prover, (&inbox, &attempts))?;
    let infos: Arc<[ModelInfo]> = models.iter().map(info).collect();
    // Before the ledger is opened: a damaged one is moved aside then, and would be none.
    let calendar = Box::new(SystemCalendar::new());
    let past = past(&config.store, escalation.as_ref(), &*calendar);
    let ledger = open_ledger(&config.store, !asked.is_empty(), &inbox)?;

    let audit_rate = escalation.as_ref().map_or(0.0, |escalation| escalation.audit_rate.unwrap_or(AUDIT_RATE));
    let decisions = open_decisions(&config, &models, audit_rate)?;
    let keeper = open_keeper(&config)?;

    hands::say_what_does_not_fit(&config.sources, &models);
    let outputs = hands::plans(&config.outputs, &models)?;
    let Device { id: device, group, board, heat_dwell } = config.device;
    let board = watch(&board, heat_dwell, &inbox)?;
    let context = TransportContext {
        id: TransportId(0),
        inbox: inbox.clone(),
        clock,
        device: device.clone(),
        group,
        models: infos,
        telemetry: telemetry.clone(),
    };
    let outputs = Outputs::start(outputs, &inbox, clock, &telemetry).context("no thread for an output")?;
    let mut transports = start_transports(config.transports, &context)?;
    transports.extend(hands::start_sources(config.sources, &context, transports.len(), &board.source_rate)?);
    let demand = escalation.as_ref().map(|escalation| escalation.promise).unwrap_or_default();
    let mode = escalation.as_ref().map(|escalation| escalation.mode).unwrap_or_default();
    let rules = config.models.iter().zip(&models).map(|(model, slot)| {
        // Nobody can be asked afterwards about a job that is not kept.
        let amends = model.durable && is_heard(&transports, &slot.name);
        with_accuracies(rules_of(model, slot, amends, &asked, (demand, mode)), slot, &config.providers)
    });
    let engine = engine(rules.collect(), &config.providers, decisions.is_some());
    let funds = funds(escalation.as_ref(), past, &engine);
    Ok(Parts {
        device,
        engine,
        store,
        volatile: volatile(&config.models),
        models,
        transports,
        providers: config.providers.into_iter().map(provider_slot).collect(),
        telemetry,
        funds,
        calendar,
        default_privacy: escalation.map_or(Privacy::Ok, |escalation| escalation.privacy),
        ledger,
        decisions,
        keeper,
        board,
        outputs,
        inbox,
        events,
    })
}

/// Somebody hears of later revisions of this model's answers.
fn is_heard(transports: &[TransportSlot], model: &str) -> bool {
    let mut transports = transports.iter().map(|slot| &slot.transport);
    transports.any(|transport| transport.takes_amendments() || transport.amendments(model).is_some())
}

/// All models, served or not.
fn model_slots(
    config: &Config,
    prover: &Prover,
    (inbox, attempts): (&mpsc::Sender<Event>, &Arc<dyn Attempts>),
) -> anyhow::Result<Vec<ModelSlot>> {
    let mut models = Vec::new();
    for (index, model) in config.models.iter().enumerate() {
        let loaded = load(model, prover);
        let redaction = match &loaded {
            Ok(served) => fitted(model, config.escalation.as_ref(), served)?.map(Arc::new),
            Err(_) => None,
        };
        models.push(ModelSlot { redaction, ..slot(ModelId(index), model, loaded, inbox, attempts)? });
    }
    let served: Vec<Option<&Served>> = models.iter().map(|slot| slot.state.as_ref().ok().map(|(s, _)| &**s)).collect();
    let siblings = siblings(&config.models, &served)?;
    models.iter_mut().zip(siblings).for_each(|(slot, sibling)| slot.smaller = sibling);
    Ok(models)
}

/// Says what is missing on the board, and looks after its temperature.
fn watch(board: &Board, dwell: Span, inbox: &mpsc::Sender<Event>) -> anyhow::Result<Watched> {
    tracing::info!(board = board.profile.name, why = board.why, "board");
    for Warning { code, message, hint } in board.warnings() {
        tracing::warn!(code, why = message, hint, "board");
    }
    Watched::start(board, dwell, inbox.clone()).context("no thread for the board's temperature")
}

/// Models whose jobs no disk is to see.
fn volatile(models: &[ModelConfig]) -> HashSet<Arc<str>> {
    models.iter().filter(|model| !model.durable).map(|model| model.name.clone()).collect()
}

/// `logs`: its decisions are written down.
fn engine(rules: Vec<ModelRules>, providers: &[ProviderConfig], logs: bool) -> Engine {
    let rules_of = |provider: &ProviderConfig| ProviderRules {
        timeout: provider.setup.timeout,
        price: provider.setup.cost,
        accuracy: provider.accuracy.other,
    };
    let mut engine = Engine::new(rules, providers.iter().map(rules_of).collect());
    if logs {
        engine.log_decisions();
    }
    engine
}

fn provider_slot(ProviderConfig { setup, region, .. }: ProviderConfig) -> ProviderSlot {
    ProviderSlot { name: setup.name, region, provider: setup.provider }
}

/// What earlier processes have spent, as the ledger's last line says.
fn past(store: &StoreConfig, escalation: Option<&Escalation>, calendar: &dyn Calendar) -> Past {
    match last_budget(&store.path) {
        Ok(None) => Past::None,
        Ok(Some(Booked { spent, boot, up_us })) => {
            let now = calendar.stamp();
            let away = (hex(&now.boot) == boot).then(|| Span::from_micros(now.up.saturating_sub(up_us)));
            Past::Known { spent, away }
        }
        Err(why) => {
            if escalation.is_some_and(|escalation| escalation.budget != Limits::NONE) {
                tracing::error!(
                    why,
                    "escalation/budget: the ledger does not say what was spent, so nothing is left of this period"
                );
            }
            Past::Lost
        }
    }
}

/// What escalation may cost.
fn funds(escalation: Option<&Escalation>, past: Past, engine: &Engine) -> Funds {
    let Some(Escalation { budget, audit_rate, .. }) = escalation else {
        return Funds { audit_rate: Some(0.0), ..Funds::UNLIMITED };
    };
    Funds { limits: *budget, past, audit_rate: *audit_rate, references: engine.references(), ..Funds::UNLIMITED }
}

/// `amends`: somebody hears of a later revision.
fn rules_of(
    model: &ModelConfig,
    slot: &ModelSlot,
    amends: bool,
    asked: &[ProviderId],
    (demand, mode): (Demand, Mode),
) -> ModelRules {
    let policy = match &slot.state {
        Ok((served, _)) => {
            // What a doubtful answer came of is more than its job brought, and only that could be sent.
            let alone = served.bundle.remembers();
            if alone && !asked.is_empty() {
                tracing::warn!(model = %slot.name, "nobody is asked about answers of a model that keeps windows or states");
            }
            let asked = if alone { Vec::new() } else { asked.to_vec() };
            let own = served.bundle.policy(asked, slot.redaction.is_some());
            Policy {
                at_once: model.at_once,
                amends,
                mode,
                values: values(model, &rating::kinds(&served.bundle.measure, &served.bundle.labels)),
                ..demanded(&slot.name, own, demand)
            }
        }
        Err(_) => Policy::alone(1.0, None),
    };
    let ModelConfig { queue, when_full, deadline, .. } = *model;
    let workers = slot.state.as_ref().map_or(model.workers, |(served, _)| fitting::workers(model, served));
    ModelRules { workers, queue, when_full, deadline, policy }
}

/// What the owner knows of the providers, in the order of this model's labels.
fn with_accuracies(mut rules: ModelRules, slot: &ModelSlot, providers: &[ProviderConfig]) -> ModelRules {
    let Ok((served, _)) = &slot.state else { return rules };
    let labels = rating::kinds(&served.bundle.measure, &served.bundle.labels);
    let policy = &mut rules.policy;
    let known = |id: &ProviderId| providers.get(id.0).map(|provider| provider.accuracy.by_class(&labels));
    policy.accuracies = policy.providers.iter().map(|id| known(id).unwrap_or_default()).collect();
    rules
}

/// What the owner says of labels that this model does not have would never be heard.
fn values(model: &ModelConfig, labels: &[String]) -> Values {
    for label in model.value.unknown(labels) {
        tracing::warn!(model = %model.name, label, "config/unknown-label: `value` names a label that the model does not have");
    }
    let classes = model.value.by_class(labels);
    let other = model.value.other;
    Values { classes: classes.into_iter().map(|value| value.unwrap_or(other)).collect(), other }
}

/// A certificate that promises less than the owner wants is not in force.
fn demanded(model: &str, mut policy: Policy, Demand { alpha, delta }: Demand) -> Policy {
    let weaker = policy.calibration.certified().is_some_and(|certified| {
        alpha.is_some_and(|alpha| certified.promise.alpha > alpha)
            || delta.is_some_and(|delta| certified.promise.delta > delta)
    });
    if weaker {
        tracing::warn!(
            model,
            ?alpha,
            ?delta,
            "the calibration promises less than [escalation] asks for: nothing is certified"
        );
        policy.calibration = State::Missing;
    }
    policy
}

type Setups = Vec<(&'static str, Box<dyn TransportSetup>)>;

fn start_transports(setups: Setups, context: &TransportContext) -> anyhow::Result<Vec<TransportSlot>> {
    let start = |(index, (name, setup)): (usize, (&'static str, Box<dyn TransportSetup>))| {
        let context = TransportContext { id: TransportId(index), ..context.clone() };
        let transport = setup.start(context).with_context(|| format!("transport {name} does not start"))?;
        Ok(TransportSlot { name, transport })
    };
    setups.into_iter().enumerate().map(start).collect()
}

type Stored = (Box<dyn Store>, Arc<dyn Attempts>);

fn open_store(config: &StoreConfig, names: Names, clock: Clock) -> anyhow::Result<Stored> {
    let max_bytes = usize::try_from(config.max_bytes).unwrap_or(usize::MAX);
    if !config.durable {
        return Ok((Box::new(MemoryStore::new(max_bytes)), Arc::new(NoAttempts)));
    }
    let store = RedbStore::open(Setup {
        folder: config.path.clone(),
        max_bytes,
        on_full: config.on_full,
        names,
        clock,
        calendar: Box::new(SystemCalendar::new()),
    })?;
    let attempts = store.attempts();
    Ok((Box::new(store), attempts))
}

/// Only where somebody can be asked; also where jobs and results are in memory only.
fn open_ledger(config: &StoreConfig, needed: bool, inbox: &mpsc::Sender<Event>) -> anyhow::Result<Option<Ledger>> {
    if !needed {
        return Ok(None);
    }
    let ledger = Ledger::start(config.path.clone(), Box::new(SystemCalendar::new()), inbox.clone());
    Ok(Some(ledger.context("no thread for the ledger")?))
}

fn open_decisions(config: &Config, models: &[ModelSlot], audit_rate: f64) -> anyhow::Result<Option<decisions::Log>> {
    let Some(most) = config.records.decisions else { return Ok(None) };
    let named = |slot: &ModelSlot| {
        let served = slot.state.as_ref().ok().map(|(served, _)| &served.bundle);
        decisions::ModelNames {
            name: slot.name.to_string(),
            version: slot.version.clone(),
            sha256: served.map(|bundle| bundle.sha256.clone()).unwrap_or_default(),
            labels: served.map(|bundle| bundle.labels.to_vec()).unwrap_or_default(),
        }
    };
    let names = decisions::Names {
        models: models.iter().map(named).collect(),
        providers: config.providers.iter().map(|provider| provider.setup.name.to_string()).collect(),
        audit_rate,
    };
    let log = decisions::Log::start(config.store.path.clone(), most, names, Box::new(SystemCalendar::new()));
    Ok(Some(log.context("no thread for the log of decisions")?))
}

fn open_keeper(config: &Config) -> anyhow::Result<Option<Keeper>> {
    let Some(most) = config.records.keep else { return Ok(None) };
    let keeper = Keeper::start(config.store.path.clone(), most, Box::new(SystemCalendar::new()));
    Ok(Some(keeper.context("no thread for labelled cases")?))
}

/// Reads, loads and proves one model.
///
/// # Errors
/// Why it is not served.
pub fn load(model: &ModelConfig, prover: &Prover) -> Result<Served, Failure> {
    let bundle = Bundle::read(&model.bundle).map_err(|error| Failure::new(error.code, error.message))?;
    for warning in &bundle.warnings {
        tracing::warn!(model = %model.name, warning);
    }
    admit(bundle, prover)
}

fn slot(
    id: ModelId,
    model: &ModelConfig,
    loaded: Result<Served, Failure>,
    inbox: &mpsc::Sender<Event>,
    attempts: &Arc<dyn Attempts>,
) -> anyhow::Result<ModelSlot> {
    let (version, state) = match loaded {
        Ok(served) => {
            let served = Arc::new(served);
            let patience = model.deadline.as_micros().saturating_mul(limits::STUCK_FACTOR.into());
            let patience = Duration::from_micros(patience.max(limits::STUCK_MIN.as_micros()));
            let pool = Pool::start(id, &served, fitting::workers(model, &served), inbox, attempts, patience)
                .context("no thread for inference")?;
            let version = served.bundle.version.clone();
            tracing::info!(model = %model.name, version, proven = served.proven, "model serves");
            (version, Ok((served, pool)))
        }
        Err(failure) => {
            tracing::error!(model = %model.name, code = failure.code, why = failure.message, "model is not served");
            (String::new(), Err(failure))
        }
    };
    Ok(ModelSlot { name: model.name.clone(), version, state, redaction: None, smaller: None })
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
