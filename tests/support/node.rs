//! A microcontroller as far as the wire goes: the node's side of `firmware-profiles`, over a pty whose line may be bad.

use std::{
    collections::{BTreeMap, VecDeque},
    convert::Infallible,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    time::{Duration, Instant},
};

use embedded_hal_nb::serial;
use firmware_profiles::{
    nodes::Profile,
    uplink::{Heard, Uplink},
    wire::{NodeId, RejectCode, Samples, Verdict},
};
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::pty::Pty;

/// A job of the hydraulic rig fits.
type Wire = Uplink<4, 2_048>;

/// How often the line does what to a message, each of 0 to 1.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trouble {
    pub lost: f64,
    pub doubled: f64,
    pub flipped: f64,
    pub noise: f64,
    /// Its 0x00 is lost: it is one with the next.
    pub glued: f64,
    /// It comes after later ones.
    pub late: f64,
    /// Nothing reaches the node.
    pub deaf: bool,
}

/// What a node was told.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    pub revision: u16,
    pub last: bool,
    /// [`firmware_profiles::wire::Outcome`] in words, floats as they are.
    pub outcome: String,
}

pub struct Node {
    id: u64,
    profile: &'static Profile,
    wire: Box<Wire>,
    line: Line,
    start: Instant,
    /// Nothing is ever sent: a way to wait.
    pace: (SyncSender<()>, Receiver<()>),
    /// By the job's number.
    pub verdicts: BTreeMap<u32, Vec<Told>>,
    pub acknowledged: Vec<u32>,
    pub rejected: Vec<(u32, RejectCode)>,
    pub welcomes: usize,
}

/// The serial port that the node's side is given.
struct Line {
    pty: Option<Pty>,
    incoming: VecDeque<u8>,
    /// The message that is being written.
    message: Vec<u8>,
    outgoing: VecDeque<u8>,
    /// What comes after later messages, in each direction.
    late: [Vec<u8>; 2],
    trouble: Trouble,
    chance: StdRng,
}

/// Index into [`Line::late`].
const UP: usize = 0;
const DOWN: usize = 1;

impl Line {
    /// What a bad line makes of one message.
    fn carry(&mut self, direction: usize, mut message: Vec<u8>) -> Vec<u8> {
        let Trouble { lost, doubled, flipped, noise, glued, late, deaf: _ } = self.trouble;
        let mut happens = |often: f64| self.chance.random_bool(often);
        if happens(lost) {
            return Vec::new();
        }
        if happens(late) {
            self.late[direction].extend(message);
            return Vec::new();
        }
        let (twice, flip, noisy, glue) = (happens(doubled), happens(flipped), happens(noise), happens(glued));
        if flip {
            let at = self.chance.random_range(0..message.len());
            message[at] ^= 1 << self.chance.random_range(0..8);
        }
        if glue {
            message.pop();
        }
        if twice {
            message.extend(message.clone());
        }
        if noisy {
            let bytes: usize = self.chance.random_range(1..40);
            message.splice(0..0, (0..bytes).map(|_| self.chance.random()).collect::<Vec<u8>>());
        }
        message.append(&mut self.late[direction]);
        message
    }

    /// Says whether anything came or went.
    fn pump(&mut self) -> bool {
        let Some(pty) = self.pty.as_mut() else {
            self.outgoing.clear();
            return false;
        };
        let written = pty.write(self.outgoing.make_contiguous());
        self.outgoing.drain(..written);
        let mut bytes = pty.read();
        if self.trouble.deaf {
            bytes.clear();
        }
        for message in bytes.split_inclusive(|byte| *byte == 0) {
            // What the gateway says suffers as much.
            let carried = self.carry(DOWN, message.to_vec());
            self.incoming.extend(carried);
        }
        written > 0 || !bytes.is_empty()
    }
}

impl serial::ErrorType for Line {
    type Error = NoError;
}

/// This line has no errors of its own: what it garbles the checksum finds.
#[derive(Debug)]
pub struct NoError(Infallible);

impl serial::Error for NoError {
    fn kind(&self) -> serial::ErrorKind {
        match self.0 {}
    }
}

impl serial::Read<u8> for Line {
    fn read(&mut self) -> nb::Result<u8, Self::Error> {
        self.incoming.pop_front().ok_or(nb::Error::WouldBlock)
    }
}

