//! The store's files, damaged in any way: the store opens, what is missing is counted, and it takes jobs. A record whose
//! checksum is right and whose bytes are not, as another version might leave it, ends nothing either.
//!
//! An input is what to damage (a byte: the file, a payload file, or one record of a table), which one (a byte), and edits of
//! five bytes each: an operation, a place, an argument.

#![no_main]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a fuzzer panics where it finds something")]

#[path = "../support/damage.rs"]
mod damage;
#[allow(dead_code, reason = "others use the rest")]
#[path = "../support/script.rs"]
mod script;

use std::{fs, panic, path::Path, sync::LazyLock};

use damage::{FILE, Original, Tally};
use libfuzzer_sys::fuzz_target;
use picket::ports::Store;
use picket_core::StoreFault;
use redb::{Database, ReadableTable, TableDefinition};

static ORIGINAL: LazyLock<Original> = LazyLock::new(|| Original::new(1, 20));

fn edit(bytes: &mut Vec<u8>, edits: &[u8]) {
    for edit in edits.chunks_exact(5) {
        let place = u32::from_le_bytes([edit[1], edit[2], edit[3], 0]) as usize % bytes.len().max(1);
        let argument = edit[4];
        match edit[0] % 5 {
            0 if !bytes.is_empty() => bytes[place] ^= argument.max(1),
            1 => bytes.insert(place, argument),
            2 if !bytes.is_empty() => drop(bytes.drain(place..(place + 1 + usize::from(argument)).min(bytes.len()))),
            3 => bytes.truncate(place),
            _ => {
                let end = (place + 64 * (1 + usize::from(argument))).min(bytes.len());
                bytes[place..end].fill(argument);
            }
        }
    }
}

/// Edits one record and makes its checksum right again.
fn edit_record(file: &Path, table: &str, which: usize, edits: &[u8]) {
    let database = Database::open(file).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let rows: TableDefinition<'_, u64, &[u8]> = TableDefinition::new(table);
        let mut rows = transaction.open_table(rows).unwrap();
        let records: Vec<(u64, Vec<u8>)> = rows
            .iter()
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|(key, value)| (key.value(), value.value().to_vec()))
            .collect();
        let (mut key, mut record) = records[which % records.len()].clone();
        record.truncate(record.len() - 4);
        edit(&mut record, edits);
        record.extend(crc32fast::hash(&record).to_le_bytes());
        // Some go to a key of their own, the last that there is among them.
        if which >= 200 {
            key = u64::MAX - (which as u64 - 200);
        }
        rows.insert(key, record.as_slice()).unwrap();
    }
    transaction.commit().unwrap();
}

fuzz_target!(
    init: {
        // The database's own panics are caught where the store opens; libFuzzer's hook would end the process before that.
        panic::set_hook(Box::new(|_| {}));
    },
    |data: &[u8]| {
        let [what, which, edits @ ..] = data else { return };
        let which = usize::from(*which);
        let found = panic::catch_unwind(|| damage(*what, which, edits));
        if found.is_err() {
            panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
            damage(*what, which, edits);
        }
    }
);

fn damage(what: u8, which: usize, edits: &[u8]) {
    let mut tally = Tally::default();
    let name = format!("damaged: {what} {which} {edits:?}");
    match what % 8 {
        0 => {
            let mut bytes = ORIGINAL.bytes.clone();
            edit(&mut bytes, edits);
            ORIGINAL.audit(ORIGINAL.with(&bytes).path(), &mut tally, &name);
        }
        1 => {
            let copy = ORIGINAL.with(&ORIGINAL.bytes);
            let blobs = ORIGINAL.blobs();
            let blob = copy.path().join("blobs").join(blobs[which % blobs.len()].file_name().unwrap());
            let mut bytes = fs::read(&blob).unwrap();
            edit(&mut bytes, edits);
            fs::write(&blob, bytes).unwrap();
            ORIGINAL.audit(copy.path(), &mut tally, &name);
        }
        table => {
            let tables = ["jobs", "messages", "outbox", "seen", "dead"];
            let copy = ORIGINAL.with(&ORIGINAL.bytes);
            edit_record(&copy.path().join(FILE), tables[usize::from(table) % tables.len()], which, edits);
            alien(copy.path(), &name);
        }
    }
}

/// A record that nobody wrote, with a right checksum: the others are all there.
fn alien(folder: &Path, name: &str) {
    let mut store = damage::open(folder).unwrap_or_else(|error| panic!("{name}: {error}"));
    let recovered = store.recover();
    assert_eq!((store.broken(), &recovered.moved_aside), (None, &None), "{name}");
    let holds = &ORIGINAL.holds;
    let found = [recovered.jobs.len(), recovered.rows.len(), recovered.seen.len(), store.dead().len()];
    let held = [holds.jobs.len(), holds.rows.len(), holds.seen.len(), holds.dead.len()];
    for (found, held) in found.iter().zip(held) {
        assert!((held.saturating_sub(1)..=held + 1).contains(found), "{name}: {held} of each, found {found}");
    }
    for row in &recovered.rows {
        let _ = store.row(row.row);
    }
    // A record may say that it is so large that there is no room.
    assert!(
        !matches!(script::one_more_job(&mut store), Err(StoreFault::Unavailable)),
        "{name}: the store takes no job"
    );
    drop(store);
    let mut again = damage::open(folder).unwrap_or_else(|error| panic!("{name}, again: {error}"));
    again.recover();
    assert_eq!(again.broken(), None, "{name}, again");
}
