//! A store whose files were damaged: all of it is there, or what is missing was counted. Never a process that cannot start.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use picket::{
    config::OnFull,
    ports::Store,
    store::redb::{OpenError, RedbStore},
};
use picket_core::job::Digest;
use picket_tests::script::{Script, Snapshot, digest, setup, snapshot, takes_a_job};
use rand::{Rng, SeedableRng, rngs::StdRng};
use tempfile::TempDir;

const TRANSACTIONS: usize = 60;
const FILE: &str = "picket.redb";

/// A store as a process leaves it, and what is in it.
struct Original {
    folder: TempDir,
    bytes: Vec<u8>,
    holds: Snapshot,
    seed: u64,
}

/// What became of damaged stores.
#[derive(Debug, Default)]
struct Tally {
    whole: usize,
    moved_aside: usize,
    records: usize,
}

impl Original {
    fn new(name: &str) -> Self {
        let seed = super::number("PICKET_CRASH_SEED", 1);
        println!("seed {seed}; repeat with PICKET_CRASH_SEED={seed} cargo nextest run --workspace -E 'test({name})'");
        let folder = tempfile::tempdir().unwrap();
        let mut store = open(folder.path()).unwrap();
        snapshot(&mut store);
        let mut script = Script::new(seed, true);
        (0..TRANSACTIONS).for_each(|_| assert!(script.run(&mut store)));
        drop(store);
        let bytes = fs::read(folder.path().join(FILE)).unwrap();
        assert!(script.expected.jobs.len() > 5 && script.expected.rows.len() > 5, "{:?}", script.expected);
        Self { folder, bytes, holds: script.expected, seed }
    }

    /// A copy with this in place of the store's file.
    fn with(&self, bytes: &[u8]) -> TempDir {
        let copy = tempfile::tempdir().unwrap();
        fs::create_dir(copy.path().join("blobs")).unwrap();
        for blob in self.blobs() {
            fs::copy(&blob, copy.path().join("blobs").join(blob.file_name().unwrap())).unwrap();
        }
        fs::write(copy.path().join(FILE), bytes).unwrap();
        copy
    }

    fn blobs(&self) -> Vec<PathBuf> {
        let mut found: Vec<PathBuf> =
            fs::read_dir(self.folder.path().join("blobs")).unwrap().map(|entry| entry.unwrap().path()).collect();
        found.sort();
        found
    }

    /// Opens a damaged copy. Whatever is missing must have been counted.
    fn audit(&self, folder: &Path, tally: &mut Tally, damage: &str) {
        let context = format!("seed {}, {damage}", self.seed);
        let mut store = open(folder).unwrap_or_else(|error| panic!("{context}: {error}"));
        let recovered = store.recover();
        assert_eq!(store.broken(), None, "{context}");
        let jobs: BTreeMap<String, Digest> = recovered
            .jobs
            .iter()
            .map(|(job, request)| (job.id.to_string(), digest(request.content.parts().0)))
            .collect();
        // A row without its message is announced by the one who wants to send it.
        let rows: BTreeMap<u64, Option<Digest>> = recovered
            .rows
            .iter()
            .map(|row| (row.row.0, store.row(row.row).map(|message| digest(&message.payload))))
            .collect();
        for (id, found) in &jobs {
            assert_eq!(self.holds.jobs.get(id), Some(found), "{context}: nobody wrote this job {id}");
        }
        for (row, found) in rows.iter().filter_map(|(row, found)| Some((row, found.as_ref()?))) {
            assert_eq!(self.holds.rows.get(row), Some(found), "{context}: nobody wrote this row {row}");
        }
        let dead = store.dead().len();
        let lost = self.holds.jobs.len() - jobs.len() + self.holds.rows.len() - rows.len() + self.holds.seen.len()
            - recovered.seen.len()
            + self.holds.dead.len()
            - dead;
        let count = |reason: &str| recovered.losses.get(reason).copied().unwrap_or_default();
        if let Some(aside) = recovered.moved_aside {
            assert!(aside.exists() && count("corrupt_store") == 1, "{context}: {:?}", recovered.losses);
            tally.moved_aside += 1;
        } else {
            assert!(count("corrupt_record") >= lost as u64, "{context}: {lost} lost, {:?}", recovered.losses);
            tally.records += usize::from(lost > 0);
            tally.whole += usize::from(lost == 0);
        }
        assert!(takes_a_job(&mut store), "{context}: the store takes no job");
    }
}

fn open(folder: &Path) -> Result<RedbStore, OpenError> {
    RedbStore::open(setup(folder, 64 << 20, OnFull::Reject))
}

#[test]
fn flipped_bits_are_never_a_silent_loss() {
    let original = Original::new("flipped_bits_are_never_a_silent_loss");
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
    let original = Original::new("a_file_that_was_cut_emptied_zeroed_or_replaced_is_never_a_silent_loss");
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

#[test]
fn a_damaged_payload_file_is_never_a_wrong_payload_nor_a_silent_loss() {
    let original = Original::new("a_damaged_payload_file_is_never_a_wrong_payload_nor_a_silent_loss");
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
