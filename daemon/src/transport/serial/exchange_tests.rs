//! The node's side of the wire against the gateway's, over a line that loses, doubles and garbles, in virtual time.

#![allow(clippy::unwrap_used, reason = "a test panics where it is broken")]

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    convert::Infallible,
};

use embedded_hal_nb::serial;
use firmware_profiles::{
    nodes::HYDRAULIC_RIG,
    uplink::{Heard as Told, Uplink},
    wire::{Address, Body, NodeId, Receiver, Samples, Verdict},
};
use picket_core::{
    job::{RowId, TransportId},
    time::{Moment, Span},
};
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::nodes::{Heard, Nodes, Out, Rules};
use crate::ports::{self, Message};

const TRANSPORT: TransportId = TransportId(3);
const NODE: NodeId = NodeId(0x386);
const BOOT: u32 = 7;
const TICK_US: u64 = 1_000;

#[derive(Default)]
struct Port {
    incoming: VecDeque<u8>,
    outgoing: Vec<u8>,
}

impl serial::ErrorType for Port {
    type Error = Infallible;
}

impl serial::Read<u8> for Port {
    fn read(&mut self) -> nb::Result<u8, Self::Error> {
        self.incoming.pop_front().ok_or(nb::Error::WouldBlock)
    }
}

impl serial::Write<u8> for Port {
    fn write(&mut self, byte: u8) -> nb::Result<(), Self::Error> {
        self.outgoing.push(byte);
        Ok(())
    }

    fn flush(&mut self) -> nb::Result<(), Self::Error> {
        Ok(())
    }
}

/// What the daemon behind `Nodes` keeps on disk: which jobs it has, and which answers nobody has confirmed.
#[derive(Default)]
struct House {
    jobs: BTreeSet<u32>,
    /// Answers that are not there yet: when, job, revision.
    to_come: BTreeSet<(u64, u32, u16)>,
    rows: BTreeMap<u64, (u32, u16)>,
    next_row: u64,
    confirmed: BTreeSet<(u32, u16)>,
}

struct Gateway {
    nodes: Nodes,
    receiver: Box<Receiver<4_200>>,
    house: House,
    chance: StdRng,
}

impl Gateway {
    /// A process with empty hands; `house` is what it finds.
    fn start(house: House, chance: StdRng, now: Moment, out: &mut Vec<Out>) -> Self {
        let models = ["m".into()].into();
        let mut nodes = Nodes::new(Rules { transport: TRANSPORT, rate: 1_000, assigned: Vec::new(), models });
        nodes.port_is_up(0, true, out);
        let mut gateway = Self { nodes, receiver: Box::new(Receiver::new()), house, chance };
        let rows: Vec<u64> = gateway.house.rows.keys().copied().collect();
        rows.into_iter().for_each(|row| gateway.deliver(row, now, out));
        gateway
    }

    fn deliver(&mut self, row: u64, now: Moment, out: &mut Vec<Out>) {
        let (seq, revision) = self.house.rows[&row];
        let answer = serde_json::json!({ "index": 0, "confidence": 0.5 });
        let document = serde_json::json!({ "revision": revision, "final": true, "certified": false, "answer": answer });
        let job = Address { node: NODE, boot: BOOT, seq };
        let to = ports::Address { transport: TRANSPORT, to: job.to_string().into(), correlation: None };
        let payload = document.to_string().into_bytes().into();
        let message = Message { to, payload, json_len: None, code: None, job: None, expires_at: None };
        self.nodes.deliver(now, RowId(row), &message, out);
    }

    /// A millisecond; what goes out on the line.
    fn step(&mut self, bytes: &[u8], now: Moment, mut out: Vec<Out>) -> Vec<Vec<u8>> {
        let mut bytes = bytes;
        while let Some(result) = self.receiver.receive(&mut bytes) {
            let heard = Heard { now, wall_us: 1_800_000_000_000_000 + now.as_micros(), port: 0, room: 1 };
            self.nodes.hear(heard, result, &mut out);
        }
        while let Some((at, seq, revision)) = self.house.to_come.first().copied()
            && at <= now.as_micros()
        {
            self.house.to_come.pop_first();
            self.house.next_row += 1;
            self.house.rows.insert(self.house.next_row, (seq, revision));
            self.deliver(self.house.next_row, now, &mut out);
        }
        if self.nodes.next_due().is_some_and(|due| due <= now) {
            self.nodes.tick(now, &mut out);
            assert!(self.nodes.next_due().is_none_or(|due| due > now), "it would turn for ever");
        }
        let mut sent = Vec::new();
        while !out.is_empty() {
            for one in std::mem::take(&mut out) {
                match one {
                    Out::Send { bytes, .. } => sent.push(bytes),
                    Out::Job(request) => {
                        let seq = request.id.unwrap().as_str().rsplit('/').next().unwrap().parse().unwrap();
                        if self.house.jobs.insert(seq) {
                            let first = now.as_micros() + self.chance.random_range(0..50_000);
                            self.house.to_come.insert((first, seq, 1));
                            if self.chance.random_bool(0.3) {
                                let later = first + self.chance.random_range(0..5_000_000);
                                self.house.to_come.insert((later, seq, 2));
                            }
                        }
                        self.nodes.ack(request.ticket.unwrap(), &mut out);
                    }
                    Out::Done { row, taken } => {
                        let (seq, revision) = self.house.rows.remove(&row.0).unwrap();
                        // An amendment finds no room where too many answers wait for a receipt.
                        assert!(taken || revision > 1, "a first answer was given up");
                        assert!(!taken || self.house.confirmed.insert((seq, revision)));
                    }
                    Out::Count(_) => {}
                    Out::Twice { .. } => panic!("there is one node"),
                }
            }
        }
        sent
    }
}

