//! The table of jobs and every transition in it.
//!
//! ```text
//!                    Accepted           thread free          sure enough
//! Arrived ─▶ Accepting ─────▶ Waiting ─────────────▶ Running ─────────────▶ Finishing ─Finished─▶ gone, its rows in
//!    │                          │ deadline              │ doubtful              ▲                  the outbox until
//!    │ unanswerable,            └────────────┐          ▼                       │                  they are confirmed
//!    │ shed, id reused                       │        Asking ───────────────────┤
//!    └───────▶ Finishing (refusal)           └──────────────────────────────────┘
//! ```
//!
//! A repetition of a finished job goes through `Repeating`; one of an active job joins it.

mod arriving;
mod inquiring;
mod judging;
mod learning;
mod rules;
mod spending;
mod storing;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use self::{inquiring::Inquiries, learning::Watch, rules::Provider, spending::Spending};
pub use self::{
    learning::Learned,
    rules::{ModelRules, ProviderRules, WhenFull},
    spending::{Allowance, Call, Charge, Funds, Past},
};
use crate::{
    Action, Input, Note, OutboxRow, Outcome, Source, Timing,
    escalation::{
        decide::{Decision, Observation, Reason},
        duplicates::Duplicates,
    },
    job::{AckTicket, Digest, Epoch, Failure, JobId, Key, ModelId, Privacy, ProviderId, RowId, TransportId},
    limits,
    outbox::{Confirmed, Outbox},
    queue::ModelQueue,
    said::Said,
    seen::Seen,
    tally::Tally,
    time::{Moment, Span},
};

#[derive(Debug)]
struct Job {
    id: JobId,
    digest: Digest,
    model: Option<ModelId>,
    privacy: Privacy,
    /// Drawn by lottery.
    audit: bool,
    group: Option<Group>,
    /// It is the frame of its group that is asked about.
    speaks: bool,
    /// Of its input.
    bytes: u64,
    priority: u8,
    arrived: Moment,
    deadline_at: Moment,
    whole: Span,
    stage: Stage,
    /// When this job must be looked at again.
    wake: Moment,
    acks: Vec<AckTicket>,
    /// Arrivals of the same job that want their own answer when it is there.
    repeats: Vec<Joined>,
    /// A caller waits on the line and nothing has promised durability yet.
    may_bounce: bool,
    timing: Timing,
}

/// An arrival that joined an active job.
#[derive(Clone, Copy, Debug)]
struct Joined {
    key: Key,
    /// Its caller waits on the line; others have our acknowledgement.
    may_bounce: bool,
}

#[derive(Debug)]
enum Stage {
    Accepting,
    Waiting,
    Running,
    Asking { provider: ProviderId, asked: usize, seen: Observation, decision: Box<Decision> },
    Finishing { outcome: Arc<Outcome> },
    Refusing { failure: Arc<Failure> },
    Repeating,
}

/// The same part is another question to another model.
type Group = (ModelId, Arc<str>);

/// The decider. Single-threaded, deterministic.
pub struct Engine {
    jobs: BTreeMap<Key, Job>,
    timers: BTreeSet<(Moment, Key)>,
    models: Vec<ModelQueue>,
    providers: Vec<Provider>,
    seen: Seen,
    outbox: Outbox,
    tally: Tally,
    draining: bool,
    /// Jobs that were running when an earlier process died. Each runs alone, so that the next death has one suspect.
    suspects: VecDeque<Key>,
    /// The suspect that an inference thread has in hand.
    alone: Option<Key>,
    inquiries: Inquiries,
    /// By model; `None` where nothing is certified.
    watches: Vec<Option<Watch>>,
    spending: Spending,
    duplicates: Duplicates<Group, (ProviderId, Said)>,
    /// Somebody writes decisions down.
    logs: bool,
    /// The board is hot.
    eased: bool,
}

impl Engine {
    pub fn new(models: Vec<ModelRules>, providers: Vec<ProviderRules>) -> Self {
        Self {
            jobs: BTreeMap::new(),
            timers: BTreeSet::new(),
            watches: models.iter().map(|rules| Watch::over(&rules.policy.calibration)).collect(),
            models: models.into_iter().map(ModelQueue::new).collect(),
            providers: providers.into_iter().map(Provider::new).collect(),
            seen: Seen::default(),
            outbox: Outbox::default(),
            tally: Tally::default(),
            draining: false,
            suspects: VecDeque::new(),
            alone: None,
            inquiries: Inquiries::default(),
            spending: Spending::unlimited(),
            duplicates: Duplicates::new(limits::DUPLICATE_KEPT),
            logs: false,
            eased: false,
        }
    }

    pub const fn tally(&self) -> Tally {
        self.tally
    }

    pub fn outbox_rows(&self) -> usize {
        self.outbox.len()
    }

