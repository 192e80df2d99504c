//! A disk that is really full.

use std::{path::Path, process::Command};

use bytes::Bytes;
use picket::{
    config::OnFull,
    ports::{Store, Write, Written},
    store::redb::RedbStore,
};
use picket_core::{
    StoreFault,
    job::{JobId, Key, RowId},
};
use picket_tests::script::{digest, job, message, request, setup};
use rand::{Rng, SeedableRng, rngs::StdRng};
use tempfile::TempDir;

/// Jobs that one transaction takes here.
const GROUP: u64 = 8;

/// A file system of its own; unmounted when dropped.
struct Disk(TempDir);

impl Disk {
    /// `None`: mounting is not allowed here.
    fn mount(megabytes: u64) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"])
            .arg(folder.path())
            .output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(folder));
        }
        eprintln!("skipped: no file system can be mounted here");
        None
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).output();
    }
}

/// A store with work that comes and goes.
struct Work {
    store: RedbStore,
    rng: StdRng,
    next: u64,
    open: Vec<(Key, JobId)>,
    rows: Vec<RowId>,
    evicted: usize,
}

impl Work {
    fn on(folder: &Path, max_bytes: usize, on_full: OnFull) -> Self {
        let seed = super::number("PICKET_CRASH_SEED", 1);
        println!("seed {seed}; repeat with PICKET_CRASH_SEED={seed}");
        let mut store = RedbStore::open(setup(folder, max_bytes, on_full)).unwrap();
        store.recover();
        Self { store, rng: StdRng::seed_from_u64(seed), next: 0, open: Vec::new(), rows: Vec::new(), evicted: 0 }
    }

    fn payload(&mut self) -> Bytes {
        let size = if self.rng.random_bool(0.05) { 70_000 } else { self.rng.random_range(1..6_000) };
        let mut bytes = vec![0; size];
        self.rng.fill(&mut bytes[..]);
        bytes.into()
    }

    /// Notes what became of the writes; the number of those that the store had no room for.
    fn transact(&mut self, writes: Vec<Write>) -> usize {
        let written = self.store.transact(writes.clone());
        assert_eq!(self.store.broken(), None);
        let mut refused = 0;
        let mut answers = written.into_iter();
        for (write, written) in writes.iter().zip(&mut answers) {
            match (write, written) {
                (Write::Accept { job, .. }, Written::Accepted { .. }) => self.open.push((job.key, job.id.clone())),
                (Write::Finish { key, .. }, Written::Finished { rows, .. }) => {
                    self.open.retain(|(open, _)| open != key);
                    self.rows.extend(rows.iter().map(|row| row.row.row));
                }
                (Write::Confirm { row }, Written::Done) => self.rows.retain(|held| held != row),
                (_, Written::Failed { why: StoreFault::Full, .. } | Written::Again(_)) => refused += 1,
                (write, written) => panic!("{write:?}: {written:?}"),
            }
        }
        for more in answers {
            let Written::Evicted { rows } = more else { panic!("{more:?}") };
            self.evicted += rows.len();
            self.rows.retain(|row| !rows.contains(row));
        }
        refused
    }

    /// Offers jobs; the number of those that were refused.
    fn accept(&mut self, jobs: u64) -> usize {
        let writes = (0..jobs)
            .map(|_| {
                let (id, payload) = (JobId::new(&format!("job-{}", self.next)).unwrap(), self.payload());
                self.next += 1;
                Write::Accept { job: job(self.next - 1, &id, &payload), request: request(&id, payload), was_dead: None }
            })
            .collect();
        self.transact(writes)
    }

    fn finish(&mut self, count: usize, bytes: usize) -> usize {
        let jobs: Vec<_> = self.open.iter().take(count).cloned().collect();
        let mut result = vec![0; bytes];
        let finish = |(key, id): (Key, JobId)| {
            self.rng.fill(&mut result[..]);
            let messages = vec![message(&id, result.clone().into(), true)];
            Write::Finish { key, digest: digest(id.as_str().as_bytes()), id, messages, dead: None, inquiry: None }
        };
        let writes = jobs.into_iter().map(finish).collect();
        self.transact(writes)
    }

    fn confirm(&mut self, count: usize) -> usize {
        let writes = self.rows.iter().take(count).map(|row| Write::Confirm { row: *row }).collect();
        self.transact(writes)
    }

    /// Accepts until the store has no room.
    fn fill(&mut self) {
        for _ in 0..10_000 {
            if self.accept(GROUP) > 0 {
                return;
            }
        }
        panic!("the store never got full");
    }

