//! The folder of cases, and which of them go when there are too many.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rand::{Rng, rngs::StdRng};
use sha2::{Digest as _, Sha256};

use super::{Row, Split};
use crate::answer::hex;

pub(super) struct Shelf {
    folder: PathBuf,
    most: u64,
    /// Bytes of each case, by its number.
    cases: BTreeMap<(Split, u64), u64>,
    next: u64,
    is_open: bool,
    dice: StdRng,
}

impl Shelf {
    pub const fn new(folder: PathBuf, most: u64, dice: StdRng) -> Self {
        Self { folder, most, cases: BTreeMap::new(), next: 0, is_open: false, dice }
    }

    /// # Errors
    /// The disk, or its rights.
    pub fn open(&mut self) -> io::Result<()> {
        for split in [Split::Train, Split::Holdout] {
            let folder = self.folder.join(split.name());
            DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
            for (number, path) in files(&folder)? {
                self.cases.insert((split, number), fs::metadata(path)?.len());
                self.next = self.next.max(number + 1);
            }
        }
        self.is_open = true;
        Ok(())
    }

    /// Keeps a case; how many others had to go.
    ///
    /// # Errors
    /// The disk, or a case that is larger than all of them may be.
    pub fn put(&mut self, row: &Row, input: &[u8]) -> io::Result<u64> {
        if !self.is_open {
            self.open()?;
        }
        let mut text = serde_json::to_vec(row)?;
        text.push(b'\n');
        let bytes = (text.len() + input.len()) as u64;
        if bytes > self.most / 4 {
            return Err(io::Error::other(format!("a case of {bytes} bytes is too large")));
        }
        let gone = self.make_room(bytes)?;
        let place = (row.split(), self.next);
        let path = self.path(place);
        let fresh = path.with_extension("new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        file.write_all(&text).and_then(|()| file.write_all(input))?;
        fs::rename(&fresh, &path)?;
        self.next += 1;
        self.cases.insert(place, bytes);
        Ok(gone)
    }

    fn make_room(&mut self, bytes: u64) -> io::Result<u64> {
        let mut gone = 0;
        while self.cases.values().sum::<u64>() + bytes > self.most {
            let Some(place) = self.victim() else { break };
            match fs::remove_file(self.path(place)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            self.cases.remove(&place);
            gone += 1;
        }
        Ok(gone)
    }

    /// The oldest one for training; of the lottery's, which get half of the room, one by lot: to choose by age or worth would
    /// bias what they measure.
    fn victim(&mut self) -> Option<(Split, u64)> {
        let holdout: Vec<u64> = self.cases.range((Split::Holdout, 0)..).map(|((_, number), _)| *number).collect();
        let bytes: u64 = self.cases.range((Split::Holdout, 0)..).map(|(_, bytes)| bytes).sum();
        let oldest = self.cases.range(..(Split::Holdout, 0)).next().map(|(place, _)| *place);
        match oldest {
            Some(oldest) if bytes <= self.most / 2 => Some(oldest),
            _ if holdout.is_empty() => oldest,
            _ => Some((Split::Holdout, holdout[self.dice.random_range(0..holdout.len())])),
        }
    }

    fn path(&self, (split, number): (Split, u64)) -> PathBuf {
        self.folder.join(split.name()).join(format!("{number:020}.case"))
    }
}

fn files(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let number = name.and_then(|name| name.strip_suffix(".case")?.parse().ok());
        found.extend(number.map(|number| (number, path.clone())));
    }
    found.sort();
    Ok(found)
}

/// A case that was kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    pub row: Row,
    pub input: Vec<u8>,
}

/// Shows every case of one split to `visit`, in the order in which they came; how many cannot be read.
///
/// # Errors
/// The folder cannot be read.
pub fn read(folder: &Path, split: Split, mut visit: impl FnMut(Case) -> anyhow::Result<()>) -> anyhow::Result<u64> {
    let listed = match files(&folder.join(split.name())) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        other => other?,
    };
    let mut unreadable = 0;
    for (_, path) in listed {
        match fs::read(&path) {
            // Meanwhile it went.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(_) => unreadable += 1,
            Ok(bytes) => match case(&bytes).filter(|case| case.row.split() == split) {
                Some(case) => visit(case)?,
                None => unreadable += 1,
            },
        }
    }
    Ok(unreadable)
}

/// `None`: it was cut off or changed.
fn case(bytes: &[u8]) -> Option<Case> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let row: Row = serde_json::from_slice(&bytes[..end]).ok()?;
    let input = bytes[end + 1..].to_vec();
    (hex(&Sha256::digest(&input)) == row.input.sha256).then_some(Case { row, input })
}
