//! The writing side: one process, one thread, lines appended and synced.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use picket_core::limits;
use rustix::fs::{FlockOperation, flock};

use super::{
    Notice, Refused, files,
    line::{After, Begins, Booked, Dropped, FORMAT, Leaving, Line, Link, NOTHING, What, follow, seal, split},
    open::{Found, examine},
};
use crate::{calendar::Calendar, failpoint};

/// Of the year 9999: RFC 3339 ends there.
const LAST_MICROSECOND: u64 = 253_402_300_799_999_999;

/// A ledger that is written.
pub struct Book {
    folder: PathBuf,
    calendar: Box<dyn Calendar>,
    page: Option<Page>,
    notices: Vec<Notice>,
    /// The budget as the call sees it that was made last.
    budget: Option<Booked>,
}

/// The open file.
struct Page {
    file: File,
    /// Number of its first line.
    first: u64,
    /// Bytes that are written and synced.
    good: u64,
    last: Link,
    /// Lines that are not written yet.
    staged: Vec<u8>,
    /// The last of them.
    newest: Link,
    /// Files that go when those lines are written.
    going: Vec<(PathBuf, Dropped)>,
    head_failed: bool,
    /// Held as long as this ledger is open.
    _lock: File,
}

impl Book {
    pub const fn new(folder: PathBuf, calendar: Box<dyn Calendar>) -> Self {
        Self { folder, calendar, page: None, notices: Vec::new(), budget: None }
    }

