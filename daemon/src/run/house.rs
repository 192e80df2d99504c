//! The parts in their places, and how each action is performed.

mod about;
mod messages;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use picket_core::{
    Action, Input, Outcome,
    engine::Engine,
    escalation::decide::Observation,
    job::{Arrival, Digest, Failure, JobId, Key, ModelId, Privacy, ProviderId, StoredJob},
    time::{Moment, Span},
};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use super::{ModelSlot, Parts, ProviderSlot, TransportSlot};
use crate::{
    inference::served::Served,
    pipeline,
    ports::{Clock, Content, Event, Face, Inferred, Question, Request, Store, Upstream, Write, Written},
    telemetry::Telemetry,
};

/// What the daemon keeps of a job while the engine knows its key.
struct Cargo {
    request: Arc<Request>,
    id: JobId,
    digest: Digest,
    model: Option<ModelId>,
    outputs: Vec<crate::tensor::Tensor>,
    scores: Option<Vec<f32>>,
    upstream: Option<Upstream>,
}

pub(super) struct House {
    device: Arc<str>,
    clock: Clock,
    engine: Engine,
    store: Box<dyn Store>,
    models: Vec<ModelSlot>,
    transports: Vec<TransportSlot>,
    links_up: Vec<bool>,
    providers: Vec<ProviderSlot>,
    provider_names: Vec<Arc<str>>,
    telemetry: Arc<Telemetry>,
    default_privacy: Privacy,
    inbox: mpsc::Sender<Event>,
    cargo: HashMap<Key, Cargo>,
    next_key: u64,
    actions: Vec<Action>,
    /// Inputs that came of actions of this burst.
    follow_ups: VecDeque<Input>,
    /// Store writes of this burst: one transaction.
    writes: Vec<Write>,
    announced_losses: u64,
}

impl House {
    pub fn new(parts: Parts, clock: Clock) -> (Self, mpsc::Receiver<Event>) {
        let provider_names = parts.providers.iter().map(|slot| slot.name.clone()).collect();
        let house = Self {
            device: parts.device,
            clock,
            engine: parts.engine,
            store: parts.store,
            models: parts.models,
            links_up: vec![false; parts.transports.len()],
            transports: parts.transports,
            providers: parts.providers,
            provider_names,
            telemetry: parts.telemetry,
            default_privacy: parts.default_privacy,
            inbox: parts.inbox,
            cargo: HashMap::new(),
            next_key: 0,
            actions: Vec::new(),
            follow_ups: VecDeque::new(),
            writes: Vec::new(),
            announced_losses: 0,
        };
        (house, parts.events)
    }

    pub fn next_deadline(&self) -> Option<std::time::Instant> {
        self.engine.next_deadline().map(|moment| self.clock.instant(moment))
    }

    pub fn idle(&self) -> bool {
        self.engine.idle()
    }

