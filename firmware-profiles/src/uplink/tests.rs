//! A node and a small gateway over a line that loses, repeats and garbles, in virtual time. Failures print their seed.

use std::{
    collections::{BTreeMap, VecDeque},
    vec::Vec,
};

use super::*;
use crate::{
    nodes::HYDRAULIC_RIG,
    units::Ratio,
    wire::{ENCODED_MAX, Outcome},
};

type Node = Uplink<4, 256>;
const NODE: NodeId = NodeId(0xabc);
const GATEWAY_US: u64 = 1_800_000_000_000_000;

/// A serial port whose bytes are the test's.
#[derive(Default)]
struct Port {
    incoming: VecDeque<u8>,
    outgoing: Vec<u8>,
}

impl serial::ErrorType for Port {
    type Error = core::convert::Infallible;
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

/// xorshift64*: Vigna, 2016.
struct Chance(u64);

impl Chance {
    fn one_in(&mut self, of: u64) -> bool {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).is_multiple_of(of)
    }
}

/// Acknowledges what it stored, answers every job twice (the second answer amends), and repeats verdicts until their receipt.
struct Gateway {
    receiver: Receiver,
    welcomed: bool,
    stored: BTreeMap<u32, u32>,
    verdicts: BTreeMap<(u32, u16), u64>,
    window: u8,
}

impl Gateway {
    fn new(window: u8) -> Self {
        Self { receiver: Receiver::new(), welcomed: false, stored: BTreeMap::new(), verdicts: BTreeMap::new(), window }
    }

    fn step(&mut self, mut bytes: &[u8], now: u64) -> Vec<Vec<u8>> {
        let mut answers = Vec::new();
        while let Some(result) = self.receiver.receive(&mut bytes) {
            let Ok(Frame { address: Address { seq, .. }, body }) = result else { continue };
            match body {
                Body::Hello { profile, fingerprint, .. } => {
                    assert_eq!((profile, fingerprint), ("hydraulic-rig", HYDRAULIC_RIG.fingerprint()));
                    self.welcomed = true;
                    answers.push(Body::Welcome { seq, now_us: GATEWAY_US + now, window: self.window });
                }
                Body::Receipt { seq, revision } => drop(self.verdicts.remove(&(seq, revision))),
                _ if !self.welcomed => answers.push(Body::Reject { seq, code: RejectCode::HELLO_FIRST }),
                Body::Job { input, .. } => {
                    let value = u32::from_le_bytes(input.values(1.0).next().unwrap().to_le_bytes());
                    if self.stored.insert(seq, value).is_none() {
                        self.verdicts.extend([((seq, 1), now), ((seq, 2), now + 50_000)]);
                    }
                    answers.push(Body::Ack { seq });
                }
                other => panic!("{other:?}"),
            }
        }
        for ((seq, revision), due) in self.verdicts.iter_mut().filter(|(_, due)| **due <= now) {
            *due = now + 300_000;
            let outcome = Outcome::Class { class: *seq as u16, confidence: Ratio::of(0.5), certified: false };
            answers.push(Body::Verdict(Verdict { seq: *seq, revision: *revision, last: *revision == 2, outcome }));
        }
        answers.into_iter().map(encoded).collect()
    }
}

fn encoded(body: Body<'_>) -> Vec<u8> {
    let mut buffer = [0; ENCODED_MAX];
    let length = encode(&Frame { address: Address { node: NODE, boot: 5, seq: 1 }, body }, &mut buffer).unwrap();
    buffer[..length].to_vec()
}

fn damage(bytes: &mut Vec<u8>, chance: &mut Chance, often: u64) {
    if often > 0 && chance.one_in(often) {
        bytes.clear();
    } else if often > 0 && chance.one_in(often) {
        bytes.extend(bytes.clone());
    } else if often > 0 && chance.one_in(often) {
        let at = bytes.len() / 2;
        bytes.insert(at, 0x55);
    } else if often > 0 && chance.one_in(often) {
        bytes.pop();
    }
}

