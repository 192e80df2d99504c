//! The reading side: all files of a log in their order, also while a daemon writes.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use picket_core::limits;

use super::{
    frame::{self, HEAD_BYTES, Head},
    record::{self, Entry, FORMAT},
};

/// What a whole log holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    pub records: u64,
    /// Records that are missing or damaged.
    pub unreadable: u64,
    /// Bytes of an unfinished record at the end: being written, or left by a crash.
    pub unfinished: usize,
}

/// The code is stable.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("error[decisions/none]: there is no log of decisions in {0}; [decisions] max says how much is kept")]
    None(PathBuf),
    #[error(
        "error[decisions/foreign-version]: {path} is of format {format}, this version reads {FORMAT}: read it with the \
         version that wrote it"
    )]
    Foreign { path: PathBuf, format: u16 },
    #[error("error[decisions/unreadable]: {path}: {why}")]
    Unreadable { path: PathBuf, why: io::Error },
}

/// Shows every record to `visit`, oldest first. `log` is the log's folder, the store's folder, or one file.
///
/// # Errors
/// There is none, it is of another format, or a file cannot be read.
pub fn read(log: &Path, mut visit: impl FnMut(u64, Entry)) -> Result<Reading, ReadError> {
    let files = find(log)?;
    let mut reading = Reading::default();
    let mut next = None;
    let count = files.len();
    for (place, (first, path)) in files.into_iter().enumerate() {
        let unreadable = |why| ReadError::Unreadable { path: path.clone(), why };
        let bytes = match load(&path) {
            // Meanwhile the oldest went.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other.map_err(unreadable)?,
        };
        let from = match frame::read_head(&bytes) {
            Head::Of { format, .. } if format != FORMAT => return Err(ReadError::Foreign { path, format }),
            Head::Of { .. } | Head::Damaged => HEAD_BYTES.min(bytes.len()),
        };
        let before = next.unwrap_or(first);
        let walked = frame::walk(&bytes, from, before, |number, payload| match record::decode(payload) {
            Some(entry) => {
                reading.records += 1;
                visit(number, entry);
            }
            None => reading.unreadable += 1,
        });
        reading.unreadable = reading.unreadable.saturating_add(walked.missing);
        // What is missing at the end of an older file shows in the number of the next one.
        next = Some(walked.next);
        if place + 1 == count {
            reading.unfinished = walked.rest;
        }
    }
    Ok(reading)
}

/// Files by the number of their first record, oldest first.
fn find(log: &Path) -> Result<Vec<(u64, PathBuf)>, ReadError> {
    if log.is_file() {
        return Ok(vec![(number(log).unwrap_or(0), log.to_owned())]);
    }
    let inner = log.join(super::FOLDER);
    let folder = if inner.is_dir() { inner } else { log.to_owned() };
    let found = files(&folder).map_err(|why| match why.kind() {
        io::ErrorKind::NotFound => ReadError::None(log.to_owned()),
        _ => ReadError::Unreadable { path: folder.clone(), why },
    })?;
    if found.is_empty() { Err(ReadError::None(log.to_owned())) } else { Ok(found) }
}

/// # Errors
/// The folder cannot be read.
pub(super) fn files(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        found.extend(number(&path).map(|number| (number, path.clone())));
    }
    found.sort();
    Ok(found)
}

fn number(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?.strip_suffix(".log")?;
    name.parse().ok()
}

/// # Errors
/// It cannot be read, or is larger than any such file.
pub(super) fn load(path: &Path) -> io::Result<Vec<u8>> {
    let most = limits::DECISION_FILE_BYTES + 2 * limits::DECISION_BYTES as u64;
    let mut bytes = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("it has more than {most} bytes")));
    }
    Ok(bytes)
}