    /// What happened that somebody should know.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// Opens the ledger, or begins it. An unfinished last line is cut off; a damaged ledger is moved aside and another
    /// begins, whose first line says so.
    ///
    /// # Errors
    /// `ledger/locked` or `ledger/unwritable`.
    pub fn open(&mut self) -> Result<(), Refused> {
        if self.page.is_some() {
            return Ok(());
        }
        fs::create_dir_all(&self.folder).map_err(|error| unwritable(&self.folder, &error))?;
        let lock = File::open(&self.folder).map_err(|error| unwritable(&self.folder, &error))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
            Refused::new("ledger/locked", format!("another process writes a ledger in {}", self.folder.display()))
        })?;
        let page = self.find(lock).map_err(|error| unwritable(&self.folder.join(files::CURRENT), &error))?;
        let _ = files::write_head(&self.folder, &page.last);
        self.page = Some(page);
        Ok(())
    }

    fn find(&mut self, lock: File) -> io::Result<Page> {
        let current = self.folder.join(files::CURRENT);
        let place = match examine(&self.folder)? {
            Found::Good(place) => place,
            Found::Nothing => return self.begin(None, lock),
            Found::Damaged { why, last_good } => {
                let moved_to = files::move_aside(&self.folder)?;
                self.notices.push(Notice::Corrupt { moved_to: self.folder.join(&moved_to), why: why.clone() });
                return self.begin(Some(After { moved_to, why, last_good }), lock);
            }
        };
        let file = files::append_to(&current)?;
        if place.torn > 0 {
            file.set_len(place.good)?;
            file.sync_all()?;
            self.notices.push(Notice::Torn { bytes: place.torn });
        }
        files::sync_folder(&self.folder)?;
        Ok(Page::new(file, place.first, place.good, place.last, lock))
    }

    /// A new chain. Its file gets its name when it has its first line.
    fn begin(&self, after: Option<After>, lock: File) -> io::Result<Page> {
        let what = What::Begins(Begins { format: FORMAT.to_owned(), after });
        let (text, link) = seal(&self.line(0, NOTHING.to_owned(), what))?;
        let current = self.folder.join(files::CURRENT);
        files::write_whole(&current, &text)?;
        files::sync_folder(&self.folder)?;
        Ok(Page::new(files::append_to(&current)?, 0, text.len() as u64, link, lock))
    }

    /// Prepares a line; [`Book::commit`] writes it. Its number.
    ///
    /// # Errors
    /// The ledger cannot be opened, or the line is longer than any line may be.
    pub fn stage(&mut self, mut what: What) -> Result<u64, Refused> {
        self.open()?;
        if let What::Leaves(leaving) = &mut what {
            self.keep_the_newest(leaving);
        }
        self.turn_the_page().map_err(|error| unwritable(&self.folder, &error))?;
        let Some(page) = &self.page else { return Err(unwritable(&self.folder, &io::Error::other("it closed"))) };
        let line = self.line(page.newest.seq + 1, page.newest.hash.clone(), what);
        let sealed = seal(&line).map_err(io::Error::from);
        let (text, link) = sealed.map_err(|error| unwritable(&self.folder, &error))?;
        if text.len() > limits::LEDGER_LINE_BYTES {
            let message = format!("a line of {} bytes; at most {}", text.len(), limits::LEDGER_LINE_BYTES);
            return Err(Refused::new("ledger/too-large", message));
        }
        let Some(page) = &mut self.page else { return Ok(link.seq) };
        page.staged.extend_from_slice(&text);
        page.newest = link;
        Ok(page.newest.seq)
    }

    /// Requests come here in another order than their money was put aside; the last line is to know of all.
    fn keep_the_newest(&mut self, leaving: &mut Leaving) {
        let count = |booked: &Option<Booked>| booked.as_ref().map(|booked| booked.spent.count);
        if count(&leaving.budget) > count(&self.budget) {
            self.budget.clone_from(&leaving.budget);
        }
        leaving.budget.clone_from(&self.budget);
    }

    /// Writes and syncs what was staged. Whatever fails, none of it is in the ledger then.
    ///
    /// # Errors
    /// `ledger/unwritable`: the disk is full, or worse.
    pub fn commit(&mut self) -> Result<(), Refused> {
        let Some(page) = &mut self.page else { return Ok(()) };
        if page.staged.is_empty() {
            return Ok(());
        }
        failpoint::hit("ledger-write");
        let written = page.file.write_all(&page.staged).and_then(|()| page.file.sync_data());
        failpoint::hit("ledger-written");
        let staged = std::mem::take(&mut page.staged);
        if let Err(error) = written {
            page.newest = page.last.clone();
            page.going.clear();
            let undone = page.file.set_len(page.good).and_then(|()| page.file.sync_data());
            if undone.is_err() {
                // Nobody knows what is on the disk. It is looked at before the next line; a line that was written after
                // all says of a request that it leaves which never did: too much, and never too little.
                self.page = None;
            }
            return Err(unwritable(&self.folder.join(files::CURRENT), &error));
        }
        page.good += staged.len() as u64;
        page.last = page.newest.clone();
        for (path, Dropped { file, first, last, .. }) in page.going.drain(..) {
            match fs::remove_file(&path) {
                Ok(()) => self.notices.push(Notice::Dropped { file, lines: last + 1 - first }),
                Err(error) => tracing::warn!(file, %error, "ledger: the oldest file does not go"),
            }
        }
        Ok(())
    }

    /// Brings the head up to date. Not before a request leaves: it may be behind.
    pub fn note_head(&mut self) {
        let Some(page) = &mut self.page else { return };
        let written = files::write_head(&self.folder, &page.last);
        if let (Err(error), false) = (&written, page.head_failed) {
            tracing::warn!(%error, "ledger: the head cannot be written; lines removed at the end would not be noticed");
        }
        page.head_failed = written.is_err();
    }

    /// Begins another file where the current one has its size, and lets the oldest go where there are too many.
    fn turn_the_page(&mut self) -> io::Result<()> {
        let Some(page) = &mut self.page else { return Ok(()) };
        if page.good < limits::LEDGER_FILE_BYTES || !page.staged.is_empty() {
            return Ok(());
        }
        let current = self.folder.join(files::CURRENT);
        let turned = fs::rename(&current, self.folder.join(files::older_name(page.first)))
            .and_then(|()| files::append_to(&current))
            .and_then(|file| files::sync_folder(&self.folder).map(|()| file));
        match turned {
            Ok(file) => {
                page.file = file;
                page.first = page.last.seq + 1;
                page.good = 0;
            }
            Err(error) => {
                // Whatever has its old name now is found when the ledger is opened again.
                self.page = None;
                return Err(error);
            }
        }
        self.drop_oldest()
    }

    fn drop_oldest(&mut self) -> io::Result<()> {
        let older = files::older(&self.folder)?;
        let surplus = older.len().saturating_sub(limits::LEDGER_FILES);
        for pair in older.windows(2).take(surplus) {
            let [(first, path), (next, next_path)] = pair else { continue };
            let file = files::older_name(*first);
            // A next file that is damaged too is no reason to grow without end; `verify` finds it.
            let hash = prev_of(next_path).unwrap_or_default();
            let dropped = Dropped { file, first: *first, last: next.saturating_sub(1), hash };
            let Some(page) = &mut self.page else { return Ok(()) };
            let (seq, prev) = (page.newest.seq + 1, page.newest.hash.clone());
            page.going.push((path.clone(), dropped.clone()));
            let (text, link) = seal(&self.line(seq, prev, What::Dropped(dropped)))?;
            let Some(page) = &mut self.page else { return Ok(()) };
            page.staged.extend_from_slice(&text);
            page.newest = link;
        }
        Ok(())
    }

    /// Another disk under the open ledger.
    #[cfg(test)]
    pub fn replace_file(&mut self, file: File) {
        if let Some(page) = &mut self.page {
            page.file = file;
        }
    }

    fn line(&self, seq: u64, prev: String, what: What) -> Line {
        let stamp = self.calendar.stamp();
        let wall = Duration::from_micros(stamp.wall.min(LAST_MICROSECOND));
        let time = humantime::format_rfc3339_millis(UNIX_EPOCH + wall).to_string();
        Line { seq, prev, time, time_trusted: stamp.trusted, what }
    }
}

impl Page {
    fn new(file: File, first: u64, good: u64, last: Link, lock: File) -> Self {
        let newest = last.clone();
        Self { file, first, good, last, staged: Vec::new(), newest, going: Vec::new(), head_failed: false, _lock: lock }
    }
}

/// `prev` of a file's first line.
fn prev_of(path: &Path) -> io::Result<String> {
    let text = files::read(path)?.unwrap_or_default();
    let first = split(&text).0.next().and_then(|line| follow(None, line).ok());
    let damaged =
        || io::Error::new(io::ErrorKind::InvalidData, format!("{} does not begin with a line", path.display()));
    first.map(|(line, _)| line.prev).ok_or_else(damaged)
}

fn unwritable(path: &Path, error: &io::Error) -> Refused {
    Refused::new("ledger/unwritable", format!("{}: {error}", path.display()))
}
