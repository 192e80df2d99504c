//! The chain under every small change, crashes at every byte, rotation, and writers at once.

mod budget;
mod disk;

use std::{fs, os::unix::fs::FileExt, path::Path, sync::Arc, time::Duration};

use picket_core::{escalation::money::Money, limits, time::Stamp};
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::sync::mpsc;

use super::{
    book::Book,
    files,
    line::{Leaving, Line, NOTHING, Settled, What},
    read::{self, Verdict},
    *,
};
use crate::calendar::Calendar;

/// A clock that stands.
struct Still;

impl Calendar for Still {
    fn stamp(&self) -> Stamp {
        Stamp { boot: [0; 16], up: 0, wall: 1_772_000_000_123_456, trusted: true }
    }
}

fn book(folder: &Path) -> Book {
    Book::new(folder.to_owned(), Box::new(Still))
}

fn leaving(number: u64) -> Leaving {
    Leaving {
        job: format!("press-4/{number}"),
        model: "digits".to_owned(),
        provider: "hq".to_owned(),
        reason: "ESC_BELOW_LAMBDA".to_owned(),
        privacy: "ok".to_owned(),
        tensors: vec!["pixels 1x64 FP32".to_owned()],
        bytes: 256,
        sha256: NOTHING.to_owned(),
        reserved_nanos: Money::from_nanos(150),
        ..Leaving::default()
    }
}

fn settled(of: u64) -> Settled {
    Settled { of, outcome: "answered".to_owned(), cost_nanos: Money::from_nanos(100), sent: Some(420) }
}

fn write(book: &mut Book, what: What) -> u64 {
    let number = book.stage(what).unwrap();
    book.commit().unwrap();
    book.note_head();
    number
}

/// So many calls, each settled: 1 + 2n lines.
fn written(folder: &Path, calls: u64) {
    let mut book = book(folder);
    for number in 0..calls {
        let of = write(&mut book, What::Leaves(Box::new(leaving(number))));
        write(&mut book, What::Settled(settled(of)));
    }
}

fn verdict(folder: &Path) -> Verdict {
    read::read(folder, None, |_| {}).unwrap()
}

fn lines(folder: &Path) -> Vec<Line> {
    let mut lines = Vec::new();
    read::read(folder, None, |line| lines.push(line.clone())).unwrap();
    lines
}

fn current(folder: &Path) -> std::path::PathBuf {
    folder.join(files::CURRENT)
}

