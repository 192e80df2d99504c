//! Picket's decisions, and nothing else: no I/O, no clock, no randomness, no async.
//!
//! The daemon tells the [`engine::Engine`] what happened as an [`Input`] together with the present [`time::Moment`]; the
//! engine answers with [`Action`]s. The daemon performs them and reports back with further inputs. Whoever replays the
//! same inputs gets the same actions, which is how `tests/sim.rs` checks the invariants over many thousands of schedules.
//!
//! ```text
//!             Input                              Action
//! transport ──Arrived────────▶ ┌────────┐ ──Accept──────────▶ store
//! store     ──Accepted───────▶ │        │ ──Ack─────────────▶ transport
//!                              │ engine │ ──Infer───────────▶ inference
//! inference ──Inferred───────▶ │        │ ──Ask─────────────▶ provider
//! provider  ──ProviderAnswered▶│        │ ──Finish──────────▶ store
//! store     ──Finished───────▶ │        │ ──Deliver─────────▶ transport
//! transport ──Confirmed──────▶ └────────┘ ──Confirm─────────▶ store
//! ```

#![forbid(unsafe_code)]

pub mod boxes;
pub mod engine;
pub mod escalation;
pub mod flood;
pub mod heat;
pub mod inquiry;
pub mod job;
pub mod limits;
mod outbox;
pub mod output;
mod queue;
pub mod said;
mod seen;
pub mod tally;
pub mod time;

use std::sync::Arc;

use engine::{Allowance, Call, Charge, Funds, Learned};
use escalation::alarms::Evidence as AlarmEvidence;
use escalation::budget::Cost;
use escalation::decide::{Circumstances, Decision, Evidence, Observation, Policy, Reason};
use inquiry::{Dropped, Ending, Inquiry, InquiryId, StoredInquiry};
use job::{AckTicket, Arrival, Digest, Epoch, Failure, JobId, Key, ModelId, ProviderId, RowId, StoredJob, TransportId};
use said::Said;
use time::{Moment, Span};

/// Something happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// First input of a process: what the store still holds.
    Recovered { jobs: Vec<StoredJob>, rows: Vec<OutboxRow>, seen: Vec<(JobId, Digest)> },
    /// A transport received a job, or something that wanted to be one.
    Arrived(Arrival),
    /// The accepting transaction is durable.
    Accepted { key: Key },
    /// The finishing transaction is durable (also that of a refusal); these rows now wait for delivery, and this
    /// inquiry for a provider.
    Finished { key: Key, rows: Vec<OutboxRow>, inquiry: Option<InquiryId> },
    /// The stored result of `key`'s job id was put into the outbox again.
    Repeated { key: Key, rows: Vec<OutboxRow> },
    /// There is no stored result any more.
    NothingToRepeat { key: Key },
    /// The store could not do what it was asked for `key`; nothing has changed there.
    StoreFailed { key: Key, why: StoreFault },
    /// An inference thread is done with `key`.
    Inferred { key: Key, model: ModelId, result: Result<Observation, Failure>, prepare: Span, infer: Span },
    /// A provider call ended; `timeout` is the patience that the call was given.
    ProviderAnswered {
        key: Key,
        provider: ProviderId,
        timeout: Span,
        took: Span,
        result: Result<Opinion, ProviderFault>,
    },
    /// As `ProviderAnswered`, of a call about an inquiry.
    Opined { inquiry: InquiryId, provider: ProviderId, timeout: Span, result: Result<Opinion, ProviderFault> },
    /// A provider call ended, and cost this; before its `ProviderAnswered` or `Opined`.
    Settled { call: Call, provider: ProviderId, charge: Charge },
    /// The inquiry is gone from the store; these rows now wait for delivery.
    Closed { inquiry: InquiryId, rows: Vec<OutboxRow> },
    /// What the store still holds of inquiries; to be told once, after `Recovered`.
    Inquiries(Vec<StoredInquiry>),
    /// What an earlier process has learned of a model; to be told before there are jobs.
    Learned { model: ModelId, learned: Box<Learned> },
    /// What escalation may cost; to be told once, before there are jobs. Without it nothing is limited.
    Funds(Box<Funds>),
    /// Seconds since 1970 by a wall clock that something outside vouches for; to be told now and then.
    Wall { unix_s: Option<u64> },
    /// A transport can deliver from now on.
    LinkUp { transport: TransportId, epoch: Epoch, terms: LinkTerms },
    /// It can no more; what was not confirmed will be sent again.
    LinkDown { transport: TransportId },
    /// The consumer of this job's result says that it has it.
    Receipt { transport: TransportId, job: JobId },
    /// The receiver took this row, on this connection.
    Confirmed { transport: TransportId, row: RowId, epoch: Epoch },
    /// The receiver did not take this row; it stays.
    Rejected { transport: TransportId, row: RowId, epoch: Epoch, refusal: Refusal },
    /// Nobody will ever take this row (its caller has hung up); dropped and counted.
    Undeliverable { transport: TransportId, row: RowId, epoch: Epoch },
    /// The store was full and gave up its oldest rows for newer jobs, as its owner wants it; counted.
    Evicted { rows: Vec<RowId> },
    /// Only time has passed.
    Tick,
    /// No new jobs from now on; finish what is there.
    Drain,
}

