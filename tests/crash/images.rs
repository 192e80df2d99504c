//! Power cuts at every point of a scripted life: the disk keeps what was synced, and any part of what was not.

use std::sync::{Arc, Mutex};

use ::redb::{Builder, Database, DatabaseError, StorageBackend};
use picket::{
    config::OnFull,
    ports::Store,
    store::redb::{MIGRATIONS, RedbStore, Refusal, initialise},
};
use picket_tests::script::{Script, Snapshot, setup, snapshot, takes_a_job};
use rand::{Rng, SeedableRng, rngs::StdRng};

const TRANSACTIONS: usize = 40;

#[derive(Clone, Debug)]
pub(super) enum Op {
    Write(u64, Vec<u8>),
    SetLen(u64),
    Sync,
}

#[derive(Debug, Default)]
pub(super) struct Disk {
    pub bytes: Vec<u8>,
    ops: Vec<Op>,
}

/// A disk in memory that remembers what was done to it.
#[derive(Clone, Debug, Default)]
pub(super) struct Recorder(pub Arc<Mutex<Disk>>);

impl Recorder {
    pub fn holding(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(Disk { bytes, ops: Vec::new() })))
    }

    pub fn ops(&self) -> Vec<Op> {
        self.0.lock().unwrap().ops.clone()
    }

    fn len(&self) -> usize {
        self.0.lock().unwrap().ops.len()
    }
}

