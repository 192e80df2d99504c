//! Virtual time, and everything that happens in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    rc::Rc,
};

use picket_core::{
    Input, StoreFault,
    job::{AckTicket, Arrival, Epoch, Failure, JobId, Key, ModelId, RowId, TransportId},
    limits,
    time::{Moment, Span},
};
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{
    coverage::{Coverage, Seen},
    outside::{Broker, Call, Readers},
    plan::{Happening, Plan, Spec, up_to},
    process::{Known, Process},
    spending::Book,
    store::{Address, Op, Row, Store},
};

/// No schedule needs nearly as many steps; one that does will never come to rest.
const MOST_STEPS: u64 = 50_000;

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "each has a box of its own in the map")]
pub enum Event {
    Outside(Happening),
    HangUp(usize),
    Start,
    /// Dies with the process.
    Inside(Inside),
}

#[derive(Debug)]
pub enum Inside {
    /// The transaction becomes durable now, and is reported after this while.
    Commit(Op, Span),
    Hear(Input),
    Connect,
    NoticeCut,
    Receive(Epoch),
    AckArrives(Epoch),
    /// This job kills the process that runs it.
    Die(Key),
    /// A row is at its reader.
    Reach {
        transport: TransportId,
        id: RowId,
        epoch: Epoch,
        row: Row,
        job: Option<JobId>,
    },
}

pub struct World<'a> {
    pub rng: StdRng,
    pub now: Moment,
    pub plan: Plan,
    /// By time; what happens at the same time happens in random order. Boxed, because the map moves its values a lot.
    pub events: BTreeMap<(Moment, u32, u64), Box<Event>>,
    scheduled: u64,
    pub store: Store,
    pub book: Book,
    pub broker: Broker,
    pub readers: Readers,
    /// `None` between a crash and the next start.
    pub process: Option<Process>,
    next_key: u64,
    /// When the last report of the store is heard.
    reported_at: Moment,
    /// Rows whose confirmation the store lost: they may stay, and be sent again after a crash.
    pub confirms_lost: Vec<RowId>,
    /// Jobs whose result was given up: their reader forbade it, or the store had no room.
    pub given_up: BTreeSet<JobId>,
    /// At the end: further jobs in a perfect world, slowly inferred.
    pub probing: bool,
    pub coverage: &'a mut Coverage,
    trace: Option<&'a mut String>,
}

