//! Inquiries: answered jobs about which a provider is still to be asked.
//!
//! The answer has gone out. What a provider says later amends it, if it says something else, and teaches what the local
//! model is worth.

use serde::{Deserialize, Serialize};

use crate::{
    escalation::decide::Reason,
    job::{Failure, JobId, ModelId, Privacy},
    said::Said,
    time::Span,
};

/// Number of an inquiry in the store. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InquiryId(pub u64);

/// Why it waits, and so what becomes of it when there are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lane {
    /// Drawn by lottery. First come, first asked; never dropped by value: that would bias what is learned.
    Audit,
    /// Doubtful. The most valuable is asked first, the least goes first.
    Value,
}

/// What is remembered of the answer that went out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inquiry {
    pub lane: Lane,
    /// What the amendment will say if a provider answers.
    pub reason: Reason,
    /// What the answer said of itself.
    pub answered: Reason,
    /// The local answer.
    pub said: Said,
    pub s: f32,
    pub p_wrong: f32,
    pub certified: bool,
    /// Drawn by lottery, whatever its lane: it measures.
    pub audit: bool,
    /// Expected gain of asking, as a probability (escalation.md 2.2).
    pub gain: f64,
    pub privacy: Privacy,
}

/// An inquiry as the store keeps it; what recovery gives back.
#[derive(Clone, Debug)]
pub struct StoredInquiry {
    pub id: InquiryId,
    pub job: JobId,
    /// `Err` where the configuration has lost the model meanwhile.
    pub model: Result<ModelId, Failure>,
    pub inquiry: Inquiry,
    /// Since the answer went out.
    pub age: Span,
    /// Of the input.
    pub bytes: u64,
}

/// How an inquiry ends.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// A provider says something else: revision 2.
    Amended { said: Said },
    /// A provider says the same.
    Agreed,
    /// Nobody was asked, or nobody answered.
    Dropped(Dropped),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dropped {
    /// Others are worth more, and the queue is full.
    Evicted,
    /// It is worth less now than a call costs, or nobody wants to know any more.
    Expired,
    /// Every provider has failed with it, not for want of a link.
    Refused,
    /// Its model is gone.
    Orphaned,
}

impl Dropped {
    pub const ALL: [Self; 4] = [Self::Evicted, Self::Expired, Self::Refused, Self::Orphaned];

    /// As the loss counters name it.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Evicted => "inquiry_evicted",
            Self::Expired => "inquiry_expired",
            Self::Refused => "inquiry_refused",
            Self::Orphaned => "inquiry_orphaned",
        }
    }
}
