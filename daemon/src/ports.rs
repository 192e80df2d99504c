//! The four ports of the house, and what passes through them.
//!
//! A [`Transport`] brings [`Request`]s and takes [`Message`]s, a [`Store`] keeps both, a [`Backend`] makes [`Runner`]s of
//! model bytes, a [`Provider`] answers what the local model could not. None of them knows another one; `run.rs` stands
//! between any two.

mod backend;
mod meter;
mod store;
mod stream;

use std::{
    future::Future,
    hash::{Hash, Hasher},
    pin::Pin,
    sync::Arc,
};

use bytes::Bytes;
use picket_core::{
    Input, ProviderFault,
    engine::{Allowance, Charge},
    escalation::{decide::Reason, money::Money},
    inquiry::InquiryId,
    job::{AckTicket, Epoch, Failure, JobId, Key, ModelId, Privacy, ProviderId, RowId, TransportId},
    said::{Measure, Said},
    time::{Moment, Span},
};
use tokio::sync::mpsc;

pub use self::backend::{Backend, BackendError, Constant, Fixed, Model, Runner};
pub use self::meter::Meter;
pub use self::store::{Attempts, DeadLetter, Death, Losses, NewRow, Recovered, Revived, Store, Write, Written};
pub use self::stream::{Begun, InStream, Inferred, StreamNote};
use crate::{
    media::Media,
    tensor::{Dtype, Tensor},
};

/// What the run loop hears.
#[derive(Debug)]
pub enum Event {
    /// A transport received something that is, or wanted to be, a job.
    Job(Box<Request>),
    /// An inference thread is done.
    Inferred { key: Key, model: ModelId, result: Result<Inferred, Failure>, prepare: Span, infer: Span },
    /// A provider call is over.
    Upstream {
        key: Key,
        provider: ProviderId,
        timeout: Span,
        took: Span,
        charge: Charge,
        result: Result<Upstream, (ProviderFault, String)>,
    },
    /// A provider call about an answered job is over.
    Opinion {
        inquiry: InquiryId,
        provider: ProviderId,
        timeout: Span,
        charge: Charge,
        result: Result<Upstream, (ProviderFault, String)>,
    },
    /// The store thread has made what it was given last durable, or could not.
    Stored(crate::store::desk::Done),
    /// How hot the board is.
    Heat(crate::board::watch::Sample),
    /// Anything that the core can be told as it is.
    Core(Input),
    /// Something happened to the egress ledger.
    Ledger(crate::ledger::Notice),
    /// Something that a transport has seen and the world is to know: an event, as it is announced.
    News(serde_json::Value),
    /// The face of the daemon is asked for something that the store knows.
    Errand(crate::store::desk::Errand),
    /// The face of the daemon is asked how it does.
    Status(tokio::sync::oneshot::Sender<crate::telemetry::Status>),
}

pub type Inbox = mpsc::Sender<Event>;

// === Transport ===

/// A job as a transport hands it in.
#[derive(Clone, Debug)]
pub struct Request {
    pub ticket: Option<AckTicket>,
    /// Name of the model that shall answer.
    pub model: Arc<str>,
    /// The user's job id; `None` when the transport has nothing to make one from.
    pub id: Option<JobId>,
    /// Set when the transport knows already that this cannot be answered.
    pub fault: Option<Failure>,
    pub deadline: Option<Span>,
    /// The asker wants no answer later than this after the job's arrival; the answer may be dropped then.
    pub expiry: Option<Span>,
    pub priority: u8,
    /// `None` takes the configured default class.
    pub privacy: Option<Privacy>,
    pub content: Content,
    pub reply: Reply,
    /// A later revision of the answer shall go to the reply address too.
    pub amend: bool,
    /// The part that several jobs show.
    pub group: Option<Arc<str>>,
    /// Where in which stream of its model.
    pub in_stream: InStream,
    /// A caller waits on the line: a repetition wants an answer of its own.
    pub answer_repeats: bool,
}