/// Sends `jobs` jobs over a line that damages every `often`th message in each of four ways; says what the node heard.
fn exchange(seed: u64, jobs: u32, often: u64, restart_at: u64) -> Vec<(u32, u16)> {
    let (mut node, mut gateway, mut port) = (Node::new(NODE, 5, &HYDRAULIC_RIG), Gateway::new(3), Port::default());
    let (mut chance, mut heard, mut sent) = (Chance(seed | 1), Vec::new(), BTreeMap::new());
    for tick in 0..200_000_u64 {
        let now = tick * 1_000;
        while node.is_welcome() && node.has_room() && (sent.len() as u32) < jobs {
            let value = sent.len() as f32;
            let seq = node.job("m", Samples::Floats(&value.to_le_bytes())).unwrap();
            sent.insert(seq, value.to_bits());
        }
        assert!(node.under_way() <= 3, "the gateway allows three");
        node.poll(&mut port, now, &mut |what| {
            if let Heard::Verdict(Verdict { seq, revision, .. }) = what {
                heard.push((seq, revision));
            }
        });
        let mut bytes = core::mem::take(&mut port.outgoing);
        if !bytes.is_empty() {
            damage(&mut bytes, &mut chance, often);
        }
        if tick == restart_at {
            // The gateway's process is new; what it stored is on disk.
            (gateway.welcomed, gateway.receiver) = (false, Receiver::new());
        }
        for mut answer in gateway.step(&bytes, now) {
            damage(&mut answer, &mut chance, often);
            port.incoming.extend(answer);
        }
        if sent.len() as u32 == jobs && gateway.stored.len() as u32 == jobs && gateway.verdicts.is_empty() {
            break;
        }
    }
    assert_eq!(gateway.stored, sent, "seed {seed}: what was sent is there, once, and as it was");
    assert!(gateway.verdicts.is_empty(), "seed {seed}: verdicts without a receipt");
    assert_eq!(node.gateway_us(500).map(|now| now.abs_diff(GATEWAY_US + 500) <= 2_000), Some(true), "seed {seed}");
    heard
}

#[test]
fn over_a_good_line_every_job_has_both_its_answers_once() {
    let heard = exchange(1, 30, 0, u64::MAX);
    assert_eq!(heard.len(), 60);
    let distinct: std::collections::BTreeSet<_> = heard.iter().collect();
    assert_eq!(distinct.len(), 60);
}

#[test]
fn over_a_bad_line_nothing_is_lost_and_nothing_told_twice() {
    for seed in 1..=40 {
        let heard = exchange(seed, 30, 5, if seed % 2 == 0 { 700 } else { u64::MAX });
        let distinct: std::collections::BTreeSet<_> = heard.iter().collect();
        assert_eq!(distinct.len(), heard.len(), "seed {seed}: a verdict was told twice");
        // A first answer that comes after its amendment is not told any more; the amendment always is.
        let amended = heard.iter().filter(|(_, revision)| *revision == 2).count();
        assert_eq!(amended, 30, "seed {seed}");
    }
}

/// All frames that a node has to say at this time.
fn said(node: &mut Node, now: u64) -> Vec<u8> {
    let mut port = Port::default();
    node.poll(&mut port, now, &mut |_| {});
    port.outgoing
}

fn hear(node: &mut Node, now: u64, bytes: &[u8]) -> usize {
    let mut heard = 0;
    for byte in bytes {
        node.receive(*byte, now, &mut |_| heard += 1);
    }
    heard
}

