//! Those on the other side of the transports: a broker behind a link that breaks, callers who wait, readers of results.

use std::{
    collections::{BTreeMap, VecDeque},
    rc::Rc,
};

use picket_core::job::{AckTicket, Epoch, JobId};

use super::{
    coverage::{Coverage, Seen},
    plan::Spec,
};

/// A message that the broker keeps until it is acknowledged.
#[derive(Debug)]
struct Held {
    spec: Rc<Spec>,
    /// Its number on the present connection, if it was sent there.
    serial: Option<u64>,
    sent_before: bool,
}

/// The broker, and our end of the link to it.
#[derive(Debug)]
pub struct Broker {
    held: VecDeque<Held>,
    pub epoch: Epoch,
    pub up: bool,
    next_serial: u64,
    /// Our end: acks leave in the order of receipt, so an early one waits for those before it.
    tickets: VecDeque<(u64, bool)>,
    /// Acks on the wire, in order.
    flying: VecDeque<u64>,
}

impl Broker {
    pub fn new() -> Self {
        Self {
            held: VecDeque::new(),
            epoch: Epoch(0),
            up: false,
            next_serial: 0,
            tickets: VecDeque::new(),
            flying: VecDeque::new(),
        }
    }

    pub fn publish(&mut self, spec: Rc<Spec>) {
        self.held.push_back(Held { spec, serial: None, sent_before: false });
    }

    pub fn is_current(&self, epoch: Epoch) -> bool {
        self.up && self.epoch == epoch
    }

    /// A new connection; everything that is not acknowledged comes again, in order. Says how many that are.
    pub fn connect(&mut self) -> usize {
        self.epoch = Epoch(self.epoch.0 + 1);
        self.up = true;
        self.next_serial = 0;
        self.tickets.clear();
        for message in &mut self.held {
            message.serial = None;
        }
        self.held.len()
    }

    /// The connection breaks: of the acks on the wire the first `arrived` still made it.
    pub fn cut(&mut self, arrived: usize, coverage: &mut Coverage) {
        self.up = false;
        for _ in 0..arrived {
            if let Some(serial) = self.flying.pop_front() {
                self.settle(serial);
            }
        }
        for _ in self.flying.drain(..) {
            coverage.hit(Seen::AckLost);
        }
    }

    pub fn flying(&self) -> usize {
        self.flying.len()
    }

    /// The next message for this connection.
    pub fn send(&mut self, coverage: &mut Coverage) -> Option<(Rc<Spec>, u64)> {
        let next = self.held.iter_mut().find(|message| message.serial.is_none())?;
        if std::mem::replace(&mut next.sent_before, true) {
            coverage.hit(Seen::Redelivery);
        }
        let serial = self.next_serial;
        next.serial = Some(serial);
        self.next_serial += 1;
        self.tickets.push_back((serial, false));
        Some((next.spec.clone(), serial))
    }

    /// Our end of the link lets an ack leave, as early as its order allows. Says how many left.
    pub fn ack(&mut self, ticket: AckTicket, coverage: &mut Coverage) -> usize {
        if !self.is_current(ticket.epoch) {
            coverage.hit(Seen::LateAck);
            return 0;
        }
        let place = self.tickets.iter_mut().find(|(serial, _)| *serial == ticket.serial);
        let (_, acked) = place.unwrap_or_else(|| panic!("I6: {ticket:?} is not waiting for an ack"));
        assert!(!*acked, "I6: {ticket:?} is acked twice");
        *acked = true;
        let mut left = 0;
        while self.tickets.front().is_some_and(|(_, acked)| *acked) {
            let (serial, _) = self.tickets.pop_front().unwrap();
            self.flying.push_back(serial);
            left += 1;
        }
        if left == 0 {
            coverage.hit(Seen::AckHeldBack);
        }
        left
    }

    /// The oldest ack on the wire reaches the broker, if its connection still stands.
    pub fn ack_arrives(&mut self, epoch: Epoch) {
        if self.is_current(epoch) {
            let serial = self.flying.pop_front().expect("an ack is on the wire");
            self.settle(serial);
        }
    }

    fn settle(&mut self, serial: u64) {
        self.held.retain(|message| message.serial != Some(serial));
    }

    pub fn check_at_rest(&self) {
        assert!(self.up, "the link is up at rest");
        assert!(self.tickets.is_empty(), "arrivals of the live connection were never acked: {:?}", self.tickets);
        assert!(self.held.is_empty(), "the broker still holds {:?}", self.held);
    }
}

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Waiting,
    Replied,
    Bounced,
    HungUp,
    /// The process that had it died, or there was none.
    Lost,
}

/// What reached its reader.
#[derive(Debug, Default)]
pub struct Readers {
    pub calls: Vec<Call>,
    /// So many of them belong to processes that are dead; nobody is on the line there.
    buried: usize,
    /// Per job id: how often its result was read, and how often its reader was gone.
    pub results: BTreeMap<JobId, (u32, u32)>,
}

impl Readers {
    /// Each caller hears exactly one thing.
    pub fn answer(&mut self, call: usize, how: Call) {
        let state = &mut self.calls[call];
        match (*state, how) {
            (Call::Waiting, _) => *state = how,
            (Call::HungUp, _) => {}
            (before, _) => panic!("call {call} was {before:?} and is now {how:?}"),
        }
    }

    /// The process dies, and its connections with it.
    pub fn bury(&mut self) {
        for call in &mut self.calls {
            if *call == Call::Waiting {
                *call = Call::Lost;
            }
        }
        self.buried = self.calls.len();
    }

    pub fn is_gone(&self, call: usize) -> bool {
        call < self.buried || self.calls[call] == Call::HungUp
    }

    pub fn read(&mut self, job: Option<&JobId>, delivered: bool) {
        if let Some(id) = job {
            let (read, gone) = self.results.entry(id.clone()).or_default();
            *(if delivered { read } else { gone }) += 1;
        }
    }
}
