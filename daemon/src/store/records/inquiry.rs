//! A question that outlives its job.

use picket_core::{
    escalation::decide::Reason,
    inquiry::{Inquiry, InquiryId, Lane, StoredInquiry},
    job::{Failure, JobId},
};
use serde::{Deserialize, Serialize};

use super::{JobRecord, Now, Until};
use crate::store::{Names, blobs::BlobId};

/// An answered job about which a provider is still to be asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::store) struct InquiryRecord {
    pub job: JobRecord,
    since: Until,
    audit_lane: bool,
    reason: String,
    answered: String,
    class: u32,
    s: f32,
    p_wrong: f32,
    certified: bool,
    audit: bool,
    gain: f64,
}

impl InquiryRecord {
    pub fn new(job: JobRecord, inquiry: &Inquiry, now: Now) -> Self {
        Self {
            job,
            since: Until::new(now.moment, now),
            audit_lane: inquiry.lane == Lane::Audit,
            reason: inquiry.reason.code().to_owned(),
            answered: inquiry.answered.code().to_owned(),
            class: u32::try_from(inquiry.class).unwrap_or(u32::MAX),
            s: inquiry.s,
            p_wrong: inquiry.p_wrong,
            certified: inquiry.certified,
            audit: inquiry.audit,
            gain: inquiry.gain,
        }
    }

    /// `None`: something in it means nothing to this version.
    pub fn stored(&self, id: InquiryId, names: &Names, now: Now) -> Option<StoredInquiry> {
        let lost = || Failure::new("model/unknown", format!("there is no model {:?} here any more", self.job.model));
        Some(StoredInquiry {
            id,
            job: JobId::new(&self.job.id).ok()?,
            model: names.model(&self.job.model).ok_or_else(lost),
            inquiry: Inquiry {
                lane: if self.audit_lane { Lane::Audit } else { Lane::Value },
                reason: Reason::parse(&self.reason)?,
                answered: Reason::parse(&self.answered)?,
                class: self.class as usize,
                s: self.s,
                p_wrong: self.p_wrong,
                certified: self.certified,
                audit: self.audit,
                gain: self.gain,
                privacy: self.job.privacy(),
            },
            age: self.since.age(now),
            bytes: self.job.bytes,
        })
    }

    /// Files that it keeps alive.
    pub fn blobs(&self) -> impl Iterator<Item = BlobId> {
        self.job.content.blobs()
    }
}
