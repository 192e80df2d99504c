//! One line of the ledger: a JSON object whose last field is the hash of everything before it.
//!
//! `{"seq":7,"prev":"…",…,"hash":"…"}`: `hash` is the SHA-256 of the text before `,"hash":"`, `prev` the `hash` of the line
//! before. So a line can be checked with `sed` and `sha256sum`, and none can change without the next one noticing.

use picket_core::escalation::{budget::Spent, money::Money};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::answer::hex;

/// What a chain's first line says it is.
pub const FORMAT: &str = "picket-ledger/1";
/// `prev` of a chain's first line.
pub const NOTHING: &str = "0000000000000000000000000000000000000000000000000000000000000000";

const BEFORE_HASH: &[u8] = b",\"hash\":\"";
const AFTER_HASH: &[u8] = b"\"}";

/// What a line says. Times are RFC 3339 in UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Counts from 0, through all files of the chain.
    pub seq: u64,
    pub prev: String,
    pub time: String,
    /// A time service vouched for the clock.
    pub time_trusted: bool,
    #[serde(flatten)]
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum What {
    /// The first line of every chain, and no other.
    Begins(Begins),
    /// A request is about to leave.
    Leaves(Box<Leaving>),
    /// What became of it.
    Settled(Settled),
    /// The oldest file goes, to keep the ledger's size.
    Dropped(Dropped),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begins {
    pub format: String,
    /// The damaged ledger that was moved aside for this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<After>,
}

/// What is known of a damaged ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct After {
    /// The folder beside it where its files are now.
    pub moved_to: String,
    pub why: String,
    /// Its last good line, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_good: Option<Link>,
}

/// Everything about a request that leaves, but the request itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaving {
    pub job: String,
    /// The id that the provider sees instead, for redacted jobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pseudonym: Option<String>,
    pub model: String,
    pub provider: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Reason code of the escalation.
    pub reason: String,
    /// Privacy class of the job.
    pub privacy: String,
    /// Redaction steps in their order, with their numbers.
    pub redaction: Vec<String>,
    /// Tensors that leave, by name, shape and type.
    pub tensors: Vec<String>,
    /// Bytes of their elements.
    pub bytes: u64,
    /// SHA-256 of these bytes, tensor after tensor.
    pub sha256: String,
    /// What the call may cost at most.
    pub reserved_nanos: Money,
    /// All that is spent or reserved at this moment: what the next process begins with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Booked>,
}

/// A state of the budget, and when that was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Booked {
    #[serde(flatten)]
    pub spent: Spent,
    /// Boot of the machine, and microseconds since.
    pub boot: String,
    pub up_us: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// `seq` of the line that this is about.
    pub of: u64,
    /// `answered`, or the code of what went wrong; `egress/withheld`: it did not leave after all.
    pub outcome: String,
    /// As the provider's usage says; without it, what was reserved.
    pub cost_nanos: Money,
    /// Bytes of the request's body, where the provider tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent: Option<u64>,
}

/// A file that is gone, and with it these lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    pub file: String,
    pub first: u64,
    pub last: u64,
    /// `hash` of its last line: `prev` of the line that is the oldest now.
    pub hash: String,
}

/// A place in the chain: a line and its hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    pub seq: u64,
    pub hash: String,
}

/// A line as it is written, with its line end, and its place in the chain.
///
/// # Errors
/// It cannot be JSON.
pub fn seal(line: &Line) -> serde_json::Result<(Vec<u8>, Link)> {
    let mut text = serde_json::to_vec(line)?;
    text.pop(); // the closing brace
    let hash = hex(&Sha256::digest(&text));
    text.extend_from_slice(BEFORE_HASH);
    text.extend_from_slice(hash.as_bytes());
    text.extend_from_slice(AFTER_HASH);
    text.push(b'\n');
    Ok((text, Link { seq: line.seq, hash }))
}

/// Reads a line, without its line end, that follows `before`; `None`: it is the first of its file, whatever it follows.
///
/// # Errors
/// Says what is wrong with it.
pub fn follow(before: Option<&Link>, text: &[u8]) -> Result<(Line, Link), String> {
    let changed = || "it was changed: its hash is not that of its text".to_owned();
    let whole = text.strip_suffix(AFTER_HASH).ok_or_else(changed)?;
    let (rest, hash) = whole.split_at_checked(whole.len().saturating_sub(NOTHING.len())).ok_or_else(changed)?;
    let body = rest.strip_suffix(BEFORE_HASH).ok_or_else(changed)?;
    let right = hex(&Sha256::digest(body));
    if hash != right.as_bytes() {
        return Err(changed());
    }
    let line: Line = serde_json::from_slice(&[body, b"}"].concat()).map_err(|why| format!("it is no line: {why}"))?;
    let begins = matches!(line.what, What::Begins(_));
    if begins != (line.seq == 0) || begins != (line.prev == NOTHING) {
        return Err(format!("line {} cannot stand where a chain begins", line.seq));
    }
    if let Some(before) = before {
        if line.seq != before.seq + 1 {
            return Err(format!("line {} follows line {}", line.seq, before.seq));
        }
        if line.prev != before.hash {
            return Err(format!("it does not follow line {}: that one was another", before.seq));
        }
    }
    let link = Link { seq: line.seq, hash: right };
    Ok((line, link))
}

/// The full lines of a file, and what comes behind the last line end.
pub fn split(text: &[u8]) -> (impl Iterator<Item = &[u8]>, &[u8]) {
    let end = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let (full, tail) = text.split_at(end);
    (full.split_inclusive(|byte| *byte == b'\n').map(|line| &line[..line.len() - 1]), tail)
}