/// What the line does.
#[derive(Clone, Copy)]
struct Trouble {
    /// Of ten messages, so many are lost; three more suffer otherwise.
    lost: u32,
    /// The receipts of the node's first job are lost for so long, in ms.
    unlucky: u64,
    /// The gateway's process is killed now and then.
    kills: bool,
}

/// One direction of it.
#[derive(Default)]
struct Line {
    /// Copies that come later.
    late: Vec<(u64, Vec<u8>)>,
}

impl Line {
    fn carry(&mut self, bytes: &[u8], tick: u64, trouble: Trouble, chance: &mut StdRng) -> Vec<u8> {
        let mut carried = Vec::new();
        for message in bytes.split_inclusive(|byte| *byte == 0) {
            let mut message = message.to_vec();
            if tick < trouble.unlucky && receipt_of(&message) == Some(FIRST) {
                continue;
            }
            match chance.random_range(0..10) {
                lost if lost < trouble.lost => message.clear(),
                7 => message.extend(message.clone()),
                8 => self.late.push((tick + chance.random_range(0..500), message.clone())),
                9 => {
                    let at = chance.random_range(0..message.len());
                    message[at] ^= 1 << chance.random_range(0..8);
                }
                _ => {}
            }
            carried.extend(message);
        }
        let (due, later) = std::mem::take(&mut self.late).into_iter().partition(|(due, _)| *due <= tick);
        self.late = later;
        carried.extend(Vec::into_iter(due).flat_map(|(_, message)| message));
        carried
    }
}

/// The node's first job: its Hello was number 1.
const FIRST: u32 = 2;

fn receipt_of(message: &[u8]) -> Option<u32> {
    let mut receiver = Box::new(Receiver::<4_200>::new());
    let mut bytes = message;
    match receiver.receive(&mut bytes)?.ok()?.body {
        Body::Receipt { seq, .. } => Some(seq),
        _ => None,
    }
}

fn exchange(seed: u64, trouble: Trouble) {
    const JOBS: usize = 200;
    let mut chance = StdRng::seed_from_u64(seed);
    let mut node = Box::new(Uplink::<4, 256>::new(NODE, BOOT, &HYDRAULIC_RIG));
    let (mut port, mut up, mut down) = (Port::default(), Line::default(), Line::default());
    let (mut sent, mut told, mut start) = (BTreeSet::new(), Vec::new(), Vec::new());
    let mut gateway = Gateway::start(House::default(), StdRng::seed_from_u64(seed ^ 1), Moment::ZERO, &mut start);
    for tick in 0..1_000_000_u64 {
        let now = Moment::ZERO + Span::from_micros(tick * TICK_US);
        while node.is_welcome() && node.has_room() && sent.len() < JOBS {
            sent.insert(node.job("m", Samples::Floats(&[0; 4])).unwrap());
        }
        node.poll(&mut port, now.as_micros(), &mut |what| {
            if let Told::Verdict(Verdict { seq, revision, .. }) = what {
                told.push((seq, revision));
            }
        });
        let bytes = up.carry(&std::mem::take(&mut port.outgoing), tick, trouble, &mut chance);
        if trouble.kills && chance.random_bool(1e-4) {
            gateway = Gateway::start(gateway.house, gateway.chance, now, &mut start);
        }
        let answers = gateway.step(&bytes, now, std::mem::take(&mut start)).concat();
        port.incoming.extend(down.carry(&answers, tick, trouble, &mut chance));
        let House { to_come, rows, .. } = &gateway.house;
        if sent.len() == JOBS && node.under_way() == 0 && to_come.is_empty() && rows.is_empty() {
            break;
        }
    }
    assert_eq!(gateway.house.jobs, sent, "seed {seed}: every job is there");
    assert_eq!((gateway.house.rows.len(), gateway.house.to_come.len()), (0, 0), "seed {seed}: all is confirmed");
    let distinct: BTreeSet<(u32, u16)> = told.iter().copied().collect();
    assert_eq!(distinct.len(), told.len(), "seed {seed}: a verdict was told twice");
    for seq in sent {
        let last = gateway.house.confirmed.range((seq, 0)..=(seq, u16::MAX)).next_back();
        assert!(distinct.contains(last.unwrap()), "seed {seed}: job {seq} was not told its last answer");
    }
}

#[test]
fn over_a_line_that_loses_half_every_verdict_is_told_once() {
    (1..=20).for_each(|seed| exchange(seed, Trouble { lost: 4, unlucky: 0, kills: false }));
}

#[test]
fn where_the_gateway_is_killed_again_and_again_too() {
    (1..=20).for_each(|seed| exchange(seed, Trouble { lost: 4, unlucky: 0, kills: true }));
}

#[test]
fn where_one_receipt_is_lost_for_minutes_too() {
    (1..=10).for_each(|seed| exchange(seed, Trouble { lost: 1, unlucky: 200_000, kills: false }));
}
