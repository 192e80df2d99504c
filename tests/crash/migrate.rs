//! Stores of other versions: an older one is migrated whole or not at all, a newer one is left alone.

use std::path::Path;

use ::redb::{Builder, Database, DatabaseError, ReadableDatabase, ReadableTableMetadata, TableDefinition};
use picket::{
    config::OnFull,
    store::redb::{MIGRATIONS, Migration, OpenError, RedbStore, Refusal, Trouble},
};
use picket_tests::script::{Script, Snapshot, setup, snapshot, takes_a_job};
use rand::{SeedableRng, rngs::StdRng};

use crate::images::{Luck, Op, Recorder, image};

const EXTRA: TableDefinition<'static, u64, &'static [u8]> = TableDefinition::new("extra");
const OLD: TableDefinition<'static, u64, &'static [u8]> = TableDefinition::new("dead");
const META: TableDefinition<'static, &'static str, &'static [u8]> = TableDefinition::new("meta");
const EXTRA_ROWS: u64 = 300;

/// A step that writes much, and takes something away.
const STEP: Migration = |transaction| {
    let mut extra = transaction.open_table(EXTRA)?;
    for row in 0..EXTRA_ROWS {
        extra.insert(row, [7; 200].as_slice()).map_err(Trouble::from)?;
    }
    transaction.open_table(OLD)?.retain(|_, _| false)?;
    Ok(())
};

/// The real steps, and then this one.
fn and_then(step: Migration) -> Vec<Migration> {
    [MIGRATIONS, &[step]].concat()
}

fn open(folder: &Path, disk: &Recorder, steps: &[Migration]) -> Result<RedbStore, OpenError> {
    let disk = disk.clone();
    let opener =
        move |builder: &Builder| -> Result<Database, DatabaseError> { builder.create_with_backend(disk.clone()) };
    RedbStore::open_with(setup(folder, 64 << 20, OnFull::Reject), Box::new(opener), steps).map_err(|refusal| {
        match refusal {
            Refusal::Corrupt(_, why) => panic!("corrupt: {why}"),
            Refusal::Other(error) => error,
        }
    })
}

/// Schema version as stored, rows of the new table, rows of the old one.
fn look(disk: &[u8]) -> (Vec<u8>, Option<u64>, u64) {
    let db = Database::builder().create_with_backend(Recorder::holding(disk.to_vec())).unwrap();
    let transaction = db.begin_read().unwrap();
    let version = transaction.open_table(META).unwrap().get("schema").unwrap().unwrap().value().to_vec();
    let extra = transaction.open_table(EXTRA).ok().map(|table| table.len().unwrap());
    (version, extra, transaction.open_table(OLD).unwrap().len().unwrap())
}

fn bytes(disk: &Recorder) -> Vec<u8> {
    disk.0.lock().unwrap().bytes.clone()
}

/// A store of this version with work in it.
fn old_store(folder: &Path, seed: u64) -> (Vec<u8>, Snapshot) {
    let made = tempfile::tempdir().unwrap();
    let mut store = RedbStore::open(setup(made.path(), 64 << 20, OnFull::Reject)).unwrap();
    snapshot(&mut store);
    let mut script = Script::new(seed, false);
    (0..40).for_each(|_| assert!(script.run(&mut store)));
    drop(store);
    assert!(script.expected.dead.len() > 1);
    let disk = Recorder::holding(std::fs::read(made.path().join("picket.redb")).unwrap());
    let mut store = open(folder, &disk, MIGRATIONS).unwrap();
    assert_eq!(snapshot(&mut store), script.expected);
    drop(store);
    (bytes(&disk), script.expected)
}

/// A migration that ends at every operation of the disk.
struct Cuts<'a> {
    seed: u64,
    /// Images for each end, beside the one with nothing and the one with everything of what was not flushed.
    lucks: u64,
    start: &'a [u8],
    ops: &'a [Op],
    steps: &'a [Migration],
}

impl Cuts<'_> {
    /// What `look` finds is the old version or the new one, both happen, and the store that opens on it holds `after`.
    fn leave_one_version<T: PartialEq + std::fmt::Debug>(
        &self,
        folder: &Path,
        look: impl Fn(&[u8]) -> T,
        [old, new]: &[T; 2],
        after: &Snapshot,
    ) {
        let Self { seed, lucks, start, ops, steps } = *self;
        let mut rng = StdRng::seed_from_u64(seed);
        let (mut olds, mut news) = (0, 0);
        for point in 0..=ops.len() {
            let dice = (0..lucks).map(|_| Luck::Some);
            for luck in [Luck::Nothing, Luck::Everything].into_iter().chain(dice) {
                let context = format!("seed {seed}, cut after operation {point} of {}, {luck:?}", ops.len());
                let image = image(start, ops, point, luck, &mut rng);
                let found = look(&image);
                assert!(found == *old || found == *new, "{context}: {found:?}");
                *if found == *old { &mut olds } else { &mut news } += 1;
                let mut store = open(folder, &Recorder::holding(image), steps).unwrap();
                assert_eq!(snapshot(&mut store), *after, "{context}");
                assert!(takes_a_job(&mut store), "{context}");
            }
        }
        assert!(olds > 0 && news > 0, "{olds} old, {news} new");
        println!("{} operations of the disk; {olds} images of the old version, {news} of the new one", ops.len());
    }
}