impl StorageBackend for Recorder {
    fn len(&self) -> Result<u64, std::io::Error> {
        Ok(self.0.lock().unwrap().bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), std::io::Error> {
        let disk = self.0.lock().unwrap();
        let start = offset as usize;
        let found = disk.bytes.get(start..start + out.len()).ok_or(std::io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(found);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), std::io::Error> {
        let mut disk = self.0.lock().unwrap();
        disk.bytes.resize(len as usize, 0);
        disk.ops.push(Op::SetLen(len));
        Ok(())
    }

    fn sync_data(&self) -> Result<(), std::io::Error> {
        self.0.lock().unwrap().ops.push(Op::Sync);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), std::io::Error> {
        let mut disk = self.0.lock().unwrap();
        put(&mut disk.bytes, offset, data);
        disk.ops.push(Op::Write(offset, data.to_vec()));
        Ok(())
    }
}

fn put(bytes: &mut Vec<u8>, offset: u64, data: &[u8]) {
    let end = offset as usize + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset as usize..end].copy_from_slice(data);
}

/// How much of what was not synced is on the disk after a cut.
#[derive(Clone, Copy, Debug)]
pub(super) enum Luck {
    Nothing,
    Everything,
    /// Each operation by itself, and writes maybe in part.
    Some,
}

/// The disk after a cut behind the first `point` operations.
pub(super) fn image(start: &[u8], ops: &[Op], point: usize, luck: Luck, rng: &mut StdRng) -> Vec<u8> {
    let ops = &ops[..point];
    let synced = ops.iter().rposition(|op| matches!(op, Op::Sync)).map_or(0, |place| place + 1);
    let mut bytes = start.to_vec();
    for (place, op) in ops.iter().enumerate() {
        let part = match luck {
            _ if place < synced => 3,
            Luck::Nothing => 0,
            Luck::Everything => 3,
            Luck::Some => rng.random_range(0..4),
        };
        match (op, part) {
            (Op::Sync, _) | (_, 0) => {}
            (Op::SetLen(len), _) => bytes.resize(*len as usize, 0),
            (Op::Write(offset, data), 3) => put(&mut bytes, *offset, data),
            // Torn: sectors are whole, pages are not.
            (Op::Write(offset, data), 1) => put(&mut bytes, *offset, &data[..data.len() / 2]),
            (Op::Write(offset, data), _) => put(&mut bytes, *offset + (data.len() / 2) as u64, &data[data.len() / 2..]),
        }
    }
    bytes
}

fn open(folder: &std::path::Path, disk: &Recorder) -> Result<RedbStore, String> {
    let disk = disk.clone();
    let opener =
        move |builder: &Builder| -> Result<Database, DatabaseError> { builder.create_with_backend(disk.clone()) };
    RedbStore::open_with(setup(folder, 64 << 20, OnFull::Reject), Box::new(opener), MIGRATIONS).map_err(|refusal| {
        match refusal {
            Refusal::Corrupt(_, why) => format!("corrupt: {why}"),
            Refusal::Other(error) => error.to_string(),
        }
    })
}

#[test]
fn after_a_power_cut_at_any_point_the_store_holds_exactly_what_was_committed() {
    let (seed, lucks) = (super::number("PICKET_CRASH_SEED", 1), super::number("PICKET_CRASH_IMAGES", 3));
    println!("seed {seed}; repeat with PICKET_CRASH_SEED={seed} PICKET_CRASH_IMAGES={lucks}");
    let folder = tempfile::tempdir().unwrap();
    let disk = Recorder::default();
    initialise(&Database::builder().create_with_backend(disk.clone()).unwrap()).unwrap();
    let start = disk.0.lock().unwrap().bytes.clone();
    let disk = Recorder::holding(start.clone());

    // The scripted life: after how many operations of the disk which state was durable.
    let mut script = Script::new(seed, false);
    let mut durable: Vec<(usize, Snapshot)> = vec![(0, Snapshot::default())];
    {
        let mut store = open(folder.path(), &disk).unwrap();
        assert_eq!(snapshot(&mut store), Snapshot::default());
        for _ in 0..TRANSACTIONS {
            let writes = script.next_writes();
            if writes.is_empty() {
                continue;
            }
            let written = store.transact(writes.clone());
            script.committed(&writes, &written);
            assert!(script.unsure.ids.is_empty(), "{written:?}");
            durable.push((disk.len(), script.expected.clone()));
        }
    }
    let ops = disk.ops();
    assert!(durable.len() > TRANSACTIONS / 2 && ops.len() > 10 * TRANSACTIONS, "{} operations", ops.len());

    let mut rng = StdRng::seed_from_u64(seed);
    let (mut images, mut second_crashes) = (0, 0);
    for point in 0..=ops.len() {
        let before = durable.iter().rposition(|(at, _)| *at <= point).unwrap();
        let acceptable = [Some(&durable[before].1), durable.get(before + 1).map(|(_, state)| state)];
        let dice = (0..lucks).map(|_| Luck::Some);
        for luck in [Luck::Nothing, Luck::Everything].into_iter().chain(dice) {
            let context = format!("seed {seed}, cut after operation {point}, {luck:?}");
            let bytes = image(&start, &ops, point, luck, &mut rng);
            let again = Recorder::holding(bytes.clone());
            let mut store = open(folder.path(), &again).unwrap_or_else(|why| panic!("{context}: {why}"));
            let found = snapshot(&mut store);
            assert!(acceptable.contains(&Some(&found)), "{context}: found {found:?}, acceptable {acceptable:?}");
            images += 1;
            let recovery = again.ops();
            if rng.random_bool(0.1) {
                assert!(takes_a_job(&mut store), "{context}: the store takes no job");
            }
            drop(store);
            // Power fails again while the store recovers.
            if rng.random_bool(0.3) {
                let second = rng.random_range(0..=recovery.len());
                let bytes = image(&bytes, &recovery, second, Luck::Some, &mut rng);
                let mut store = open(folder.path(), &Recorder::holding(bytes))
                    .unwrap_or_else(|why| panic!("{context}, again after {second}: {why}"));
                assert_eq!(snapshot(&mut store), found, "{context}, again after {second}");
                second_crashes += 1;
            }
        }
    }
    println!("{} operations of the disk, {images} images, {second_crashes} second crashes", ops.len());
}
