//! Properties of the wire: nothing that comes in panics, everything that goes out comes back, noise costs what it hit.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test panics where it is broken")]

use firmware_profiles::{
    units::Ratio,
    wire::{self, Address, Body, EncodeError, Fault, Frame, NodeId, Outcome, Receiver, RejectCode, Samples, Verdict},
};
use proptest::prelude::*;

/// A body whose text and samples are the caller's.
fn body<'a>(kind: u8, text: &'a str, bytes: &'a [u8], (a, b, c): (u32, u64, u16), number: f32) -> Body<'a> {
    let samples = match kind % 2 {
        0 => Samples::counts(&bytes[..bytes.len() & !1]),
        _ => Samples::floats(&bytes[..bytes.len() & !3]),
    }
    .unwrap();
    let share = Ratio::new(number.abs().fract()).unwrap();
    let verdict = |outcome| Body::Verdict(Verdict { seq: a, revision: c, last: b % 2 == 0, outcome });
    match kind % 12 {
        0 => Body::Reject { seq: a, code: RejectCode(c as u8) },
        1 => Body::Hello { profile: text, fingerprint: a, t_us: b },
        2 => Body::Welcome { seq: a, now_us: b, window: c as u8 },
        3 | 4 => Body::Reading { channel: c as u8, t_us: b, samples },
        5 | 6 => Body::Job { model: text, input: samples },
        7 => verdict(Outcome::Class { class: c, confidence: share, certified: a % 2 == 0 }),
        8 => verdict(Outcome::Anomaly { score: number, anomalous: a % 2 == 0 }),
        9 => verdict(Outcome::Failed { code: text }),
        10 => Body::Ack { seq: a },
        _ => Body::Receipt { seq: a, revision: c },
    }
}

fn encoded(frame: &Frame<'_>) -> Vec<u8> {
    let mut buffer = [0; wire::ENCODED_MAX];
    let length = wire::encode(frame, &mut buffer).unwrap();
    assert_eq!(buffer[..length].iter().position(|byte| *byte == 0), Some(length - 1), "0x00 stands at the end alone");
    buffer[..length].to_vec()
}

fn ack(seq: u32) -> Frame<'static> {
    Frame { address: Address { node: NodeId(3), boot: 4, seq }, body: Body::Ack { seq } }
}

/// What a receiver makes of bytes: the frames' numbers.
fn numbers(receiver: &mut Receiver, mut bytes: &[u8]) -> Vec<Result<u32, Fault>> {
    let mut all = Vec::new();
    while let Some(result) = receiver.receive(&mut bytes) {
        all.push(result.map(|frame| frame.address.seq));
    }
    assert!(bytes.is_empty());
    all
}

proptest! {
    #[test]
    fn what_goes_out_comes_back(
        kind in any::<u8>(), text in "[a-z0-9/-]{0,64}", bytes in proptest::collection::vec(any::<u8>(), 0..3_000),
        numbers in any::<(u32, u64, u16)>(), number in proptest::num::f32::NORMAL, node in any::<u64>(),
        boot in any::<u32>(), seq in any::<u32>(), cut in 1_usize..300,
    ) {
        let body = body(kind, &text, &bytes, numbers, number);
        let frame = Frame { address: Address { node: NodeId(node), boot, seq }, body };
        let sent = encoded(&frame);
        let mut receiver = Receiver::<{ wire::ENCODED_MAX }>::new();
        let mut got = 0;
        for mut piece in sent.chunks(cut) {
            while let Some(result) = receiver.receive(&mut piece) {
                prop_assert_eq!(result, Ok(frame));
                got += 1;
            }
        }
        prop_assert_eq!(got, 1);
    }

    #[test]
    fn nothing_that_comes_in_panics(bytes in proptest::collection::vec(any::<u8>(), 0..6_000)) {
        let mut receiver = Receiver::<256>::new();
        for mut piece in bytes.chunks(7) {
            while receiver.receive(&mut piece).is_some() {}
        }
        let _ = wire::decode(&mut bytes.clone());
    }

    /// One bit of noise costs the frame that it hit, or two where it hit the 0x00 between them, and no other.
    #[test]
    fn noise_costs_what_it_hits(bit in 0_usize..1_000_000) {
        let frames: Vec<_> = (1..=5).map(|seq| encoded(&ack(seq))).collect();
        let mut bytes = frames.concat();
        let bit = bit % (bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        let mut ends = frames.iter().scan(0, |end, frame| { *end += frame.len(); Some(*end) });
        let hit = ends.position(|end| bit / 8 < end).unwrap() as u32 + 1;
        let mut receiver = Receiver::<{ wire::ENCODED_MAX }>::new();
        let mut got = numbers(&mut receiver, &bytes);
        // What the noise left open ends with the next 0x00.
        got.extend(numbers(&mut receiver, &[0]));
        let good: Vec<u32> = got.iter().filter_map(|result| result.ok()).collect();
        prop_assert!(!good.contains(&hit));
        for seq in (1..=5).filter(|seq| ![hit, hit + 1].contains(seq)) {
            prop_assert!(good.contains(&seq), "{} is lost, the noise was in {}: {:?}", seq, hit, got);
        }
        prop_assert!(good.len() >= 3);
    }

    /// The receiver is in step at the first 0x00 after any noise.
    #[test]
    fn after_any_noise_and_one_zero_a_frame_is_read(noise in proptest::collection::vec(any::<u8>(), 0..9_000)) {
        let mut receiver = Receiver::<{ wire::ENCODED_MAX }>::new();
        let _ = numbers(&mut receiver, &noise);
        let _ = numbers(&mut receiver, &[0]);
        prop_assert_eq!(numbers(&mut receiver, &encoded(&ack(9))), vec![Ok(9)]);
    }
}

#[test]
fn a_frame_of_another_version_can_be_answered() {
    let mut bytes = encoded(&ack(6));
    let length = cobs::decode_in_place(&mut bytes).unwrap();
    let mut content = bytes[..length - 4].to_vec();
    content[0] = 9;
    content.extend([0xaa; 40]);
    let mut receiver = Receiver::<{ wire::ENCODED_MAX }>::new();
    let expected = Address { node: NodeId(3), boot: 4, seq: 6 };
    assert_eq!(numbers(&mut receiver, &sealed(&content)), [Err(Fault::Version { version: 9, address: expected })]);
    // The same in this version is a frame with something behind it.
    content[0] = wire::VERSION;
    assert_eq!(numbers(&mut receiver, &sealed(&content)), [Err(Fault::Unreadable { address: expected })]);
    assert_eq!(numbers(&mut receiver, &sealed(&[wire::VERSION])), [Err(Fault::Malformed)]);
    let counters = receiver.counters();
    assert_eq!((counters.version, counters.unreadable, counters.malformed, counters.frames), (1, 1, 1, 0));
}

/// Checksum, COBS and 0x00 around anything.
fn sealed(content: &[u8]) -> Vec<u8> {
    let check = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI).checksum(content);
    let whole = [content, &check.to_le_bytes()].concat();
    let mut out = vec![0; cobs::max_encoding_length(whole.len()) + 1];
    let length = cobs::encode(&whole, &mut out);
    out.truncate(length + 1);
    out
}