/// Something to do.
#[derive(Clone, Debug)]
pub enum Action {
    /// Make the job durable (I1); answer with `Accepted` or `StoreFailed`.
    Accept { key: Key, deadline_at: Moment },
    /// Let the acknowledgement of an arrival leave.
    Ack { ticket: AckTicket },
    /// Decode, prepare, run, conclude on an inference thread; answer with `Inferred`.
    Infer { key: Key, model: ModelId },
    /// Ask a provider, for this reason; answer with `ProviderAnswered` after at most `timeout`.
    Ask { key: Key, model: ModelId, provider: ProviderId, timeout: Span, reason: Reason, allowance: Box<Allowance> },
    /// Ask a provider about an answered job; answer with `Opined` after at most `timeout`.
    Inquire {
        inquiry: InquiryId,
        model: ModelId,
        provider: ProviderId,
        timeout: Span,
        reason: Reason,
        allowance: Box<Allowance>,
    },
    /// Forget an inquiry, and tell those who want to know what came of it, in one transaction; answer with `Closed`.
    Close { inquiry: InquiryId, job: JobId, model: ModelId, was: Inquiry, age: Span, ending: Ending },
    /// Make durable what [`engine::Engine::learned`] says of this model now. Needs no answer.
    Remember { model: ModelId },
    /// Result and job-done in one transaction (I2); answer with `Finished` or `StoreFailed`.
    Finish { key: Key, outcome: Arc<Outcome> },
    /// A dead letter for a job that was never accepted, durable; answer with `Finished` or `StoreFailed`.
    Refuse { key: Key, failure: Arc<Failure> },
    /// Put the stored result of this id into the outbox once more, addressed to `key`.
    Repeat { key: Key, id: JobId },
    /// Answer a waiting caller at once and without the store, which is what failed.
    Bounce { key: Key, failure: Failure },
    /// Hand a row to its transport.
    Deliver { transport: TransportId, row: RowId, epoch: Epoch },
    /// Remove a row from the outbox.
    Confirm { row: RowId },
    /// Give a row up for good: its receiver will not take it. The loss is counted.
    Bury { row: RowId, code: &'static str },
    /// End this connection: it answers nothing any more. The transport reports `LinkDown`, and comes back with another.
    Reset { transport: TransportId, epoch: Epoch },
    /// Nobody needs the request of this key any more.
    Forget { key: Key },
    /// How something was decided, for the log of decisions; only where [`engine::Engine::log_decisions`] was called. Needs
    /// no answer.
    Decided(Box<Decided>),
    /// Something that an operator wants to know.
    Note(Note),
}

/// A decision with everything that it depends on: `decide(&seen, &policy, &around)` is `decision`, today and whenever the log
/// is replayed.
#[derive(Clone, Debug, PartialEq)]
pub struct Decided {
    pub key: Key,
    pub model: ModelId,
    pub seen: Observation,
    pub policy: Policy,
    pub around: Circumstances,
    pub decision: Decision,
}

/// What the engine may expect of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkTerms {
    /// A row that stays without an answer for so long means that the connection is dead, whatever else still moves on it.
    pub patience: Option<Span>,
    /// A result stays until its consumer has sent a receipt: the broker's word is not enough.
    pub receipts: bool,
}

