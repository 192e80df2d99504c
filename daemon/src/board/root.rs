//! The files in which the kernel says what a machine is, under a root that is `/` but for tests and containers.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
};

/// Nothing that is read here is longer.
const BYTES: u64 = 1 << 20;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root(PathBuf);

impl Root {
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Where this file is.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.0.join(relative)
    }

    /// The text of a file, without the line end and the zero byte behind it; `None` where there is none.
    pub fn read(&self, relative: &str) -> Option<String> {
        read(&self.path(relative))
    }

    /// The names in a folder, in order; none where there is none.
    pub fn list(&self, relative: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(relative)) else { return Vec::new() };
        let mut names: Vec<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        // thermal_zone10 behind thermal_zone9.
        names.sort_by_key(|name| (name.len(), name.clone()));
        names
    }
}

/// As [`Root::read`].
pub fn read(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    fs::File::open(path).ok()?.take(BYTES).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Some(text.trim_end_matches(['\n', '\0']).to_owned())
}
