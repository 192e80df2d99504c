//! The writing side: files of a bounded size, appended without a sync, the oldest goes first.

use std::{
    collections::VecDeque,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use picket_core::limits;
use rustix::fs::{FlockOperation, flock};

use super::{
    frame::{self, HEAD_BYTES, Head},
    read,
    record::FORMAT,
};

/// Nobody but the daemon's own user reads what was decided.
const MODE: u32 = 0o600;
/// A log consists of so many files at least, so that only a part of it goes when the oldest goes.
const FILES: u64 = 8;

/// A log that is written.
pub struct Book {
    folder: PathBuf,
    /// Bytes of all files together.
    most: u64,
    /// Bytes after which a file gets no more records.
    file_bytes: u64,
    /// Older files: number of the first record, bytes.
    older: VecDeque<(u64, u64)>,
    page: Page,
    _lock: File,
}

/// The open file.
struct Page {
    file: File,
    first: u64,
    /// Number of the next record.
    next: u64,
    bytes: u64,
    /// Not written yet.
    staged: Vec<u8>,
    staged_records: u64,
}

/// What happened when the log was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// Bytes of an unfinished record that were cut off.
    pub torn: u64,
    /// Where a log of another format went.
    pub moved_to: Option<PathBuf>,
}

impl Book {
    /// Opens the log of this folder, or begins it.
    ///
    /// # Errors
    /// Another process writes it, or the disk.
    pub fn open(folder: PathBuf, most: u64) -> io::Result<(Self, Opened)> {
        let mut opened = Opened::default();
        let mut lock = lock(&folder)?;
        if is_foreign(&folder)? {
            opened.moved_to = Some(move_aside(&folder)?);
            lock = self::lock(&folder)?;
        }
        let files = read::files(&folder)?;
        let mut older = VecDeque::new();
        for (first, path) in &files {
            older.push_back((*first, fs::metadata(path)?.len()));
        }
        let page = match files.last() {
            Some((first, path)) => {
                older.pop_back();
                let (page, torn, is_whole) = Page::resume(path, *first)?;
                opened.torn = torn;
                if is_whole {
                    page
                } else {
                    // Its first bytes are damaged: what is in it can be read, and nothing is added.
                    let next = page.next.max(first + 1);
                    older.push_back((*first, page.bytes));
                    Page::begin(&folder, next)?
                }
            }
            None => Page::begin(&folder, 0)?,
        };
        let file_bytes = (most / FILES).min(limits::DECISION_FILE_BYTES);
        Ok((Self { folder, most, file_bytes, older, page, _lock: lock }, opened))
    }

    /// Is the file so large that the next record belongs into another?
    pub fn is_full(&self) -> bool {
        self.page.bytes + self.page.staged.len() as u64 >= self.file_bytes
    }

    /// Prepares a record; [`Book::commit`] writes it.
    pub fn stage(&mut self, payload: &[u8]) {
        frame::push(&mut self.page.staged, self.page.next, payload);
        self.page.next += 1;
        self.page.staged_records += 1;
    }

    /// Hands what was staged to the system.
    ///
    /// # Errors
    /// So many records are lost: the disk is full, or worse.
    pub fn commit(&mut self) -> Result<(), (u64, io::Error)> {
        let page = &mut self.page;
        let (staged, records) = (std::mem::take(&mut page.staged), std::mem::take(&mut page.staged_records));
        match page.file.write_all(&staged) {
            Ok(()) => {
                page.bytes += staged.len() as u64;
                Ok(())
            }
            Err(error) => {
                // Half a record would be skipped by whoever reads; better there is none. The numbers tell of the gap.
                let _ = page.file.set_len(page.bytes);
                Err((records, error))
            }
        }
    }

    /// Begins another file, and lets the oldest go where there are too many; how many records went with them.
    ///
    /// # Errors
    /// The disk; the file that was written stays the one that is written.
    pub fn turn_the_page(&mut self) -> io::Result<u64> {
        let fresh = Page::begin(&self.folder, self.page.next)?;
        let full = std::mem::replace(&mut self.page, fresh);
        self.older.push_back((full.first, full.bytes));
        let mut gone = 0;
        while let Some((first, bytes)) = self.older.front().copied() {
            let all: u64 = self.older.iter().map(|(_, bytes)| bytes).sum();
            // A file ends behind the record that fills it.
            if all + self.file_bytes + self.file_bytes / 8 <= self.most {
                break;
            }
            self.older.pop_front();
            let next = self.older.front().map_or(self.page.first, |(next, _)| *next);
            match fs::remove_file(path(&self.folder, first)) {
                Ok(()) => gone += next - first,
                Err(error) => tracing::warn!(first, bytes, %error, "decisions: the oldest file does not go"),
            }
        }
        Ok(gone)
    }
}

impl Page {
    fn begin(folder: &Path, first: u64) -> io::Result<Self> {
        // Two files cannot begin with the same record: one that is there has none.
        let options = OpenOptions::new().write(true).create(true).truncate(true).mode(MODE).clone();
        let mut file = options.open(path(folder, first))?;
        file.write_all(&frame::head(FORMAT, first))?;
        Ok(Self {
            file: append(&path(folder, first))?,
            first,
            next: first,
            bytes: HEAD_BYTES as u64,
            staged: Vec::new(),
            staged_records: 0,
        })
    }

    /// Goes on behind the last whole record; bytes that were cut off, and whether the file can be added to.
    fn resume(path: &Path, first: u64) -> io::Result<(Self, u64, bool)> {
        let bytes = read::load(path)?;
        let is_whole = matches!(frame::read_head(&bytes), Head::Of { first: stated, .. } if stated == first);
        let walked = frame::walk(&bytes, HEAD_BYTES, first, |_, _| {});
        let file = append(path)?;
        let good = walked.good.min(bytes.len()) as u64;
        if walked.rest > 0 {
            file.set_len(good)?;
        }
        let page = Self { file, first, next: walked.next, bytes: good, staged: Vec::new(), staged_records: 0 };
        Ok((page, walked.rest as u64, is_whole))
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).open(path)
}

fn path(folder: &Path, first: u64) -> PathBuf {
    folder.join(format!("{first:020}.log"))
}

fn lock(folder: &Path) -> io::Result<File> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let lock = File::open(folder)?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| io::Error::other("another process writes a log of decisions there"))?;
    Ok(lock)
}

/// Does another version's file lie here?
fn is_foreign(folder: &Path) -> io::Result<bool> {
    for (_, path) in read::files(folder)? {
        let mut head = Vec::new();
        io::Read::read_to_end(&mut io::Read::take(File::open(&path)?, HEAD_BYTES as u64), &mut head)?;
        if matches!(frame::read_head(&head), Head::Of { format, .. } if format != FORMAT) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn move_aside(folder: &Path) -> io::Result<PathBuf> {
    let names = (1..=limits::DECISION_LOGS_ASIDE).map(|n| folder.with_extension(format!("foreign-{n}")));
    let free = names.into_iter().find(|name| !name.exists());
    let free = free.ok_or_else(|| {
        io::Error::other(format!("{} logs of other versions lie here already", limits::DECISION_LOGS_ASIDE))
    })?;
    fs::rename(folder, &free)?;
    Ok(free)
}