/// A row of the outbox as the engine sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxRow {
    pub row: RowId,
    pub transport: TransportId,
    /// The job whose result this is; `None` for dead letters and other notices.
    pub job: Option<JobId>,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Answered(Answer),
    Failed(Failure, Timing),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub source: Source,
    pub certified: bool,
    pub reason: Reason,
    pub evidence: Evidence,
    pub timing: Timing,
    /// To be asked afterwards.
    pub later: Option<Inquiry>,
    /// What the source has said about another frame of the same part.
    pub reused: Option<Said>,
}

/// What a provider says.
#[derive(Clone, Debug, PartialEq)]
pub struct Opinion {
    pub said: Said,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Local,
    Provider(ProviderId),
}

/// Where a job's time went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// Arrival to the start of preparation, without what follows.
    pub queue: Span,
    pub prepare: Span,
    pub infer: Span,
    pub provider: Option<Span>,
    pub total: Span,
}

/// Why a provider gave no usable answer; all the engine needs to know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderFault {
    /// There is no connection, or it broke.
    Unreachable,
    /// Somebody between us and the provider answered in its place: the way out is not open yet.
    CaptivePortal,
    /// The other end of the TLS connection is not to be trusted, or does not trust us; the code says why.
    Untrusted(&'static str),
    /// It does not take our key.
    Unauthorised,
    /// It wants to be left alone for so long.
    Limited(Span),
    /// It has trouble of its own.
    Failing,
    /// It does not take the question.
    Refused,
    TooSlow,
    BadAnswer,
    /// It was not asked: what must happen before anything leaves this device (redaction, the ledger) did not work. Says
    /// nothing about the provider.
    Withheld,
    /// The question is none for this provider: nothing was sent, and nothing is learned about it.
    Unsuited,
}

impl ProviderFault {
    /// It would be the same at another time.
    pub const fn blames_the_question(self) -> bool {
        matches!(self, Self::Refused | Self::BadAnswer | Self::Unsuited | Self::Withheld)
    }

    pub const fn code(self) -> &'static str {
        match self {
            Self::Unreachable => "provider/unreachable",
            Self::CaptivePortal => "provider/captive-portal",
            Self::Untrusted(code) => code,
            Self::Unauthorised => "provider/unauthorised",
            Self::Limited(_) => "provider/limited",
            Self::Failing => "provider/failing",
            Self::Refused => "provider/refused",
            Self::TooSlow => "provider/timeout",
            Self::BadAnswer => "provider/bad-answer",
            Self::Withheld => "egress/withheld",
            Self::Unsuited => "provider/unsuited",
        }
    }
}

/// How a receiver refused a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It takes nothing at the moment: no room, no quota, an error of its own. Says nothing about the row.
    Busy,
    /// It does not take this row from us. Rights may be corrected, so it is tried again, but not for ever.
    Forbidden,
}

/// Why the store did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreFault {
    /// No room: nothing is acknowledged until there is.
    Full,
    /// It did not answer, or its own queue was full.
    Unavailable,
}

impl StoreFault {
    pub const fn code(self) -> &'static str {
        match self {
            Self::Full => "store/full",
            Self::Unavailable => "store/unavailable",
        }
    }
}

/// Events for operators: one line in the log, one counter, some on `P/event`.
#[derive(Clone, Debug, PartialEq)]
pub enum Note {
    Duplicate {
        id: JobId,
    },
    StaleConfirm {
        row: RowId,
    },
    Undeliverable {
        row: RowId,
    },
    StoreFailed(StoreFault),
    Evicted {
        rows: usize,
    },
    ProviderFailed {
        provider: ProviderId,
        fault: ProviderFault,
    },
    /// A call cost more than its provider's configured price says: that is too low.
    Overrun {
        provider: ProviderId,
        beyond: Cost,
    },
    BreakerTripped {
        provider: ProviderId,
    },
    BreakerClosed {
        provider: ProviderId,
    },
    InquiryDropped {
        why: Dropped,
    },
    /// The certificate is suspended.
    Alarm {
        model: ModelId,
        evidence: AlarmEvidence,
    },
    /// There is another certificate.
    Recertified {
        model: ModelId,
        round: u32,
        cases: u64,
    },
}
