//! The node's side of the wire, for every board: Hello until welcomed, a window of frames that are repeated until they
//! are acknowledged, the gateway's clock, verdicts and their receipts. No time is read and nothing is allocated; a
//! board brings its serial port, its time and what it does with a [`Heard`].
//!
//! ```text
//!             Hello, every REPEAT_US                    Reading, Job; each until Ack or Reject
//!  Greeting ───────────────────────────▶ Welcome ▶ Welcomed ◀──────────────────────────────────┐
//!     ▲                                               │  └── Hello every GREET_AGAIN_US, for the clock ──┘
//!     └──────────── Reject(HELLO_FIRST) ──────────────┘
//! ```
//! `Reject(VERSION | PROFILE | NODE_TAKEN)` ends in `Refused`: it is asked again only every [`GREET_AGAIN_US`].

mod block;
mod window;

pub use block::Block;
pub use window::{Window, WindowError};

use embedded_hal_nb::serial;

use crate::{
    clock::ClockOffset,
    nodes::Profile,
    wire::{Address, Body, Fault, Frame, NodeId, Receiver, RejectCode, Samples, Verdict, encode},
};

/// How long a Hello or a frame waits for its answer before it goes out again, in µs.
pub const REPEAT_US: u64 = 250_000;
/// How often a node that is welcome says Hello again, in µs: the clocks stay together, and a gateway that was restarted
/// without a frame to refuse learns of the node.
pub const GREET_AGAIN_US: u64 = 30_000_000;
/// Receipts that wait for the line. One that finds no room is not lost: the gateway repeats its verdict.
const RECEIPTS: usize = 4;
/// Verdicts that a node remembers, so that it tells none of them twice.
pub const ANSWERED: usize = 64;
/// A gateway sends a node at most this many verdicts from the oldest one without a receipt on, that one included: what
/// may come again is remembered. A quarter of [`ANSWERED`], because a gateway that was killed counts anew.
pub const VERDICTS_AHEAD: usize = ANSWERED / 4;
/// A Hello or a receipt on the wire is never longer.
const SHORT_FRAME: usize = 128;

/// What a board is told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Heard<'a> {
    /// The gateway is there; for the first time, or again.
    Welcomed,
    /// The answer to a job, or a later one. Each revision is told once, and none after a later one, also where the line
    /// lost the receipt and the gateway repeats it: it keeps to [`VERDICTS_AHEAD`].
    Verdict(Verdict<'a>),
    /// The gateway has the frame.
    Acknowledged {
        /// Which frame.
        seq: u32,
    },
    /// The gateway does not take the frame. It is given up, unless [`RejectCode::is_passing`].
    Rejected {
        /// Which frame.
        seq: u32,
        /// Why.
        code: RejectCode,
    },
    /// Bytes that were no frame; counted by the receiver.
    Fault(Fault),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Greeting,
    Welcomed,
    /// The gateway will not have this node as it is.
    Refused,
}

/// The Hello under way.
#[derive(Clone, Copy, Debug)]
struct Hello {
    seq: u32,
    sent_us: u64,
    due_us: u64,
}

/// A node's side of the wire: `SLOTS` frames under way of at most `BYTES` bytes on the wire each, and room for `HEARD`
/// bytes of what the gateway says ([`HEARD_MAX`](Self::HEARD_MAX) is enough for all it can say).
#[derive(Clone, Debug)]
pub struct Uplink<const SLOTS: usize, const BYTES: usize, const HEARD: usize = 256> {
    node: NodeId,
    boot: u32,
    profile: &'static Profile,
    state: State,
    last_seq: u32,
    hello: Hello,
    window: Window<SLOTS, BYTES>,
    receiver: Receiver<HEARD>,
    clock: Option<ClockOffset>,
    receipts: [Option<(u32, u16)>; RECEIPTS],
    /// The verdicts that were told last; a ring. A later revision takes a place of its own.
    answered: [(u32, u16); ANSWERED],
    oldest: usize,
    sending: Sending<BYTES>,
}

/// What is going out, byte by byte.
#[derive(Clone, Debug)]
struct Sending<const BYTES: usize> {
    bytes: [u8; BYTES],
    length: usize,
    next: usize,
}

impl<const SLOTS: usize, const BYTES: usize, const HEARD: usize> Uplink<SLOTS, BYTES, HEARD> {
    /// Bytes on the wire of the longest frame that a gateway sends to a node: a verdict that failed with a long code.
    pub const HEARD_MAX: usize = SHORT_FRAME;
    const ROOM: () = assert!(SLOTS > 0 && BYTES >= SHORT_FRAME && HEARD >= SHORT_FRAME, "too small for the wire");

