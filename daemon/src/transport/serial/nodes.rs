//! Which node is where, what it may do, and what is owed to it. No port is touched and no clock is read here.
//!
//! ```text
//!   Job ──▶ handed in ──▶ ack ──▶ answered ──▶ Verdict, again and again ──▶ Receipt: confirmed
//!    │      (ticket)    (stored)  (a row)      while the node is there  ──▶ Hello of another start: dropped, counted
//!    └──▶ Reject: no such model, not now (BUSY), say Hello first
//! ```

mod owing;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use firmware_profiles::{
    clock::ClockOffset,
    nodes::Profile,
    wire::{self, Address, Body, Fault, Frame, NodeId, RejectCode, Samples},
};
use picket_core::{
    job::{AckTicket, Epoch, RowId, TransportId},
    limits,
    time::Moment,
};

use self::owing::Owed;
use super::{
    bucket::Bucket,
    request,
    settings::{Assigned, Who},
    windows::{ReadingError, Window, Windows},
};
use crate::ports::Request;

/// Serial has one connection to the run loop, which lasts as long as the process: which node hears is decided here.
pub(super) const EPOCH: Epoch = Epoch(1);

/// Longest that a Hello is under way, in µs: a short frame at 9,600 baud, and the wait for a reader.
const HELLO_DELAY_US: u64 = 100_000;

/// What is to be done.
#[derive(Debug)]
pub(super) enum Out {
    /// A frame, as it goes over the wire.
    Send {
        port: usize,
        bytes: Vec<u8>,
    },
    Job(Box<Request>),
    /// A row is done with: its node has it, or nobody ever will.
    Done {
        row: RowId,
        taken: bool,
    },
    /// Something that is counted under its code.
    Count(&'static str),
    /// Two nodes say that they are this one.
    Twice {
        node: NodeId,
        port: usize,
        other: usize,
    },
}

/// What does not change while the daemon runs.
pub(super) struct Rules {
    pub transport: TransportId,
    pub rate: u32,
    pub assigned: Vec<Assigned>,
    pub models: BTreeSet<Arc<str>>,
}

/// A frame's place and time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard {
    pub now: Moment,
    /// The gateway's clock, in µs since 1970.
    pub wall_us: u64,
    pub port: usize,
    /// So many jobs the run loop takes.
    pub room: usize,
}

pub(super) struct Nodes {
    rules: Rules,
    nodes: BTreeMap<NodeId, Node>,
    /// Jobs handed in whose acknowledgement is held back until they are stored. Bounded by the nodes' open jobs.
    tickets: BTreeMap<u64, Address>,
    next_ticket: u64,
    /// What waits for its receipt: at most a delivery window.
    owed: BTreeMap<RowId, Owed>,
    /// Ports that are open.
    ports: BTreeSet<usize>,
    /// No new jobs.
    stopping: bool,
}

struct Node {
    port: usize,
    /// Its port is open.
    is_up: bool,
    boot: u32,
    profile: &'static Profile,
    heard: Moment,
    /// Frames that were sent to it.
    sent: u32,
    clock: ClockOffset,
    bucket: Bucket,
    /// What its readings have come to so far.
    windows: Windows,
    /// Jobs that are not answered, or whose answer has no receipt.
    open: BTreeSet<u32>,
    /// Jobs whose answer it confirmed last: their late repetitions are not asked again.
    closed: VecDeque<u32>,
    /// That its id is used twice has been said.
    contested: bool,
}

impl Nodes {
    pub fn new(rules: Rules) -> Self {
        let (nodes, tickets, owed) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { rules, nodes, tickets, next_ticket: 0, owed, ports: BTreeSet::new(), stopping: false }
    }

    pub fn stop_intake(&mut self) {
        self.stopping = true;
    }

