//! The parts in their places, and how each action is performed.

mod about;
mod arriving;
mod asking;
mod cargo;
mod deciding;
mod digest;
mod funds;
mod health;
mod heat;
mod inquiring;
mod keeping;
mod lottery;
mod messages;
mod moving;
mod storing;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use picket_core::{
    Action, Input, Opinion, Outcome,
    engine::{Call, Engine},
    escalation::decide::Observation,
    job::{Key, ModelId, Privacy, RowId},
    time::{Moment, Span},
};
use tokio::sync::mpsc;

use self::{asking::Egress, cargo::Cargo, deciding::Decisions, funds::Funding, inquiring::Inquiries, lottery::Lottery};
use super::{ModelSlot, Parts, ProviderSlot, TransportSlot};
use crate::{
    board::watch::Watched,
    decisions,
    export::Keeper,
    failpoint,
    ledger::Ledger,
    output::Outputs,
    ports::{Announcement, Ask, Clock, Death, Event, Inferred, Losses, Message, Write},
    store::desk::{Desk, Inquire},
    telemetry::Telemetry,
};

pub(super) struct House {
    device: Arc<str>,
    clock: Clock,
    engine: Engine,
    desk: Desk,
    store_bytes: usize,
    /// A larger job never fits into the store.
    max_job_bytes: usize,
    /// Why the store cannot go on.
    broken: Option<String>,
    /// Results on their way out, at most [`limits::FRESH_RESULT_BYTES`] of them; others are read when their turn comes.
    fresh: HashMap<RowId, Arc<Message>>,
    fresh_bytes: usize,
    models: Vec<ModelSlot>,
    transports: Vec<TransportSlot>,
    links_up: Vec<bool>,
    providers: Vec<ProviderSlot>,
    provider_names: Vec<Arc<str>>,
    telemetry: Arc<Telemetry>,
    default_privacy: Privacy,
    egress: Egress,
    funding: Funding,
    decisions: Decisions,
    keeper: Option<Keeper>,
    inquiries: Inquiries,
    lottery: Lottery,
    inbox: mpsc::Sender<Event>,
    cargo: HashMap<Key, Cargo>,
    next_key: u64,
    actions: Vec<Action>,
    /// Inputs that came of actions of this burst.
    follow_ups: VecDeque<Input>,
    /// What earlier processes dropped.
    losses_before: Losses,
    announced_losses: Losses,
    stopping: bool,
    /// The store has refused something, and nothing has been accepted since.
    store_failing: bool,
    /// When inference threads are looked after next, while any works.
    next_check: Option<Moment>,
    board: Watched,
    outputs: Outputs,
    /// When they hear next that the loop is there; never where there are none.
    next_attention: Option<Moment>,
}

/// What still has something to write when the loop is over.
pub(super) struct Writers {
    pub desk: Desk,
    pub ledger: Option<Ledger>,
    pub decisions: Option<decisions::Log>,
    pub keeper: Option<Keeper>,
}

impl House {
    /// # Errors
    /// The system gives no thread.
    pub fn new(mut parts: Parts, clock: Clock) -> std::io::Result<(Self, mpsc::Receiver<Event>)> {
        let provider_names = parts.providers.iter().map(|slot| slot.name.clone()).collect();
        let recovered = parts.store.recover();
        let broken = parts.store.broken().map(|why| format!("error[store/failed]: {why}"));
        let (store_bytes, max_job_bytes) = (parts.store.bytes(), parts.store.max_bytes());
        let mut house = Self {
            device: parts.device,
            clock,
            engine: parts.engine,
            desk: Desk::open(parts.store, parts.volatile, &parts.inbox)?,
            store_bytes,
            max_job_bytes,
            broken,
            fresh: HashMap::new(),
            fresh_bytes: 0,
            models: parts.models,
            links_up: vec![false; parts.transports.len()],
            transports: parts.transports,
            providers: parts.providers,
            provider_names,
            telemetry: parts.telemetry,
            default_privacy: parts.default_privacy,
            egress: Egress::new(parts.ledger),
            funding: Funding::new(parts.calendar),
            decisions: Decisions::new(parts.decisions),
            keeper: parts.keeper,
            inquiries: Inquiries::default(),
            lottery: Lottery::new(recovered.salt),
            inbox: parts.inbox,
            cargo: HashMap::new(),
            next_key: 0,
            actions: Vec::new(),
            follow_ups: VecDeque::new(),
            losses_before: Losses::new(),
            announced_losses: Losses::new(),
            stopping: false,
            store_failing: false,
            next_check: None,
            next_attention: (!parts.outputs.is_empty()).then_some(Moment::ZERO),
            board: parts.board,
            outputs: parts.outputs,
        };
        house.fund(parts.funds, &recovered.learned);
        house.recover(recovered);
        Ok((house, parts.events))
    }

