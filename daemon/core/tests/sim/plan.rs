//! One random small world: what is configured, what arrives when, and what goes wrong until it gets calm.

use std::{rc::Rc, sync::Arc};

use picket_core::{
    engine::{ModelRules, ProviderRules, WhenFull},
    escalation::{
        budget::Limits,
        calibration::{Certified, LabelSource, State},
        certificate::Promise,
        decide::{Mode, Policy},
        gain::Values,
        money::Money,
        platt::Platt,
        score::ScoreRule,
        shift::Reference,
    },
    job::{Digest, JobId, Privacy, ProviderId, TransportId},
    said::Measure,
    time::{Moment, Span},
};
use rand::{Rng, rngs::StdRng, seq::IndexedRandom};

/// A job as its sender made it; sent again, it is the same one.
#[derive(Debug)]
pub struct Spec {
    pub id: JobId,
    pub digest: Digest,
    /// `None`: no such model.
    pub model: Option<usize>,
    pub deadline: Option<Span>,
    pub priority: u8,
    pub privacy: Privacy,
    /// The lottery has drawn it.
    pub audit: bool,
    /// The part that it shows.
    pub group: Option<Arc<str>>,
    /// Whatever process runs it dies of it.
    pub poison: bool,
}

/// Something that the outside does at its own time.
#[derive(Clone, Debug)]
pub enum Happening {
    /// Somebody publishes to the broker.
    Publish(Rc<Spec>),
    /// Somebody calls, and hangs up after this long without an answer.
    Call(Rc<Spec>, Option<Span>),
    /// The broker's connection breaks.
    Cut,
    Crash,
    Drain,
}

#[derive(Clone, Copy, Debug)]
pub enum Mood {
    Good,
    Unreachable,
    Slow,
    Confused,
    /// Anything of the above, by chance.
    Moody,
}

#[derive(Debug)]
pub struct Plan {
    pub models: Vec<ModelRules>,
    pub providers: Vec<ProviderRules>,
    pub moods: Vec<Mood>,
    pub mqtt: Option<TransportId>,
    pub http: Option<TransportId>,
    /// Of what calls may cost.
    pub limits: Limits,
    pub happenings: Vec<(Moment, Happening)>,
    /// Part of the store's operations that fail, besides the outage.
    pub store_faults: f64,
    pub outage: (Moment, Moment),
    pub store_latency: Span,
    pub infer_latency: Span,
    pub wire_latency: Span,
    /// Part of the deliveries that the broker refuses for now.
    pub rejects: f64,
    /// One row in so many is forbidden, and stays so.
    pub forbids: Option<u64>,
    /// Part of the rows that the broker takes and does not confirm.
    pub withholds: f64,
    /// The link's consumers send receipts.
    pub receipts: bool,
    /// Part of the rows that such a broker confirms and forgets, and of the receipts that never come.
    pub forgets: f64,
    /// Rows that the store holds before it gives up the oldest (`on_full = "drop-oldest"`).
    pub most_rows: Option<usize>,
    /// So long the link waits for a confirmation; longer than any that comes.
    pub patience: Span,
    /// Results that the store keeps for repetition.
    pub kept: usize,
    pub dead_letters: bool,
    /// From here on nothing fails any more.
    pub calm_at: Moment,
}

pub fn up_to(rng: &mut StdRng, longest: Span) -> Span {
    Span::from_micros(rng.random_range(0..=longest.as_micros()))
}

fn millis(rng: &mut StdRng, range: std::ops::Range<u64>) -> Span {
    Span::from_micros(rng.random_range(range.start * 1000..range.end * 1000))
}

