use std::path::Path;

use rand::{SeedableRng, rngs::StdRng};
use sha2::{Digest as _, Sha256};

use super::{Case, Input, Row, Split, read, shelf::Shelf};
use crate::answer::hex;

fn row(number: u64, audit: bool, input: &[u8]) -> Row {
    let input = Input { sha256: hex(&Sha256::digest(input)), ..Input::default() };
    Row { id: number.to_string(), audit, input, ..Row::default() }
}

fn shelf(folder: &Path, most: u64) -> Shelf {
    let mut shelf = Shelf::new(folder.to_owned(), most, StdRng::seed_from_u64(3));
    shelf.open().unwrap();
    shelf
}

fn ids(folder: &Path, split: Split) -> Vec<u64> {
    let mut ids = Vec::new();
    let unreadable = read(folder, split, |Case { row, .. }| {
        ids.push(row.id.parse()?);
        Ok(())
    });
    assert_eq!(unreadable.unwrap(), 0);
    ids
}

#[test]
fn the_oldest_to_train_on_go_first_and_of_the_lottery_any() {
    let folder = tempfile::tempdir().unwrap();
    let input = [7_u8; 1_000];
    let mut kept = shelf(folder.path(), 100_000);
    let mut gone = 0;
    for number in 0..200 {
        gone += kept.put(&row(number, number % 10 == 0, &input), &input).unwrap();
    }
    let (train, holdout) = (ids(folder.path(), Split::Train), ids(folder.path(), Split::Holdout));
    assert_eq!(holdout, (0..20).map(|n| n * 10).collect::<Vec<_>>(), "there was room for all of the lottery");
    assert!(train.windows(2).all(|pair| pair[0] < pair[1]) && train[0] > 100, "{train:?}");
    assert_eq!(train.last(), Some(&199));
    assert_eq!(gone, 200 - (train.len() + holdout.len()) as u64);
    // Another process goes on.
    let mut kept = shelf(folder.path(), 100_000);
    for number in 200..250 {
        kept.put(&row(number, true, &input), &input).unwrap();
    }
    let holdout = ids(folder.path(), Split::Holdout);
    assert!(holdout.len() < 50, "it has half of the room");
    assert!(holdout.iter().any(|n| *n < 200), "not the oldest go, but any: {holdout:?}");
    assert!((200..250).any(|n| !holdout.contains(&n)), "not only the oldest go: {holdout:?}");
}

#[test]
fn a_case_that_was_changed_is_counted_and_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let mut kept = shelf(folder.path(), 100_000);
    for number in 0..3 {
        kept.put(&row(number, false, b"pixels"), b"pixels").unwrap();
    }
    let path = folder.path().join("train/00000000000000000001.case");
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, bytes).unwrap();
    std::fs::write(folder.path().join("train/00000000000000000009.case"), b"no case").unwrap();
    let mut read_ids = Vec::new();
    let unreadable = read(folder.path(), Split::Train, |case| {
        assert_eq!(case.input, b"pixels");
        read_ids.push(case.row.id);
        Ok(())
    });
    assert_eq!((unreadable.unwrap(), read_ids), (2, vec!["0".to_owned(), "2".to_owned()]));
    assert!(kept.put(&row(3, false, b""), &[0; 50_000]).is_err(), "a case cannot be larger than a quarter of all");
}