    pub fn next_deadline(&self) -> Option<std::time::Instant> {
        let moments = [self.engine.next_deadline(), self.desk.next_deadline(), self.next_check, self.next_attention];
        moments.into_iter().flatten().min().map(|moment| self.clock.instant(moment))
    }

    pub fn idle(&self) -> bool {
        self.engine.idle() && self.desk.idle()
    }

    /// Accepted and not finished.
    pub fn under_way(&self) -> u64 {
        let tally = self.engine.tally();
        tally.waiting + tally.running
    }

    pub fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    pub fn into_writers(self) -> Writers {
        let (ledger, decisions) = (self.egress.ledger, self.decisions.log);
        Writers { desk: self.desk, ledger, decisions, keeper: self.keeper }
    }

    pub fn stop_intake(&mut self) {
        self.stopping = true;
        tracing::info!("stopping: no new jobs, finishing what is under way");
        for slot in &mut self.transports {
            slot.transport.stop_intake();
        }
        self.hear_core(Input::Drain);
    }

    pub fn take_transports(&mut self) -> Vec<TransportSlot> {
        std::mem::take(&mut self.transports)
    }

    // === In ===

    pub fn hear(&mut self, event: Event) {
        match event {
            Event::Job(request) => self.hear_job(Arc::new(*request), None),
            Event::Stored(done) => {
                let done = self.desk.returned(done);
                self.stored(done);
            }
            Event::Errand(errand) => self.desk.errand(errand),
            Event::Inferred { key, model, result, prepare, infer } => {
                let result = result.map(|inferred| self.keep_inferred(key, model, inferred));
                self.hear_core(Input::Inferred { key, model, result, prepare, infer });
            }
            Event::Upstream { key, provider, timeout, took, charge, result } => {
                self.hear_core(Input::Settled { call: Call::Job(key, provider), provider, charge });
                let result = self.hear_provider(provider, result).map(|upstream| {
                    let opinion = Opinion { said: upstream.said.clone() };
                    if let Some(cargo) = self.cargo.get_mut(&key) {
                        cargo.upstream = Some(upstream);
                    }
                    opinion
                });
                self.log_fault(key, provider, result.as_ref().err());
                self.hear_core(Input::ProviderAnswered { key, provider, timeout, took, result });
            }
            Event::Opinion { inquiry, provider, timeout, charge, result } => {
                self.hear_core(Input::Settled { call: Call::Inquiry(inquiry), provider, charge });
                self.hear_opinion(inquiry, provider, timeout, result);
            }
            Event::Core(input) => {
                self.note_link(&input);
                self.hear_core(input);
            }
            Event::Ledger(notice) => self.hear_ledger(&notice),
            Event::News(news) => self.announce(&Announcement::Event(news)),
            Event::Heat(sample) => self.hear_heat(sample),
            Event::Status(reply) => {
                let _ = reply.send(self.status());
            }
        }
    }

    pub fn hear_core(&mut self, input: Input) {
        let now = self.clock.now();
        self.tell_the_time(now);
        self.engine.step(now, input, &mut self.actions);
        self.perform_all();
    }

    fn keep_inferred(&mut self, key: Key, model: ModelId, inferred: Inferred) -> Observation {
        self.telemetry.stream(model, inferred.stream.as_ref());
        if let Some(cargo) = self.cargo.get_mut(&key) {
            cargo.outputs = inferred.outputs;
            cargo.seen = Some(inferred.observation.clone());
            cargo.stream = inferred.stream;
        }
        inferred.observation
    }

    // === Out ===

    /// Performs everything that this burst led to, and gives the store its next batch when it is free.
    pub fn settle(&mut self) {
        self.look_after_threads();
        self.announce_losses();
        loop {
            while let Some(input) = self.follow_ups.pop_front() {
                self.hear_core(input);
            }
            match self.desk.turn(self.clock.now(), self.stopping) {
                Some(done) => self.stored(done),
                None if self.follow_ups.is_empty() => break,
                None => {}
            }
        }
        self.plan_next_check();
        self.watch_the_budget();
        self.telemetry.gauge_budget(self.engine.budget().left());
        self.telemetry.gauge(&self.engine.tally(), self.engine.outbox_rows(), self.store_bytes);
        self.announce_losses();
    }