    /// What came in on a port.
    pub fn hear(&mut self, heard: Heard, result: Result<Frame<'_>, Fault>, out: &mut Vec<Out>) {
        let Frame { address, body } = match result {
            Ok(frame) => frame,
            Err(fault) => {
                out.push(Out::Count(fault.code()));
                return match fault {
                    Fault::Version { address, .. } => self.reject(heard.port, address, RejectCode::VERSION, out),
                    Fault::Unreadable { address } => self.reject(heard.port, address, RejectCode::UNREADABLE, out),
                    Fault::Noise | Fault::TooLong | Fault::Malformed => {}
                };
            }
        };
        match body {
            Body::Hello { profile, fingerprint, t_us } => {
                let refused = self.greet(heard, address, (profile, fingerprint, t_us), out);
                if let Err(code) = refused {
                    self.reject(heard.port, address, code, out);
                }
            }
            Body::Job { model, input } => {
                self.answer(heard, address, |nodes, out| nodes.job(heard, address, (model, input), out), out)
            }
            Body::Reading { channel, t_us, samples } => {
                let take = |nodes: &mut Self, out: &mut _| nodes.reading(heard, address, (channel, t_us, samples), out);
                self.answer(heard, address, take, out);
            }
            Body::Receipt { seq, revision } => self.receipt(heard, Address { seq, ..address }, revision, out),
            // A gateway's words: an echo of our own on the line.
            Body::Reject { .. } | Body::Welcome { .. } | Body::Verdict(_) | Body::Ack { .. } => {
                out.push(Out::Count("wire/echo"));
            }
        }
    }

    /// Of a node that is welcome, and does not say too much.
    fn answer(
        &mut self,
        heard: Heard,
        address: Address,
        take: impl FnOnce(&mut Self, &mut Vec<Out>) -> Result<(), RejectCode>,
        out: &mut Vec<Out>,
    ) {
        let allowed = match self.nodes.get_mut(&address.node) {
            Some(node) if node.boot == address.boot && node.port == heard.port => {
                node.heard = heard.now;
                if node.bucket.take(heard.now) { Ok(()) } else { Err(RejectCode::BUSY) }
            }
            _ => Err(RejectCode::HELLO_FIRST),
        };
        if let Err(code) = allowed.and_then(|()| take(self, out)) {
            self.reject(heard.port, address, code, out);
        }
    }

    fn greet(
        &mut self,
        heard: Heard,
        address: Address,
        (profile, fingerprint, t_us): (&str, u32, u64),
        out: &mut Vec<Out>,
    ) -> Result<(), RejectCode> {
        let Heard { now, wall_us, port, .. } = heard;
        let known = Profile::by_name(profile).filter(|row| row.fingerprint() == fingerprint);
        let profile = known.ok_or(RejectCode::PROFILE)?;
        let clock = ClockOffset::from_one_way(wall_us, t_us, HELLO_DELAY_US);
        if let Some(node) = self.nodes.get_mut(&address.node) {
            if node.port != port && node.is_up && now.since(node.heard) < limits::NODE_SILENCE {
                if !std::mem::replace(&mut node.contested, true) {
                    out.push(Out::Twice { node: address.node, port, other: node.port });
                }
                return Err(RejectCode::NODE_TAKEN);
            }
        } else if self.nodes.len() >= limits::NODES && !self.forget_the_most_silent(now, out) {
            return Err(RejectCode::BUSY);
        }
        let fresh = Node {
            port,
            is_up: true,
            boot: address.boot,
            profile,
            heard: now,
            sent: 0,
            clock,
            bucket: Bucket::new(self.rules.rate, now),
            windows: Windows::new(profile),
            open: BTreeSet::new(),
            closed: VecDeque::new(),
            contested: false,
        };
        let node = self.nodes.entry(address.node).or_insert(fresh);
        let restarted = node.boot != address.boot;
        if restarted || node.profile != profile {
            node.windows = Windows::new(profile);
        }
        if restarted {
            (node.open, node.closed) = (BTreeSet::new(), VecDeque::new());
            (node.boot, node.contested, node.clock) = (address.boot, false, clock);
        }
        (node.port, node.is_up, node.profile, node.heard) = (port, true, profile, now);
        node.clock = node.clock.or_better(clock);
        let welcome = Body::Welcome { seq: address.seq, now_us: wall_us, window: limits::NODE_WINDOW };
        self.send(address.node, welcome, out);
        // It has forgotten its jobs, and answers to nothing that is meant for the start before.
        self.forget_rows(out, |owed| owed.address.node == address.node && owed.address.boot != address.boot);
        self.tickets.retain(|_, held| held.node != address.node || held.boot == address.boot);
        for owed in self.owed.values_mut().filter(|owed| owed.address.node == address.node) {
            owed.due = now;
        }
        self.tick(now, out);
        Ok(())
    }

