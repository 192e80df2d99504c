//! `kind = "folder"`: files that somebody puts into a folder. Each is answered once, and moved (or deleted) when the store
//! has its answer, not before.
//!
//! A file is complete when two looks in a row find the same size and time of change: that works on network shares, and with
//! whatever writes. Its job is named by its name and content, and the mark of the job is its name: so whoever finds the
//! answer, this process or the one after a crash, finds the file.

use std::{
    collections::HashMap,
    fs,
    future::Future,
    io,
    path::{Path, PathBuf},
    pin::Pin,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use picket_core::{job::JobId, limits};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, sleep_until};
use toml::Spanned;

use super::{
    SourceKind, SourceSetup,
    desk::{Desk, Ended, News},
};
use crate::{
    answer::hex,
    board::Profile,
    config::{ConfigError, Section, words},
    media::Media,
    ports::Content,
};

pub struct Folder;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    path: Spanned<PathBuf>,
    suffix: Option<Vec<String>>,
    look_ms: Option<Spanned<u64>>,
    after: Option<Spanned<String>>,
}

struct Setup {
    path: PathBuf,
    /// Lower case; empty: any file.
    suffixes: Vec<String>,
    look: Duration,
    delete: bool,
}

const LOOK_MS: u64 = 500;

impl SourceKind for Folder {
    fn name(&self) -> &'static str {
        "folder"
    }

    fn configure(
        &self,
        section: Section<'_>,
        folder: &Path,
        _board: &Profile,
    ) -> Result<Box<dyn SourceSetup>, ConfigError> {
        let raw: Raw = section.parse()?;
        let look = words::number(&section, "look_ms", raw.look_ms.as_ref(), 10..=3_600_000, LOOK_MS)?;
        let delete = match &raw.after {
            Some(word) => words::choose(&section, "after", word, &[("move", false), ("delete", true)], &[])?,
            None => false,
        };
        let suffixes = raw.suffix.unwrap_or_else(|| [".jpg", ".jpeg", ".png", ".bmp"].map(str::to_owned).to_vec());
        let suffixes = suffixes.into_iter().map(|suffix| suffix.to_lowercase()).collect();
        let path = folder.join(raw.path.into_inner());
        Ok(Box::new(Setup { path, suffixes, look: Duration::from_millis(look), delete }))
    }
}

impl SourceSetup for Setup {
    fn wants_durable(&self) -> bool {
        true
    }

    fn missing(&self) -> Option<String> {
        (!self.path.is_dir()).then(|| format!("there is no folder {}", self.path.display()))
    }

    fn run(self: Box<Self>, desk: Desk) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let watcher = Watcher {
            setup: *self,
            desk,
            before: HashMap::new(),
            under_way: HashMap::new(),
            refused: HashMap::new(),
            tries: HashMap::new(),
            to_move: Vec::new(),
            out: false,
        };
        Box::pin(watcher.live())
    }
}

/// What shows that a file has changed.
type Shape = (u64, Option<SystemTime>);

struct Watcher {
    setup: Setup,
    desk: Desk,
    /// The last look.
    before: HashMap<String, Shape>,
    /// Names of files whose answer is to come, by job.
    under_way: HashMap<JobId, String>,
    /// Files that cannot be read, or are too large, as they were when that was told.
    refused: HashMap<String, Shape>,
    /// How often a file's job ended without an answer that was its own fault: it is another job each time.
    tries: HashMap<String, u32>,
    /// Ends whose file could not be moved yet.
    to_move: Vec<Ended>,
    /// An operator has been told that the folder cannot be used.
    out: bool,
}

/// Nothing is wrong with the file: the daemon had no time or no room.
fn passes(code: &str) -> bool {
    ["job/shed", "job/expired", "job/shutting-down"].contains(&code) || code.starts_with("store/")
}

impl Watcher {
    async fn live(mut self) {
        let mut look_at = Instant::now();
        loop {
            tokio::select! {
                biased;
                news = self.desk.news() => match news {
                    News::Ended(ended) => self.hear(ended).await,
                    News::Stop => break,
                },
                () = sleep_until(look_at) => {
                    self.look().await;
                    look_at = Instant::now() + self.setup.look.div_f64(self.desk.rate.get().max(1e-3));
                }
            }
        }
        // What is answered now is moved now; what is not is found again by the next process.
        while let Some(ended) = self.desk.ended().await {
            self.hear(ended).await;
        }
    }

    async fn look(&mut self) {
        for ended in std::mem::take(&mut self.to_move) {
            self.hear(ended).await;
        }
        let found = match self.files() {
            Ok(found) => found,
            Err(error) => {
                self.desk.count("unreadable");
                self.is_out(&format!("{} cannot be read: {error}", self.setup.path.display())).await;
                return;
            }
        };
        if self.to_move.is_empty() && std::mem::take(&mut self.out) {
            self.desk.tell("source/back", "the folder can be used again").await;
        }
        self.tries.retain(|name, _| found.iter().any(|(known, _)| known == name));
        self.refused.retain(|name, shape| found.iter().any(|(known, now)| known == name && now == shape));
        for (name, shape) in &found {
            let busy = self.under_way.values().any(|known| known == name) || self.is_to_be_moved(name);
            let free = limits::SOURCE_FILES_UNDER_WAY.saturating_sub(self.under_way.len() + self.to_move.len());
            let is_new = !busy && !self.refused.contains_key(name);
            if is_new && free > 0 && shape.0 > 0 && self.before.get(name) == Some(shape) {
                self.hand_in(name, *shape).await;
            }
        }
        self.before = found.into_iter().collect();
    }

