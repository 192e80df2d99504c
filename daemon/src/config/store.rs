//! `[store]`: where jobs, results and bundles are.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use super::{
    section::{ConfigError, Section},
    units::Size,
    words::choose,
};

const DEFAULT_PATH: &str = "/var/lib/picket";
const DEFAULT_MAX_BYTES: u64 = 256 << 20;

/// Where jobs, results and bundles are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    pub path: PathBuf,
    /// The store takes no more than this.
    pub max_bytes: u64,
    pub on_full: OnFull,
    /// Off: everything is in memory, and a restart forgets it.
    pub durable: bool,
}

/// What happens when the store is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFull {
    /// New jobs are refused and nothing is forgotten.
    Reject,
    /// The oldest results that nobody has taken yet are given up for new jobs; each is counted and announced.
    DropOldest,
}

impl StoreConfig {
    /// Where bundles that are given by name are found.
    pub fn models(&self) -> PathBuf {
        self.path.join("models")
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    path: Option<Spanned<String>>,
    max_bytes: Option<Spanned<Size>>,
    on_full: Option<Spanned<String>>,
    durable: Option<bool>,
}

/// A relative path starts from `folder`, the one of the configuration.
pub(super) fn check(section: Option<&Section<'_>>, folder: &Path) -> Result<StoreConfig, ConfigError> {
    let mut store = StoreConfig {
        path: PathBuf::from(DEFAULT_PATH),
        max_bytes: DEFAULT_MAX_BYTES,
        on_full: OnFull::Reject,
        durable: true,
    };
    let Some(section) = section else { return Ok(store) };
    let raw: Raw = section.parse()?;
    if let Some(path) = raw.path {
        if path.get_ref().is_empty() {
            return Err(section.error(Some(path.span()), "`path` is empty"));
        }
        store.path = folder.join(path.get_ref());
    }
    if let Some(size) = raw.max_bytes {
        store.max_bytes = size.get_ref().0;
        if store.max_bytes == 0 {
            return Err(section.error(Some(size.span()), "a store of 0 bytes takes no job"));
        }
    }
    if let Some(word) = raw.on_full {
        store.on_full = choose(section, "on_full", &word, WORDS, &[])?;
    }
    store.durable = raw.durable.unwrap_or(true);
    Ok(store)
}

const WORDS: &[(&str, OnFull)] = &[("reject", OnFull::Reject), ("drop-oldest", OnFull::DropOldest)];