    /// A node that has not said anything. `boot` must be another one than after the starts before: from a counter that
    /// outlives the power, or from a source of chance; the gateway takes what is numbered as before for a repetition.
    pub const fn new(node: NodeId, boot: u32, profile: &'static Profile) -> Self {
        const { Self::ROOM };
        Self {
            node,
            boot,
            profile,
            state: State::Greeting,
            last_seq: 0,
            hello: Hello { seq: 0, sent_us: 0, due_us: 0 },
            window: Window::new(REPEAT_US),
            receiver: Receiver::new(),
            clock: None,
            receipts: [None; RECEIPTS],
            answered: [(0, 0); ANSWERED],
            oldest: 0,
            // One 0x00 first: what the line carried before does not spoil the Hello.
            sending: Sending { bytes: [0; BYTES], length: 1, next: 0 },
        }
    }

    /// The gateway has welcomed this start of the node.
    pub fn is_welcome(&self) -> bool {
        self.state == State::Welcomed
    }

    /// Whether a reading or job would be taken now.
    pub fn has_room(&self) -> bool {
        !self.window.is_full()
    }

    /// Frames that wait for their acknowledgement.
    pub fn under_way(&self) -> usize {
        self.window.len()
    }

    /// What the line did so far.
    pub fn line(&self) -> (crate::wire::Counters, u32) {
        (self.receiver.counters(), self.window.repeated())
    }

    /// The gateway's clock, in µs since 1970, when the node's shows `now_us`; once it has said it.
    pub fn gateway_us(&self, now_us: u64) -> Option<u64> {
        self.clock.map(|clock| clock.peer_us(now_us))
    }

    /// Takes the samples of one channel, the first of them measured at `t_us` of the node's clock. Returns the frame's
    /// number.
    ///
    /// # Errors
    /// The window is full or the frame does not fit; nothing has changed.
    pub fn reading(&mut self, channel: u8, t_us: u64, samples: Samples<'_>) -> Result<u32, WindowError> {
        self.push(Body::Reading { channel, t_us, samples })
    }

    /// Takes a job. Returns its number, which its verdict will name.
    ///
    /// # Errors
    /// As [`Self::reading`].
    pub fn job(&mut self, model: &str, input: Samples<'_>) -> Result<u32, WindowError> {
        self.push(Body::Job { model, input })
    }

    fn push(&mut self, body: Body<'_>) -> Result<u32, WindowError> {
        let seq = self.last_seq.wrapping_add(1);
        self.window.push(&Frame { address: self.address(seq), body })?;
        self.last_seq = seq;
        Ok(seq)
    }

    fn address(&self, seq: u32) -> Address {
        Address { node: self.node, boot: self.boot, seq }
    }

