//! The archive: what was collected, what was left out and why, and a manifest of both.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::UNIX_EPOCH,
};

use flate2::{Compression, write::GzEncoder};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::redact::Scrubber;
use crate::answer::hex;

/// Bytes of one entry; what is longer loses its beginning.
const ENTRY_BYTES: usize = 4 << 20;

#[derive(Serialize)]
struct Entry {
    name: String,
    what: &'static str,
    bytes: usize,
    sha256: String,
    #[serde(skip)]
    text: String,
}

#[derive(Serialize)]
struct LeftOut {
    name: String,
    why: String,
}

pub struct Archive {
    scrubber: Scrubber,
    entries: Vec<Entry>,
    left_out: Vec<LeftOut>,
}

impl Archive {
    pub const fn new(scrubber: Scrubber) -> Self {
        Self { scrubber, entries: Vec::new(), left_out: Vec::new() }
    }

    /// Whatever is put in has lost its secrets.
    pub fn put(&mut self, name: &str, what: &'static str, text: &str) {
        let mut text = self.scrubber.clean(text);
        if text.len() > ENTRY_BYTES {
            let from = text.ceil_char_boundary(text.len() - ENTRY_BYTES);
            text = text.split_off(from);
            self.leave_out(name, "its beginning: it is too long");
        }
        let sha256 = hex(&Sha256::digest(&text));
        self.entries.push(Entry { name: name.to_owned(), what, bytes: text.len(), sha256, text });
    }

    pub fn put_json(&mut self, name: &str, what: &'static str, document: &impl Serialize) {
        match serde_json::to_string_pretty(document) {
            Ok(text) => self.put(name, what, &text),
            Err(error) => self.leave_out(name, &error.to_string()),
        }
    }

    pub fn leave_out(&mut self, name: &str, why: &str) {
        let why = self.scrubber.clean(why);
        self.left_out.push(LeftOut { name: name.to_owned(), why });
    }

    /// What is in it, and what is not.
    pub fn manifest(&self) -> Value {
        json!({
            "picket": env!("CARGO_PKG_VERSION"),
            "collected": humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string(),
            "entries": self.entries,
            "left_out": self.left_out,
        })
    }

    /// Writes it, for its owner's eyes alone.
    ///
    /// # Errors
    /// The file is there already, or cannot be written.
    pub fn write(&self, path: &Path, manifest: &Value) -> io::Result<u64> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        let mut tar = tar::Builder::new(GzEncoder::new(file, Compression::default()));
        let now = std::time::SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let manifest = serde_json::to_string_pretty(manifest)?;
        let all = self.entries.iter().map(|entry| (entry.name.as_str(), entry.text.as_str()));
        for (name, text) in std::iter::once(("manifest.json", manifest.as_str())).chain(all) {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            header.set_mtime(now);
            header.set_cksum();
            tar.append_data(&mut header, format!("picket-diag/{name}"), text.as_bytes())?;
        }
        let mut file = tar.into_inner()?.finish()?;
        file.flush()?;
        Ok(file.metadata()?.len())
    }
}