impl serial::Write<u8> for Line {
    fn write(&mut self, byte: u8) -> nb::Result<(), Self::Error> {
        self.message.push(byte);
        if byte == 0 {
            let message = std::mem::take(&mut self.message);
            let carried = self.carry(UP, message);
            self.outgoing.extend(carried);
        }
        Ok(())
    }

    fn flush(&mut self) -> nb::Result<(), Self::Error> {
        Ok(())
    }
}

impl Node {
    pub fn new(id: u64, boot: u32, profile: &'static Profile, pty: Pty, seed: u64) -> Self {
        let line = Line {
            pty: Some(pty),
            incoming: VecDeque::new(),
            message: Vec::new(),
            outgoing: VecDeque::new(),
            late: Default::default(),
            trouble: Trouble::default(),
            chance: StdRng::seed_from_u64(seed),
        };
        Self {
            id,
            profile,
            wire: Box::new(Wire::new(NodeId(id), boot, profile)),
            line,
            start: Instant::now(),
            pace: sync_channel(1),
            verdicts: BTreeMap::new(),
            acknowledged: Vec::new(),
            rejected: Vec::new(),
            welcomes: 0,
        }
    }

    /// Its power was off for a moment: the same chip on the same line, which has forgotten all.
    pub fn start_anew(self, boot: u32, seed: u64) -> Self {
        let (id, profile) = (self.id, self.profile);
        Self::new(id, boot, profile, self.into_line(), seed)
    }

    /// The line alone; the node is gone.
    pub fn into_line(self) -> Pty {
        self.line.pty.expect("it is plugged in")
    }

    /// What the line does from now on.
    pub fn trouble(&mut self, trouble: Trouble) {
        self.line.trouble = trouble;
    }

    /// The line is pulled out; [`Self::plug`] puts another one in.
    pub fn unplug(&mut self) {
        if let Some(pty) = self.line.pty.take() {
            pty.unplug();
        }
    }

    pub fn plug(&mut self, pty: Pty) {
        self.line.pty = Some(pty);
    }

    pub fn has_room(&self) -> bool {
        self.wire.is_welcome() && self.wire.has_room()
    }

    pub fn is_welcome(&self) -> bool {
        self.wire.is_welcome()
    }

    pub fn under_way(&self) -> usize {
        self.wire.under_way()
    }

    pub fn job(&mut self, model: &str, floats: &[u8]) -> u32 {
        self.wire.job(model, Samples::floats(floats).unwrap()).unwrap()
    }

    pub fn reading(&mut self, channel: u8, t_us: u64, samples: Samples<'_>) -> u32 {
        self.wire.reading(channel, t_us, samples).unwrap()
    }

    /// One turn: what has come is read, and what is due goes out.
    pub fn turn(&mut self) {
        if !self.line.pump() {
            // A node has nothing else to do; this machine has.
            let _ = self.pace.1.recv_timeout(Duration::from_millis(1));
        }
        let now_us = u64::try_from(self.start.elapsed().as_micros()).unwrap();
        let Self { wire, line, verdicts, acknowledged, rejected, welcomes, .. } = self;
        wire.poll(line, now_us, &mut |heard| match heard {
            Heard::Verdict(Verdict { seq, revision, last, outcome }) => {
                verdicts.entry(seq).or_default().push(Told { revision, last, outcome: format!("{outcome:?}") });
            }
            Heard::Acknowledged { seq } => acknowledged.push(seq),
            Heard::Rejected { seq, code } => rejected.push((seq, code)),
            Heard::Welcomed => *welcomes += 1,
            Heard::Fault(_) => {}
        });
    }

    /// Turns until `done`; the limit is for hanging tests only.
    pub fn until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        all_until(std::slice::from_mut(self), what, |nodes| done(&nodes[0]));
    }
}

/// Turns all of them until `done`; the limit is for hanging tests only.
pub fn all_until(nodes: &mut [Node], what: &str, mut done: impl FnMut(&[Node]) -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !done(nodes) {
        let heard = |node: &Node| format!("{:x}: verdicts {:?}, rejected {:?}", node.id, node.verdicts, node.rejected);
        assert!(
            Instant::now() < end,
            "not in time: {what}; {}",
            nodes.iter().map(heard).collect::<Vec<_>>().join("\n")
        );
        nodes.iter_mut().for_each(Node::turn);
    }
}
