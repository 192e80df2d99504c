//! What the core knows of a job: enough to decide, nothing of its bytes.

use serde::{Deserialize, Serialize};

use std::{fmt, sync::Arc};

use crate::{
    limits,
    time::{Moment, Span},
};

/// One arrival inside this process: a job, or a repetition of one. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub u64);

/// An outbox row: one message that stays until its transport confirms it. The store numbers them upwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowId(pub u64);

/// Index of a model in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ModelId(pub usize);

/// Index of a provider in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProviderId(pub usize);

/// Index of a transport among the running ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TransportId(pub usize);

/// Number of a transport's connection; the next connection has another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(pub u32);

/// The right to acknowledge one arrival on the connection that brought it, and on no other (I6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AckTicket {
    pub transport: TransportId,
    pub epoch: Epoch,
    /// Position in the order of receipt on that connection.
    pub serial: u64,
}

/// A job id as users give it: 1–128 bytes of `[A-Za-z0-9._:/-]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(Arc<str>);

impl JobId {
    /// # Errors
    /// Says what is wrong with the id.
    pub fn new(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.len() > limits::JOB_ID_BYTES {
            return Err(format!("a job id has 1 to {} bytes, this one has {}", limits::JOB_ID_BYTES, text.len()));
        }
        match text.chars().find(|c| !(c.is_ascii_alphanumeric() || "._:/-".contains(*c))) {
            Some(bad) => Err(format!("a job id consists of [A-Za-z0-9._:/-], this one has {bad:?}")),
            None => Ok(Self(text.into())),
        }
    }

    /// The id of a job that brought none: made of its digest, so that the same job gets the same id.
    pub fn from_digest(digest: &Digest) -> Self {
        let hex = digest[..16].iter().flat_map(|byte| [byte >> 4, byte & 15]);
        let text: String = "sha-".chars().chain(hex.filter_map(|n| char::from_digit(n.into(), 16))).collect();
        Self(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// SHA-256 of what makes a job the same job: model, content type and payload.
pub type Digest = [u8; 32];

/// May the input leave this device?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Privacy {
    /// It must not.
    Never,
    /// Only after redaction; without a redaction step for its model this decides like `Never`.
    Redacted,
    #[default]
    Ok,
}

impl Privacy {
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "never" => Some(Self::Never),
            "redacted" => Some(Self::Redacted),
            "ok" => Some(Self::Ok),
            _ => None,
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Redacted => "redacted",
            Self::Ok => "ok",
        }
    }

    /// `redacts`: there is something that takes out of the input what must not leave.
    pub const fn may_leave(self, redacts: bool) -> bool {
        match self {
            Self::Never => false,
            Self::Redacted => redacts,
            Self::Ok => true,
        }
    }
}

/// What a transport knows of a job when it arrives.
#[derive(Clone, Debug)]
pub struct Arrival {
    pub key: Key,
    pub id: JobId,
    pub digest: Digest,
    /// `Err` when the request itself is already known to be unanswerable (unknown model, broken envelope …).
    pub model: Result<ModelId, Failure>,
    /// Useful until this long after arrival; `None` takes the model's default.
    pub deadline: Option<Span>,
    /// 0 (last) to 9 (first).
    pub priority: u8,
    pub privacy: Privacy,
    /// The part that several jobs show.
    pub group: Option<Arc<str>>,
    /// The lottery has drawn it for a second opinion.
    pub audit: bool,
    /// Of its input.
    pub bytes: u64,
    /// Present when the transport wants to be told that the job is durable.
    pub ticket: Option<AckTicket>,
    /// A repetition of this job wants its own answer (a caller is waiting), even while the first is still under way.
    pub answer_repeats: bool,
    /// Stands for whoever asks and where: a redelivery has the same, somebody else wants an answer of their own.
    pub asker: u64,
    /// An operator wants a dead job to be run once more, although its id has come to an end.
    pub again: bool,
}

/// A job as the store keeps it; what recovery gives back.
#[derive(Clone, Debug)]
pub struct StoredJob {
    pub key: Key,
    pub id: JobId,
    pub digest: Digest,
    /// `Err` where the configuration has lost the model meanwhile.
    pub model: Result<ModelId, Failure>,
    pub deadline_at: Moment,
    pub priority: u8,
    pub privacy: Privacy,
    pub audit: bool,
    pub bytes: u64,
    pub asker: u64,
    /// How often a process has died while it ran this job.
    pub attempts: u32,
}

/// Why a job got no answer. The code is stable; users match on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    pub code: &'static str,
    pub message: String,
    /// What was expected, where that makes sense.
    pub want: Option<String>,
    pub got: Option<String>,
}

impl Failure {
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), want: None, got: None }
    }

    #[must_use]
    pub fn expected(mut self, want: impl Into<String>, got: impl Into<String>) -> Self {
        self.want = Some(want.into());
        self.got = Some(got.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn job_ids_are_bounded_and_printable() {
        assert!(JobId::new("press-4/18834:a_b.c".replace('_', "-").as_str()).is_ok());
        assert!(JobId::new("").is_err());
        assert!(JobId::new(&"x".repeat(129)).is_err());
        assert!(JobId::new("a b").unwrap_err().contains("' '"));
        assert!(JobId::new("ä").is_err());
    }
}
