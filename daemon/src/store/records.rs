//! What the store's tables hold: postcard with a checksum, names instead of indices, stamps instead of moments.
//!
//! A record that has ever been written must be readable by every later version: add a schema version and a migration
//! before changing anything here.

mod inquiry;

use std::sync::Arc;

use bytes::Bytes;
use picket_core::{
    job::{Digest, Failure, JobId, Key, Privacy, StoredJob},
    time::{Moment, Span, Stamp},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub(super) use self::inquiry::InquiryRecord;
use super::{Names, blobs::BlobId};
use crate::{
    media::Media,
    ports::{Address, Content, DeadLetter, Face, InStream, Message, OutputForm, Reply, Request},
    tensor::Dtype,
};

/// Nothing here can fail to be written: every length is known. (If it did, the empty record would be found damaged.)
pub(super) fn encode<T: Serialize>(record: &T) -> Vec<u8> {
    let mut bytes = postcard::to_stdvec(record).unwrap_or_default();
    let check = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&check.to_le_bytes());
    bytes
}

/// `None`: these bytes are not what was written.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let (record, check) = bytes.split_last_chunk()?;
    (crc32fast::hash(record) == u32::from_le_bytes(*check)).then(|| postcard::from_bytes(record).ok())?
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Payload {
    Inline(Bytes),
    Blob(BlobId),
}

impl Payload {
    pub const fn blob(&self) -> Option<BlobId> {
        match self {
            Self::Inline(_) => None,
            Self::Blob(id) => Some(*id),
        }
    }
}

/// A moment that outlives the process: so much was left at that stamp.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Until {
    left_us: u64,
    boot: [u8; 16],
    up: u64,
    wall: u64,
    trusted: bool,
}

/// The present, in both measures.
#[derive(Clone, Copy)]
pub(super) struct Now {
    pub moment: Moment,
    pub stamp: Stamp,
}

impl Until {
    pub fn new(at: Moment, now: Now) -> Self {
        let Stamp { boot, up, wall, trusted } = now.stamp;
        Self { left_us: at.since(now.moment).as_micros(), boot, up, wall, trusted }
    }

    /// So long ago it was written.
    pub fn age(self, now: Now) -> Span {
        now.stamp.since(&Stamp { boot: self.boot, up: self.up, wall: self.wall, trusted: self.trusted })
    }

