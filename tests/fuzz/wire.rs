//! What stands on the wire between nodes and gateway, in three ways at once: as it is, as the content of a frame whose
//! checksum is right, and as what a node hears. Nothing panics, and what is a frame comes back as it was.
//!
//! Ten million inputs and more: `tests/fuzz/run 600 wire` (12,000,000 took 316 s beside other work on two cores).

#![no_main]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a fuzzer panics where it finds something")]

use firmware_profiles::{
    nodes::MOTOR_CURRENT,
    uplink::Uplink,
    wire::{self, Body, Fault, NodeId, Receiver},
};
use libfuzzer_sys::fuzz_target;

/// As in `wire`: the fuzzer does not find a checksum by chance.
static CRC32C: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI);

/// Checksum, COBS and 0x00 around the content.
fn sealed<'a>(content: &[u8], buffer: &'a mut [u8]) -> &'a [u8] {
    let mut encoder = cobs::CobsEncoder::new(buffer);
    encoder.push(content).unwrap();
    encoder.push(&CRC32C.checksum(content).to_le_bytes()).unwrap();
    let length = encoder.finalize();
    buffer[length] = 0;
    &buffer[..=length]
}

fn comes_back(frame: wire::Frame<'_>) {
    let mut buffer = [0; wire::ENCODED_MAX];
    let length = wire::encode(&frame, &mut buffer).expect("what came in can go out");
    let again = wire::decode(&mut buffer[..length - 1]).expect("what went out comes in");
    // Numbers that are not equal to themselves may stand in a score.
    if !matches!(frame.body, Body::Verdict(_)) {
        assert_eq!(frame, again);
    }
}

fuzz_target!(|data: &[u8]| {
    let content = &data[..data.len().min(wire::DECODED_MAX - 4)];
    let mut buffer = [0; wire::ENCODED_MAX + 8];
    let frame = sealed(content, &mut buffer);

    let mut receiver = Receiver::<{ wire::ENCODED_MAX }>::new();
    let mut bytes = data;
    while let Some(result) = receiver.receive(&mut bytes) {
        if let Ok(frame) = result {
            comes_back(frame);
        }
    }
    receiver.clear();
    match receiver.receive(&mut { frame }).expect("a 0x00 ends it") {
        Ok(frame) => comes_back(frame),
        Err(Fault::Noise | Fault::TooLong) => panic!("the checksum is right and the length too"),
        Err(Fault::Malformed | Fault::Unreadable { .. } | Fault::Version { .. }) => {}
    }

    // The node of the corpus's frames.
    let mut node = Uplink::<2, 128>::new(NodeId(7), 1, &MOTOR_CURRENT);
    for (now_us, byte) in data.iter().chain(frame).enumerate() {
        node.receive(*byte, now_us as u64, &mut |_| {});
    }
    assert!(node.under_way() <= 2);
});