    pub fn stop_intake(&mut self) {
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
            Event::Job(request) => self.hear_job(*request),
            Event::Inferred { key, model, result, prepare, infer } => {
                let result = result.map(|inferred| self.keep_inferred(key, inferred));
                self.hear_core(Input::Inferred { key, model, result, prepare, infer });
            }
            Event::Upstream { key, provider, timeout, took, result } => {
                let result = match result {
                    Ok(upstream) => {
                        if let Some(cargo) = self.cargo.get_mut(&key) {
                            cargo.upstream = Some(upstream);
                        }
                        Ok(())
                    }
                    Err((fault, why)) => {
                        tracing::debug!(provider = %self.provider_names[provider.0], code = fault.code(), why, "provider");
                        Err(fault)
                    }
                };
                self.hear_core(Input::ProviderAnswered { key, provider, timeout, took, result });
            }
            Event::Core(input) => {
                self.note_link(&input);
                self.hear_core(input);
            }
            Event::Status(reply) => {
                let _ = reply.send(self.status());
            }
        }
    }

    pub fn hear_core(&mut self, input: Input) {
        let now = self.clock.now();
        self.engine.step(now, input, &mut self.actions);
        self.perform_all();
    }

    fn hear_job(&mut self, request: Request) {
        let key = Key(self.next_key);
        self.next_key += 1;
        let digest = digest(&request);
        let id = request.id.clone().unwrap_or_else(|| JobId::from_digest(&digest));
        let model = match &request.fault {
            Some(failure) => Err(failure.clone()),
            None => self.find_model(&request.model),
        };
        let arrival = Arrival {
            key,
            id: id.clone(),
            digest,
            model: model.clone(),
            deadline: request.deadline,
            priority: request.priority,
            privacy: request.privacy.unwrap_or(self.default_privacy),
            ticket: request.ticket,
            answer_repeats: request.answer_repeats,
        };
        let cargo = Cargo {
            request: Arc::new(request),
            id,
            digest,
            model: model.ok(),
            outputs: Vec::new(),
            scores: None,
            upstream: None,
        };
        self.cargo.insert(key, cargo);
        self.hear_core(Input::Arrived(arrival));
    }

    fn find_model(&self, name: &str) -> Result<ModelId, Failure> {
        let Some(index) = self.models.iter().position(|slot| &*slot.name == name) else {
            let known: Vec<&str> = self.models.iter().map(|slot| &*slot.name).collect();
            return Err(Failure::new("model/unknown", format!("there is no model {name:?} here"))
                .expected(known.join(", "), name));
        };
        self.models[index].state.as_ref().map(|_| ModelId(index)).map_err(Failure::clone)
    }

    fn keep_inferred(&mut self, key: Key, inferred: Inferred) -> Observation {
        if let Some(cargo) = self.cargo.get_mut(&key) {
            cargo.outputs = inferred.outputs;
            if let Observation::Scores(scores) = &inferred.observation {
                cargo.scores = Some(scores.clone());
            }
        }
        inferred.observation
    }

    // === Out ===

    /// Performs everything that this burst led to: actions, then the burst's store transaction, then what came of it.
    pub fn settle(&mut self) {
        while !self.writes.is_empty() || !self.follow_ups.is_empty() {
            let writes = std::mem::take(&mut self.writes);
            if !writes.is_empty() {
                let written = self.store.transact(writes);
                self.follow_ups.extend(written.into_iter().filter_map(as_input));
            }
            while let Some(input) = self.follow_ups.pop_front() {
                self.hear_core(input);
            }
        }
        self.telemetry.gauge(&self.engine.tally(), self.engine.outbox_rows(), self.store.bytes());
        self.announce_losses();
    }

    fn perform_all(&mut self) {
        let mut actions = std::mem::take(&mut self.actions);
        for action in actions.drain(..) {
            self.observe(&action);
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
        let model = key.and_then(|key| self.cargo.get(key)).and_then(|cargo| cargo.model);
        self.telemetry.observe(action, model, &self.provider_names);
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Accept { key, deadline_at } => self.accept(key, deadline_at),
            Action::Ack { ticket } => self.transports[ticket.transport.0].transport.ack(ticket),
            Action::Infer { key, model } => self.infer(key, model),
            Action::Ask { key, model, provider, timeout } => self.ask(key, model, provider, timeout),
            Action::Finish { key, outcome } => self.finish(key, &outcome),
            Action::Refuse { key, failure } => {
                if let Some(cargo) = self.cargo.get(&key) {
                    let messages = self.error_messages(cargo, &failure);
                    self.writes.push(Write::Refuse { key, messages });
                }
            }
            Action::Repeat { key, id } => {
                if let Some(cargo) = self.cargo.get(&key) {
                    self.writes.push(Write::Repeat { key, id, to: cargo.request.reply.to.clone() });
                }
            }
            Action::Bounce { key, failure } => {
                if let Some(cargo) = self.cargo.get(&key) {
                    let to = &cargo.request.reply.to;
                    self.transports[to.transport.0].transport.bounce(to, &failure);
                }
            }
            Action::Deliver { transport, row, epoch } => match self.store.row(row) {
                Some(message) => self.transports[transport.0].transport.deliver(row, epoch, message),
                None => self.follow_ups.push_back(Input::Undeliverable { transport, row, epoch }),
            },
            Action::Confirm { row } => self.writes.push(Write::Confirm { row }),
            Action::Bury { row, code } => self.writes.push(Write::Bury { row, code }),
            Action::Reset { transport, epoch } => self.transports[transport.0].transport.reset(epoch),
            Action::Forget { key } => {
                self.cargo.remove(&key);
            }
            Action::Note(note) => self.note(&note),
        }
    }

    fn accept(&mut self, key: Key, deadline_at: Moment) {
        let Some(cargo) = self.cargo.get(&key) else { return };
        let Some(model) = cargo.model else { return };
        let job = StoredJob {
            key,
            id: cargo.id.clone(),
            digest: cargo.digest,
            model,
            deadline_at,
            priority: cargo.request.priority,
            privacy: cargo.request.privacy.unwrap_or(self.default_privacy),
        };
        self.writes.push(Write::Accept { job, request: cargo.request.clone() });
    }

    fn infer(&mut self, key: Key, model: ModelId) {
        let Some(cargo) = self.cargo.get(&key) else { return };
        let submitted = match &self.models[model.0].state {
            Ok((_, pool)) => pool.submit(key, cargo.request.clone()),
            Err(failure) => Err(failure.clone()),
        };
        if let Err(failure) = submitted {
            let input = Input::Inferred { key, model, result: Err(failure), prepare: Span::ZERO, infer: Span::ZERO };
            self.follow_ups.push_back(input);
        }
    }

    fn ask(&self, key: Key, model: ModelId, provider: ProviderId, timeout: Span) {
        let (Some(cargo), Ok((served, _))) = (self.cargo.get(&key), &self.models[model.0].state) else { return };
        let (served, request, id) = (served.clone(), cargo.request.clone(), cargo.id.clone());
        let (asked, inbox) = (self.providers[provider.0].provider.clone(), self.inbox.clone());
        tokio::spawn(async move {
            let start = std::time::Instant::now();
            let result = match question(served, request, id, timeout).await {
                Ok(question) => asked.ask(question).await,
                Err(failure) => Err((picket_core::ProviderFault::BadAnswer, failure.to_string())),
            };
            let took = Span::from_micros(u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX));
            let _ = inbox.send(Event::Upstream { key, provider, timeout, took, result }).await;
        });
    }

    fn finish(&mut self, key: Key, outcome: &Outcome) {
        let Some(cargo) = self.cargo.get(&key) else { return };
        let messages = match outcome {
            Outcome::Answered(answer) => self.answer_messages(cargo, answer),
            Outcome::Failed(failure, _) => self.error_messages(cargo, failure),
        };
        self.writes.push(Write::Finish { key, id: cargo.id.clone(), digest: cargo.digest, messages });
    }
}

