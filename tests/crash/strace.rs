//! A process that ends, or whose disk fails, at every single call: `picket-store-script` under strace.

use std::{
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, ExitStatus},
};

use picket::{config::OnFull, store::redb::RedbStore};
use picket_tests::script::{Line, Script, Snapshot, setup, snapshot, takes_a_job};
use tempfile::TempDir;

/// What ends a run, if not an injected fault: the script opens no store.
const NO_STORE: i32 = 3;

struct Campaign {
    seed: u64,
    transactions: u64,
}

struct Run {
    folder: TempDir,
    lines: Vec<Line>,
    status: ExitStatus,
    /// Has the fault happened?
    injected: bool,
}

impl Campaign {
    fn new(name: &str) -> Self {
        let transactions = super::number("PICKET_STRACE_TRANSACTIONS", 8);
        let seed = super::number("PICKET_CRASH_SEED", 1);
        println!(
            "seed {seed}; repeat with PICKET_CRASH_SEED={seed} PICKET_STRACE_TRANSACTIONS={transactions} cargo nextest run \
             --workspace -E 'test({name})'"
        );
        Self { seed, transactions }
    }

    /// The script in a folder of its own, with this fault; `fresh`: there is no store yet.
    fn run(&self, calls: &str, fault: &str, fresh: bool, close: bool) -> Run {
        let folder = tempfile::tempdir().unwrap();
        let trace = folder.path().join("trace");
        if !fresh {
            drop(open(&folder.path().join("store")));
        }
        let output = Command::new("strace")
            .args(["-f", "-qq", "-e"])
            .arg(format!("trace={calls}"))
            .arg("-e")
            .arg(format!("inject={calls}:{fault}"))
            .arg("-o")
            .arg(&trace)
            .arg(env!("CARGO_BIN_EXE_picket-store-script"))
            .arg(folder.path().join("store"))
            .args([self.seed.to_string(), self.transactions.to_string()])
            .args((!close).then_some("exit"))
            .output()
            .expect("strace is installed by tests/run");
        let lines: Vec<Line> =
            String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let injected = std::fs::read_to_string(trace).unwrap().contains("INJECTED");
        let status = output.status;
        assert_ne!(status.code(), Some(101), "{calls} {fault}: {}", String::from_utf8_lossy(&output.stderr));
        Run { folder, lines, status, injected }
    }

    /// What is true after each transaction, the first entry before any of them.
    fn states(&self) -> Vec<Snapshot> {
        let folder = tempfile::tempdir().unwrap();
        let mut store = open(folder.path());
        snapshot(&mut store);
        let mut script = Script::new(self.seed, true);
        let mut states = vec![Snapshot::default()];
        for _ in 0..self.transactions {
            assert!(script.run(&mut store));
            states.push(script.expected.clone());
        }
        states
    }

    fn kill_at_every(&self, calls: &str) {
        let states = self.states();
        for n in 1.. {
            let run = self.run(calls, &format!("signal=SIGKILL:when={n}"), true, true);
            let context = format!("killed at number {n} of {calls}, behind transaction {}", run.lines.len());
            let mut store = open(&run.folder.path().join("store"));
            let found = snapshot(&mut store);
            let acceptable: Vec<_> = states.iter().skip(run.lines.len()).take(2).collect();
            assert!(acceptable.contains(&&found), "{context}: found {found:?}, acceptable {acceptable:?}");
            assert!(takes_a_job(&mut store), "{context}: the store takes no job");
            if run.status.success() {
                assert_eq!(run.lines.len(), states.len() - 1);
                println!("{calls}: killed at each of {} calls", n - 1);
                assert!(n > 1, "the script makes no such call");
                return;
            }
            assert_eq!(run.status.signal(), Some(9), "{context}");
        }
    }

    /// Makes the call fail in one run after the other, until it is not made so often. `check` looks at each run.
    fn fail_at_every(&self, calls: &str, error: &str, from_then_on: bool, check: impl Fn(&Run, &str)) {
        let (mut failures, mut broken, mut unopened) = (0, 0, 0);
        for n in 1.. {
            let plus = if from_then_on { "+" } else { "" };
            let run = self.run(calls, &format!("error={error}:when={n}{plus}"), false, false);
            if !run.injected {
                assert!(n > 1, "the script makes no such call");
                break;
            }
            let context = format!("{error} at number {n}{plus} of {calls}");
            assert!(matches!(run.status.code(), Some(0 | NO_STORE)), "{context}: {}", run.status);
            let last = run.lines.last();
            assert!(run.lines.iter().all(|line| !line.acknowledged_broken), "{context}: acknowledged while broken");
            check(&run, &context);
            let mut store = open(&run.folder.path().join("store"));
            audit(&snapshot(&mut store), last, &context);
            assert!(takes_a_job(&mut store), "{context}: the store takes no job");
            failures += 1;
            broken += usize::from(last.is_some_and(|line| line.broken.is_some()));
            unopened += usize::from(run.status.code() == Some(NO_STORE));
        }
        let each = if from_then_on { "from each on" } else { "at each" };
        println!(
            "{calls}: {error} {each} of {failures} calls; the store was broken {broken} times, not opened {unopened} times"
        );
    }
}