    async fn is_out(&mut self, message: &str) {
        if !std::mem::replace(&mut self.out, true) {
            self.desk.tell("source/folder", message).await;
        }
    }

    fn is_to_be_moved(&self, name: &str) -> bool {
        self.to_move.iter().any(|ended| ended.mark.as_deref() == Some(name.as_bytes()))
    }

    /// The oldest first, so many at most.
    fn files(&self) -> io::Result<Vec<(String, Shape)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.setup.path)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let low = name.to_lowercase();
            let fits = self.setup.suffixes.is_empty() || self.setup.suffixes.iter().any(|end| low.ends_with(end));
            // What begins with a dot is hidden, and often still being written.
            if !fits || name.starts_with('.') {
                continue;
            }
            // Of two looks: a file may be gone by now. A link could lead anywhere.
            let Ok(about) = entry.metadata() else { continue };
            if about.is_file() {
                found.push((name, (about.len(), about.modified().ok())));
            }
        }
        found.sort_by(|(a, (_, a_time)), (b, (_, b_time))| (a_time, a).cmp(&(b_time, b)));
        found.truncate(limits::SOURCE_FILES);
        Ok(found)
    }

    /// The file, as a job; `None`: it cannot be read now.
    fn read(&self, name: &str) -> Option<(JobId, Bytes)> {
        let path = self.setup.path.join(name);
        if fs::metadata(&path).ok()?.len() > limits::SOURCE_FRAME_BYTES as u64 {
            return None;
        }
        let bytes = Bytes::from(fs::read(path).ok()?);
        let mut hash = Sha256::new();
        for part in [&*self.desk.model, name] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        hash.update(&bytes);
        let tries = self.tries.get(name).map_or_else(String::new, |tries| format!("-{tries}"));
        let id = format!("{}/{}{tries}", self.desk.name, hex(&hash.finalize()[..16]));
        Some((JobId::new(&id).ok()?, bytes))
    }

    async fn hand_in(&mut self, name: &str, shape: Shape) {
        let Some((id, bytes)) = self.read(name) else {
            self.desk.count("unreadable");
            let most = limits::SOURCE_FRAME_BYTES >> 20;
            self.refused.insert(name.to_owned(), shape);
            let message = format!("{name} cannot be read, or has more than {most} MiB: it is left where it is");
            self.desk.tell("source/file", &message).await;
            return;
        };
        let content = match Media::of_bytes(&bytes) {
            Some(media) => Content::Image { bytes, media },
            None if name.to_lowercase().ends_with(".json") => Content::Oip { json: bytes, binary: Bytes::new() },
            None => Content::Raw { bytes, dtype: None, shape: None },
        };
        self.under_way.insert(id.clone(), name.to_owned());
        self.desk.submit(id, content, Some(Bytes::copy_from_slice(name.as_bytes()))).await;
    }

    async fn hear(&mut self, ended: Ended) {
        let name = ended.mark.as_deref().and_then(|mark| std::str::from_utf8(mark).ok()).unwrap_or_default().to_owned();
        if ended.row.is_none() {
            // The store did not take it: it is found again.
            self.under_way.retain(|_, known| *known != name);
            return;
        }
        if let Some(code) = ended.code.as_deref().filter(|code| passes(code)) {
            tracing::info!(source = &*self.desk.name, name, code, "the file is tried again");
            self.desk.count("again");
            *self.tries.entry(name.clone()).or_default() += 1;
        } else if let Err(error) = self.put_away(&name, &ended) {
            self.desk.count("stuck");
            self.is_out(&format!("{name} is answered, but cannot be moved: {error}")).await;
            self.under_way.retain(|_, known| *known != name);
            self.to_move.push(ended);
            return;
        }
        self.under_way.retain(|_, known| *known != name);
        self.desk.confirm(&ended).await;
    }

    /// Only the very file that was answered: another one of its name has its turn yet.
    fn put_away(&self, name: &str, ended: &Ended) -> io::Result<()> {
        let Some((id, _)) = self.read(name) else { return Ok(()) };
        if ended.job.as_ref() != Some(&id) {
            return Ok(());
        }
        // Whoever answered it once has answered it, even if nobody remembers what.
        let good = ended.code.as_deref().is_none_or(|code| code == "job/id-reused");
        self.desk.count(if good { "answered" } else { "failed" });
        let path = self.setup.path.join(name);
        if good && self.setup.delete {
            return fs::remove_file(path);
        }
        let to = self.setup.path.join(if good { "done" } else { "failed" });
        fs::create_dir_all(&to)?;
        let target = to.join(name);
        // A file of that name from another day stays.
        let taken = target.exists();
        fs::rename(path, if taken { to.join(beside(name, id.as_str())) } else { target })
    }
}

/// `part.jpg` as `part-1f00ba47.jpg`.
fn beside(name: &str, id: &str) -> String {
    let digest: String = id.rsplit('/').next().unwrap_or_default().chars().take(8).collect();
    match name.rsplit_once('.') {
        Some((stem, end)) => format!("{stem}-{digest}.{end}"),
        None => format!("{name}-{digest}"),
    }
}
