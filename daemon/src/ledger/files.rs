//! The ledger's files: their names, their rights, and the head beside them.
//!
//! ```text
//! ledger.jsonl                        the lines that are written now
//! ledger-00000000000000012345.jsonl   older ones; the number is that of its first line
//! ledger.head                         the last line's number and hash
//! ledger.corrupt-1/                   a damaged ledger, moved aside
//! ```

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use picket_core::limits;

use super::line::Link;

pub const CURRENT: &str = "ledger.jsonl";
pub const HEAD: &str = "ledger.head";

/// Nobody but the daemon's own user reads what left.
const MODE: u32 = 0o600;

pub fn older_name(first: u64) -> String {
    format!("ledger-{first:020}.jsonl")
}

/// Older files with the number of their first line, oldest first.
///
/// # Errors
/// The folder cannot be read.
pub fn older(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("ledger-")?.strip_suffix(".jsonl")?.parse().ok());
        found.extend(number.map(|number| (number, entry.path())));
    }
    found.sort();
    Ok(found)
}

/// Opens for appending, and makes the file where there is none.
///
/// # Errors
/// The disk, or its rights.
pub fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(MODE).open(path)
}

/// Writes a file whole before it gets its name.
///
/// # Errors
/// The disk is full, or worse.
pub fn write_whole(path: &Path, text: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(MODE).open(&fresh)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&fresh, path)
}

/// Names in this folder are as they are, also after a power cut.
///
/// # Errors
/// The disk failed.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// A file of the ledger; `None`: there is none of that name.
///
/// # Errors
/// It cannot be read, or is larger than any such file.
pub fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match File::open(path) {
        Ok(file) => read_from(file).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// # Errors
/// As [`read`].
pub fn read_from(file: File) -> io::Result<Vec<u8>> {
    // A batch may end beyond the size at which the next one begins a new file.
    let most = limits::LEDGER_FILE_BYTES + (limits::LEDGER_GROUP * limits::LEDGER_LINE_BYTES) as u64;
    let mut text = Vec::new();
    file.take(most + 1).read_to_end(&mut text)?;
    if text.len() as u64 > most {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("it has more than {most} bytes")));
    }
    Ok(text)
}

/// What `ledger.head` says; `None`: there is no such file.
///
/// # Errors
/// It cannot be read, or is no head.
pub fn read_head(folder: &Path) -> io::Result<Option<Link>> {
    let Some(text) = read(&folder.join(HEAD))? else { return Ok(None) };
    serde_json::from_slice(&text).map(Some).map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))
}

/// # Errors
/// The disk is full, or worse.
pub fn write_head(folder: &Path, head: &Link) -> io::Result<()> {
    // After a power cut it is the old one or the new one; both are lines of the chain.
    write_whole(&folder.join(HEAD), &[&serde_json::to_vec(head)?, "\n".as_bytes()].concat())
}

/// Moves everything of a damaged ledger into a folder of its own; its name.
///
/// # Errors
/// There are [`limits::LEDGERS_ASIDE`] of them already, or the disk failed.
pub fn move_aside(folder: &Path) -> io::Result<String> {
    let free = (1..=limits::LEDGERS_ASIDE).map(|n| format!("ledger.corrupt-{n}")).find(|n| !folder.join(n).exists());
    let Some(name) = free else {
        return Err(io::Error::other(format!("{} damaged ledgers lie here already", limits::LEDGERS_ASIDE)));
    };
    DirBuilder::new().mode(0o700).create(folder.join(&name))?;
    let names = older(folder)?.into_iter().filter_map(|(_, path)| Some(path.file_name()?.to_owned()));
    for file in [CURRENT, HEAD].into_iter().map(Into::into).chain(names) {
        match fs::rename(folder.join(&file), folder.join(&name).join(&file)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    sync_folder(folder)?;
    Ok(name)
}