    /// Does this provider's breaker let requests pass now?
    pub fn provider_admits(&self, provider: ProviderId, now: Moment) -> bool {
        self.providers[provider.0].breaker.would_admit(now)
    }

    /// Answered jobs about which a provider is still to be asked.
    pub fn open_inquiries(&self) -> usize {
        self.inquiries.len()
    }

    /// While the board is hot, inquiries take their time: [`limits::INQUIRY_CALLS_HOT`] at once at each provider.
    pub const fn ease(&mut self, eased: bool) {
        self.eased = eased;
    }

    /// Nothing is under way, and everything deliverable is delivered.
    pub fn idle(&self) -> bool {
        self.jobs.is_empty() && self.outbox.settled() && self.inquiries.settled()
    }

    /// Call [`Self::step`] at this moment at the latest.
    pub fn next_deadline(&self) -> Option<Moment> {
        let job = self.timers.first().map(|(at, _)| *at);
        [job, self.outbox.next_deadline(), self.inquiries.wake].into_iter().flatten().min()
    }

    /// Takes one input and appends what to do. Actions are to be performed in order.
    pub fn step(&mut self, now: Moment, input: Input, out: &mut Vec<Action>) {
        match input {
            Input::Recovered { jobs, rows, seen } => self.recovered(now, jobs, &rows, seen, out),
            Input::Arrived(arrival) => self.arrived(now, arrival, out),
            Input::Accepted { key } => self.accepted(now, key, out),
            Input::Finished { key, rows, inquiry } => self.finished(now, key, &rows, inquiry, out),
            Input::Learned { model, learned } => self.remember(model, *learned),
            Input::Inquiries(stored) => self.inquiries_recovered(now, stored, out),
            Input::Settled { call, provider, charge } => self.settled(call, provider, charge, out),
            Input::Funds(funds) => self.spending.fund(now, *funds),
            Input::Wall { unix_s } => self.spending.wall(now, unix_s),
            Input::Closed { inquiry, rows } => self.inquiry_closed(inquiry, &rows),
            Input::Opined { inquiry, provider, timeout, result } => {
                self.providers[provider.0].inquiries -= 1;
                self.providers[provider.0].learn(now, provider, timeout, &result, out);
                self.opined(now, inquiry, result, out);
            }
            Input::Repeated { key, rows } => self.repeated(key, &rows, out),
            Input::NothingToRepeat { key } => self.nothing_to_repeat(key, out),
            Input::StoreFailed { key, why } => self.store_failed(now, key, why, out),
            Input::Inferred { key, model, result, prepare, infer } => {
                self.models[model.0].in_hand -= 1;
                if self.alone == Some(key) {
                    self.alone = None;
                }
                self.inferred(now, key, result, prepare, infer, out);
            }
            Input::ProviderAnswered { key, provider, timeout, took, result } => {
                self.provider_answered(now, key, provider, timeout, took, result, out);
            }
            Input::LinkUp { transport, epoch, terms } => self.outbox.link_up(transport, epoch, terms, now),
            Input::Receipt { transport, job } => {
                for row in self.outbox.receipt(transport, &job, now) {
                    self.row_gone(Some(job.clone()));
                    out.push(Action::Confirm { row });
                }
            }
            Input::LinkDown { transport } => self.outbox.link_down(transport),
            Input::Confirmed { transport, row, epoch } => self.confirmed(now, transport, row, epoch, out),
            Input::Undeliverable { transport, row, epoch } => {
                if let Ok(job) = self.outbox.take(transport, row, epoch, now) {
                    self.tally.undeliverable += 1;
                    out.push(Action::Note(Note::Undeliverable { row }));
                    self.row_gone(job);
                    out.push(Action::Confirm { row });
                }
            }
            Input::Rejected { transport, row, epoch, refusal } => {
                if let Some(job) = self.outbox.refused(transport, row, epoch, refusal, now) {
                    self.tally.buried += 1;
                    self.row_gone(job);
                    out.push(Action::Bury { row, code: NOT_AUTHORISED });
                }
            }
            Input::Evicted { rows } => self.evicted(&rows, now, out),
            Input::Tick => {}
            Input::Drain => self.draining = true,
        }
        self.fire_timers(now, out);
        self.dispatch(now, out);
        self.ask_about_inquiries(now, out);
        while let Some((transport, row, epoch)) = self.outbox.next(now) {
            out.push(Action::Deliver { transport, row, epoch });
        }
        while let Some((transport, epoch)) = self.outbox.stalled(now) {
            out.push(Action::Reset { transport, epoch });
        }
    }

    fn confirmed(&mut self, now: Moment, transport: TransportId, row: RowId, epoch: Epoch, out: &mut Vec<Action>) {
        match self.outbox.confirm(transport, row, epoch, now) {
            Ok(Confirmed::Gone(job)) => {
                self.row_gone(job);
                out.push(Action::Confirm { row });
            }
            Ok(Confirmed::AwaitsReceipt) => {}
            Err(()) => out.push(Action::Note(Note::StaleConfirm { row })),
        }
    }