/// The bytes of a job, undecoded: decoding happens on the model's own threads.
#[derive(Clone, Debug)]
pub enum Content {
    /// A raw little-endian tensor for the model's first input; dtype and shape where they differ from the bundle's.
    Raw { bytes: Bytes, dtype: Option<Dtype>, shape: Option<Vec<usize>> },
    /// An Open Inference Protocol request; `binary` holds the tensors of the binary extension, back to back.
    Oip { json: Bytes, binary: Bytes },
    /// An image file, and what it is said to be; its first bytes decide.
    Image { bytes: Bytes, media: Media },
}

impl Content {
    /// Bytes of the payload.
    pub fn size(&self) -> usize {
        let (first, second) = self.parts();
        first.len() + second.map_or(0, Bytes::len)
    }

    /// The payload as it came, for digests and dead letters.
    pub const fn parts(&self) -> (&Bytes, Option<&Bytes>) {
        match self {
            Self::Raw { bytes, .. } | Self::Image { bytes, .. } => (bytes, None),
            Self::Oip { json, binary } => (json, Some(binary)),
        }
    }
}

/// Where the answer goes, and in which form.
#[derive(Clone, Debug)]
pub struct Reply {
    pub to: Address,
    pub face: Face,
}

/// A place that one transport can deliver to. Survives a restart where the transport's addresses do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub transport: TransportId,
    /// A topic for MQTT; the number of the waiting request for HTTP.
    pub to: Arc<str>,
    pub correlation: Option<Bytes>,
}

impl Address {
    /// Stands for this place: the same for the same transport, place and correlation data.
    pub fn mark(&self) -> u64 {
        let mut hash = std::hash::DefaultHasher::new();
        (self.transport.0, &self.to, &self.correlation).hash(&mut hash);
        hash.finish()
    }
}

/// The form of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Face {
    /// The result document of MQTT; output tensors only when asked for.
    Message { outputs: bool },
    /// An Open Inference Protocol response with the decision in its parameters.
    Oip { outputs: OutputForm },
}

/// Which outputs an Open Inference Protocol response carries, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutputForm {
    /// Binary unless the entry says otherwise (`binary_data_output` of the request).
    pub binary_by_default: bool,
    /// Requested outputs with their own wish; empty: all of the model's.
    pub requested: Vec<(String, Option<bool>)>,
}

/// One message on its way out; the stored bytes are what is sent, always (I2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub to: Address,
    pub payload: Bytes,
    /// Length of the JSON part when tensors follow it (binary extension).
    pub json_len: Option<usize>,
    /// Error code, when this is an error.
    pub code: Option<Arc<str>>,
    /// The job whose result this is; `None` for dead letters.
    pub job: Option<JobId>,
    /// Nobody wants it later than this: the asker set an expiry on the job.
    pub expires_at: Option<Moment>,
}

/// A running transport, seen from the run loop. No method waits.
pub trait Transport: Send {
    /// Hands over a row. The transport answers with `Confirmed`, `Rejected`, `Undeliverable` or `LinkDown`.
    fn deliver(&mut self, row: RowId, epoch: Epoch, message: Arc<Message>);

    /// Ends this connection, on which nothing is confirmed any more, and opens another.
    fn reset(&mut self, _epoch: Epoch) {}

    /// Lets the acknowledgement of an arrival leave, in order of receipt; drops it when the connection is another one.
    fn ack(&mut self, ticket: AckTicket);

    /// Answers a waiting caller directly: the store cannot.
    fn bounce(&mut self, _to: &Address, _failure: &Failure) {}

    /// Publishes something about this daemon (state, events), where the transport has a place for that.
    fn announce(&mut self, _what: Announcement) {}

    /// Where dead letters go, where the transport has a place for that.
    fn dead_letters(&self) -> Option<Address> {
        None
    }

    /// Where later revisions of this model's answers go, where the transport has a place for that.
    fn amendments(&self, _model: &str) -> Option<Address> {
        None
    }

