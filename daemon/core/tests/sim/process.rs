//! What the world knows of one life of the daemon: what the engine was told, and so what it may do.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::Arc,
};

use picket_core::{
    Input, Opinion, Outcome, ProviderFault,
    engine::{Engine, WhenFull},
    escalation::decide::Observation,
    job::{AckTicket, Failure, JobId, Key, ProviderId, RowId, TransportId},
    limits,
    tally::Tally,
    time::Moment,
};

use super::{
    coverage::{Coverage, Seen},
    inquiries::Asked,
    plan::{Plan, Spec},
    store::Address,
    way_out::Lane,
};

/// What the inference threads said of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    Usable,
    Malformed,
    Failed,
}

/// One arrival, or one job that was recovered.
#[derive(Debug)]
pub struct Known {
    pub spec: Rc<Spec>,
    pub to: Address,
    pub ticket: Option<AckTicket>,
    pub arrived: Moment,
    pub deadline_at: Moment,
    /// The engine wanted it durable; since then it takes a place in its model's queue.
    pub admitted: bool,
    pub accepted_at: Option<Moment>,
    /// The store has an operation of it in hand.
    pub in_store: bool,
    pub inferred: bool,
    pub repeated: bool,
    pub said: Option<Said>,
    /// Whom, and until when.
    pub asking: Option<(ProviderId, Moment)>,
    pub asked: Vec<ProviderId>,
    pub helped: Option<ProviderId>,
    /// Its input may not leave after all.
    pub withheld: bool,
    pub outcome: Option<Arc<Outcome>>,
    pub refusal: Option<Arc<Failure>>,
    pub forgotten: bool,
}

impl Known {
    pub fn new(spec: Rc<Spec>, to: Address, ticket: Option<AckTicket>, arrived: Moment) -> Self {
        Self {
            spec,
            to,
            ticket,
            arrived,
            deadline_at: arrived,
            admitted: false,
            accepted_at: None,
            in_store: false,
            inferred: false,
            repeated: false,
            said: None,
            asking: None,
            asked: Vec::new(),
            helped: None,
            withheld: false,
            outcome: None,
            refusal: None,
            forgotten: false,
        }
    }

    /// Its model and its part.
    pub fn part(&self) -> Option<(usize, Arc<str>)> {
        self.spec.model.zip(self.spec.group.clone())
    }

    fn waits(&self) -> bool {
        self.admitted && !self.inferred && self.outcome.is_none() && !self.forgotten
    }
}

pub struct Process {
    pub engine: Engine,
    pub keys: BTreeMap<Key, Box<Known>>,
    pub forgotten: usize,
    pub lanes: BTreeMap<TransportId, Lane>,
    /// Rows that the engine was told of and has not confirmed.
    pub rows: BTreeMap<RowId, TransportId>,
    /// Whose result they are.
    pub jobs: BTreeMap<RowId, JobId>,
    /// Rows that were confirmed in this life, and wait for their receipt.
    pub awaited: BTreeSet<RowId>,
    pub inferred_ids: BTreeSet<JobId>,
    /// Whose jobs were accepted or recovered in this life.
    pub askers: BTreeMap<JobId, u64>,
    /// In hand of each model's threads, now and at most.
    pub inferring: Vec<usize>,
    pub peak: Vec<usize>,
    pub calls: Vec<usize>,
    pub asked: Asked,
    /// Parts that somebody was asked about in this life, or will be …
    pub parts: BTreeSet<(usize, Arc<str>)>,
    /// … and what was answered.
    pub told: BTreeSet<((usize, Arc<str>), ProviderId, usize)>,
    /// Until when each provider wants to be left alone.
    pub rests_until: Vec<Moment>,
    pub draining: bool,
    /// Priority of the latest arrival.
    pub newcomer: u8,
    /// The same counters, kept from what went in and came out.
    pub tally: Tally,
    /// How often each row was forbidden.
    pub forbidden: BTreeMap<RowId, u32>,
    /// The rows that the present step has to confirm, the one to bury, or to call stale.
    pub must_confirm: BTreeSet<RowId>,
    pub must_bury: Option<RowId>,
    pub must_call_stale: Option<RowId>,
    /// Those whose decision was told for the log.
    pub decided: BTreeSet<Key>,
}