    /// Finishes and confirms everything, as the daemon does when a job was refused for want of room: again and again.
    fn drain(&mut self, bytes: usize) {
        for _ in 0..10_000 {
            let refused = self.finish(GROUP as usize, bytes) + self.confirm(2 * GROUP as usize);
            if self.open.is_empty() && self.rows.is_empty() {
                return;
            }
            assert!(refused < 3 * GROUP as usize, "{} jobs and {} rows stay", self.open.len(), self.rows.len());
        }
        panic!("{} jobs and {} rows stay", self.open.len(), self.rows.len());
    }
}

#[test]
fn a_full_disk_drains_to_nothing_and_takes_jobs_again() {
    let Some(disk) = Disk::mount(16) else { return };
    let folder = disk.0.path().join("store");
    let mut work = Work::on(&folder, 64 << 20, OnFull::Reject);
    for round in 0..5 {
        let before = work.next;
        work.fill();
        let held = work.open.len();
        // Results as large as jobs: what is kept of them for repetition must not keep jobs out.
        work.drain(6_000);
        assert_eq!(work.store.bytes(), 0);
        // What was kept for repetition goes with each attempt, and then there is room.
        let attempts = (0..100).find(|_| work.accept(GROUP) == 0);
        assert!(attempts.is_some(), "round {round}: an empty store takes no jobs");
        println!(
            "round {round}: full with {held} jobs of {} offered, drained, takes jobs after {attempts:?} refusals",
            work.next - before
        );
        assert!(held > 100, "the disk has room for more than {held} jobs");
    }
    let open = work.open.len();
    drop(work.store);
    let mut store = RedbStore::open(setup(&folder, 64 << 20, OnFull::Reject)).unwrap();
    assert_eq!(store.recover().jobs.len(), open);
}

#[test]
fn a_full_disk_survives_a_restart_and_drains() {
    let Some(disk) = Disk::mount(16) else { return };
    let folder = disk.0.path().join("store");
    let mut work = Work::on(&folder, 64 << 20, OnFull::Reject);
    work.fill();
    let open = work.open.len();
    drop(work.store);
    // Somebody else takes what is left.
    let rest = disk.0.path().join("rest");
    let _ = std::fs::write(&rest, vec![1; 16 << 20]);
    work.store = RedbStore::open(setup(&folder, 64 << 20, OnFull::Reject)).unwrap();
    assert_eq!(work.store.recover().jobs.len(), open);
    assert!(work.accept(1) == 1, "there is no room for a job");
    work.drain(200);
    std::fs::remove_file(rest).unwrap();
    assert!(work.accept(1) == 0, "there is room for a job");
}

#[test]
fn where_the_oldest_go_a_full_store_takes_jobs_and_counts() {
    let Some(disk) = Disk::mount(16) else { return };
    let mut work = Work::on(&disk.0.path().join("store"), 1 << 20, OnFull::DropOldest);
    let mut finished = 0;
    for _ in 0..200 {
        assert_eq!(work.accept(GROUP), 0, "a row goes for a job");
        finished += work.open.len();
        assert_eq!(work.finish(usize::MAX, 3_000), 0);
    }
    assert_eq!(work.rows.len() + work.evicted, finished, "every row is there or was counted");
    assert!(work.evicted > finished / 2 && work.store.bytes() <= (1 << 20) + 8 * 3_000, "{} evicted", work.evicted);
    println!("{finished} results, {} of them evicted", work.evicted);
}

#[test]
fn where_the_oldest_go_a_full_disk_takes_jobs_too() {
    let Some(disk) = Disk::mount(16) else { return };
    let mut work = Work::on(&disk.0.path().join("store"), 64 << 20, OnFull::DropOldest);
    let (mut taken, mut refused) = (0, 0);
    for round in 0..1_000 {
        // Nobody confirms anything. A job that is refused comes again.
        let attempts = (0..100).find(|_| work.accept(1) == 0);
        refused += attempts.unwrap_or_else(|| panic!("round {round}: {} rows, and no room for a job", work.rows.len()));
        taken += 1;
        let finished = (0..100).any(|_| work.finish(1, 20_000) == 0);
        assert!(finished, "round {round}: a result replaces its job");
    }
    assert_eq!(work.rows.len() + work.evicted, taken, "every row is there or was counted");
    assert!(work.evicted > 0 && !work.rows.is_empty(), "{} evicted, {} held", work.evicted, work.rows.len());
    println!("{taken} jobs, {refused} refusals, {} results evicted, {} held", work.evicted, work.rows.len());
}