#[test]
fn numbers_that_their_type_cannot_have_do_not_come_in() {
    let verdict = |confidence: f32| {
        let mut content = vec![wire::VERSION, 3, 4, 5, 5, 5, 1, 1, 0, 2];
        content.extend(confidence.to_le_bytes());
        content.push(0);
        let mut receiver = Receiver::<{ wire::ENCODED_MAX }>::new();
        numbers(&mut receiver, &sealed(&content))
    };
    assert_eq!(verdict(0.5), [Ok(5)]);
    for wrong in [f32::NAN, 1.5, -0.1] {
        assert!(matches!(verdict(wrong)[..], [Err(Fault::Unreadable { .. })]), "{wrong}");
    }
    // A Reading with half a sample, and one that says it has more bytes than there are.
    for length in [3, 200] {
        let content = [&[wire::VERSION, 3, 4, 5, 3, 0, 0, 0, length], [7; 3].as_slice()].concat();
        let mut receiver = Receiver::<{ wire::ENCODED_MAX }>::new();
        assert!(matches!(numbers(&mut receiver, &sealed(&content))[..], [Err(Fault::Unreadable { .. })]));
    }
}

#[test]
fn what_is_too_long_is_refused_on_both_sides() {
    let address = Address { node: NodeId(1), boot: 1, seq: 1 };
    let mut buffer = [0; wire::ENCODED_MAX];
    let bytes = [0xff; wire::DECODED_MAX];
    let longest =
        |length: usize| Frame { address, body: Body::Job { model: "m", input: Samples::Counts(&bytes[..length]) } };
    // Head 4, body 1, model 2, kind 1, length 2, checksum 4.
    assert_eq!(wire::encode(&longest(wire::DECODED_MAX - 14), &mut buffer), Ok(wire::ENCODED_MAX));
    let mut receiver = Receiver::<{ wire::ENCODED_MAX }>::new();
    assert_eq!(numbers(&mut receiver, &buffer), [Ok(1)]);
    assert_eq!(wire::encode(&longest(wire::DECODED_MAX - 12), &mut buffer), Err(EncodeError::FrameTooLong));
    assert_eq!(wire::encode(&longest(20), &mut [0; 20]), Err(EncodeError::BufferTooShort));
    let text = "x".repeat(wire::TEXT_MAX + 1);
    let frame = Frame { address, body: Body::Job { model: &text, input: Samples::Counts(&[]) } };
    assert_eq!(wire::encode(&frame, &mut buffer), Err(EncodeError::TextTooLong));

    let mut stream = vec![1; 3 * wire::ENCODED_MAX];
    stream.push(0);
    stream.extend(encoded(&ack(2)));
    assert_eq!(numbers(&mut receiver, &stream), [Err(Fault::TooLong), Ok(2)]);
    assert_eq!(receiver.counters().too_long, 1);
}

#[test]
fn frames_that_lost_what_was_between_them_are_noise_and_the_next_one_is_read() {
    let (first, second) = (encoded(&ack(1)), encoded(&ack(2)));
    let glued = [&first[..first.len() - 1], &second, &encoded(&ack(3))].concat();
    let mut receiver = Receiver::<{ wire::ENCODED_MAX }>::new();
    assert_eq!(numbers(&mut receiver, &glued), [Err(Fault::Noise), Ok(3)]);
}

#[test]
fn an_address_is_a_job_id_of_the_daemon() {
    let id = Address { node: NodeId(u64::MAX), boot: u32::MAX, seq: u32::MAX }.to_string();
    assert_eq!(id, "node/ffffffffffffffff/4294967295/4294967295");
    assert!(id.len() <= 128 && id.chars().all(|c| c.is_ascii_alphanumeric() || "._:/-".contains(c)));
}