impl Process {
    pub fn new(plan: &Plan) -> Self {
        let mut engine = Engine::new(plan.models.clone(), plan.providers.clone());
        engine.log_decisions();
        Self {
            engine,
            keys: BTreeMap::new(),
            forgotten: 0,
            lanes: BTreeMap::new(),
            rows: BTreeMap::new(),
            jobs: BTreeMap::new(),
            awaited: BTreeSet::new(),
            inferred_ids: BTreeSet::new(),
            askers: BTreeMap::new(),
            inferring: vec![0; plan.models.len()],
            peak: vec![0; plan.models.len()],
            calls: vec![0; plan.providers.len()],
            asked: Asked::default(),
            parts: BTreeSet::new(),
            told: BTreeSet::new(),
            rests_until: vec![Moment::ZERO; plan.providers.len()],
            draining: false,
            newcomer: 0,
            tally: Tally::default(),
            forbidden: BTreeMap::new(),
            must_confirm: BTreeSet::new(),
            must_bury: None,
            must_call_stale: None,
            decided: BTreeSet::new(),
        }
    }

    /// A key that the engine may still act for.
    pub fn live(&mut self, key: Key) -> &mut Known {
        let known = self.keys.get_mut(&key).unwrap_or_else(|| panic!("{key:?} never arrived"));
        assert!(!known.forgotten, "{key:?} acts after it was forgotten");
        known
    }

    /// As `live`, for work of the store: one at a time per key.
    pub fn start_storing(&mut self, key: Key) -> &mut Known {
        let known = self.live(key);
        assert!(!known.in_store, "two store operations of {key:?} at once");
        known.in_store = true;
        known
    }

    /// Jobs that an inference thread has, or is about to take.
    pub fn in_hand(&self) -> impl Iterator<Item = Key> {
        self.keys.iter().filter(|(_, known)| known.inferred && known.said.is_none()).map(|(key, _)| *key)
    }

    /// Jobs that take a place in this model's queue.
    pub fn waiting_for(&self, model: usize) -> usize {
        self.keys.values().filter(|known| known.spec.model == Some(model) && known.waits()).count()
    }

    /// The least priority among the jobs that wait for this model, and could give up their place.
    pub fn least_waiting(&self, model: usize) -> Option<u8> {
        let waiting = self.keys.values().filter(|known| known.spec.model == Some(model) && known.waits());
        waiting.filter(|known| known.accepted_at.is_some()).map(|known| known.spec.priority).min()
    }

    /// This job is accepted, or about to be, and the engine does not know it as done.
    pub fn is_open(&self, id: &JobId) -> bool {
        self.keys.values().any(|known| known.admitted && !known.forgotten && known.spec.id == *id)
    }

    /// Keeps the books: what the engine is about to hear.
    pub fn hears(&mut self, now: Moment, input: &Input, coverage: &mut Coverage) {
        match input {
            Input::Recovered { rows, .. } => self.learn_rows(rows),
            Input::Accepted { key } => {
                let known = self.keys.get_mut(key).unwrap();
                known.in_store = false;
                known.accepted_at = Some(now);
                self.tally.accepted += 1;
                self.tally.waiting += 1;
            }
            Input::Finished { key, rows, .. } => {
                self.learn_rows(rows);
                self.ended(*key);
            }
            Input::Repeated { key, rows } => {
                self.learn_rows(rows);
                self.keys.get_mut(key).unwrap().in_store = false;
                coverage.hit(Seen::Repeated);
            }
            Input::NothingToRepeat { key } => {
                self.keys.get_mut(key).unwrap().in_store = false;
                coverage.hit(Seen::NothingToRepeat);
            }
            Input::StoreFailed { key, .. } => self.keys.get_mut(key).unwrap().in_store = false,
            Input::Inferred { key, model, result, .. } => {
                self.inferring[model.0] -= 1;
                let known = self.keys.get_mut(key).unwrap();
                if known.outcome.is_some() {
                    coverage.hit(Seen::InferredTooLate);
                }
                known.said = Some(match result {
                    Err(_) => Said::Failed,
                    Ok(Observation::Malformed(_)) => Said::Malformed,
                    Ok(_) => Said::Usable,
                });
            }
            Input::ProviderAnswered { key, provider, result, .. } => {
                self.hears_a_provider(now, *key, *provider, result, coverage);
            }
            Input::Opined { inquiry, provider, result, .. } => {
                self.calls[provider.0] -= 1;
                if let Err(ProviderFault::Limited(rest)) = result {
                    self.rests_until[provider.0] = self.rests_until[provider.0].max(now + *rest);
                }
                assert!(self.asked.asking.remove(inquiry));
            }
            Input::Closed { inquiry, rows } => {
                self.learn_rows(rows);
                assert!(self.asked.closing.remove(inquiry));
            }
            Input::Inquiries(_) | Input::Learned { .. } | Input::Funds(_) | Input::Settled { .. } => {}
            Input::Drain => self.draining = true,
            Input::Arrived(arrival) => self.newcomer = arrival.priority,
            Input::Tick => {}
            _ => self.hears_of_the_way_out(input, coverage),
        }
    }

