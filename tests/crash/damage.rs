//! A store whose files were damaged: all of it is there, or what is missing was counted. Never a process that cannot start.

use std::fs;

use picket::ports::Store;
use picket_tests::damage::{FILE, Original, Tally, open};
use rand::{Rng, SeedableRng, rngs::StdRng};

const TRANSACTIONS: usize = 60;

fn original(name: &str) -> Original {
    let seed = super::number("PICKET_CRASH_SEED", 1);
    println!("seed {seed}; repeat with PICKET_CRASH_SEED={seed} cargo nextest run --workspace -E 'test({name})'");
    Original::new(seed, TRANSACTIONS)
}

#[test]
fn flipped_bits_are_never_a_silent_loss() {
    let original = original("flipped_bits_are_never_a_silent_loss");
    let mut dice = StdRng::seed_from_u64(original.seed);
    let mut tally = Tally::default();
    let (count, len) = (super::number("PICKET_DAMAGE_FLIPS", 200), original.bytes.len());
    // Every byte of the header, which decides what is read at all, and any others.
    let header = (0..320).filter(|place| count > 200 || place % 2 == 0);
    let places: Vec<usize> = header.chain((0..count).map(|_| dice.random_range(0..len))).collect();
    for place in places {
        let bit = dice.random_range(0..8);
        let mut bytes = original.bytes.clone();
        bytes[place] ^= 1 << bit;
        let copy = original.with(&bytes);
        original.audit(copy.path(), &mut tally, &format!("bit {bit} of byte {place}"));
    }
    println!("{tally:?}");
}

#[test]
fn a_file_that_was_cut_emptied_zeroed_or_replaced_is_never_a_silent_loss() {
    let original = original("a_file_that_was_cut_emptied_zeroed_or_replaced_is_never_a_silent_loss");
    let mut dice = StdRng::seed_from_u64(original.seed);
    let (count, len) = (super::number("PICKET_DAMAGE_CUTS", 40), original.bytes.len());
    let mut tally = Tally::default();
    let edges = [0, 1, 63, 64, 127, 128, 319, 320, 4_095, 4_096, 8_192, len - 4_096, len - 1];
    for cut in edges.into_iter().chain((0..count).map(|_| dice.random_range(0..len))) {
        let copy = original.with(&original.bytes[..cut]);
        original.audit(copy.path(), &mut tally, &format!("cut to {cut} of {len} bytes"));
    }
    for _ in 0..count {
        let start = dice.random_range(0..len);
        let end = (start + dice.random_range(1..20_000)).min(len);
        let mut bytes = original.bytes.clone();
        bytes[start..end].fill(0);
        original.audit(original.with(&bytes).path(), &mut tally, &format!("zeros from {start} to {end}"));
    }
    original.audit(original.with(&vec![0; len]).path(), &mut tally, "nothing but zeros");
    for size in [1, 100, 4_096, 100_000] {
        let mut garbage = vec![0; size];
        dice.fill(&mut garbage[..]);
        original.audit(original.with(&garbage).path(), &mut tally, &format!("{size} random bytes"));
    }
    println!("{tally:?}");
}

/// The database asks to be upgraded by hand from what it takes for an older format; nobody would come and do it.
#[test]
fn a_format_that_nobody_wrote_is_damage() {
    let original = original("a_format_that_nobody_wrote_is_damage");
    let mut tally = Tally::default();
    // The first byte of each of the two commit slots.
    for (slot, version) in [64, 192].into_iter().flat_map(|slot| [0, 1, 2, 4, 255].map(|version| (slot, version))) {
        let mut bytes = original.bytes.clone();
        bytes[slot] = version;
        original.audit(original.with(&bytes).path(), &mut tally, &format!("format {version} at {slot}"));
    }
    let mut bytes = original.bytes.clone();
    (bytes[64], bytes[192]) = (1, 1);
    original.audit(original.with(&bytes).path(), &mut tally, "format 1");
    assert!(tally.moved_aside > 0, "{tally:?}: none of this reached the database's format check");
}

#[test]
fn a_damaged_payload_file_is_never_a_wrong_payload_nor_a_silent_loss() {
    let original = original("a_damaged_payload_file_is_never_a_wrong_payload_nor_a_silent_loss");
    let mut dice = StdRng::seed_from_u64(original.seed);
    let mut tally = Tally::default();
    let blobs = original.blobs();
    assert!(blobs.len() > 3);
    for blob in &blobs {
        let name = blob.file_name().unwrap().to_str().unwrap().to_owned();
        for damage in ["gone", "empty", "cut", "flipped"] {
            let copy = original.with(&original.bytes);
            let path = copy.path().join("blobs").join(&name);
            let mut bytes = fs::read(&path).unwrap();
            match damage {
                "gone" => fs::remove_file(&path).unwrap(),
                "empty" => fs::write(&path, b"").unwrap(),
                "cut" => fs::write(&path, &bytes[..dice.random_range(1..bytes.len())]).unwrap(),
                _ => {
                    let place = dice.random_range(0..bytes.len());
                    bytes[place] ^= 1;
                    fs::write(&path, bytes).unwrap();
                }
            }
            original.audit(copy.path(), &mut tally, &format!("payload file {name} {damage}"));
        }
    }
    println!("{} payload files: {tally:?}", blobs.len());
}

/// Many files were moved aside before: their number goes on, and none is overwritten.
#[test]
fn each_damaged_file_is_kept_for_whoever_wants_to_look() {
    let folder = tempfile::tempdir().unwrap();
    for n in 1..=3 {
        fs::write(folder.path().join(FILE), format!("garbage {n}")).unwrap();
        let mut store = open(folder.path()).unwrap();
        let aside = store.recover().moved_aside.unwrap();
        assert_eq!(aside.file_name().unwrap().to_str().unwrap(), format!("{FILE}.corrupt-{n}"));
        assert_eq!(fs::read_to_string(aside).unwrap(), format!("garbage {n}"));
    }
}
