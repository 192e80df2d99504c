//! A question that outlives its job.

use picket_core::{
    boxes::Found,
    escalation::decide::Reason,
    inquiry::{Inquiry, InquiryId, Lane, StoredInquiry},
    job::{Failure, JobId},
    said::Said,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

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
    /// [`NO_CLASS`] where the answer is none.
    class: u32,
    s: f32,
    p_wrong: f32,
    certified: bool,
    audit: bool,
    gain: f64,
    other: Appended<Other>,
}

/// Answers that are no class.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Other {
    Value(f64),
    Boxes(Vec<Found>),
}

const NO_CLASS: u32 = u32::MAX;

/// What came to a record after it was first written. Where there is none, the bytes are those of the versions that did not
/// know of it, and theirs are read as such: the checksum says that nothing is missing. Only the last field can be one.
#[derive(Clone, Debug)]
struct Appended<T>(Option<T>);

impl<T: Serialize> Serialize for Appended<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Some(there) => there.serialize(serializer),
            // A unit is no byte at all.
            None => serializer.serialize_unit(),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Appended<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(T::deserialize(deserializer).ok()))
    }
}

impl InquiryRecord {
    pub fn new(job: JobRecord, inquiry: &Inquiry, now: Now) -> Self {
        let (class, other) = match &inquiry.said {
            Said::Class(class) => (u32::try_from(*class).unwrap_or(NO_CLASS), None),
            Said::Value(value) => (NO_CLASS, Some(Other::Value(*value))),
            Said::Boxes(boxes) => (NO_CLASS, Some(Other::Boxes(boxes.clone()))),
        };
        Self {
            job,
            since: Until::new(now.moment, now),
            audit_lane: inquiry.lane == Lane::Audit,
            reason: inquiry.reason.code().to_owned(),
            answered: inquiry.answered.code().to_owned(),
            class,
            s: inquiry.s,
            p_wrong: inquiry.p_wrong,
            certified: inquiry.certified,
            audit: inquiry.audit,
            gain: inquiry.gain,
            other: Appended(other),
        }
    }

    /// `None`: something in it means nothing to this version.
    pub fn stored(&self, id: InquiryId, names: &Names, now: Now) -> Option<StoredInquiry> {
        let lost = || Failure::new("model/unknown", format!("there is no model {:?} here any more", self.job.model));
        let said = match &self.other.0 {
            Some(Other::Value(value)) => Said::Value(*value),
            Some(Other::Boxes(boxes)) => Said::Boxes(boxes.clone()),
            None if self.class == NO_CLASS => return None,
            None => Said::Class(self.class as usize),
        };
        Some(StoredInquiry {
            id,
            job: JobId::new(&self.job.id).ok()?,
            model: names.model(&self.job.model).ok_or_else(lost),
            inquiry: Inquiry {
                lane: if self.audit_lane { Lane::Audit } else { Lane::Value },
                reason: Reason::parse(&self.reason)?,
                answered: Reason::parse(&self.answered)?,
                said,
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

#[cfg(test)]
mod tests {
    use picket_core::{
        escalation::decide::Reason,
        job::Privacy,
        time::{Moment, Stamp},
    };

    use super::*;
    use crate::store::records::{AddressRecord, ContentRecord, FaceRecord, Payload, decode, encode};

    const NOW: Now = Now { moment: Moment::ZERO, stamp: Stamp { boot: [7; 16], up: 1, wall: 2, trusted: true } };

    fn job() -> JobRecord {
        JobRecord {
            id: "press-4/1".into(),
            digest: [7; 32],
            model: "wear".into(),
            until: Until::new(Moment::ZERO, NOW),
            expiry_us: None,
            priority: 4,
            privacy: 0,
            content: ContentRecord::Raw { bytes: Payload::Inline("x".into()), dtype: None, shape: None },
            to: AddressRecord { transport: "mqtt".into(), to: "answers".into(), correlation: None },
            face: FaceRecord::Message { outputs: false },
            amend: false,
            group: None,
            attempts: 0,
            bytes: 1,
        }
    }

    fn inquiry(said: Said) -> Inquiry {
        Inquiry {
            lane: Lane::Value,
            reason: Reason::EscBelowLambda,
            answered: Reason::LocalUncertifiedLink,
            said,
            s: 0.5,
            p_wrong: 0.25,
            certified: false,
            audit: true,
            gain: 0.4,
            privacy: Privacy::Ok,
        }
    }

    fn read(bytes: &[u8]) -> Option<Said> {
        let names = Names { models: vec!["wear".into()], transports: vec!["mqtt".into()] };
        Some(decode::<InquiryRecord>(bytes)?.stored(InquiryId(3), &names, NOW)?.inquiry.said)
    }

    /// As versions wrote it that knew only classes.
    fn written_before(class: u32) -> Vec<u8> {
        let (reason, answered) = (Reason::EscBelowLambda.code(), Reason::LocalUncertifiedLink.code());
        let since = Until::new(NOW.moment, NOW);
        encode(&(job(), since, false, reason, answered, class, 0.5_f32, 0.25_f32, false, (true, 0.4_f64)))
    }

    #[test]
    fn every_answer_comes_back() {
        let a_box = Found { class: 300, score: 0.5, x: -1.0, y: 2.0, w: 3.0, h: 4.0 };
        let boxes = [Said::Boxes(vec![]), Said::Boxes(vec![a_box, a_box])];
        let others = [Said::Class(0), Said::Class(70_000), Said::Value(-3.25), Said::Value(0.0)];
        for said in others.into_iter().chain(boxes) {
            assert_eq!(read(&encode(&InquiryRecord::new(job(), &inquiry(said.clone()), NOW))), Some(said));
        }
    }

    #[test]
    fn a_class_is_written_and_read_as_by_versions_that_knew_nothing_else() {
        assert_eq!(read(&written_before(9)), Some(Said::Class(9)));
        assert_eq!(encode(&InquiryRecord::new(job(), &inquiry(Said::Class(9)), NOW)), written_before(9));
    }

    #[test]
    fn an_answer_of_a_kind_that_is_not_known_is_no_class() {
        assert_eq!(read(&written_before(NO_CLASS)), None);
    }
}
