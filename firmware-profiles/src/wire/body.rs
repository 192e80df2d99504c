//! What frames say.

use core::fmt;

use serde::{Deserialize, Serialize};

use super::Samples;
use crate::units::Ratio;

/// What a frame says. The order is part of the wire: a new body comes last, and `Reject` stays the first for ever.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Body<'a> {
    /// Gateway → node: the frame `seq` was understood to the letter, or not at all, and will not be worked on.
    Reject {
        /// Which of the node's frames.
        seq: u32,
        /// Why.
        code: RejectCode,
    },
    /// Node → gateway: who is there. Repeated until welcomed, and now and then to keep the clocks together.
    Hello {
        /// Name of the node's profile, one of [`crate::nodes::PROFILES`].
        #[serde(borrow)]
        profile: &'a str,
        /// [`crate::nodes::Profile::fingerprint`]: both sides mean the same channels, or say so.
        fingerprint: u32,
        /// The node's clock when it sent this, in µs since its start.
        t_us: u64,
    },
    /// Gateway → node: its Hello was understood.
    Welcome {
        /// Which Hello.
        seq: u32,
        /// The gateway's clock when it sent this, in µs since 1970.
        now_us: u64,
        /// How many frames the node may have under way without an acknowledgement; at least 1.
        window: u8,
    },
    /// Node → gateway: what one channel measured.
    Reading {
        /// Index in the profile's channels.
        channel: u8,
        /// The node's clock at the first sample, in µs since its start.
        t_us: u64,
        /// The samples, at the channel's rate.
        #[serde(borrow)]
        samples: Samples<'a>,
    },
    /// Node → gateway: a job. Its id is the frame's address.
    Job {
        /// Name of the model.
        #[serde(borrow)]
        model: &'a str,
        /// The model's first tensor, in the order of its shape: for a profile's window, channel after channel.
        #[serde(borrow)]
        input: Samples<'a>,
    },
    /// Gateway → node: the answer to a job. Repeated until the node's [`Body::Receipt`].
    Verdict(#[serde(borrow)] Verdict<'a>),
    /// Gateway → node: the frame `seq` is safe with the gateway, and need not be sent again.
    Ack {
        /// Which of the node's frames.
        seq: u32,
    },
    /// Node → gateway: the verdict has come. It says which, and not in which frame, so that a gateway that was
    /// restarted knows too.
    Receipt {
        /// Which job.
        seq: u32,
        /// Which of its verdicts.
        revision: u16,
    },
}

impl Body<'_> {
    /// Its text; an empty one if it has none. No body has two.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Hello { profile, .. } => profile,
            Self::Job { model, .. } => model,
            Self::Verdict(Verdict { outcome: Outcome::Failed { code }, .. }) => code,
            _ => "",
        }
    }
}

/// The answer to a job, or a later and better one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict<'a> {
    /// Which job of the node.
    pub seq: u32,
    /// 1 for the first answer; a higher one amends it.
    pub revision: u16,
    /// No other revision will follow.
    pub last: bool,
    /// What it came to.
    #[serde(borrow)]
    pub outcome: Outcome<'a>,
}

/// What a job came to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Outcome<'a> {
    /// One of the model's labels.
    Class {
        /// Index of the label.
        class: u16,
        /// The model's confidence.
        confidence: Ratio,
        /// The answer stands under the model's certificate.
        certified: bool,
    },
    /// Whether the input is out of the ordinary.
    Anomaly {
        /// The model's score; which scores are high is the bundle's business.
        score: f32,
        /// It is.
        anomalous: bool,
    },
    /// A number, in the bundle's unit.
    Value {
        /// The number.
        value: f32,
    },
    /// There is no answer, and there will be none.
    Failed {
        /// The error's stable code, as in `job/expired`; at most [`super::TEXT_MAX`] bytes.
        #[serde(borrow)]
        code: &'a str,
    },
}

/// Why a frame is refused. A number, so that an older node can read a newer gateway's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RejectCode(pub u8);

impl RejectCode {
    /// The frame's version is not spoken here; this frame's version is.
    pub const VERSION: Self = Self(1);
    /// The gateway does not know this start of the node: say Hello first, then send again.
    pub const HELLO_FIRST: Self = Self(2);
    /// There is no such profile, or it means other channels than the gateway's.
    pub const PROFILE: Self = Self(3);
    /// The profile has no such channel.
    pub const CHANNEL: Self = Self(4);
    /// There is no such model, or nodes may not use it.
    pub const MODEL: Self = Self(5);
    /// The samples are not what the model or the channel takes.
    pub const INPUT: Self = Self(6);
    /// Too much at once: send again later.
    pub const BUSY: Self = Self(7);
    /// Another node has this id.
    pub const NODE_TAKEN: Self = Self(8);
    /// The frame is sound, but says nothing in its version.
    pub const UNREADABLE: Self = Self(9);

    /// The same frame may be taken later: the node keeps it.
    pub fn is_passing(self) -> bool {
        matches!(self, Self::HELLO_FIRST | Self::BUSY)
    }

    /// The code in words, for logs and counters.
    pub fn name(self) -> &'static str {
        match self {
            Self::VERSION => "node/version",
            Self::HELLO_FIRST => "node/hello-first",
            Self::PROFILE => "node/profile",
            Self::CHANNEL => "node/channel",
            Self::MODEL => "node/model",
            Self::INPUT => "node/input",
            Self::BUSY => "node/busy",
            Self::NODE_TAKEN => "node/id-taken",
            Self::UNREADABLE => "node/unreadable",
            _ => "node/unknown-code",
        }
    }
}

impl fmt::Display for RejectCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
