//! A store's files, damaged: all of it is there, or what is missing was counted. Never a store that cannot be opened.

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
use tempfile::TempDir;

use crate::script::{Script, Snapshot, content_digest, digest, setup, snapshot, takes_a_job};

/// The store's file in its folder.
pub const FILE: &str = "picket.redb";

/// A store as a process leaves it, and what is in it.
pub struct Original {
    folder: TempDir,
    /// Of the store's file.
    pub bytes: Vec<u8>,
    pub holds: Snapshot,
    pub seed: u64,
}

/// What became of damaged stores.
#[derive(Debug, Default)]
pub struct Tally {
    pub whole: usize,
    pub moved_aside: usize,
    pub records: usize,
}

impl Original {
    pub fn new(seed: u64, transactions: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut store = open(folder.path()).unwrap();
        snapshot(&mut store);
        let mut script = Script::new(seed, true);
        (0..transactions).for_each(|_| assert!(script.run(&mut store)));
        drop(store);
        let bytes = fs::read(folder.path().join(FILE)).unwrap();
        assert!(script.expected.jobs.len() > 2 && script.expected.rows.len() > 2, "{:?}", script.expected);
        Self { folder, bytes, holds: script.expected, seed }
    }

    /// A copy with this in place of the store's file.
    pub fn with(&self, bytes: &[u8]) -> TempDir {
        let copy = tempfile::tempdir().unwrap();
        fs::create_dir(copy.path().join("blobs")).unwrap();
        for blob in self.blobs() {
            fs::copy(&blob, copy.path().join("blobs").join(blob.file_name().unwrap())).unwrap();
        }
        fs::write(copy.path().join(FILE), bytes).unwrap();
        copy
    }

    pub fn blobs(&self) -> Vec<PathBuf> {
        let mut found: Vec<PathBuf> =
            fs::read_dir(self.folder.path().join("blobs")).unwrap().map(|entry| entry.unwrap().path()).collect();
        found.sort();
        found
    }

    /// Opens a damaged copy. Whatever is missing must have been counted.
    pub fn audit(&self, folder: &Path, tally: &mut Tally, damage: &str) {
        let context = format!("seed {}, {damage}", self.seed);
        let mut store = open(folder).unwrap_or_else(|error| panic!("{context}: {error}"));
        let recovered = store.recover();
        assert_eq!(store.broken(), None, "{context}");
        let jobs: BTreeMap<String, Digest> = recovered
            .jobs
            .iter()
            .map(|(job, request)| (job.id.to_string(), content_digest(&request.content)))
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

/// A store with room.
///
/// # Errors
/// Those of the store.
pub fn open(folder: &Path) -> Result<RedbStore, OpenError> {
    RedbStore::open(setup(folder, 64 << 20, OnFull::Reject))
}
