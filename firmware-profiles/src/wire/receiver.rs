//! Bytes as they come in, to frames.

use super::{Address, ENCODED_MAX, Frame, decode};

/// What came in and was no frame of this version. Each is counted, and what comes after it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Bytes between two 0x00 that are no COBS, or whose checksum is wrong: noise, or two frames that lost what was
    /// between them.
    Noise,
    /// More bytes without a 0x00 than a frame may have.
    TooLong,
    /// The checksum is right, yet there is no version and address. There is nobody to answer.
    Malformed,
    /// The checksum is right, and the body says nothing in this version: answer with `RejectCode::UNREADABLE`.
    Unreadable {
        /// Whom to answer, and about which frame.
        address: Address,
    },
    /// A sound frame of another version: answer with `RejectCode::VERSION`.
    Version {
        /// The frame's version.
        version: u8,
        /// Whom to answer, and about which frame.
        address: Address,
    },
}

impl Fault {
    /// The fault's stable code, for logs and counters.
    pub fn code(self) -> &'static str {
        match self {
            Self::Noise => "wire/noise",
            Self::TooLong => "wire/too-long",
            Self::Malformed => "wire/malformed",
            Self::Unreadable { .. } => "wire/unreadable",
            Self::Version { .. } => "wire/version",
        }
    }
}

/// How often what came in. They stop at their highest number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames.
    pub frames: u32,
    /// [`Fault::Noise`].
    pub noise: u32,
    /// [`Fault::TooLong`].
    pub too_long: u32,
    /// [`Fault::Malformed`].
    pub malformed: u32,
    /// [`Fault::Unreadable`].
    pub unreadable: u32,
    /// [`Fault::Version`].
    pub version: u32,
}

impl Counters {
    fn count(&mut self, result: &Result<Frame<'_>, Fault>) {
        let counter = match result {
            Ok(_) => &mut self.frames,
            Err(Fault::Noise) => &mut self.noise,
            Err(Fault::TooLong) => &mut self.too_long,
            Err(Fault::Malformed) => &mut self.malformed,
            Err(Fault::Unreadable { .. }) => &mut self.unreadable,
            Err(Fault::Version { .. }) => &mut self.version,
        };
        *counter = counter.saturating_add(1);
    }
}

/// Finds the frames in a stream of bytes. It holds one frame of at most `N` bytes on the wire and nothing more, whatever
/// comes in. A gateway takes [`ENCODED_MAX`]; a node needs no more than the gateway's longest frame.
///
/// After noise it is in step again at the next 0x00. Whoever opens a line sends one 0x00 first, so that what stood there
/// before does not spoil the first frame.
#[derive(Clone, Debug)]
pub struct Receiver<const N: usize = ENCODED_MAX> {
    buffer: [u8; N],
    length: usize,
    /// There were more bytes than the buffer holds; the rest up to the 0x00 is left alone.
    overflowed: bool,
    counters: Counters,
}

impl<const N: usize> Default for Receiver<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Receiver<N> {
    /// A receiver that has heard nothing yet.
    pub const fn new() -> Self {
        let counters = Counters { frames: 0, noise: 0, too_long: 0, malformed: 0, unreadable: 0, version: 0 };
        Self { buffer: [0; N], length: 0, overflowed: false, counters }
    }

    /// What came in so far.
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Forgets the beginning of a frame; for a line that was opened anew.
    pub fn clear(&mut self) {
        self.length = 0;
        self.overflowed = false;
    }

    /// Takes bytes from the front of `bytes` up to the end of the next frame, and returns it. Call it until it returns
    /// `None`; then all the bytes are taken.
    pub fn receive(&mut self, bytes: &mut &[u8]) -> Option<Result<Frame<'_>, Fault>> {
        loop {
            let Some(end) = bytes.iter().position(|byte| *byte == 0) else {
                self.keep(bytes);
                *bytes = &[];
                return None;
            };
            let (piece, rest) = bytes.split_at(end);
            self.keep(piece);
            *bytes = rest.get(1..).unwrap_or_default();
            // Two 0x00 in a row have nothing between them, and that is allowed.
            if self.overflowed || self.length > 0 {
                return Some(self.finish());
            }
        }
    }

    /// Takes one byte; the last byte of a frame returns it.
    pub fn receive_byte(&mut self, byte: u8) -> Option<Result<Frame<'_>, Fault>> {
        self.receive(&mut [byte].as_slice())
    }

    fn keep(&mut self, piece: &[u8]) {
        match self.buffer.get_mut(self.length..self.length + piece.len()) {
            Some(room) if !self.overflowed => {
                room.copy_from_slice(piece);
                self.length += piece.len();
            }
            _ => self.overflowed = true,
        }
    }

    fn finish(&mut self) -> Result<Frame<'_>, Fault> {
        let (length, overflowed) = (self.length, self.overflowed);
        self.clear();
        let result = match self.buffer.get_mut(..length) {
            Some(encoded) if !overflowed => decode(encoded),
            _ => Err(Fault::TooLong),
        };
        self.counters.count(&result);
        result
    }
}