    fn hears_a_provider(
        &mut self,
        now: Moment,
        key: Key,
        provider: ProviderId,
        result: &Result<Opinion, ProviderFault>,
        coverage: &mut Coverage,
    ) {
        self.calls[provider.0] -= 1;
        if let Err(ProviderFault::Limited(rest)) = result {
            coverage.hit(Seen::ProviderRests);
            self.rests_until[provider.0] = self.rests_until[provider.0].max(now + *rest);
        }
        let known = self.keys.get_mut(&key).unwrap();
        if let (Ok(opinion), Some(part)) = (result, known.part()) {
            self.told.insert((part, provider, opinion.said.class()));
        }
        if known.asking.is_none_or(|(asked, _)| asked != provider) {
            coverage.hit(Seen::LateProviderAnswer);
        } else if result.is_ok() {
            known.helped = Some(provider);
        } else if *result == Err(ProviderFault::Withheld) {
            known.withheld = true;
            coverage.hit(Seen::Withheld);
        }
    }

    fn ended(&mut self, key: Key) {
        let known = self.keys.get_mut(&key).unwrap();
        known.in_store = false;
        match known.outcome.as_deref() {
            None => self.tally.refused += 1,
            Some(outcome) => {
                self.tally.running -= 1;
                match outcome {
                    Outcome::Answered(_) => self.tally.done += 1,
                    Outcome::Failed(failure, _) if failure.code == "job/expired" => self.tally.expired += 1,
                    Outcome::Failed(..) => self.tally.dead += 1,
                }
            }
        }
    }

    /// After every single step.
    pub fn check(&self, now: Moment) {
        let tally = self.engine.tally();
        assert!(tally.balances(), "I5: {tally:?} does not balance");
        assert_eq!(tally, self.tally, "I5: the engine's counters (left) are not what happened");
        assert_eq!(self.engine.outbox_rows(), self.rows.len(), "rows in the engine's outbox");
        assert!(self.must_confirm.is_empty(), "confirmed rows stay in the outbox: {:?}", self.must_confirm);
        assert_eq!(self.must_bury, None, "a row was forbidden often enough, and stays in the outbox");
        assert_eq!(self.must_call_stale, None, "a stale confirmation went unnoticed");
        // A receipt may take for ever; nobody waits for that.
        let undeliverable = |(row, transport): (&RowId, &TransportId)| {
            let lane: Option<&Lane> = self.lanes.get(transport);
            lane.is_none_or(|lane| lane.epoch.is_none() || (lane.receipts && lane.resting.contains(row)))
        };
        let idle = self.keys.len() == self.forgotten
            && self.rows.iter().all(undeliverable)
            && self.asked.asking.is_empty()
            && self.asked.closing.is_empty();
        assert_eq!(self.engine.idle(), idle, "idle() is not whether something is still to be done here");
        if let Some(at) = self.engine.next_deadline() {
            assert!(at > now, "next_deadline() {at:?} is not after {now:?}: a busy loop");
        }
    }

    /// When nothing is left to happen.
    pub fn check_at_rest(&self) {
        assert!(self.engine.idle(), "nothing happens any more, and the engine is not idle");
        assert_eq!(self.engine.next_deadline(), None);
        let tally = self.tally;
        assert_eq!((tally.waiting, tally.running), (0, 0), "jobs are stuck");
        assert!(self.rows.is_empty(), "rows were never confirmed: {:?}", self.rows);
        for (key, known) in &self.keys {
            assert!(known.forgotten, "{key:?} was never forgotten: {known:?}");
        }
    }
}

/// Jobs that a model's threads may have in hand.
pub fn slots(plan: &Plan, model: usize) -> usize {
    let rules = &plan.models[model];
    match rules.when_full {
        WhenFull::Shed => rules.workers * (1 + limits::PREFETCH_PER_WORKER),
        WhenFull::NewestWins => rules.workers,
    }
}

/// Does a waiting job give up its place for a newcomer of this priority?
pub fn yields(plan: &Plan, model: usize, waiting: u8, newcomer: u8) -> bool {
    waiting < newcomer || (waiting == newcomer && plan.models[model].when_full == WhenFull::NewestWins)
}