    fn fire_timers(&mut self, now: Moment, out: &mut Vec<Action>) {
        while let Some((at, key)) = self.timers.first().copied() {
            if at > now {
                break;
            }
            self.timers.remove(&(at, key));
            let Some(job) = self.jobs.get_mut(&key) else { continue };
            job.wake = FAR;
            match &job.stage {
                Stage::Accepting => out.push(Action::Accept { key, deadline_at: job.deadline_at }),
                Stage::Finishing { outcome } => out.push(Action::Finish { key, outcome: outcome.clone() }),
                Stage::Refusing { failure } => out.push(Action::Refuse { key, failure: failure.clone() }),
                Stage::Repeating => out.push(Action::Repeat { key, id: job.id.clone() }),
                Stage::Waiting | Stage::Running => self.fail(now, key, expired(), out),
                Stage::Asking { .. } => self.provider_late(now, key, out),
            }
        }
    }

    /// The patience with a provider is over: the local answer goes out, the provider's is not waited for.
    pub(super) fn provider_late(&mut self, now: Moment, key: Key, out: &mut Vec<Action>) {
        let Some(job) = self.jobs.get_mut(&key) else { return };
        let Stage::Asking { seen, decision, .. } = std::mem::replace(&mut job.stage, Stage::Running) else { return };
        match seen {
            Observation::Malformed(why) => self.fail(now, key, Failure::new("model/invalid-output", why), out),
            _ => self.answer(now, key, Source::Local, Reason::LocalUncertifiedDeadline, &decision, out),
        }
    }

    fn dispatch(&mut self, now: Moment, out: &mut Vec<Action>) {
        self.dispatch_suspect(now, out);
        if self.alone.is_some() || !self.suspects.is_empty() {
            return;
        }
        for (index, queue) in self.models.iter_mut().enumerate() {
            while let Some(key) = queue.next() {
                let Some(job) = self.jobs.get_mut(&key) else { continue };
                job.stage = Stage::Running;
                job.timing.queue = now.since(job.arrived);
                self.tally.waiting -= 1;
                self.tally.running += 1;
                out.push(Action::Infer { key, model: ModelId(index) });
            }
        }
    }

    /// Runs the next suspect once nothing else is in hand.
    fn dispatch_suspect(&mut self, now: Moment, out: &mut Vec<Action>) {
        while let Some(key) = self.suspects.front().copied() {
            if self.alone.is_some() || self.models.iter().any(|queue| queue.in_hand > 0) {
                return;
            }
            self.suspects.pop_front();
            let Some(job) = self.jobs.get_mut(&key) else { continue };
            let (Stage::Waiting, Some(model)) = (&job.stage, job.model) else { continue }; // expired meanwhile
            self.models[model.0].take(key, job.priority);
            job.stage = Stage::Running;
            job.timing.queue = now.since(job.arrived);
            self.tally.waiting -= 1;
            self.tally.running += 1;
            self.alone = Some(key);
            out.push(Action::Infer { key, model });
        }
    }

    fn evicted(&mut self, rows: &[RowId], now: Moment, out: &mut Vec<Action>) {
        for row in rows {
            if let Some(id) = self.outbox.evict(*row, now) {
                self.seen.row_confirmed(&id);
            }
        }
        self.tally.evicted += rows.len() as u64;
        out.push(Action::Note(Note::Evicted { rows: rows.len() }));
    }

    fn add_row(&mut self, row: &OutboxRow) {
        if let Some(id) = &row.job {
            self.seen.row_added(id);
        }
        self.outbox.insert(row);
    }

    fn row_gone(&mut self, job: Option<JobId>) {
        if let Some(id) = job {
            self.seen.row_confirmed(&id);
        }
    }

    fn insert(&mut self, key: Key, job: Job) {
        if job.wake != FAR {
            self.timers.insert((job.wake, key));
        }
        self.jobs.insert(key, job);
    }

    fn remove(&mut self, key: Key) -> Option<Job> {
        let job = self.jobs.remove(&key)?;
        self.timers.remove(&(job.wake, key));
        Some(job)
    }

    fn set_wake(&mut self, key: Key, at: Moment) {
        let Some(job) = self.jobs.get_mut(&key) else { return };
        self.timers.remove(&(job.wake, key));
        job.wake = at;
        if at != FAR {
            self.timers.insert((at, key));
        }
    }
}

/// No wake-up at all.
const FAR: Moment = Moment::from_micros(u64::MAX);
const EXPIRED: &str = "job/expired";
const NOT_AUTHORISED: &str = "mqtt/not-authorised";

fn expired() -> Failure {
    Failure::new(EXPIRED, "the deadline passed before there was an answer")
}

fn shed() -> Failure {
    Failure::new("job/shed", "too many jobs wait for this model; this one had to go")
}
