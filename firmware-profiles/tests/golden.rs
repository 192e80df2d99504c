//! The bytes of every version of the wire, as they are between nodes and gateways that are out there. A change here is a
//! new version.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test panics where it is broken")]

use firmware_profiles::{
    units::Ratio,
    wire::{self, Address, Body, Frame, NodeId, Outcome, RejectCode, Samples, Verdict},
};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// All bodies of version 1, each with its bytes.
fn version_1() -> Vec<(Body<'static>, &'static str)> {
    let class = Outcome::Class { class: 2, confidence: Ratio::of(0.75), certified: true };
    let verdict = |revision, last, outcome| Body::Verdict(Verdict { seq: 300, revision, last, outcome });
    vec![
        (Body::Reject { seq: 300, code: RejectCode::HELLO_FIRST }, "0901eeff830607ac0208ac02027f20962d00"),
        (
            Body::Hello { profile: "hydraulic-rig", fingerprint: 0x1234_5678, t_us: 1_500 },
            "2301eeff830607ac02010d6879647261756c69632d726967f8acd19101dc0bd4c1937100",
        ),
        (
            Body::Welcome { seq: 1, now_us: 1_800_000_000_000_000, window: 4 },
            "1801eeff830607ac0202018080e2c4f2a29903040ed38e9c00",
        ),
        (
            Body::Reading { channel: 5, t_us: 90_000, samples: Samples::Counts(&[1, 0, 0xff, 0x7f]) },
            "0e01eeff830607ac02030590bf0503040107ff7fd9c52ac000",
        ),
        (
            Body::Job { model: "hydraulic-pump", input: Samples::Floats(&[0, 0, 0x80, 0x3f]) },
            "1b01eeff830607ac02040e6879647261756c69632d70756d7001040107803f19ab9b2900",
        ),
        (verdict(1, false, class), "0d01eeff830607ac0205ac02010102020108403f01cedb2d8d00"),
        (
            verdict(2, true, Outcome::Anomaly { score: 1.5, anomalous: true }),
            "0f01eeff830607ac0205ac020201010108c03f010b98171f00",
        ),
        (verdict(1, true, Outcome::Value { value: -2.0 }), "0f01eeff830607ac0205ac02010102010106c00d209b7000"),
        (
            verdict(1, true, Outcome::Failed { code: "job/expired" }),
            "1f01eeff830607ac0205ac020101030b6a6f622f6578706972656478999d2f00",
        ),
        (Body::Ack { seq: 300 }, "1001eeff830607ac0206ac02cb549c9100"),
        (Body::Receipt { seq: 300, revision: 2 }, "1101eeff830607ac0207ac0202b598963400"),
    ]
}

#[test]
fn every_body_of_version_1_has_its_bytes() {
    let address = Address { node: NodeId(0x00c0_ffee), boot: 7, seq: 300 };
    let mut wrong = Vec::new();
    for (body, golden) in version_1() {
        let mut buffer = [0; wire::ENCODED_MAX];
        let length = wire::encode(&Frame { address, body }, &mut buffer).unwrap();
        let bytes = hex(&buffer[..length]);
        if bytes != golden {
            wrong.push(format!("{body:?}\n    is     {bytes}\n    was    {golden}"));
        }
        let decoded = wire::decode(&mut buffer[..length - 1]).unwrap();
        assert_eq!(decoded, Frame { address, body });
    }
    assert!(wrong.is_empty(), "version {} has changed:\n{}", wire::VERSION, wrong.join("\n"));
}

/// The checksum's parameters, by the catalogue's check value for "123456789": 0xe3069283.
#[test]
fn the_checksum_is_crc_32c() {
    // A frame whose version is '1' and whose address and body are "23456789".
    let mut bytes = [b"\x0e".as_slice(), b"123456789", &0xe306_9283_u32.to_le_bytes()].concat();
    match wire::decode(&mut bytes) {
        Err(wire::Fault::Version { version: b'1', address }) => assert_eq!(address.boot, u32::from(b'3')),
        other => panic!("{other:?}"),
    }
}
