//! What lies in the folder when a ledger is opened, and whether it is whole as far as one file and the head can tell.
//!
//! Older files are not read here: `picket ledger verify` reads everything.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{
    files,
    line::{Begins, Booked, Link, What, follow, split},
};

/// The budget as the last request left it; `None`: none ever left.
///
/// # Errors
/// The ledger is damaged or cannot be read: nobody knows what was spent.
pub fn last_budget(folder: &Path) -> Result<Option<Booked>, String> {
    if !folder.exists() {
        return Ok(None);
    }
    match examine(folder).map_err(|error| format!("{}: {error}", folder.display()))? {
        Found::Nothing => return Ok(None),
        Found::Damaged { why, .. } => return Err(why),
        Found::Good(_) => {}
    }
    let older = files::older(folder).map_err(|error| error.to_string())?;
    let newest_first =
        std::iter::once(folder.join(files::CURRENT)).chain(older.into_iter().rev().map(|(_, path)| path));
    for path in newest_first {
        let text = files::read(&path).map_err(|error| error.to_string())?.unwrap_or_default();
        let lines: Vec<&[u8]> = split(&text).0.collect();
        for line in lines.into_iter().rev() {
            match follow(None, line).map(|(line, _)| line.what) {
                Ok(What::Leaves(leaving)) if leaving.budget.is_some() => return Ok(leaving.budget),
                // What the one before it knew is lost, and nothing has left since.
                Ok(What::Begins(Begins { after: Some(after), .. })) => return Err(after.why),
                _ => {}
            }
        }
    }
    Ok(None)
}

/// A ledger as it was found.
pub enum Found {
    /// There is none.
    Nothing,
    Good(Place),
    /// It is not what was written.
    Damaged {
        why: String,
        last_good: Option<Link>,
    },
}

/// Where the next line goes.
#[derive(Debug, PartialEq, Eq)]
pub struct Place {
    pub last: Link,
    /// Number of the current file's first line, be it that of the next line.
    pub first: u64,
    /// Bytes of its full lines.
    pub good: u64,
    /// Bytes of an unfinished line behind them.
    pub torn: u64,
}

/// # Errors
/// The folder or a file cannot be read.
pub fn examine(folder: &Path) -> io::Result<Found> {
    let head = match files::read_head(folder) {
        Ok(head) => head,
        Err(error) => {
            let read = damaged(error, files::HEAD)?;
            // The lines may still tell how far they were good.
            let last_good = look(folder)?.ok().flatten().map(|file| file.place.last);
            return Ok(Found::Damaged { why: read, last_good });
        }
    };
    Ok(match look(folder)? {
        Err((why, last_good)) => Found::Damaged { why, last_good },
        Ok(None) => match head {
            None => Found::Nothing,
            Some(head) => {
                let why = format!("it is gone; its head says that it has a line {}", head.seq);
                Found::Damaged { why, last_good: None }
            }
        },
        Ok(Some(file)) => match against(&file, head.as_ref()) {
            None => Found::Good(file.place),
            Some(why) => Found::Damaged { why, last_good: Some(file.place.last) },
        },
    })
}

/// The newest file with a line in it, and what follows.
struct Newest {
    place: Place,
    /// `prev` of its first line.
    prev: String,
    links: Vec<Link>,
}

type Damage = (String, Option<Link>);

fn look(folder: &Path) -> io::Result<Result<Option<Newest>, Damage>> {
    let older = files::older(folder)?;
    let current = folder.join(files::CURRENT);
    let (torn, text) = match files::read(&current) {
        Ok(Some(text)) if text.contains(&b'\n') => return Ok(walk(files::CURRENT, &text).map(Some)),
        Ok(text) => (text.as_ref().map_or(0, Vec::len), text),
        Err(error) => return Ok(Err((damaged(error, files::CURRENT)?, None))),
    };
    // The current file has no line: it is being made, or it begins with an unfinished one.
    let Some((_, path)) = older.last() else {
        // What makes the first file gives it its name when it is whole.
        let gone = text.filter(|text| !text.is_empty()).map(|_| ("it has no line".to_owned(), None));
        return Ok(gone.map_or(Ok(None), Err));
    };
    let name = name_of(path);
    let text = match files::read(path) {
        Ok(text) => text.unwrap_or_default(),
        Err(error) => return Ok(Err((damaged(error, &name)?, None))),
    };
    let newest = walk(&name, &text).and_then(|file| {
        if file.place.torn > 0 {
            return Err((format!("{name} ends with an unfinished line"), Some(file.place.last)));
        }
        let place = Place { first: file.place.last.seq + 1, good: 0, torn: torn as u64, last: file.place.last.clone() };
        Ok(Some(Newest { place, ..file }))
    });
    Ok(newest)
}

fn walk(name: &str, text: &[u8]) -> Result<Newest, Damage> {
    let (full, tail) = split(text);
    let mut links: Vec<Link> = Vec::new();
    let mut prev = String::new();
    for (number, line) in full.enumerate() {
        match follow(links.last(), line) {
            Ok((line, link)) => {
                if links.is_empty() {
                    prev = line.prev;
                }
                links.push(link);
            }
            Err(why) => return Err((format!("{name}, line {} of the file: {why}", number + 1), links.pop())),
        }
    }
    let (Some(first), Some(last)) = (links.first().map(|link| link.seq), links.last().cloned()) else {
        return Err((format!("{name} has no line"), None));
    };
    let place = Place { last, first, good: (text.len() - tail.len()) as u64, torn: tail.len() as u64 };
    Ok(Newest { place, prev, links })
}

/// What is wrong between the lines and the head. The head may be behind: it is written after the lines.
fn against(file: &Newest, head: Option<&Link>) -> Option<String> {
    let last = &file.place.last;
    let Some(head) = head else {
        // The first line comes before the first head.
        return (last.seq > 0).then(|| format!("{} is gone", files::HEAD));
    };
    if head.seq > last.seq {
        return Some(format!("it ends with line {}, and {} names line {}", last.seq, files::HEAD, head.seq));
    }
    let first = file.links.first().map_or(0, |link| link.seq);
    let hash = match head.seq.checked_sub(first) {
        Some(at) => usize::try_from(at).ok().and_then(|at| file.links.get(at)).map(|link| &link.hash),
        None if head.seq + 1 == first => Some(&file.prev),
        None => None, // in an older file
    };
    let other = hash.is_some_and(|hash| *hash != head.hash);
    other.then(|| format!("line {} is not the one that {} names", head.seq, files::HEAD))
}

/// A file that is not what it should be, in words; other troubles stay errors: nothing is moved aside for them.
fn damaged(error: io::Error, name: &str) -> io::Result<String> {
    if error.kind() == io::ErrorKind::InvalidData { Ok(format!("{name}: {error}")) } else { Err(error) }
}

fn name_of(path: &PathBuf) -> String {
    Path::new(path).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