#[test]
fn a_ledger_says_what_was_put_into_it() {
    let folder = tempfile::tempdir().unwrap();
    written(folder.path(), 2);
    let verdict = verdict(folder.path());
    assert_eq!((verdict.wrong, verdict.restarted, verdict.unfinished), (None, None, 0));
    assert_eq!(verdict.last.unwrap().seq, 4);
    let lines = lines(folder.path());
    assert!(matches!(lines[0].what, What::Begins(_)));
    assert_eq!(lines[3].what, What::Leaves(Box::new(leaving(1))));
    assert_eq!(lines[4].what, What::Settled(settled(3)));
    assert_eq!((&*lines[4].time, lines[4].time_trusted), ("2026-02-25T06:13:20.123Z", true));
    use std::os::unix::fs::PermissionsExt;
    for file in [files::CURRENT, files::HEAD] {
        let mode = fs::metadata(folder.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

#[test]
fn a_line_can_be_checked_with_nothing_but_sha256() {
    let folder = tempfile::tempdir().unwrap();
    written(folder.path(), 1);
    let text = fs::read_to_string(current(folder.path())).unwrap();
    let mut before = NOTHING.to_owned();
    for line in text.lines() {
        let (body, hash) = line.rsplit_once(",\"hash\":\"").unwrap();
        use sha2::Digest;
        let hash = hash.strip_suffix("\"}").unwrap();
        assert_eq!(crate::answer::hex(&sha2::Sha256::digest(body)), hash);
        assert!(body.contains(&format!("\"prev\":\"{before}\"")), "{body}");
        before = hash.to_owned();
    }
}

/// Every byte of 21 lines, three other values each; which line is named is checked, too.
#[test]
fn every_changed_byte_is_found_in_its_line() {
    let folder = tempfile::tempdir().unwrap();
    written(folder.path(), 10);
    let path = current(folder.path());
    let text = fs::read(&path).unwrap();
    assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), 21);
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    let mut line = 1;
    for at in 0..text.len() {
        for flip in [0x01, 0x20, 0x80] {
            file.write_all_at(&[text[at] ^ flip], at as u64).unwrap();
            let wrong = verdict(folder.path()).wrong;
            let wrong = wrong.unwrap_or_else(|| panic!("byte {at} of line {line} ^ {flip:#x} is not found"));
            // Without its line end the last line is an unfinished one, and so a missing one.
            let missing = wrong.line.is_none() && at == text.len() - 1;
            assert!(missing || wrong.line == Some(line), "byte {at}, line {line}: {wrong}");
        }
        file.write_all_at(&text[at..=at], at as u64).unwrap();
        line += usize::from(text[at] == b'\n');
    }
}

#[test]
fn every_line_that_is_missing_moved_or_repeated_is_found() {
    let folder = tempfile::tempdir().unwrap();
    written(folder.path(), 10);
    let path = current(folder.path());
    let text = fs::read_to_string(&path).unwrap();
    let good: Vec<&str> = text.split_inclusive('\n').collect();
    let found = |lines: &[&str], what: &str| {
        fs::write(&path, lines.concat()).unwrap();
        assert!(verdict(folder.path()).wrong.is_some(), "{what}");
    };
    for at in 0..good.len() {
        let mut without = good.clone();
        without.remove(at);
        found(&without, &format!("line {at} is missing"));
        let mut twice = good.clone();
        twice.insert(at, good[at]);
        found(&twice, &format!("line {at} is there twice"));
        found(&good[..at], &format!("everything from line {at} on is missing"));
        for other in 0..at {
            let mut swapped = good.clone();
            swapped.swap(at, other);
            found(&swapped, &format!("lines {at} and {other} are swapped"));
        }
    }
    fs::write(&path, &text).unwrap();
    assert_eq!(verdict(folder.path()).wrong, None);
}

/// The file of these lines, each with a hash that is right for its text.
fn sealed(lines: &[Line]) -> String {
    lines.iter().map(|line| String::from_utf8(line::seal(line).unwrap().0).unwrap()).collect()
}

/// Whoever changes a line and its hash has to change the next one as well, and so on to the end and the head.
#[test]
fn a_changed_line_with_a_right_hash_is_found_by_its_follower() {
    let folder = tempfile::tempdir().unwrap();
    written(folder.path(), 3);
    let good = lines(folder.path());
    for at in 0..good.len() {
        let mut changed = good.clone();
        changed[at].time = "1970-01-01T00:00:00Z".to_owned();
        fs::write(current(folder.path()), sealed(&changed)).unwrap();
        let wrong = verdict(folder.path()).wrong.unwrap();
        let last = at == good.len() - 1;
        assert_eq!(wrong.line, (!last).then_some(at + 2), "line {at}: {wrong}");
        assert!(last || wrong.why == format!("it does not follow line {at}: that one was another"), "{wrong}");
    }
    let mut renumbered = good.clone();
    renumbered[4].seq = 5;
    let before = line::seal(&renumbered[3]).unwrap().1.hash;
    assert_eq!(renumbered[4].prev, before);
    fs::write(current(folder.path()), sealed(&renumbered)).unwrap();
    assert_eq!(verdict(folder.path()).wrong.unwrap().why, "line 5 follows line 3");
}

#[test]
fn what_was_taken_off_the_end_shows_as_long_as_somebody_remembers() {
    let folder = tempfile::tempdir().unwrap();
    written(folder.path(), 3);
    let kept = verdict(folder.path()).last.unwrap();
    let text = fs::read_to_string(current(folder.path())).unwrap();
    let shorter: String = text.split_inclusive('\n').take(4).collect();
    fs::write(current(folder.path()), shorter).unwrap();
    let wrong = verdict(folder.path()).wrong.unwrap();
    assert_eq!(wrong.to_string(), "ledger.jsonl: line 6 is missing, and every line up to it that is not here");
    fs::remove_file(folder.path().join(files::HEAD)).unwrap();
    let wrong = verdict(folder.path()).wrong.unwrap();
    assert_eq!(wrong.to_string(), "ledger.head: it is gone: nothing proves where the ledger ends");
    // Somebody who may write both leaves no trace here …
    let mut last = lines(folder.path()).pop().unwrap();
    last.prev.clear();
    let hash = fs::read_to_string(current(folder.path())).unwrap();
    let hash = hash.lines().last().unwrap().rsplit_once("\"hash\":\"").unwrap().1[..64].to_owned();
    files::write_head(folder.path(), &line::Link { seq: last.seq, hash }).unwrap();
    assert_eq!(verdict(folder.path()).wrong, None);
    // … but not where the hash was kept.
    let expecting = read::read(folder.path(), Some(&kept.hash), |_| {}).unwrap();
    assert_eq!(expecting.expected_at, None);
}

#[test]
fn an_outside_copy_of_any_head_is_recognised() {
    let folder = tempfile::tempdir().unwrap();
    written(folder.path(), 2);
    let kept = verdict(folder.path()).last.unwrap();
    let mut book = book(folder.path());
    write(&mut book, What::Leaves(Box::new(leaving(9))));
    let later = read::read(folder.path(), Some(&kept.hash), |_| {}).unwrap();
    assert_eq!((later.wrong, later.expected_at), (None, Some(kept.seq)));
}

/// A kill leaves a beginning of what was being written: every beginning of the last line.
#[test]
fn a_torn_tail_is_cut_off_at_every_byte_and_the_chain_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    written(folder.path(), 2);
    let whole = fs::read(current(folder.path())).unwrap();
    let head = fs::read(folder.path().join(files::HEAD)).unwrap();
    let mut next = book(folder.path());
    write(&mut next, What::Leaves(Box::new(leaving(7))));
    drop(next);
    let longer = fs::read(current(folder.path())).unwrap();
    for end in whole.len()..longer.len() {
        fs::write(current(folder.path()), &longer[..end]).unwrap();
        fs::write(folder.path().join(files::HEAD), &head).unwrap();
        let torn = (end - whole.len()) as u64;
        let before = verdict(folder.path());
        assert_eq!((before.wrong, before.unfinished as u64), (None, torn), "torn after {torn} bytes");
        let mut book = book(folder.path());
        let number = write(&mut book, What::Leaves(Box::new(leaving(8))));
        assert_eq!(number, 5, "torn after {torn} bytes");
        let notice = (torn > 0).then_some(Notice::Torn { bytes: torn });
        assert_eq!(book.take_notices(), Vec::from_iter(notice));
        assert_eq!(verdict(folder.path()).wrong, None);
        assert_eq!(lines(folder.path()).len(), 6);
    }
}