    fn perform_all(&mut self) {
        let mut actions = std::mem::take(&mut self.actions);
        for action in actions.drain(..) {
            self.observe(&action);
            self.keep(&action);
            let Some(action) = self.log(action) else { continue };
            self.perform(action);
        }
        self.actions = actions;
    }

    fn observe(&self, action: &Action) {
        let key = match action {
            Action::Finish { key, .. } | Action::Refuse { key, .. } | Action::Bounce { key, .. } => Some(key),
            Action::Note(_) | Action::Bury { .. } => None,
            _ => return,
        };
        let cargo = key.and_then(|key| self.cargo.get(key));
        let (job, model) = (cargo.map(|cargo| &cargo.id), cargo.and_then(|cargo| cargo.model));
        self.telemetry.observe(action, job, model, &self.provider_names);
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Accept { key, deadline_at } => self.accept(key, deadline_at),
            Action::Ack { ticket } => self.transports[ticket.transport.0].transport.ack(ticket),
            Action::Infer { key, model } => self.infer(key, model),
            Action::Ask { key, model, provider, timeout, reason, allowance } => {
                self.ask(key, Ask { model, provider, timeout, reason, allowance });
            }
            Action::Inquire { inquiry, model, provider, timeout, reason, allowance } => {
                self.desk.inquire(Inquire { inquiry, ask: Ask { model, provider, timeout, reason, allowance } });
            }
            Action::Close { inquiry, job, model, was, age, ending } => {
                self.close_inquiry(inquiry, &job, model, &was, age, ending);
            }
            Action::Remember { model } => self.remember(model),
            Action::Finish { key, outcome } => self.finish(key, &outcome),
            Action::Refuse { key, failure } => {
                if let Some(cargo) = self.cargo.get(&key) {
                    let messages = self.error_messages(cargo, &failure);
                    self.write(Write::Refuse { key, messages });
                }
            }
            Action::Repeat { key, id } => {
                if let Some(cargo) = self.cargo.get(&key) {
                    let to = cargo.request.reply.to.clone();
                    self.write(Write::Repeat { key, id, to });
                }
            }
            Action::Bounce { key, failure } => {
                if let Some(cargo) = self.cargo.get(&key) {
                    let to = &cargo.request.reply.to;
                    if let Some(slot) = self.transports.get_mut(to.transport.0) {
                        slot.transport.bounce(to, &failure);
                    }
                }
            }
            Action::Deliver { transport, row, epoch } => match self.fresh.get(&row).cloned() {
                Some(message) => self.deliver(transport, row, epoch, Some(message)),
                None => {
                    if let Some(message) = self.desk.fetch((transport, row, epoch)) {
                        self.deliver(transport, row, epoch, message);
                    }
                }
            },
            Action::Confirm { row } => {
                failpoint::hit("confirm");
                self.drop_fresh(row);
                self.write(Write::Confirm { row });
            }
            Action::Bury { row, code } => {
                self.drop_fresh(row);
                self.write(Write::Bury { row, code });
            }
            Action::Reset { transport, epoch } => {
                if let Some(slot) = self.transports.get_mut(transport.0) {
                    slot.transport.reset(epoch);
                }
            }
            Action::Forget { key } => {
                self.cargo.remove(&key);
            }
            Action::Note(note) => self.note(&note),
            // Was written down already.
            Action::Decided(_) => {}
        }
    }

    fn infer(&mut self, key: Key, model: ModelId) {
        let Some(cargo) = self.cargo.get_mut(&key) else { return };
        cargo.attempts += 1;
        let submitted = match &self.models[model.0].state {
            Ok((_, pool)) => pool.submit(key, cargo.id.clone(), cargo.request.clone()),
            Err(failure) => Err(failure.clone()),
        };
        if let Err(failure) = submitted {
            let input = Input::Inferred { key, model, result: Err(failure), prepare: Span::ZERO, infer: Span::ZERO };
            self.follow_ups.push_back(input);
        }
    }

    fn finish(&mut self, key: Key, outcome: &Outcome) {
        let Some(cargo) = self.cargo.get(&key) else { return };
        // Before the disk: a gate does not wait for a sync.
        self.move_outputs(cargo, outcome);
        let (messages, dead, inquiry) = match outcome {
            Outcome::Answered(answer) => (self.answer_messages(cargo, answer), None, answer.later.clone()),
            Outcome::Failed(failure, _) => {
                let death = Death { failure: failure.clone(), attempts: cargo.attempts };
                (self.error_messages(cargo, failure), Some(death), None)
            }
        };
        let (id, digest) = (cargo.id.clone(), cargo.digest);
        failpoint::hit("finish");
        self.write(Write::Finish { key, id, digest, messages, dead, inquiry });
    }
}