    fn job(
        &mut self,
        heard: Heard,
        address: Address,
        (model, input): (&str, Samples<'_>),
        out: &mut Vec<Out>,
    ) -> Result<(), RejectCode> {
        let node = self.nodes.get(&address.node).ok_or(RejectCode::HELLO_FIRST)?;
        let assigned = self.assigned(address.node, node.profile).and_then(|assigned| assigned.model.clone());
        let named = if model.is_empty() { assigned } else { self.rules.models.get(model).cloned() };
        let model = named.ok_or(RejectCode::MODEL)?;
        let values = request::values(input, node.profile).ok_or(RejectCode::INPUT)?;
        self.hand_in(heard, address, model, values, out)
    }

    /// Into the windows. Its Ack leaves at once, or when the job is stored that it completed.
    fn reading(
        &mut self,
        heard: Heard,
        address: Address,
        (channel, t_us, samples): (u8, u64, Samples<'_>),
        out: &mut Vec<Out>,
    ) -> Result<(), RejectCode> {
        if self.tickets.values().any(|held| *held == address) {
            return Ok(());
        }
        let stopping = self.stopping;
        let profile = self.nodes.get(&address.node).ok_or(RejectCode::HELLO_FIRST)?.profile;
        let assigned = self.assigned(address.node, profile).and_then(|assigned| assigned.readings.clone());
        let model = assigned.ok_or(RejectCode::MODEL)?;
        let node = self.nodes.get_mut(&address.node).ok_or(RejectCode::HELLO_FIRST)?;
        if node.open.len() >= limits::NODE_JOBS || stopping || heard.room == 0 {
            return Err(RejectCode::BUSY);
        }
        let gaps = node.windows.gaps;
        node.windows.put(address.seq, channel, t_us, samples).map_err(|why| match why {
            ReadingError::Channel => RejectCode::CHANNEL,
            ReadingError::Samples => RejectCode::INPUT,
        })?;
        let room = heard.room.min(limits::NODE_JOBS - node.open.len());
        // A block that was late may complete those behind it, too. What finds no room comes out with the next reading.
        let full: Vec<Window> = std::iter::from_fn(|| node.windows.take()).take(room).collect();
        if node.windows.gaps != gaps {
            out.push(Out::Count("node/gap"));
        }
        let is_its_own = full.iter().any(|window| window.seq == address.seq);
        for Window { seq, values } in full {
            self.hand_in(heard, Address { seq, ..address }, model.clone(), values, out)?;
        }
        if is_its_own {
            return Ok(());
        }
        self.send(address.node, Body::Ack { seq: address.seq }, out);
        Ok(())
    }

    /// To the run loop, unless there is no room or its acknowledgement is on the way already.
    fn hand_in(
        &mut self,
        heard: Heard,
        address: Address,
        model: Arc<str>,
        values: Vec<u8>,
        out: &mut Vec<Out>,
    ) -> Result<(), RejectCode> {
        if self.tickets.values().any(|held| *held == address) {
            return Ok(());
        }
        let node = self.nodes.get_mut(&address.node).ok_or(RejectCode::HELLO_FIRST)?;
        if node.closed.contains(&address.seq) {
            self.send(address.node, Body::Ack { seq: address.seq }, out);
            return Ok(());
        }
        let full = node.open.len() >= limits::NODE_JOBS && !node.open.contains(&address.seq);
        if full || self.stopping || heard.room == 0 {
            return Err(RejectCode::BUSY);
        }
        node.open.insert(address.seq);
        let ticket = AckTicket { transport: self.rules.transport, epoch: EPOCH, serial: self.next_ticket };
        self.next_ticket += 1;
        self.tickets.insert(ticket.serial, address);
        out.push(Out::Job(Box::new(request::request(ticket, address, model, values))));
        Ok(())
    }

    fn assigned(&self, node: NodeId, profile: &'static Profile) -> Option<&Assigned> {
        let of = |who: Who| self.rules.assigned.iter().find(move |assigned| assigned.who == who);
        of(Who::Node(node)).or_else(|| of(Who::Profile(profile)))
    }

    /// A job is safe: its acknowledgement leaves.
    pub fn ack(&mut self, ticket: AckTicket, out: &mut Vec<Out>) {
        let Some(address) = self.tickets.remove(&ticket.serial) else { return };
        if self.nodes.get(&address.node).is_some_and(|node| node.boot == address.boot) {
            self.send(address.node, Body::Ack { seq: address.seq }, out);
        }
    }

    /// The port was closed, or is open again. Its nodes are heard when they say something; whom something is owed to is
    /// asked to.
    pub fn port_is_up(&mut self, port: usize, is_up: bool, out: &mut Vec<Out>) {
        for node in self.nodes.values_mut().filter(|node| node.port == port) {
            node.is_up = is_up;
        }
        if is_up {
            self.ports.insert(port);
            let owed: Vec<Address> = self.owed.values().map(|owed| owed.address).collect();
            owed.into_iter().for_each(|address| self.call(port, address, out));
        } else {
            self.ports.remove(&port);
        }
    }

    fn forget_the_most_silent(&mut self, now: Moment, out: &mut Vec<Out>) -> bool {
        let silent = self.nodes.iter().min_by_key(|(_, node)| node.heard).map(|(id, node)| (*id, node.heard));
        let Some((id, _)) = silent.filter(|(_, heard)| now.since(*heard) >= limits::NODE_SILENCE) else { return false };
        self.nodes.remove(&id);
        self.forget_rows(out, |owed| owed.address.node == id);
        true
    }

    fn reject(&mut self, port: usize, address: Address, code: RejectCode, out: &mut Vec<Out>) {
        out.push(Out::Count(code.name()));
        let sent = match self.nodes.get_mut(&address.node) {
            Some(node) if node.port == port => {
                node.sent = node.sent.wrapping_add(1);
                node.sent
            }
            _ => 0,
        };
        let bytes = frame(Address { seq: sent, ..address }, Body::Reject { seq: address.seq, code });
        out.push(Out::Send { port, bytes });
    }

    fn send(&mut self, node: NodeId, body: Body<'_>, out: &mut Vec<Out>) {
        let Some(known) = self.nodes.get_mut(&node) else { return };
        let to = Address { node, boot: known.boot, seq: 0 };
        out.push(Out::Send { port: known.port, bytes: known.frame(to, body) });
    }
}

impl Node {
    /// The next frame to it.
    fn frame(&mut self, to: Address, body: Body<'_>) -> Vec<u8> {
        self.sent = self.sent.wrapping_add(1);
        frame(Address { seq: self.sent, ..to }, body)
    }
}

fn frame(address: Address, body: Body<'_>) -> Vec<u8> {
    // What a gateway says is short; a node's buffer is no longer than this either.
    let mut buffer = [0; 256];
    let length = wire::encode(&Frame { address, body }, &mut buffer).unwrap_or_default();
    buffer.get(..length).unwrap_or_default().to_vec()
}