#[test]
fn a_power_cut_at_any_point_of_a_migration_leaves_one_version_whole() {
    let (seed, lucks) = (super::number("PICKET_CRASH_SEED", 1), super::number("PICKET_CRASH_IMAGES", 3));
    println!("seed {seed}; repeat with PICKET_CRASH_SEED={seed} PICKET_CRASH_IMAGES={lucks}");
    let folder = tempfile::tempdir().unwrap();
    let (start, held) = old_store(folder.path(), seed);
    let disk = Recorder::holding(start.clone());
    let migrated = open(folder.path(), &disk, &and_then(STEP)).unwrap();
    let ops = disk.ops();
    drop(migrated);
    let (old, new) = (look(&start), look(&bytes(&disk)));
    assert_eq!((old.1, old.2), (None, held.dead.len() as u64));
    assert_eq!((new.1, new.2), (Some(EXTRA_ROWS), 0));
    assert_ne!(old.0, new.0);
    let after = Snapshot { dead: Vec::new(), ..held };

    let cuts = Cuts { seed, lucks, start: &start, ops: &ops, steps: &and_then(STEP) };
    cuts.leave_one_version(folder.path(), look, &[old, new], &after);
}

#[test]
fn a_migration_that_fails_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (start, held) = old_store(folder.path(), 1);
    let disk = Recorder::holding(start.clone());
    let mut failing = and_then(STEP);
    failing.push(|_| Err(Trouble::Broken("as the test wants it".to_owned())));
    let error = open(folder.path(), &disk, &failing).err().expect("the step fails");
    assert!(matches!(error, OpenError::Unusable(..)), "{error}");
    assert_eq!(look(&bytes(&disk)), look(&start));
    assert_eq!(snapshot(&mut open(folder.path(), &disk, MIGRATIONS).unwrap()), held);
}

#[test]
fn a_store_of_a_newer_version_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (start, _) = old_store(folder.path(), 1);
    let disk = Recorder::holding(start);
    drop(open(folder.path(), &disk, &and_then(STEP)).unwrap());
    // As a file, through the front door: not moved aside, not changed, and not changed by a second attempt.
    let file = folder.path().join("picket.redb");
    std::fs::write(&file, bytes(&disk)).unwrap();
    for _ in 0..2 {
        let error = RedbStore::open(setup(folder.path(), 64 << 20, OnFull::Reject)).err().expect("it is newer");
        assert!(matches!(error, OpenError::Newer(_, version) if version as usize == MIGRATIONS.len() + 2), "{error}");
        assert!(error.to_string().starts_with("error[store/newer-version]"), "{error}");
        assert!(std::fs::read(&file).unwrap() == bytes(&disk), "the file is the same to the byte");
    }
    let names = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!names.into_iter().any(|name| name.to_string_lossy().contains("corrupt")));
}

/// Version 1 as it is stored: the number, and its CRC-32.
const FIRST: [u8; 5] = [1, 0x1b, 0xdf, 0x05, 0xa5];

fn set_first_version(disk: &Recorder) {
    let db = Database::builder().create_with_backend(disk.clone()).unwrap();
    let transaction = db.begin_write().unwrap();
    transaction.open_table(META).unwrap().insert("schema", FIRST.as_slice()).unwrap();
    transaction.commit().unwrap();
}

/// The steps that were released, not one of the test's: waiting jobs, results that nobody has confirmed, ids and dead letters.
#[test]
fn a_power_cut_at_any_point_of_the_way_from_the_first_version_loses_nothing() {
    let (seed, lucks) = (super::number("PICKET_CRASH_SEED", 5), super::number("PICKET_CRASH_IMAGES", 3));
    println!("seed {seed}; repeat with PICKET_CRASH_SEED={seed} PICKET_CRASH_IMAGES={lucks}");
    let folder = tempfile::tempdir().unwrap();
    let (now, held) = old_store(folder.path(), seed);
    assert!(
        !held.jobs.is_empty() && !held.rows.is_empty() && !held.dead.is_empty() && !held.inquiries.is_empty(),
        "{held:?}"
    );
    let disk = Recorder::holding(now);
    set_first_version(&disk);
    let start = bytes(&disk);
    let disk = Recorder::holding(start.clone());
    drop(open(folder.path(), &disk, MIGRATIONS).unwrap());
    let ops = disk.ops();
    let version = |disk: &[u8]| {
        let db = Database::builder().create_with_backend(Recorder::holding(disk.to_vec())).unwrap();
        db.begin_read().unwrap().open_table(META).unwrap().get("schema").unwrap().unwrap().value().to_vec()
    };
    let (old, new) = (version(&start), version(&bytes(&disk)));
    assert!(old == FIRST && new != FIRST);
    let cuts = Cuts { seed, lucks, start: &start, ops: &ops, steps: MIGRATIONS };
    cuts.leave_one_version(folder.path(), version, &[old, new], &held);
}

/// Schema 2 brought jobs that are images; what was there before is read as it was.
#[test]
fn a_store_of_the_first_version_is_read_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (now, held) = old_store(folder.path(), 3);
    let disk = Recorder::holding(now.clone());
    set_first_version(&disk);
    assert_eq!(snapshot(&mut open(folder.path(), &disk, MIGRATIONS).unwrap()), held);
    let db = Database::builder().create_with_backend(disk).unwrap();
    let version = db.begin_read().unwrap().open_table(META).unwrap().get("schema").unwrap().unwrap().value().to_vec();
    assert_ne!(version, FIRST);
}