/// The job's inputs, decoded once more: escalations are rare, and keeping every input decoded would cost memory.
async fn question(served: Arc<Served>, request: Arc<Request>, id: JobId, timeout: Span) -> Result<Question, Failure> {
    let labels = served.bundle.labels.clone();
    let decode = move || pipeline::decode(&request.content, &served.signature.inputs);
    let inputs = tokio::task::spawn_blocking(decode)
        .await
        .map_err(|_| Failure::new("input/undecodable", "decoding for the provider failed"))??;
    Ok(Question { id, inputs, labels, timeout })
}

fn as_input(written: Written) -> Option<Input> {
    Some(match written {
        Written::Accepted { key } => Input::Accepted { key },
        Written::Finished { key, rows } => Input::Finished { key, rows },
        Written::Repeated { key, rows } => Input::Repeated { key, rows },
        Written::NothingToRepeat { key } => Input::NothingToRepeat { key },
        Written::Failed { key, why } => Input::StoreFailed { key, why },
        Written::Confirmed => return None,
    })
}

/// What makes two arrivals the same job: model, form of the answer, and content.
fn digest(request: &Request) -> Digest {
    let mut hash = Sha256::new();
    hash.update(request.model.as_bytes());
    hash.update([0, u8::from(matches!(request.reply.face, Face::Oip { .. }))]);
    if let Content::Raw { dtype, shape, .. } = &request.content {
        // The same bytes as another tensor are another job.
        hash.update(format!("{dtype:?} {shape:?}"));
    }
    let (first, second) = request.content.parts();
    hash.update((first.len() as u64).to_le_bytes());
    hash.update(first);
    if let Some(second) = second {
        hash.update(second);
    }
    hash.finalize().into()
}
