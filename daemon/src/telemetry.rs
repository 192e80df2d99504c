//! What operators see: one tracing event and one counter per action, `/metrics`, `/status`.

mod board;
mod hands;
mod memory;
mod status;
mod streams;

use std::sync::{Arc, Mutex, PoisonError, atomic::AtomicU64};

use picket_core::{
    Action, Answer, Note, Outcome, Source,
    escalation::{budget::Left, money::Money},
    job::{Failure, JobId, ModelId, ProviderId},
    tally::Tally,
    time::Span,
};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

pub use self::{
    memory::peak_rss_kib,
    status::{BoardStatus, BudgetStatus, Jobs, LinkStatus, ModelStatus, ProviderStatus, Status, ZoneStatus},
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcomes {
    model: String,
    outcome: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Decisions {
    model: String,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Stages {
    model: String,
    stage: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProviderLabel {
    provider: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabel {
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

/// The terms of invariant I5, in the order of [`Telemetry::gauge`].
const STATES: [&str; 6] = ["accepted", "done", "dead", "expired", "waiting", "running"];

/// What every answer of a model touches, looked up once.
struct ModelMeters {
    name: Arc<str>,
    answered: Counter,
    queue: Histogram,
    prepare: Histogram,
    infer: Histogram,
    total: Histogram,
}

/// Counters and histograms behind `/metrics`. Cheap to clone handles; one registry.
pub struct Telemetry {
    registry: Mutex<Registry>,
    jobs: Family<Outcomes, Counter>,
    decisions: Family<Decisions, Counter>,
    seconds: Family<Stages, Histogram, fn() -> Histogram>,
    provider_seconds: Family<ProviderLabel, Histogram, fn() -> Histogram>,
    provider_failures: Family<ReasonLabel, Counter>,
    store_refusals: Family<ReasonLabel, Counter>,
    dropped: Family<ReasonLabel, Counter>,
    /// The one of `dropped` that is announced as well.
    sessions_lost: Counter,
    link_failures: Family<CodeLabel, Counter>,
    identity: [Gauge<u64, AtomicU64>; STATES.len()],
    models: Vec<ModelMeters>,
    store_bytes: Gauge<u64, AtomicU64>,
    outbox_rows: Gauge<u64, AtomicU64>,
    budget_left: Family<KindLabel, Gauge<f64, AtomicU64>>,
    streams: streams::Streams,
    board: board::Board,
    hands: hands::Hands,
}

/// 50 µs to 26 s.
fn seconds_histogram() -> Histogram {
    Histogram::new(prometheus_client::metrics::histogram::exponential_buckets(50e-6, 2.0, 20))
}

impl Default for Telemetry {
    fn default() -> Self {
        Self::new(&[])
    }
}

impl Telemetry {
    /// `models` by [`ModelId`].
    pub fn new(models: &[Arc<str>]) -> Self {
        let seconds = Family::<Stages, Histogram, fn() -> Histogram>::new_with_constructor(seconds_histogram);
        let jobs = Family::<Outcomes, Counter>::default();
        let identity = Family::<StateLabel, Gauge<u64, AtomicU64>>::default();
        let meters = |name: &Arc<str>| {
            let stage = |stage| seconds.get_or_create_owned(&Stages { model: name.to_string(), stage });
            ModelMeters {
                name: name.clone(),
                answered: jobs
                    .get_or_create_owned(&Outcomes { model: name.to_string(), outcome: "answered".to_owned() }),
                queue: stage("queue"),
                prepare: stage("prepare"),
                infer: stage("infer"),
                total: stage("total"),
            }
        };
        let dropped = Family::<ReasonLabel, Counter>::default();
        let telemetry = Self {
            registry: Mutex::new(Registry::with_prefix("picket")),
            models: models.iter().map(meters).collect(),
            jobs,
            decisions: Family::default(),
            seconds,
            provider_seconds: Family::new_with_constructor(seconds_histogram),
            provider_failures: Family::default(),
            store_refusals: Family::default(),
            sessions_lost: dropped.get_or_create_owned(&ReasonLabel { reason: "session-lost".to_owned() }),
            dropped,
            link_failures: Family::default(),
            identity: STATES.map(|state| identity.get_or_create_owned(&StateLabel { state })),
            store_bytes: Gauge::default(),
            outbox_rows: Gauge::default(),
            budget_left: Family::default(),
            streams: streams::Streams::default(),
            board: board::Board::default(),
            hands: hands::Hands::default(),
        };
        telemetry.register(identity);
        telemetry
    }

    fn register(&self, identity: Family<StateLabel, Gauge<u64, AtomicU64>>) {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        registry.register("jobs", "Jobs that ended, by outcome: answered, or the error code", self.jobs.clone());
        registry.register("decisions", "Answers, by reason code", self.decisions.clone());
        registry.register("job_seconds", "Where jobs spend their time", self.seconds.clone());
        registry.register("provider_seconds", "Provider calls that were answered", self.provider_seconds.clone());
        registry.register(
            "provider_failures",
            "Provider calls without a usable answer",
            self.provider_failures.clone(),
        );
        registry.register("store_refusals", "Writes that the store could not make", self.store_refusals.clone());
        registry.register("dropped", "Everything that was ever dropped, by reason", self.dropped.clone());
        registry.register("link_failures", "What went wrong on links, by code", self.link_failures.clone());
        registry.register("jobs_now", "Invariant I5: accepted = done + dead + expired + waiting + running", identity);
        registry.register("store_bytes", "Payload bytes in the store", self.store_bytes.clone());
        self.streams.register(&mut registry);
        self.board.register(&mut registry);
        self.hands.register(&mut registry);
        registry.register("budget_left", "Left of what escalation may cost", self.budget_left.clone());
        registry.register("outbox_rows", "Messages waiting for their confirmation", self.outbox_rows.clone());
    }

    /// One event and one counter per action. Jobs for models that do not exist share one name: a stranger's topics must
    /// not grow the metrics.
    pub fn observe(&self, action: &Action, job: Option<&JobId>, model: Option<ModelId>, providers: &[Arc<str>]) {
        let meters = model.and_then(|model| self.models.get(model.0));
        let model = meters.map_or("unknown", |meters| &*meters.name);
        let provider = |id: ProviderId| providers.get(id.0).map_or("?", |name| name);
        match action {
            Action::Finish { outcome, .. } => match &**outcome {
                Outcome::Answered(answer) => self.answered(job, answer, meters, provider),
                Outcome::Failed(failure, _) => self.failed(job, model, failure),
            },
            Action::Refuse { failure, .. } => self.failed(job, model, failure),
            Action::Bounce { failure, .. } => self.failed(job, model, failure),
            Action::Note(note) => self.note(note, provider),
            Action::Bury { row, code } => {
                self.dropped(code);
                tracing::warn!(row = row.0, code, "given up: its receiver does not take this message");
            }
            _ => {}
        }
    }

    fn answered<'a>(
        &self,
        job: Option<&JobId>,
        answer: &Answer,
        meters: Option<&ModelMeters>,
        provider: impl Fn(ProviderId) -> &'a str,
    ) {
        let Some(meters) = meters else { return }; // cannot happen: only a known model answers
        let (model, reason, timing) = (&*meters.name, answer.reason.code(), answer.timing);
        meters.answered.inc();
        meters.queue.observe(seconds(timing.queue));
        meters.prepare.observe(seconds(timing.prepare));
        meters.infer.observe(seconds(timing.infer));
        meters.total.observe(seconds(timing.total));
        self.decisions.get_or_create(&Decisions { model: model.to_owned(), reason }).inc();
        if let Some(span) = timing.provider {
            self.seconds.get_or_create(&Stages { model: model.to_owned(), stage: "provider" }).observe(seconds(span));
            if let Source::Provider(id) = answer.source {
                let label = ProviderLabel { provider: provider(id).to_owned() };
                self.provider_seconds.get_or_create(&label).observe(seconds(span));
            }
        }
        let job = job.map(JobId::as_str);
        tracing::debug!(job, model, reason, total_ms = timing.total.as_millis_f64(), "answered");
    }

    fn failed(&self, job: Option<&JobId>, model: &str, failure: &Failure) {
        let (code, why) = (failure.code, &*failure.message);
        self.jobs.get_or_create(&Outcomes { model: model.to_owned(), outcome: code.to_owned() }).inc();
        tracing::info!(job = job.map(JobId::as_str), model, code, why, "job failed");
    }

    /// A request that a transport answered with an error by itself.
    pub fn refused_at_the_door(&self, failure: &Failure) {
        self.failed(None, "unknown", failure);
    }

    fn note<'a>(&self, note: &Note, provider: impl Fn(ProviderId) -> &'a str) {
        match note {
            Note::Duplicate { id } => tracing::debug!(job = id.as_str(), "job known already"),
            Note::StaleConfirm { row } => tracing::debug!(row = row.0, "confirmation of an old connection"),
            Note::Undeliverable { row } => {
                self.dropped("undeliverable");
                tracing::info!(row = row.0, "nobody takes this message any more");
            }
            Note::Evicted { rows } => {
                self.dropped.get_or_create(&ReasonLabel { reason: "evicted".to_owned() }).inc_by(*rows as u64);
                tracing::warn!(rows, "store/evicted: the store is full; its oldest results were given up for new jobs");
            }
            Note::StoreFailed(why) => {
                self.store_refusals.get_or_create(&ReasonLabel { reason: why.code().to_owned() }).inc();
            }
            Note::ProviderFailed { provider: id, fault } => {
                self.provider_failures.get_or_create(&ReasonLabel { reason: fault.code().to_owned() }).inc();
                tracing::debug!(provider = provider(*id), code = fault.code(), "provider gave no usable answer");
            }
            Note::BreakerTripped { provider: id } => {
                tracing::warn!(provider = provider(*id), "provider is left alone for a while");
            }
            // Told where the models have names.
            Note::Alarm { .. } | Note::Recertified { .. } | Note::Overrun { .. } => {}
            Note::InquiryDropped { why } => {
                tracing::info!(why = why.code(), "a provider will not be asked about an answered job")
            }
            Note::BreakerClosed { provider: id } => tracing::info!(provider = provider(*id), "provider answers again"),
        }
    }

    pub fn dropped(&self, reason: &str) {
        self.dropped.get_or_create(&ReasonLabel { reason: reason.to_owned() }).inc();
    }

    /// The broker has forgotten our session, and the jobs that waited there.
    pub fn session_lost(&self) {
        self.sessions_lost.inc();
    }

    pub fn sessions_lost(&self) -> u64 {
        self.sessions_lost.get()
    }

    /// Something went wrong on a link; its log says it once per outage, this counts each.
    pub fn link_failed(&self, code: &'static str) {
        self.link_failures.get_or_create(&CodeLabel { code }).inc();
    }

    /// Brings the gauges up to date.
    pub fn gauge(&self, tally: &Tally, outbox_rows: usize, store_bytes: usize) {
        let Tally { accepted, done, dead, expired, waiting, running, .. } = *tally;
        for (gauge, value) in self.identity.iter().zip([accepted, done, dead, expired, waiting, running]) {
            gauge.set(value);
        }
        self.outbox_rows.set(outbox_rows as u64);
        self.store_bytes.set(store_bytes as u64);
    }

    /// What is not limited has no gauge.
    pub fn gauge_budget(&self, left: Left) {
        let kinds = [("money", left.money.map(Money::as_units)), ("bytes", left.bytes.map(|n| n as f64))];
        for (kind, left) in kinds.into_iter().chain([("calls", left.calls.map(|n| n as f64))]) {
            if let Some(left) = left {
                self.budget_left.get_or_create(&KindLabel { kind }).set(left);
            }
        }
    }

    /// The registry in the OpenMetrics text format.
    pub fn metrics_text(&self) -> String {
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing into a String cannot fail; what an encoder refused is left out rather than fatal.
        let _ = encode(&mut text, &registry);
        text
    }
}

fn seconds(span: Span) -> f64 {
    span.as_micros() as f64 / 1e6
}
