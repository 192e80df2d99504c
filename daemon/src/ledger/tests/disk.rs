//! Damage, rotation, and disks that take nothing.

use super::*;

#[test]
fn a_damaged_ledger_is_moved_aside_and_the_next_one_says_so() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 5] = [
        ("its text", |folder| {
            let path = current(folder);
            let text = fs::read_to_string(&path).unwrap().replace("press-4/1", "press-4/9");
            fs::write(path, text).unwrap();
        }),
        ("its end", |folder| {
            let path = current(folder);
            let text = fs::read_to_string(&path).unwrap();
            fs::write(path, text.split_inclusive('\n').take(4).collect::<String>()).unwrap();
        }),
        ("all of it", |folder| fs::remove_file(current(folder)).unwrap()),
        ("its head", |folder| fs::remove_file(folder.join(files::HEAD)).unwrap()),
        ("its head's text", |folder| fs::write(folder.join(files::HEAD), "{").unwrap()),
    ];
    for (what, damage) in damages {
        let folder = tempfile::tempdir().unwrap();
        written(folder.path(), 3);
        let before = lines(folder.path());
        damage(folder.path());
        assert!(verdict(folder.path()).wrong.is_some(), "{what}");
        let mut book = book(folder.path());
        assert_eq!(write(&mut book, What::Leaves(Box::new(leaving(8)))), 1, "{what}");
        let notices = book.take_notices();
        let [Notice::Corrupt { moved_to, .. }] = &notices[..] else { panic!("{what}: {notices:?}") };
        assert_eq!(*moved_to, folder.path().join("ledger.corrupt-1"));
        let verdict = verdict(folder.path());
        assert_eq!(verdict.wrong, None, "{what}");
        let after = verdict.restarted.unwrap_or_else(|| panic!("{what} goes unsaid"));
        assert_eq!(after.moved_to, "ledger.corrupt-1");
        if let Some(good) = after.last_good {
            let follower = before.iter().find(|line| line.seq == good.seq + 1);
            assert!(follower.is_none_or(|follower| follower.prev == good.hash), "{what}: {good:?}");
        } else {
            assert_eq!(what, "all of it");
        }
    }
}

#[test]
fn evidence_is_never_thrown_away() {
    let folder = tempfile::tempdir().unwrap();
    for number in 1..=limits::LEDGERS_ASIDE {
        written(folder.path(), 1);
        fs::write(current(folder.path()), "broken\n").unwrap();
        assert!(folder.path().join(format!("ledger.corrupt-{}", number - 1)).exists() || number == 1);
    }
    written(folder.path(), 1);
    fs::write(current(folder.path()), "broken\n").unwrap();
    let refused = book(folder.path()).stage(What::Leaves(Box::new(leaving(1)))).unwrap_err();
    assert_eq!(refused.code, "ledger/unwritable");
    assert!(refused.message.contains("4 damaged ledgers lie here already"), "{refused}");
}

/// Files are made full without writing 64 MiB: lines of the largest size, and the oldest files go.
#[test]
fn the_chain_goes_on_over_files_and_its_size_has_a_limit() {
    let folder = tempfile::tempdir().unwrap();
    let mut book = book(folder.path());
    let mut large = leaving(0);
    large.redaction = vec!["x".repeat(limits::LEDGER_LINE_BYTES - 1_000)];
    let per_file = limits::LEDGER_FILE_BYTES / (limits::LEDGER_LINE_BYTES as u64 - 1_000);
    let mut dropped = 0;
    for _ in 0..(limits::LEDGER_FILES as u64 + 3) * per_file / limits::LEDGER_GROUP as u64 {
        for _ in 0..limits::LEDGER_GROUP {
            book.stage(What::Leaves(Box::new(large.clone()))).unwrap();
        }
        book.commit().unwrap();
        book.note_head();
        for notice in book.take_notices() {
            let Notice::Dropped { lines, .. } = notice else { panic!("{notice:?}") };
            dropped += lines;
        }
    }
    assert_eq!(files::older(folder.path()).unwrap().len(), limits::LEDGER_FILES);
    let good = verdict(folder.path());
    assert_eq!((good.wrong, good.begins_at), (None, dropped));
    assert!(dropped > 0, "the oldest file is gone, and counted");
    drop(book);
    let mut again = self::book(folder.path());
    write(&mut again, What::Leaves(Box::new(leaving(1))));
    let fine = |notice: &Notice| matches!(notice, Notice::Dropped { .. });
    assert!(again.take_notices().iter().all(fine), "it is as it was left");
    // Nobody else lets a file go.
    let older = files::older(folder.path()).unwrap();
    for victim in [0, 7, older.len() - 1] {
        let aside = folder.path().join("aside");
        fs::rename(&older[victim].1, &aside).unwrap();
        assert!(verdict(folder.path()).wrong.is_some(), "older file {victim} is missing");
        fs::rename(&aside, &older[victim].1).unwrap();
    }
    assert_eq!(verdict(folder.path()).wrong, None);
}

/// The page is turned, and the process dies before the new file has a line, or before it is there.
#[test]
fn a_page_that_was_being_turned_is_turned() {
    for empty_file in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        written(folder.path(), 2);
        fs::rename(current(folder.path()), folder.path().join(files::older_name(0))).unwrap();
        if empty_file {
            fs::write(current(folder.path()), "{\"seq\":5,").unwrap();
        }
        let mut book = book(folder.path());
        assert_eq!(write(&mut book, What::Leaves(Box::new(leaving(2)))), 5);
        let notices = book.take_notices();
        assert_eq!(notices, Vec::from_iter(empty_file.then_some(Notice::Torn { bytes: 9 })));
        assert_eq!(verdict(folder.path()).wrong, None);
        assert_eq!(lines(folder.path()).len(), 6);
    }
}

#[test]
fn two_writers_do_not_share_a_ledger() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = book(folder.path());
    first.open().unwrap();
    assert_eq!(book(folder.path()).open().unwrap_err().code, "ledger/locked");
}

#[test]
fn a_line_that_is_too_long_is_no_line() {
    let folder = tempfile::tempdir().unwrap();
    let mut book = book(folder.path());
    let mut large = leaving(0);
    large.redaction = vec!["x".repeat(limits::LEDGER_LINE_BYTES)];
    assert_eq!(book.stage(What::Leaves(Box::new(large))).unwrap_err().code, "ledger/too-large");
    assert_eq!(write(&mut book, What::Leaves(Box::new(leaving(1)))), 1);
    assert_eq!(verdict(folder.path()).wrong, None);
}

/// `/dev/full` takes nothing, as a full disk does.
#[test]
fn nothing_is_recorded_where_the_disk_is_full() {
    let folder = tempfile::tempdir().unwrap();
    written(folder.path(), 1);
    let mut book = book(folder.path());
    book.open().unwrap();
    book.replace_file(fs::OpenOptions::new().append(true).open("/dev/full").unwrap());
    book.stage(What::Leaves(Box::new(leaving(5)))).unwrap();
    assert_eq!(book.commit().unwrap_err().code, "ledger/unwritable");
    // The disk has room again.
    assert_eq!(write(&mut book, What::Leaves(Box::new(leaving(6)))), 3);
    assert_eq!(verdict(folder.path()).wrong, None);
    assert!(lines(folder.path()).iter().all(|line| line.what != What::Leaves(Box::new(leaving(5)))));
}
