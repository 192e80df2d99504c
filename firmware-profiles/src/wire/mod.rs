//! The wire between nodes and gateway: `COBS( postcard(Frame) ++ CRC-32C )`, ended by 0x00, at most [`DECODED_MAX`]
//! bytes before COBS.
//!
//! A frame is a version, an [`Address`] and a [`Body`]. Version, address and [`Body::Reject`] are the same in every
//! version, so that a stranger can be told that its version is not spoken here; everything else may change with it.
//! The golden bytes of every version stand in `tests/golden.rs`.
//!
//! The checksum is CRC-32C (Castagnoli; `CRC_32_ISCSI` in the catalogue of CRC algorithms), little-endian.

mod body;
mod receiver;
mod samples;

pub use body::{Body, Outcome, RejectCode, Verdict};
pub use receiver::{Counters, Fault, Receiver};
pub use samples::{Samples, SamplesError, Values};

use core::fmt;

use crc::{CRC_32_ISCSI, Crc};
use postcard::ser_flavors::{Cobs, Slice, crc::CrcModifier};
use serde::{Deserialize, Serialize};

/// Version that the frames of this crate carry in their first byte.
pub const VERSION: u8 = 1;
/// The most bytes that a frame with its checksum may have before COBS.
pub const DECODED_MAX: usize = 4096;
/// The most bytes that a frame takes on the wire: one more for every 254, and the 0x00 at its end.
pub const ENCODED_MAX: usize = cobs::max_encoding_length(DECODED_MAX) + 1;
/// The most bytes of a text in a frame: a profile's or a model's name, an error's code.
pub const TEXT_MAX: usize = 64;

const CHECK_BYTES: usize = 4;
static CRC32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// A node's identity: the chip's own number, or one given to it. Two nodes of one gateway have different ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Which frame it is. What a node sends is named by this for ever: it is the id of its job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Address {
    /// The node that sends the frame, or that it is sent to.
    pub node: NodeId,
    /// Another number after every start of the node. The gateway's frames repeat it: a node leaves alone what was meant
    /// for itself before a restart.
    pub boot: u32,
    /// The sender's own count of frames, from 1; a repeated frame keeps it. The gateway counts for each node.
    pub seq: u32,
}

/// As a job's id: `node/{16 hex digits}/{boot}/{seq}`.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node/{}/{}/{}", self.node, self.boot, self.seq)
    }
}

/// One frame of this version.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Frame<'a> {
    /// Which frame it is.
    pub address: Address,
    /// What it says.
    pub body: Body<'a>,
}

/// What stands before the body, in every version.
#[derive(Serialize, Deserialize)]
struct Head {
    version: u8,
    address: Address,
}

#[derive(Serialize)]
struct Whole<'f, 'a> {
    head: Head,
    body: &'f Body<'a>,
}

/// A frame that cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncodeError {
    /// A text has more than [`TEXT_MAX`] bytes.
    TextTooLong,
    /// The frame has more than [`DECODED_MAX`] bytes.
    FrameTooLong,
    /// The caller's buffer is too short for the frame.
    BufferTooShort,
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TextTooLong => "a text of the frame is too long",
            Self::FrameTooLong => "the frame is too long",
            Self::BufferTooShort => "the buffer is too short for the frame",
        })
    }
}

/// Writes a frame as it goes over the wire, with its 0x00, and returns how many bytes it takes; [`ENCODED_MAX`] bytes
/// of buffer are always enough.
///
/// # Errors
/// What is too long; the buffer's content is then of no use.
pub fn encode(frame: &Frame<'_>, buffer: &mut [u8]) -> Result<usize, EncodeError> {
    if frame.body.text().len() > TEXT_MAX {
        return Err(EncodeError::TextTooLong);
    }
    let whole = Whole { head: Head { version: VERSION, address: frame.address }, body: &frame.body };
    let long = |_| EncodeError::BufferTooShort;
    // Counted first: the limit is one of the frame itself, whatever COBS makes of it.
    let length = postcard::serialize_with_flavor(&whole, postcard::ser_flavors::Size::default()).map_err(long)?;
    if length + CHECK_BYTES > DECODED_MAX {
        return Err(EncodeError::FrameTooLong);
    }
    let cobs = Cobs::try_new(Slice::new(buffer)).map_err(long)?;
    let written = postcard::serialize_with_flavor::<_, _, &mut [u8]>(&whole, CrcModifier::new(cobs, CRC32C.digest()));
    written.map(|bytes| bytes.len()).map_err(long)
}

/// Reads what stood between two 0x00, and overwrites it with the frame that it was.
///
/// # Errors
/// What is wrong with it.
pub fn decode(encoded: &mut [u8]) -> Result<Frame<'_>, Fault> {
    let length = cobs::decode_in_place(encoded).map_err(|_| Fault::Noise)?;
    let decoded = encoded.get(..length).unwrap_or_default();
    if length > DECODED_MAX {
        return Err(Fault::TooLong);
    }
    let (content, check) = decoded.split_last_chunk::<CHECK_BYTES>().ok_or(Fault::Noise)?;
    if CRC32C.checksum(content) != u32::from_le_bytes(*check) {
        return Err(Fault::Noise);
    }
    let (head, body) = postcard::take_from_bytes::<Head>(content).map_err(|_| Fault::Malformed)?;
    if head.version != VERSION {
        return Err(Fault::Version { version: head.version, address: head.address });
    }
    let unreadable = Fault::Unreadable { address: head.address };
    match postcard::take_from_bytes::<Body<'_>>(body) {
        Ok((body, [])) if body.text().len() <= TEXT_MAX => Ok(Frame { address: head.address, body }),
        _ => Err(unreadable),
    }
}
