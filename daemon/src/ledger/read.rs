//! The reading side: all files of a ledger in their order, checked line by line, also while a daemon writes.
//!
//! **What is found**: a line that was changed, taken out, put in, moved or repeated; an older file that is missing; lines
//! that were taken off the end, as long as `ledger.head` still names them or somebody outside remembers a hash
//! (`--expect-head`); a ledger that was damaged and begun anew.
//!
//! **What is not**: who may write these files can write all of them anew, head included, with hashes that are right. Only
//! a hash that is kept elsewhere proves that this did not happen. A deleted ledger without any trace looks like one that
//! never was. And the last batch of lines may be removed between its sync and the head's.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use super::{
    files,
    line::{After, Begins, Dropped, Line, Link, What, follow, split},
};

/// What was found out about a whole ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    pub lines: u64,
    pub last: Option<Link>,
    /// The first thing that is wrong.
    pub wrong: Option<Wrong>,
    /// The chain says itself that it began after damage.
    pub restarted: Option<After>,
    /// Number of the oldest line, when those before were dropped as the ledger says.
    pub begins_at: u64,
    /// Bytes of an unfinished line at the end: being written, or left by a crash.
    pub unfinished: usize,
    /// The hash that was asked for is that of this line.
    pub expected_at: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The file, and the line in it from 1 on; no line where something is wrong with the whole.
    pub file: String,
    pub line: Option<usize>,
    pub why: String,
}

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file, self.why),
            None => write!(f, "{}: {}", self.file, self.why),
        }
    }
}

/// Reads everything, and shows each line that can be read to `visit`, whatever else is wrong. `expect` is a hash that the
/// chain should have.
///
/// # Errors
/// A file cannot be read.
pub fn read(folder: &Path, expect: Option<&str>, mut visit: impl FnMut(&Line)) -> io::Result<Verdict> {
    // First the head: lines that are written meanwhile come behind it.
    let head = match files::read_head(folder) {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(error.to_string()),
        other => Ok(other?),
    };
    let snapshot = snapshot(folder)?;
    let mut walk = Walk { expect, head: head.as_ref().ok().and_then(Option::as_ref), ..Walk::default() };
    let count = snapshot.len();
    for (number, (path, file)) in snapshot.into_iter().enumerate() {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        match files::read_from(file) {
            Ok(text) => walk.file(&name, &text, number + 1 == count, &mut visit),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => walk.object(&name, None, &error.to_string()),
            Err(error) => return Err(error),
        }
    }
    Ok(walk.end(&head))
}

/// The files, open, oldest first. Opened, they stay what they are while the daemon renames and removes.
fn snapshot(folder: &Path) -> io::Result<Vec<(PathBuf, File)>> {
    let open = |path: PathBuf| match File::open(&path) {
        Ok(file) => Ok(Some((path, file))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    };
    let mut last = None;
    for _ in 0..TRIES {
        // The current one first: if it gets its old name meanwhile, it is listed as well, and counts once.
        let current = open(folder.join(files::CURRENT))?;
        let listed = match files::older(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            other => other?,
        };
        let count = listed.len();
        let mut found = Vec::new();
        for (_, path) in listed {
            found.extend(open(path)?);
        }
        let whole = found.len() == count;
        if let Some(current) = current {
            let same = identity(&current.1)?;
            let mut others = Vec::new();
            for other in found {
                if identity(&other.1)? != same {
                    others.push(other);
                }
            }
            others.push(current);
            found = others;
        }
        last = Some(found);
        if whole {
            break;
        }
    }
    Ok(last.unwrap_or_default())
}

/// A listing is tried so often, when the daemon removes an old file meanwhile.
const TRIES: usize = 5;

fn identity(file: &File) -> io::Result<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let metadata = file.metadata()?;
    Ok((metadata.dev(), metadata.ino()))
}

#[derive(Default)]
struct Walk<'a> {
    expect: Option<&'a str>,
    head: Option<&'a Link>,
    /// The line that the head names was there, and was that one.
    head_seen: bool,
    before: Option<Link>,
    /// File and first line of the chain.
    first: Option<(String, Line)>,
    dropped: Vec<Dropped>,
    verdict: Verdict,
}

impl Walk<'_> {
    fn file(&mut self, name: &str, text: &[u8], is_last: bool, visit: &mut impl FnMut(&Line)) {
        let (full, tail) = split(text);
        for (number, text) in full.enumerate() {
            match follow(self.before.as_ref(), text) {
                Ok((line, link)) => self.line(name, line, link, visit),
                Err(why) => {
                    self.object(name, Some(number + 1), &why);
                    // What comes behind is shown, and judged by itself.
                    match follow(None, text) {
                        Ok((line, link)) => self.line(name, line, link, visit),
                        Err(_) => self.before = None,
                    }
                }
            }
        }
        if is_last {
            self.verdict.unfinished = tail.len();
        } else if !tail.is_empty() {
            self.object(name, None, "it ends with an unfinished line");
        }
    }

    fn line(&mut self, name: &str, line: Line, link: Link, visit: &mut impl FnMut(&Line)) {
        if let Some(head) = self.head.filter(|head| head.seq == link.seq) {
            if head.hash == link.hash {
                self.head_seen = true;
            } else {
                self.object(name, None, &format!("line {} is not the one that {} names", link.seq, files::HEAD));
            }
        }
        if self.expect == Some(link.hash.as_str()) {
            self.verdict.expected_at = Some(link.seq);
        }
        match &line.what {
            What::Begins(Begins { after, .. }) => self.verdict.restarted.clone_from(after),
            What::Dropped(dropped) => self.dropped.push(dropped.clone()),
            What::Leaves(_) | What::Settled(_) => {}
        }
        visit(&line);
        self.verdict.lines += 1;
        if self.first.is_none() {
            self.first = Some((name.to_owned(), line));
        }
        self.before = Some(link.clone());
        self.verdict.last = Some(link);
    }

    fn object(&mut self, file: &str, line: Option<usize>, why: &str) {
        if self.verdict.wrong.is_none() {
            self.verdict.wrong = Some(Wrong { file: file.to_owned(), line, why: why.to_owned() });
        }
    }

    fn end(mut self, head: &Result<Option<Link>, String>) -> Verdict {
        if let Some((file, line)) = self.first.take().filter(|(_, line)| line.seq > 0) {
            let said = |dropped: &Dropped| dropped.last + 1 == line.seq && dropped.hash == line.prev;
            self.verdict.begins_at = line.seq;
            if !self.dropped.iter().any(said) {
                self.object(&file, Some(1), &format!("lines 0 to {} are missing", line.seq - 1));
            }
        }
        let last = self.verdict.last.as_ref().map(|last| last.seq);
        match (head, last) {
            (Err(why), _) => self.object(files::HEAD, None, why),
            // The first line comes before the first head.
            (Ok(None), None | Some(0)) => {}
            (Ok(None), Some(_)) => self.object(files::HEAD, None, "it is gone: nothing proves where the ledger ends"),
            (Ok(Some(head)), last) if last.is_none_or(|last| head.seq > last) => {
                let why = format!("line {} is missing, and every line up to it that is not here", head.seq);
                self.object(files::CURRENT, None, &why);
            }
            (Ok(Some(head)), _) if !self.head_seen => {
                self.object(files::HEAD, None, &format!("line {}, which it names, is not in the ledger", head.seq));
            }
            _ => {}
        }
        self.verdict
    }
}