#[test]
fn says_hello_until_welcome_and_nothing_else() {
    let mut node = Node::new(NODE, 5, &HYDRAULIC_RIG);
    node.job("m", Samples::Counts(&[])).unwrap();
    let first = said(&mut node, 0);
    assert_eq!(first.iter().filter(|byte| **byte == 0).count(), 2, "a 0x00 first, then one Hello");
    assert!(said(&mut node, REPEAT_US - 1).is_empty());
    assert!(!said(&mut node, REPEAT_US).is_empty());
    // The first Hello was number 2 and is out of date: when its answer left is not known any more.
    assert_eq!(hear(&mut node, REPEAT_US, &encoded(Body::Welcome { seq: 2, now_us: 1, window: 1 })), 0);
    assert_eq!(hear(&mut node, REPEAT_US, &encoded(Body::Welcome { seq: 3, now_us: 1, window: 1 })), 1);
    assert!(node.is_welcome() && !said(&mut node, REPEAT_US).is_empty());
}

#[test]
fn a_node_that_is_refused_asks_seldom() {
    let mut node = Node::new(NODE, 5, &HYDRAULIC_RIG);
    said(&mut node, 0);
    assert_eq!(hear(&mut node, 10, &encoded(Body::Reject { seq: 1, code: RejectCode::PROFILE })), 1);
    assert!(said(&mut node, GREET_AGAIN_US - 1).is_empty());
    assert!(!said(&mut node, GREET_AGAIN_US + 10).is_empty());
}

#[test]
fn what_is_meant_for_another_node_or_another_start_is_left_alone() {
    let mut node = Node::new(NODE, 6, &HYDRAULIC_RIG);
    said(&mut node, 0);
    assert_eq!(hear(&mut node, 0, &encoded(Body::Welcome { seq: 1, now_us: 1, window: 1 })), 0);
    assert!(!node.is_welcome());
}

#[test]
fn a_busy_gateway_gets_the_frame_later_and_a_refused_frame_is_given_up() {
    let mut node = Node::new(NODE, 5, &HYDRAULIC_RIG);
    said(&mut node, 0);
    hear(&mut node, 0, &encoded(Body::Welcome { seq: 1, now_us: 1, window: 4 }));
    let seq = node.job("m", Samples::Counts(&[])).unwrap();
    assert!(!said(&mut node, 0).is_empty());
    assert_eq!(hear(&mut node, 1, &encoded(Body::Reject { seq, code: RejectCode::BUSY })), 1);
    assert!(said(&mut node, 7 * REPEAT_US).is_empty());
    assert!(!said(&mut node, 8 * REPEAT_US + 1).is_empty());
    assert_eq!(hear(&mut node, 9 * REPEAT_US, &encoded(Body::Reject { seq, code: RejectCode::MODEL })), 1);
    assert_eq!(node.under_way(), 0);
}

#[test]
fn a_block_becomes_one_reading_for_each_channel_as_there_is_room() {
    let mut node = Node::new(NODE, 5, &crate::nodes::MOTOR_CURRENT);
    said(&mut node, 0);
    hear(&mut node, 0, &encoded(Body::Welcome { seq: 1, now_us: 1, window: 1 }));
    let mut block = Block::<2, 3>::new(&crate::nodes::MOTOR_CURRENT);
    for tick in 0..4 {
        block.hand_over(&mut node).unwrap();
        block.sample(100 + tick, &[1.0 + tick as f32, -24.0]);
    }
    assert_eq!((block.lost(), node.under_way()), (1, 1), "the fourth found no room");
    let mut got = Vec::new();
    for seq in 2..4 {
        block.hand_over(&mut node).unwrap();
        let mut receiver = Receiver::<{ ENCODED_MAX }>::new();
        let bytes = said(&mut node, 1);
        match receiver.receive(&mut bytes.as_slice()) {
            Some(Ok(Frame { body: Body::Reading { channel, t_us, samples }, .. })) => {
                got.push((channel, t_us, samples.values(32.0).collect::<Vec<_>>()));
            }
            other => panic!("{other:?}"),
        }
        hear(&mut node, 1, &encoded(Body::Ack { seq }));
    }
    assert_eq!(got, [(0, 100, [1.0, 2.0, 3.0].to_vec()), (1, 100, [-24.0; 3].to_vec())]);
    block.sample(200, &[0.0; 2]);
    assert_eq!(block.lost(), 1, "there is room again");
}