impl Plan {
    pub fn random(rng: &mut StdRng) -> Self {
        let providers = rng.random_range(0..=2_usize);
        let models: Vec<ModelRules> = (0..rng.random_range(1..=3)).map(|_| model(rng, providers)).collect();
        // Both kinds of transport in half of the worlds, one of them alone in the others.
        let (mqtt, http) = match rng.random_range(0..8) {
            0 => (None, Some(TransportId(0))),
            1..=3 => (Some(TransportId(0)), None),
            4..=5 => (Some(TransportId(0)), Some(TransportId(1))),
            _ => (Some(TransportId(1)), Some(TransportId(0))),
        };
        // Bursts fill queues, long schedules meet every fault.
        let busy = *[Span::from_millis(5), Span::from_millis(100), Span::from_millis(600)].choose(rng).unwrap();
        let calm_at = Moment::ZERO + busy + Span::from_millis(500);
        let poison = *[0.0, 0.0, 0.0, 0.1].choose(rng).unwrap();
        let mut happenings = arrivals(rng, poison, models.len(), busy, mqtt.is_some(), http.is_some());
        for (happening, most, often) in
            [(Happening::Cut, 4, 0.5), (Happening::Crash, 2, 0.5), (Happening::Drain, 1, 0.2)]
        {
            let count = if rng.random_bool(often) { rng.random_range(0..=most) } else { 0 };
            let span = if rng.random_bool(0.5) { busy } else { calm_at.since(Moment::ZERO) };
            happenings.extend((0..count).map(|_| (Moment::ZERO + up_to(rng, span), happening.clone())));
        }
        let outage_at = Moment::ZERO + up_to(rng, busy);
        let outage_for = if rng.random_bool(0.2) { millis(rng, 1..400) } else { Span::ZERO };
        Self {
            models,
            moods: (0..providers).map(|_| mood(rng)).collect(),
            providers: (0..providers).map(|_| provider(rng)).collect(),
            limits: super::spending::limits(rng),
            mqtt,
            http,
            happenings,
            store_faults: *[0.0, 0.0, 0.02, 0.3].choose(rng).unwrap(),
            outage: (outage_at, outage_at + outage_for),
            store_latency: *[Span::ZERO, Span::from_millis(3), Span::from_millis(60)].choose(rng).unwrap(),
            infer_latency: *[Span::from_millis(2), Span::from_millis(30), Span::from_millis(200)].choose(rng).unwrap(),
            wire_latency: *[Span::from_millis(1), Span::from_millis(20), Span::from_millis(150)].choose(rng).unwrap(),
            rejects: *[0.0, 0.0, 0.1].choose(rng).unwrap(),
            forbids: *[None, None, Some(5)].choose(rng).unwrap(),
            withholds: *[0.0, 0.0, 0.05].choose(rng).unwrap(),
            receipts: rng.random_bool(0.3),
            forgets: *[0.0, 0.1].choose(rng).unwrap(),
            most_rows: *[None, None, None, Some(1), Some(4)].choose(rng).unwrap(),
            patience: *[Span::from_millis(300), Span::from_millis(5_000)].choose(rng).unwrap(),
            kept: *[0, 2, 100, 100].choose(rng).unwrap(),
            dead_letters: rng.random_bool(0.7),
            calm_at,
        }
    }
}

fn provider(rng: &mut StdRng) -> ProviderRules {
    let price = Money::from_nanos(*[0, 10, 100].choose(rng).unwrap());
    ProviderRules { timeout: millis(rng, 5..200), price, accuracy: *[0.6, 0.95].choose(rng).unwrap() }
}

fn model(rng: &mut StdRng, providers: usize) -> ModelRules {
    let mut asked: Vec<ProviderId> = (0..providers).map(ProviderId).filter(|_| rng.random_bool(0.8)).collect();
    if rng.random_bool(0.5) {
        asked.reverse();
    }
    ModelRules {
        workers: rng.random_range(1..=2),
        queue: rng.random_range(1..=4),
        when_full: if rng.random_bool(0.5) { WhenFull::Shed } else { WhenFull::NewestWins },
        deadline: millis(rng, 20..2_000),
        policy: Policy {
            measure: Measure::Classes,
            temperature: 1.0,
            calibration: calibration(rng),
            threshold: rng.random_bool(0.8).then_some(0.9),
            providers: asked,
            at_once: rng.random_bool(0.2),
            amends: rng.random_bool(0.7),
            redacts: rng.random_bool(0.5),
            values: Values { classes: vec![1.0, 5.0], other: 1.0 },
            accuracies: vec![vec![Some(0.7), None]; providers],
            mode: if rng.random_bool(0.7) { Mode::PromiseFirst } else { Mode::BudgetFirst },
        },
    }
}

