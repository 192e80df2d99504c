//! How records lie in a file, so that a damaged one costs itself and not those behind it.
//!
//! ```text
//! file    "picket-decisions" | format u16 | number of the first record u64 | CRC of these
//! record  mark | length u32 | number u64 | CRC of length, number and payload | payload
//! ```
//!
//! Little-endian; the CRC is CRC-32. Numbers count through all files, so that a gap tells how many records are missing.

use picket_core::limits;

pub const HEAD_BYTES: usize = NAME.len() + 2 + 8 + 4;
const NAME: &[u8; 16] = b"picket-decisions";
/// No text that a record holds has these bytes: none of them is UTF-8.
const MARK: [u8; 4] = [0xf5, 0xff, 0xc1, 0xfe];
const FRAME_BYTES: usize = MARK.len() + 4 + 8 + 4;

/// A file's first bytes.
pub fn head(format: u16, first: u64) -> Vec<u8> {
    let mut head = NAME.to_vec();
    head.extend_from_slice(&format.to_le_bytes());
    head.extend_from_slice(&first.to_le_bytes());
    head.extend_from_slice(&crc32fast::hash(&head).to_le_bytes());
    head
}

/// What a file's first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    Of {
        format: u16,
        first: u64,
    },
    /// Cut off, or changed.
    Damaged,
}

pub fn read_head(bytes: &[u8]) -> Head {
    let number =
        |from: usize| bytes.get(from..from + 8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
    let format = bytes.get(16..18).and_then(|bytes| bytes.try_into().ok()).map(u16::from_le_bytes);
    let crc = bytes.get(26..30).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes);
    match (format, number(18), crc) {
        (Some(format), Some(first), Some(crc)) if bytes.starts_with(NAME) && crc == crc32fast::hash(&bytes[..26]) => {
            Head::Of { format, first }
        }
        _ => Head::Damaged,
    }
}

/// Appends a record.
pub fn push(into: &mut Vec<u8>, number: u64, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes();
    into.extend_from_slice(&MARK);
    into.extend_from_slice(&length);
    into.extend_from_slice(&number.to_le_bytes());
    into.extend_from_slice(&crc(&length, &number.to_le_bytes(), payload).to_le_bytes());
    into.extend_from_slice(payload);
}

fn crc(length: &[u8], number: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(length);
    hasher.update(number);
    hasher.update(payload);
    hasher.finalize()
}

/// What [`walk`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walked {
    /// Behind the last whole record.
    pub good: usize,
    /// Number of the next record.
    pub next: u64,
    /// Records that are missing between others.
    pub missing: u64,
    /// Bytes behind the last whole record.
    pub rest: usize,
}

/// Shows every whole record of a file's bytes to `visit`; `from` is where they begin, `next` the number of the first.
pub fn walk(bytes: &[u8], from: usize, next: u64, mut visit: impl FnMut(u64, &[u8])) -> Walked {
    let from = from.min(bytes.len());
    let mut walked = Walked { good: from, next, missing: 0, rest: 0 };
    let mut at = from;
    while let Some(mark) = find(bytes, at) {
        match record(&bytes[mark..]) {
            // One that was there before is no new one.
            Some((number, payload)) if number >= walked.next => {
                walked.missing = walked.missing.saturating_add(number - walked.next);
                visit(number, payload);
                at = mark + FRAME_BYTES + payload.len();
                walked.next = number.saturating_add(1);
                walked.good = at;
            }
            _ => at = mark + 1,
        }
    }
    walked.rest = bytes.len() - walked.good;
    walked
}

fn find(bytes: &[u8], from: usize) -> Option<usize> {
    bytes.get(from..)?.windows(MARK.len()).position(|window| window == MARK).map(|at| from + at)
}

/// The record that begins here.
fn record(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (head, rest) = bytes.split_at_checked(FRAME_BYTES)?;
    let (length, number, sum) = (&head[4..8], &head[8..16], &head[16..20]);
    let bytes = u32::from_le_bytes(length.try_into().ok()?) as usize;
    if bytes > limits::DECISION_BYTES {
        return None;
    }
    let payload = rest.get(..bytes)?;
    let right = crc(length, number, payload).to_le_bytes() == sum;
    right.then_some((u64::from_le_bytes(number.try_into().ok()?), payload))
}