    pub fn moment(self, now: Now) -> Moment {
        now.moment + Span::from_micros(self.left_us).saturating_sub(self.age(now))
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct JobRecord {
    pub id: String,
    pub digest: Digest,
    pub model: String,
    pub until: Until,
    expiry_us: Option<u64>,
    priority: u8,
    privacy: u8,
    pub content: ContentRecord,
    to: AddressRecord,
    face: FaceRecord,
    amend: bool,
    group: Option<String>,
    /// How often a process died while it ran this job.
    pub attempts: u32,
    pub bytes: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum ContentRecord {
    Raw {
        bytes: Payload,
        dtype: Option<String>,
        shape: Option<Vec<u64>>,
    },
    Oip {
        json: Payload,
        binary: Payload,
    },
    /// Since schema 2.
    Image {
        bytes: Payload,
        media: String,
    },
    /// Since schema 2, and only for jobs that name their stream or their number: the bytes of all others are as before.
    InStream {
        key: Option<String>,
        seq: Option<u64>,
        content: Box<ContentRecord>,
    },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct AddressRecord {
    transport: String,
    to: String,
    correlation: Option<Bytes>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum FaceRecord {
    Message { outputs: bool },
    Oip { binary_by_default: bool, requested: Vec<(String, Option<bool>)> },
}

impl ContentRecord {
    /// Files that hold payloads of it.
    pub fn blobs(&self) -> impl Iterator<Item = BlobId> {
        self.payloads().filter_map(Payload::blob)
    }

    pub fn payloads(&self) -> impl Iterator<Item = &Payload> {
        let (first, second) = self.parts();
        std::iter::once(first).chain(second)
    }

    fn parts(&self) -> (&Payload, Option<&Payload>) {
        match self {
            Self::Raw { bytes, .. } | Self::Image { bytes, .. } => (bytes, None),
            Self::Oip { json, binary } => (json, Some(binary)),
            Self::InStream { content, .. } => content.parts(),
        }
    }

    /// With its place in a stream, if it has one.
    fn placed(self, place: &InStream) -> Self {
        if *place == InStream::default() {
            return self;
        }
        let key = place.key.as_deref().map(str::to_owned);
        Self::InStream { key, seq: place.seq, content: Box::new(self) }
    }

    fn place(&self) -> InStream {
        match self {
            Self::InStream { key, seq, .. } => InStream { key: key.as_deref().map(Arc::from), seq: *seq },
            _ => InStream::default(),
        }
    }

    /// `None`: something in it means nothing to this version.
    fn content(&self, payload: &impl Fn(&Payload) -> Option<Bytes>) -> Option<Content> {
        Some(match self {
            Self::Raw { bytes, dtype, shape } => Content::Raw {
                bytes: payload(bytes)?,
                dtype: match dtype {
                    Some(name) => Some(Dtype::parse(name)?),
                    None => None,
                },
                shape: shape.as_ref().map(|shape| shape.iter().map(|n| *n as usize).collect()),
            },
            Self::Oip { json, binary } => Content::Oip { json: payload(json)?, binary: payload(binary)? },
            Self::Image { bytes, media } => Content::Image { bytes: payload(bytes)?, media: Media::parse(media)? },
            Self::InStream { content, .. } => content.content(payload)?,
        })
    }
}

impl JobRecord {
    /// `payload` puts bytes where they belong.
    ///
    /// # Errors
    /// Those of `payload`.
    pub fn new<E>(
        job: &StoredJob,
        request: &Request,
        names: &Names,
        now: Now,
        bytes: u64,
        mut payload: impl FnMut(&Bytes) -> Result<Payload, E>,
    ) -> Result<Self, E> {
        let content = match &request.content {
            Content::Raw { bytes, dtype, shape } => ContentRecord::Raw {
                bytes: payload(bytes)?,
                dtype: dtype.map(|dtype| dtype.to_string()),
                shape: shape.as_ref().map(|shape| shape.iter().map(|n| *n as u64).collect()),
            },
            Content::Oip { json, binary } => ContentRecord::Oip { json: payload(json)?, binary: payload(binary)? },
            Content::Image { bytes, media } => {
                ContentRecord::Image { bytes: payload(bytes)?, media: media.name().to_owned() }
            }
        };
        let face = match &request.reply.face {
            Face::Message { outputs } => FaceRecord::Message { outputs: *outputs },
            Face::Oip { outputs } => {
                FaceRecord::Oip { binary_by_default: outputs.binary_by_default, requested: outputs.requested.clone() }
            }
        };
        Ok(Self {
            id: job.id.as_str().to_owned(),
            digest: job.digest,
            model: request.model.to_string(),
            until: Until::new(job.deadline_at, now),
            expiry_us: request.expiry.map(Span::as_micros),
            priority: job.priority,
            privacy: job.privacy as u8,
            content: content.placed(&request.in_stream),
            to: AddressRecord::new(&request.reply.to, names),
            face,
            amend: request.amend,
            group: request.group.as_deref().map(str::to_owned),
            attempts: job.attempts,
            bytes,
        })
    }

    /// `None`: something in it means nothing to this version.
    pub fn request(&self, names: &Names, payload: impl Fn(&Payload) -> Option<Bytes>) -> Option<Request> {
        let content = self.content.content(&payload)?;
        let face = match &self.face {
            FaceRecord::Message { outputs } => Face::Message { outputs: *outputs },
            FaceRecord::Oip { binary_by_default, requested } => Face::Oip {
                outputs: OutputForm { binary_by_default: *binary_by_default, requested: requested.clone() },
            },
        };
        Some(Request {
            ticket: None,
            model: self.model.as_str().into(),
            id: JobId::new(&self.id).ok(),
            fault: None,
            deadline: None,
            expiry: self.expiry_us.map(Span::from_micros),
            priority: self.priority,
            privacy: Some(self.privacy()),
            content,
            reply: Reply { to: self.to.address(names), face },
            amend: self.amend,
            group: self.group.as_deref().map(Arc::from),
            in_stream: self.content.place(),
            answer_repeats: false,
        })
    }

    pub fn stored(&self, key: Key, names: &Names, now: Now) -> Option<StoredJob> {
        let lost = || Failure::new("model/unknown", format!("there is no model {:?} here any more", self.model));
        Some(StoredJob {
            key,
            id: JobId::new(&self.id).ok()?,
            digest: self.digest,
            model: names.model(&self.model).ok_or_else(lost),
            deadline_at: self.until.moment(now),
            priority: self.priority,
            privacy: self.privacy(),
            // The lottery's key is the store's, its draw the house's.
            audit: false,
            bytes: self.bytes,
            attempts: self.attempts,
            asker: self.to.address(names).mark(),
        })
    }

    /// What cannot be understood must not leave.
    const fn privacy(&self) -> Privacy {
        match self.privacy {
            p if p == Privacy::Ok as u8 => Privacy::Ok,
            p if p == Privacy::Redacted as u8 => Privacy::Redacted,
            _ => Privacy::Never,
        }
    }
}

impl AddressRecord {
    fn new(address: &Address, names: &Names) -> Self {
        Self {
            transport: names.transport_name(address.transport).to_owned(),
            to: address.to.to_string(),
            correlation: address.correlation.clone(),
        }
    }

    fn address(&self, names: &Names) -> Address {
        Address {
            transport: names.transport(&self.transport),
            to: self.to.as_str().into(),
            correlation: self.correlation.clone(),
        }
    }
}

/// A message, for as long as it is to be sent or kept for repetition.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct MessageRecord {
    to: AddressRecord,
    pub payload: Payload,
    json_len: Option<u64>,
    code: Option<String>,
    pub job: Option<String>,
    until: Option<Until>,
}

impl MessageRecord {
    /// The topic, or whatever the transport calls a place.
    pub fn to(&self) -> &str {
        &self.to.to
    }

    pub fn new(message: &Message, payload: Payload, names: &Names, now: Now) -> Self {
        Self {
            to: AddressRecord::new(&message.to, names),
            payload,
            json_len: message.json_len.map(|len| len as u64),
            code: message.code.as_deref().map(str::to_owned),
            job: message.job.as_ref().map(|id| id.as_str().to_owned()),
            until: message.expires_at.map(|at| Until::new(at, now)),
        }
    }

    pub fn message(&self, payload: Bytes, names: &Names, now: Now) -> Message {
        Message {
            to: self.to.address(names),
            payload,
            json_len: self.json_len.map(|len| len as usize),
            code: self.code.as_deref().map(Arc::from),
            job: self.job.as_deref().and_then(|id| JobId::new(id).ok()),
            expires_at: self.until.map(|until| until.moment(now)),
        }
    }
}

/// A message that is not confirmed: what the engine has to know of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct RowRecord {
    pub transport: String,
    pub job: Option<String>,
    pub bytes: u64,
}

/// A finished job id, and where its result is if it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SeenRecord {
    pub id: String,
    pub digest: Digest,
    /// Row and payload bytes.
    pub kept: Option<(u64, u64)>,
}

/// A dead letter and what it was.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct DeadRecord {
    pub letter: DeadLetter,
    pub was: Was,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Was {
    Job(JobRecord),
    Row(MessageRecord),
}

impl DeadRecord {
    /// Files that it keeps alive.
    pub fn blobs(&self) -> Vec<BlobId> {
        match &self.was {
            Was::Job(job) => job.content.blobs().collect(),
            Was::Row(message) => message.payload.blob().into_iter().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_without_a_place_in_a_stream_is_written_as_before_and_one_with_it_comes_back() {
        let plain = ContentRecord::Raw { bytes: Payload::Inline("x".into()), dtype: None, shape: None };
        assert_eq!(encode(&plain.clone().placed(&InStream::default())), encode(&plain));
        let place = InStream { key: Some("mic".into()), seq: Some(u64::MAX) };
        let back: ContentRecord = decode(&encode(&plain.placed(&place))).unwrap();
        assert_eq!(back.place(), place);
        assert_eq!(back.payloads().count(), 1);
        let inline = |payload: &Payload| match payload {
            Payload::Inline(bytes) => Some(bytes.clone()),
            Payload::Blob(_) => None,
        };
        assert!(matches!(back.content(&inline), Some(Content::Raw { bytes, .. }) if bytes == "x"));
    }

    #[test]
    fn an_image_comes_after_what_older_versions_wrote() {
        let payload = || Payload::Inline(Bytes::from_static(b"x"));
        let raw = ContentRecord::Raw { bytes: payload(), dtype: None, shape: None };
        let oip = ContentRecord::Oip { json: payload(), binary: payload() };
        let image = ContentRecord::Image { bytes: payload(), media: "image/png".into() };
        let first = |record: &ContentRecord| postcard::to_stdvec(record).unwrap()[0];
        assert_eq!((first(&raw), first(&oip), first(&image)), (0, 1, 2));
        assert_eq!(image.payloads().count(), 1);
    }

    #[test]
    fn a_record_with_any_bit_flipped_is_not_read() {
        let record = SeenRecord { id: "press-4/1".into(), digest: [7; 32], kept: Some((9, 1_000)) };
        let written = encode(&record);
        assert_eq!(decode::<SeenRecord>(&written).unwrap().id, record.id);
        for bit in 0..written.len() * 8 {
            let mut damaged = written.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(decode::<SeenRecord>(&damaged).is_none(), "bit {bit}");
        }
        for length in 0..written.len() {
            assert!(decode::<SeenRecord>(&written[..length]).is_none(), "{length} bytes");
        }
    }
}