    /// Whoever asks over it takes later revisions of the answer, wherever the answer itself goes.
    fn takes_amendments(&self) -> bool {
        false
    }

    /// Where answers go whose asker gave no place, where the transport has one.
    fn results(&self, _model: &str) -> Option<Address> {
        None
    }

    /// It brings jobs of its own: whatever it is told of their end, the answers are for whoever listens.
    fn passes_on(&self) -> bool {
        false
    }

    /// Largest payload that can leave.
    fn max_payload(&self) -> usize;

    /// Its tasks make progress: what a watchdog wants to know. A peer that is away is no standstill.
    fn is_moving(&self) -> bool {
        true
    }

    /// No new jobs, please.
    fn stop_intake(&mut self) {}

    /// Says good-bye and ends; resolves when everything handed over before has left, or cannot.
    fn close(self: Box<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// What a transport may tell the world about this daemon.
#[derive(Clone, Debug)]
pub enum Announcement {
    /// Retained: `online` with models, `stopped`.
    State(serde_json::Value),
    /// Retained: counters of everything that was ever dropped.
    Loss(serde_json::Value),
    Event(serde_json::Value),
}

// === Inference ===

/// One input or output of a model; `None` is a dimension that the job decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<Option<usize>>,
}

impl TensorSpec {
    pub fn accepts(&self, shape: &[usize]) -> bool {
        self.shape.len() == shape.len()
            && self.shape.iter().zip(shape).all(|(want, got)| want.is_none_or(|w| w == *got))
    }

    /// `1x64 FP32`; a free dimension is `?`.
    pub fn kind(&self) -> String {
        if self.shape.is_empty() {
            return format!("scalar {}", self.dtype);
        }
        let dims: Vec<String> =
            self.shape.iter().map(|d| d.map_or_else(|| "?".to_owned(), |n| n.to_string())).collect();
        format!("{} {}", dims.join("x"), self.dtype)
    }
}

/// What a model takes and gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    pub inputs: Vec<TensorSpec>,
    pub outputs: Vec<TensorSpec>,
}

// === Provider ===

/// A call that the engine has decided to make.
#[derive(Clone, Debug)]
pub struct Ask {
    pub model: ModelId,
    pub provider: ProviderId,
    pub timeout: Span,
    pub reason: Reason,
    pub allowance: Box<Allowance>,
}

/// A doubtful job, for somebody who knows better.
#[derive(Clone, Debug)]
pub struct Question {
    pub id: JobId,
    /// The job's input as it came, named and shaped by the bundle.
    pub inputs: Vec<Tensor>,
    /// Class names, in the order of the local model's scores.
    pub labels: Arc<[String]>,
    /// What kind of answer is wanted.
    pub measure: Measure,
    pub timeout: Span,
    /// So often it may be sent, in all.
    pub attempts: u32,
    /// Whatever leaves is counted there, before it does.
    pub meter: Arc<Meter>,
}

/// A provider's usable answer.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// A class is an index among the question's labels.
    pub said: Said,
    pub confidence: Option<f32>,
    pub outputs: Vec<Tensor>,
    /// Model name and version as the provider states them.
    pub model: String,
    /// What it cost, as the provider's usage says; `None`: what it may cost at most.
    pub cost: Option<Money>,
}

pub type Asking = Pin<Box<dyn Future<Output = Result<Upstream, (ProviderFault, String)>> + Send>>;

/// A bigger model somewhere else.
pub trait Provider: Send + Sync {
    /// Ends within the question's timeout. The error text is for the log.
    fn ask(&self, question: Question) -> Asking;
}

/// The daemon's clock: moments since its start. The core gets its time from here and from nowhere else.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: std::time::Instant,
}

impl Clock {
    pub fn start() -> Self {
        Self { start: std::time::Instant::now() }
    }

    pub fn now(&self) -> Moment {
        Moment::from_micros(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    pub fn instant(&self, moment: Moment) -> std::time::Instant {
        self.start + std::time::Duration::from_micros(moment.as_micros())
    }
}