#[test]
fn a_head_that_is_behind_is_no_damage() {
    let folder = tempfile::tempdir().unwrap();
    written(folder.path(), 1);
    let head = fs::read(folder.path().join(files::HEAD)).unwrap();
    let mut next = book(folder.path());
    write(&mut next, What::Leaves(Box::new(leaving(7))));
    drop(next);
    fs::write(folder.path().join(files::HEAD), head).unwrap();
    assert_eq!(verdict(folder.path()).wrong, None);
    let mut again = book(folder.path());
    assert_eq!(write(&mut again, What::Leaves(Box::new(leaving(8)))), 4);
    assert_eq!(again.take_notices(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_of_many_at_once_stay_in_order() {
    let seed: u64 = 20_261_124;
    println!("seed {seed}");
    let folder = tempfile::tempdir().unwrap();
    let (inbox, mut events) = mpsc::channel(limits::INBOX);
    let ledger = Ledger::start(folder.path().to_owned(), Box::new(Still), inbox).unwrap();
    let mut tasks = Vec::new();
    for task in 0..8_u64 {
        let pen = ledger.pen();
        let mut rng = StdRng::seed_from_u64(seed + task);
        tasks.push(tokio::spawn(async move {
            let mut numbers = Vec::new();
            for call in 0..25 {
                let number = pen.record(leaving(task * 100 + call)).unwrap().await.unwrap().unwrap();
                numbers.push((number, task * 100 + call));
                if rng.random_bool(0.5) {
                    tokio::task::yield_now().await;
                }
                pen.settle(settled(number));
            }
            numbers
        }));
    }
    let mut numbers = Vec::new();
    for task in tasks {
        let own = task.await.unwrap();
        assert!(own.is_sorted(), "who asks one after the other is recorded so");
        numbers.extend(own);
    }
    tokio::task::spawn_blocking(|| ledger.close()).await.unwrap();
    let verdict = verdict(folder.path());
    assert_eq!((verdict.wrong, verdict.lines), (None, 1 + 2 * 200));
    let lines = lines(folder.path());
    for (number, job) in numbers {
        assert_eq!(
            lines[number as usize].what,
            What::Leaves(Box::new(leaving(job))),
            "each got the number of its line"
        );
    }
    assert!(events.try_recv().is_err(), "nothing to tell");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_is_read_while_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let (inbox, _events) = mpsc::channel(limits::INBOX);
    let ledger = Ledger::start(folder.path().to_owned(), Box::new(Still), inbox).unwrap();
    ledger.pen().record(leaving(0)).unwrap().await.unwrap().unwrap();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (path, done) = (folder.path().to_owned(), stop.clone());
    let reader = tokio::task::spawn_blocking(move || {
        let mut reads = 0_u64;
        while !done.load(std::sync::atomic::Ordering::Relaxed) {
            assert_eq!(verdict(&path).wrong, None);
            reads += 1;
        }
        reads
    });
    let mut large = leaving(0);
    large.redaction = vec!["x".repeat(limits::LEDGER_LINE_BYTES - 1_000)];
    // Enough for the file to be turned once.
    for _ in 0..300 {
        let recorded = ledger.pen().record(large.clone()).unwrap();
        tokio::time::timeout(Duration::from_secs(30), recorded).await.unwrap().unwrap().unwrap();
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(reader.await.unwrap() > 0);
    assert_eq!(files::older(folder.path()).unwrap().len(), 1);
}

#[test]
fn an_empty_folder_and_none_at_all_have_no_ledger() {
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path().to_owned(), folder.path().join("nowhere")] {
        assert_eq!(verdict(&path), Verdict::default());
    }
}