fn open(folder: &Path) -> RedbStore {
    RedbStore::open(setup(folder, 64 << 20, OnFull::Reject)).unwrap()
}

/// Everything that was acknowledged is there, and nothing that nobody wrote.
fn audit(found: &Snapshot, last: Option<&Line>, context: &str) {
    let Some(Line { expected, unsure, .. }) = last else {
        assert!(found.seen.is_empty(), "{context}: {found:?}");
        return;
    };
    for (id, digest) in &expected.jobs {
        let finished = unsure.ids.contains(id) && found.seen.contains(id);
        assert!(finished || found.jobs.get(id) == Some(digest), "{context}: job {id} is lost");
    }
    for id in found.jobs.keys().filter(|id| !expected.jobs.contains_key(*id)) {
        assert!(unsure.ids.contains(id) && !expected.seen.contains(id), "{context}: job {id} came back");
    }
    for (row, digest) in &expected.rows {
        assert!(unsure.rows.contains(row) || found.rows.get(row) == Some(digest), "{context}: row {row} is lost");
    }
    for (row, digest) in found.rows.iter().filter(|(row, _)| !expected.rows.contains_key(row)) {
        assert!(unsure.messages.contains(digest), "{context}: row {row} came back");
    }
    let seen: Vec<&String> = found.seen.iter().filter(|id| expected.seen.contains(id)).collect();
    assert_eq!(seen, expected.seen.iter().collect::<Vec<_>>(), "{context}: finished ids");
    let unknown = found.dead.iter().find(|id| !expected.dead.contains(id) && !unsure.ids.contains(*id));
    assert_eq!(unknown, None, "{context}: dead letters");
    for (id, digest) in &expected.inquiries {
        let there = found.inquiries.get(id) == Some(digest);
        assert!(unsure.inquiries.contains(id) || there, "{context}: inquiry {id} is lost");
    }
    for (id, digest) in found.inquiries.iter().filter(|(id, _)| !expected.inquiries.contains_key(id)) {
        assert!(unsure.inquired.contains(digest), "{context}: inquiry {id} came back");
    }
}

#[test]
fn a_kill_at_every_sync_leaves_what_was_committed() {
    let campaign = Campaign::new("a_kill_at_every_sync_leaves_what_was_committed");
    campaign.kill_at_every("fsync");
    campaign.kill_at_every("fdatasync");
    campaign.kill_at_every("/^rename");
    campaign.kill_at_every("ftruncate");
    campaign.kill_at_every("/^unlink");
}

#[test]
fn a_kill_at_every_write_leaves_what_was_committed() {
    let campaign = Campaign::new("a_kill_at_every_write_leaves_what_was_committed");
    campaign.kill_at_every("pwrite64");
    campaign.kill_at_every("write");
}

/// Rows 20 and 21: what makes room goes on, what needs room is refused or waits.
#[test]
fn a_disk_that_is_full_at_any_call_loses_nothing_that_was_acknowledged() {
    let campaign = Campaign::new("a_disk_that_is_full_at_any_call_loses_nothing_that_was_acknowledged");
    for calls in ["pwrite64", "write", "fallocate", "ftruncate", "fdatasync"] {
        for from_then_on in [false, true] {
            campaign.fail_at_every(calls, "ENOSPC", from_then_on, |run, context| {
                // A disk that was full for a moment only breaks nothing.
                let broken = run.lines.iter().find_map(|line| line.broken.as_ref());
                assert!(from_then_on || broken.is_none(), "{context}: the store gave up: {broken:?}");
            });
        }
    }
}

/// Row 22: what is on such a disk is unknown, and a second sync says nothing about the first.
#[test]
fn a_sync_that_fails_breaks_the_store_for_good() {
    let campaign = Campaign::new("a_sync_that_fails_breaks_the_store_for_good");
    for calls in ["fdatasync", "fsync"] {
        campaign.fail_at_every(calls, "EIO", false, |run, context| {
            let broken = run.lines.last().is_some_and(|line| line.broken.is_some());
            assert!(broken || run.status.code() == Some(NO_STORE), "{context}: the store goes on as if nothing was");
        });
    }
}
