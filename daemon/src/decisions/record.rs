//! What the log of decisions says, record by record.
//!
//! Records are postcard, which does not describe itself: whoever changes a type that is in here, also one of the core
//! ([`Policy`], [`Circumstances`], [`Decision`], [`Observation`]), raises [`FORMAT`]. A test below notices.

use picket_core::{
    escalation::{
        alarms::Evidence as AlarmEvidence,
        decide::{Circumstances, Decision, Observation, Policy, Reason},
    },
    said::Said as Answer,
    time::Span,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::answer::boxes;

/// Of the records. A log of another one is moved aside by the daemon, and refused by whoever reads.
pub const FORMAT: u16 = 1;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub at: At,
    pub what: What,
}

/// When something was written down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct At {
    /// Microseconds since 1970 by the wall clock.
    pub wall: u64,
    /// A time service vouched for it.
    pub trusted: bool,
}

/// RFC 3339 in UTC; `None`: no calendar has it.
pub fn time(wall: u64) -> Option<String> {
    let time = std::time::UNIX_EPOCH.checked_add(std::time::Duration::from_micros(wall))?;
    // Of the year 9999: RFC 3339 ends there.
    (wall < 253_402_300_800_000_000).then(|| humantime::format_rfc3339_millis(time).to_string())
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum What {
    /// Before the first record of a file that refers to it.
    Setting(Box<Setting>),
    Judged(Box<Judged>),
    /// A provider that was asked did not help.
    Fault(Fault),
    /// How a job ended about which a provider was asked. One that nobody was asked about ends as it was decided.
    Ended(Ended),
    /// How the question about an answered job ended.
    Closed(Closed),
    /// A certificate is suspended; again in every file, as long as it is.
    Alarm(Alarm),
    /// The job was for another model. The last one: what was written before it existed reads as it did.
    StoodIn(StoodIn),
}

/// What was in force when something was decided, and how things are called.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    pub model: String,
    pub version: String,
    /// SHA-256 of the model file.
    pub model_sha256: String,
    /// By class; empty for tasks without.
    pub labels: Vec<String>,
    /// By [`picket_core::job::ProviderId`].
    pub providers: Vec<String>,
    /// Share of the jobs that the lottery draws.
    pub audit_rate: f64,
    pub policy: Policy,
}

/// Names a [`Setting`].
pub type SettingId = [u8; 16];

impl Setting {
    pub fn id(&self) -> SettingId {
        let hash = Sha256::digest(postcard::to_stdvec(self).unwrap_or_default());
        let mut id = [0; 16];
        id.copy_from_slice(&hash[..16]);
        id
    }

    /// The answer as people call it.
    pub fn label(&self, answer: &Answer) -> String {
        match answer {
            Answer::Class(class) => self.labels.get(*class).cloned().unwrap_or_else(|| format!("class {class}")),
            Answer::Value(value) => value.to_string(),
            Answer::Boxes(found) => boxes::in_words(&boxes::documents(found, &self.labels)),
        }
    }

    pub fn provider(&self, id: picket_core::job::ProviderId) -> &str {
        self.providers.get(id.0).map_or("?", |name| name)
    }
}

/// A decision, and everything that it depends on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    pub job: String,
    pub setting: SettingId,
    pub seen: Observation,
    pub around: Circumstances,
    pub decision: Decision,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    pub job: String,
    pub provider: String,
    pub code: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    pub job: String,
    pub how: How,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum How {
    Answered {
        reason: Reason,
        certified: bool,
        /// Whose answer went out; `None`: the local one.
        by: Option<Said>,
        /// A provider will be asked afterwards.
        later: bool,
    },
    /// The error's code.
    Failed(String),
}

/// What a provider said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Said {
    pub provider: String,
    /// Its model, as it states it.
    pub model: String,
    pub answer: Answer,
    pub confidence: Option<f32>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Closed {
    pub job: String,
    /// Since the answer went out.
    pub age: Span,
    pub reason: Reason,
    pub end: End,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum End {
    /// It says something else: revision 2.
    Amended(Said),
    Agreed(Said),
    /// Nobody answered; the code of the loss.
    Dropped(String),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alarm {
    pub model: String,
    pub evidence: AlarmEvidence,
}

/// A smaller model answered in the place of the one that the job was for: the board was too hot for that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoodIn {
    pub job: String,
    /// The model that the job was for.
    pub wanted: String,
}

/// `None`: no record of this format.
pub fn decode(payload: &[u8]) -> Option<Entry> {
    match postcard::take_from_bytes(payload) {
        Ok((entry, [])) => Some(entry),
        _ => None,
    }
}

/// # Errors
/// Cannot happen for these types; postcard wants it said.
pub fn encode(entry: &Entry) -> Result<Vec<u8>, String> {
    postcard::to_stdvec(entry).map_err(|error| error.to_string())
}