/// Some models have a certificate in force, some one that is not theirs.
fn calibration(rng: &mut StdRng) -> State {
    match rng.random_range(0..4) {
        0 => State::Mismatch,
        1 => {
            let score = ScoreRule::Softmax { temperature: 1.0 };
            let lambdas = vec![0.95; rng.random_range(1..=2)];
            let promise = Promise { alpha: 0.01, delta: 0.05 };
            State::Valid(Arc::new(Certified {
                score,
                lambdas,
                cases: 1_000,
                promise,
                round: 1,
                // What nobody is sure of is taken to be wrong in one of five cases: half of the opinions differ.
                wrong: Platt { a: -1.4, b: -1.0 },
                scores: Reference::of([]),
                label_source: LabelSource::Human,
                digest: "sha256:0".into(),
            }))
        }
        _ => State::Missing,
    }
}

fn mood(rng: &mut StdRng) -> Mood {
    *[Mood::Good, Mood::Unreachable, Mood::Slow, Mood::Confused, Mood::Moody, Mood::Moody].choose(rng).unwrap()
}

fn spec(rng: &mut StdRng, poison: f64, number: usize, models: usize) -> Spec {
    let deadline = match rng.random_range(0..10) {
        0 => Some(up_to(rng, Span::from_millis(5))),
        1 => Some(*[Span::ZERO, Span::from_micros(1)].choose(rng).unwrap()),
        2..=4 => Some(millis(rng, 5..400)),
        5 => Some(Span::from_millis(u64::MAX)),
        _ => None,
    };
    Spec {
        id: JobId::new(&format!("job-{number}")).unwrap(),
        digest: [number as u8; 32],
        model: if rng.random_bool(0.95) { Some(rng.random_range(0..models)) } else { None },
        deadline,
        priority: if rng.random_bool(0.6) { 0 } else { rng.random_range(0..=9) },
        privacy: *[Privacy::Ok, Privacy::Ok, Privacy::Ok, Privacy::Redacted, Privacy::Never].choose(rng).unwrap(),
        audit: rng.random_bool(0.1),
        group: rng.random_bool(0.3).then(|| ["left", "right"][number % 2].into()),
        poison: rng.random_bool(poison),
    }
}

/// The jobs, some of them sent more than once, some ids used for something else.
fn arrivals(
    rng: &mut StdRng,
    poison: f64,
    models: usize,
    busy: Span,
    mqtt: bool,
    http: bool,
) -> Vec<(Moment, Happening)> {
    let mut all = Vec::new();
    let again = *[0.0, 0.2, 0.6].choose(rng).unwrap();
    for number in 0..rng.random_range(5..=40) {
        let spec = Rc::new(spec(rng, poison, number, models));
        let mut at = Moment::ZERO + up_to(rng, busy);
        all.push((at, send(rng, spec.clone(), mqtt, http)));
        while rng.random_bool(again) {
            at += if rng.random_bool(0.5) { millis(rng, 0..10) } else { up_to(rng, busy) };
            let same = if rng.random_bool(0.8) { spec.clone() } else { Rc::new(reused(rng, &spec, models)) };
            all.push((at, send(rng, same, mqtt, http)));
        }
    }
    all
}

fn send(rng: &mut StdRng, spec: Rc<Spec>, mqtt: bool, http: bool) -> Happening {
    if mqtt && !(http && rng.random_bool(0.5)) {
        return Happening::Publish(spec);
    }
    let patience = if rng.random_bool(0.2) { Some(millis(rng, 1..300)) } else { None };
    Happening::Call(spec, patience)
}

fn reused(rng: &mut StdRng, spec: &Spec, models: usize) -> Spec {
    let mut digest = spec.digest;
    digest[31] = !digest[31];
    Spec { id: spec.id.clone(), digest, model: Some(rng.random_range(0..models)), group: None, ..*spec }
}