impl<'a> World<'a> {
    pub fn new(seed: u64, coverage: &'a mut Coverage, trace: Option<&'a mut String>) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut plan = Plan::random(&mut rng);
        let happenings = std::mem::take(&mut plan.happenings);
        let dead_letters = plan.mqtt.filter(|_| plan.dead_letters);
        let mut world = Self {
            rng,
            now: Moment::ZERO,
            events: BTreeMap::new(),
            scheduled: 0,
            store: Store::new(plan.kept, dead_letters, plan.most_rows, plan.mqtt),
            book: Book::default(),
            broker: Broker::new(),
            readers: Readers::default(),
            process: None,
            next_key: 0,
            reported_at: Moment::ZERO,
            confirms_lost: Vec::new(),
            given_up: BTreeSet::new(),
            probing: false,
            coverage,
            trace,
            plan,
        };
        world.note(|w| format!("{:#?}", w.plan));
        for (at, happening) in happenings {
            world.at(at, Event::Outside(happening));
        }
        world.start();
        world
    }

    pub fn note(&mut self, text: impl FnOnce(&Self) -> String) {
        if self.trace.is_some() {
            let (at, text) = (self.now.as_micros(), text(self));
            if let Some(trace) = &mut self.trace {
                let _ = writeln!(trace, "{at:>9} µs  {text}");
            }
        }
    }

    pub fn at(&mut self, at: Moment, event: Event) {
        self.scheduled += 1;
        self.events.insert((at, self.rng.random(), self.scheduled), Box::new(event));
    }

    pub fn after(&mut self, span: Span, inside: Inside) {
        self.at(self.now + span, Event::Inside(inside));
    }

    pub fn hears_after(&mut self, span: Span, input: Input) {
        self.after(span, Inside::Hear(input));
    }

    pub fn chance(&mut self, p: f64) -> bool {
        self.rng.random_bool(p)
    }

    /// Chance of something bad, which ends when it gets calm.
    pub fn mishap(&mut self, p: f64) -> bool {
        !self.calm() && self.rng.random_bool(p)
    }

    /// Chance of something that is neither good nor bad.
    pub fn chance_of(&mut self, p: f64) -> bool {
        self.rng.random_bool(p)
    }

    pub fn is_calm(&self) -> bool {
        self.calm()
    }

    fn calm(&self) -> bool {
        self.probing || self.now >= self.plan.calm_at
    }

    pub fn wire(&mut self) -> Span {
        up_to(&mut self.rng, self.plan.wire_latency)
    }

    pub fn moment(&mut self, millis: u64) -> Span {
        up_to(&mut self.rng, Span::from_millis(millis))
    }

    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("the process runs")
    }

    /// Until nothing is left to happen.
    pub fn run(&mut self) {
        let limit = self.coverage.steps + MOST_STEPS;
        loop {
            let event = self.events.first_key_value().map(|((at, ..), _)| *at);
            let deadline = self.process.as_ref().and_then(|process| process.engine.next_deadline());
            let tick_first = match (event, deadline) {
                (None, None) => return,
                (Some(event), Some(deadline)) if event == deadline => self.chance(0.5),
                (event, deadline) => event.is_none_or(|event| deadline.is_some_and(|deadline| deadline < event)),
            };
            if tick_first {
                self.now = deadline.unwrap();
                self.tell(Input::Tick);
            } else {
                let ((at, ..), event) = self.events.pop_first().unwrap();
                self.now = at;
                self.happen(*event);
            }
            assert!(self.coverage.steps < limit, "this schedule never comes to rest");
        }
    }

    /// One step of the engine, its actions performed and checked.
    pub fn tell(&mut self, input: Input) {
        self.note(|_| format!("> {input:?}"));
        self.coverage.steps += 1;
        let now = self.now;
        let process = self.process.as_mut().expect("the process runs");
        process.hears(now, &input, self.coverage);
        let mut actions = Vec::new();
        process.engine.step(now, input, &mut actions);
        for action in actions {
            self.note(|_| format!("    < {action:?}"));
            self.perform(action);
        }
        self.process().check(now);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Outside(Happening::Publish(spec)) => {
                self.broker.publish(spec);
                if self.broker.up {
                    let (delay, epoch) = (self.wire(), self.broker.epoch);
                    self.after(delay, Inside::Receive(epoch));
                }
            }
            Event::Outside(Happening::Call(spec, patience)) => self.call(spec, patience),
            Event::HangUp(call) => {
                if self.readers.calls[call] == Call::Waiting {
                    self.coverage.hit(Seen::HungUp);
                    self.readers.calls[call] = Call::HungUp;
                }
            }
            Event::Start => self.start(),
            Event::Outside(_) if self.process.is_none() => {}
            Event::Outside(Happening::Cut) => self.cut(),
            Event::Outside(Happening::Crash) => self.crash(),
            Event::Outside(Happening::Drain) => {
                self.coverage.hit(Seen::Drained);
                self.tell(Input::Drain);
            }
            Event::Inside(inside) => self.happen_inside(inside),
        }
    }

    fn happen_inside(&mut self, inside: Inside) {
        match inside {
            Inside::Commit(op, report_after) => self.commit(op, report_after),
            Inside::Hear(input) => self.hear(input),
            Inside::Connect => self.connect(),
            Inside::NoticeCut => {
                if let (false, Some(transport)) = (self.broker.up, self.plan.mqtt) {
                    self.tell(Input::LinkDown { transport });
                }
            }
            Inside::Receive(epoch) => self.receive(epoch),
            Inside::Die(key) => self.die_of(key),
            Inside::AckArrives(epoch) => self.broker.ack_arrives(epoch),
            Inside::Reach { transport, id, epoch, row, job } => self.reach(transport, id, epoch, row, job),
        }
    }

    fn receive(&mut self, epoch: Epoch) {
        let Some(transport) = self.plan.mqtt.filter(|_| self.broker.is_current(epoch)) else { return };
        let Some((spec, serial)) = self.broker.send(self.coverage) else { return };
        let ticket = AckTicket { transport, epoch, serial };
        self.arrive(spec, Address::Topic(transport), Some(ticket));
    }

    pub fn call(&mut self, spec: Rc<Spec>, patience: Option<Span>) {
        let Some(transport) = self.plan.http else { return };
        let call = self.readers.calls.len();
        if self.process.is_none() {
            return self.readers.calls.push(Call::Lost);
        }
        self.readers.calls.push(Call::Waiting);
        if let Some(patience) = patience {
            self.at(self.now + patience, Event::HangUp(call));
        }
        self.arrive(spec, Address::Caller(transport, call), None);
    }

    fn arrive(&mut self, spec: Rc<Spec>, to: Address, ticket: Option<AckTicket>) {
        let key = Key(self.next_key);
        self.next_key += 1;
        let known = Known::new(spec.clone(), to, ticket, self.now);
        let draining = self.process().draining;
        let repeats = if draining { None } else { self.must_repeat(&spec, to) };
        self.process().keys.insert(key, Box::new(known));
        if draining {
            self.coverage.hit(Seen::ArrivedInDrain);
        }
        self.tell(Input::Arrived(Arrival {
            key,
            id: spec.id.clone(),
            digest: spec.digest,
            model: spec.model.map(ModelId).ok_or_else(|| Failure::new("request/unknown-model", "no such model")),
            deadline: spec.deadline,
            priority: spec.priority,
            privacy: spec.privacy,
            audit: spec.audit,
            group: spec.group.clone(),
            bytes: 64,
            ticket,
            answer_repeats: ticket.is_none(),
            again: false,
            asker: to.asker(),
        }));
        if let Some(repeats) = repeats {
            let repeated = self.process().keys[&key].repeated;
            assert_eq!(repeated, repeats, "I4: {key:?} is done already; is its result repeated, does it have to be?");
        }
    }

    /// I4: a finished job that comes again gets its result again, unless that is still on its way; a caller always does.
    fn must_repeat(&self, spec: &Spec, to: Address) -> Option<bool> {
        let process = self.process.as_ref().expect("the process runs");
        let done = self.store.done.get(&spec.id)?;
        if spec.model.is_none() || done.digest != spec.digest || process.is_open(&spec.id) {
            return None;
        }
        let on_its_way = process.jobs.values().any(|job| *job == spec.id);
        let first = process.askers.get(&spec.id).copied();
        Some(!on_its_way || matches!(to, Address::Caller(..)) || first != Some(to.asker()))
    }

    /// The moment in which a transaction is durable, or fails.
    fn commit(&mut self, op: Op, report_after: Span) {
        let (from, until) = self.plan.outage;
        let out = !self.calm() && (from..until).contains(&self.now);
        if out || self.mishap(self.plan.store_faults) {
            self.coverage.hit(Seen::StoreFailure);
            match (op.key(), op) {
                (Some(key), _) => {
                    let why = if self.chance(0.5) { StoreFault::Full } else { StoreFault::Unavailable };
                    self.hears_after(report_after, Input::StoreFailed { key, why });
                }
                (None, Op::Confirm { row }) => self.confirms_lost.push(row),
                // The daemon tries it again by itself.
                (None, op) => self.after(limits::STORE_RETRY, Inside::Commit(op, report_after)),
            }
            return;
        }
        let accepts = matches!(op, Op::Accept { .. });
        if let Some(report) = self.store.commit(op) {
            self.reported_at = self.reported_at.max(self.now + report_after);
            self.hears_after(report_after, report);
        }
        // Room is made for jobs, not for results.
        let evicted = if accepts { self.store.evict() } else { Vec::new() };
        if !evicted.is_empty() {
            self.coverage.hit(Seen::RowEvicted);
            self.given_up.extend(evicted.iter().filter_map(|(_, job)| job.clone()));
            let rows = evicted.into_iter().map(|(row, _)| row).collect();
            // Nobody hears that a row is gone before he hears of the row.
            let after_all = self.reported_at + Span::from_micros(1);
            self.at(after_all, Event::Inside(Inside::Hear(Input::Evicted { rows })));
        }
    }
}