    /// Reads what a serial port has and writes what it takes, without waiting for it, and tells what was heard. Call it
    /// as often as you can: a port holds few bytes. A port's errors are the line's noise, and the checksum finds them.
    pub fn poll<P>(&mut self, port: &mut P, now_us: u64, heard: &mut impl FnMut(Heard<'_>))
    where
        P: serial::Read<u8> + serial::Write<u8>,
    {
        loop {
            match port.read() {
                Ok(byte) => self.receive(byte, now_us, heard),
                Err(nb::Error::Other(_)) => {}
                Err(nb::Error::WouldBlock) => break,
            }
            self.write(port, now_us);
        }
        while self.write(port, now_us) {}
    }

    /// Writes one byte, if there is one and the port takes it.
    fn write<P: serial::Write<u8>>(&mut self, port: &mut P, now_us: u64) -> bool {
        let Some(byte) = self.next_byte(now_us) else { return false };
        let written = port.write(byte).is_ok();
        if written {
            self.sending.next += 1;
        }
        written
    }

    /// The byte that is to go out now.
    fn next_byte(&mut self, now_us: u64) -> Option<u8> {
        if self.sending.next >= self.sending.length {
            self.sending.length = self.next_frame(now_us);
            self.sending.next = 0;
        }
        self.sending.bytes.get(self.sending.next..self.sending.length)?.first().copied()
    }

    /// Puts the next frame into the buffer: receipts first, which let the gateway forget; then Hello, then the window.
    fn next_frame(&mut self, now_us: u64) -> usize {
        if let Some((seq, revision)) = self.receipts.iter_mut().find_map(Option::take) {
            return self.put(Body::Receipt { seq, revision });
        }
        if now_us >= self.hello.due_us {
            return self.greet(now_us);
        }
        if self.state != State::Welcomed {
            return 0;
        }
        let Some(frame) = self.window.due(now_us) else { return 0 };
        match self.sending.bytes.get_mut(..frame.len()) {
            Some(room) => room.copy_from_slice(frame),
            None => return 0,
        }
        frame.len()
    }

    fn greet(&mut self, now_us: u64) -> usize {
        let seq = self.last_seq.wrapping_add(1);
        self.last_seq = seq;
        let wait_us = if self.state == State::Greeting { REPEAT_US } else { GREET_AGAIN_US };
        self.hello = Hello { seq, sent_us: now_us, due_us: now_us.saturating_add(wait_us) };
        self.put(Body::Hello { profile: self.profile.name, fingerprint: self.profile.fingerprint(), t_us: now_us })
    }

    fn put(&mut self, body: Body<'_>) -> usize {
        // A Hello or receipt has its own number; it is not repeated as it is, and nobody acknowledges it.
        let seq = if let Body::Hello { .. } = body { self.hello.seq } else { 0 };
        encode(&Frame { address: self.address(seq), body }, &mut self.sending.bytes).unwrap_or_default()
    }

    /// Takes one byte of the line. [`Self::poll`] does it for a port.
    pub fn receive(&mut self, byte: u8, now_us: u64, heard: &mut impl FnMut(Heard<'_>)) {
        let Some(result) = self.receiver.receive_byte(byte) else { return };
        let frame = match result {
            Err(fault) => return heard(Heard::Fault(fault)),
            Ok(frame) => frame,
        };
        // Another node on the same line, or what was meant for this one before it was started anew.
        if (frame.address.node, frame.address.boot) != (self.node, self.boot) {
            return;
        }
        match frame.body {
            Body::Welcome { seq, now_us: gateway_us, window } if seq == self.hello.seq => {
                let measured = ClockOffset::from_round_trip(self.hello.sent_us, now_us, gateway_us);
                self.clock = Some(self.clock.map_or(measured, |known| known.or_better(measured)));
                self.window.limit(window);
                self.hello.due_us = now_us.saturating_add(GREET_AGAIN_US);
                if self.state != State::Welcomed {
                    self.state = State::Welcomed;
                    self.window.all_due();
                    heard(Heard::Welcomed);
                }
            }
            Body::Ack { seq } if self.window.settle(seq) => heard(Heard::Acknowledged { seq }),
            Body::Verdict(verdict) => {
                // Whoever answers has the job: its acknowledgement may be lost for ever, and need not come.
                self.window.settle(verdict.seq);
                let receipt = Some((verdict.seq, verdict.revision));
                if !self.receipts.contains(&receipt)
                    && let Some(room) = self.receipts.iter_mut().find(|room| room.is_none())
                {
                    *room = receipt;
                }
                if is_news((&mut self.answered, &mut self.oldest), &verdict) {
                    heard(Heard::Verdict(verdict));
                }
            }
            Body::Reject { seq, code } => {
                let rejected = reject(&mut self.window, &mut self.state, &mut self.hello, (seq, code), now_us);
                if rejected {
                    heard(Heard::Rejected { seq, code });
                }
            }
            // A late Welcome, a repeated Ack, or a node's frame on a shared line.
            _ => {}
        }
    }
}

/// Whether this revision, or a later one, was not there before.
fn is_news((answered, oldest): (&mut [(u32, u16); ANSWERED], &mut usize), verdict: &Verdict<'_>) -> bool {
    let told = |(seq, revision): &(u32, u16)| *seq == verdict.seq && *revision >= verdict.revision.max(1);
    if answered.iter().any(told) {
        return false;
    }
    if let Some(place) = answered.get_mut(*oldest) {
        *place = (verdict.seq, verdict.revision.max(1));
    }
    *oldest = (*oldest + 1) % ANSWERED;
    true
}

/// What a Reject changes; says whether it was about anything under way.
fn reject<const SLOTS: usize, const BYTES: usize>(
    window: &mut Window<SLOTS, BYTES>,
    state: &mut State,
    hello: &mut Hello,
    (seq, code): (u32, RejectCode),
    now_us: u64,
) -> bool {
    match code {
        _ if seq == hello.seq => {
            *state = State::Refused;
            hello.due_us = now_us.saturating_add(GREET_AGAIN_US);
            true
        }
        RejectCode::HELLO_FIRST if *state == State::Welcomed => {
            *state = State::Greeting;
            hello.due_us = now_us;
            true
        }
        code if code.is_passing() => window.put_off(seq, now_us),
        _ => window.settle(seq),
    }
}

#[cfg(test)]
mod tests;
