//! The files of a configuration, merged into one table whose every key still knows its place.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use picket_core::limits;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::section::{ConfigError, Section, Source, unknown_key};

/// Reads `path`, then `conf.d/*.toml` beside it in the order of their names.
///
/// # Errors
/// `config/unreadable` when a file cannot be read, is no text, or is far too large to be a configuration.
pub fn gather(path: &Path) -> Result<Source, ConfigError> {
    let mut source = Source::new(path, &read_text(path)?);
    let drop_ins = folder_of(path).join("conf.d");
    for path in drop_in_files(&drop_ins).map_err(|error| unreadable(&drop_ins, &error.to_string()))? {
        let text = read_text(&path)?;
        source.add(path, &text);
    }
    Ok(source)
}

/// The folder that relative paths in a configuration start from.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

fn drop_in_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if !hidden && path.extension().is_some_and(|extension| extension == "toml") {
            paths.push(path);
        }
    }
    if paths.len() > limits::CONFIG_FILES {
        return Err(io::Error::other(format!("more than {} files", limits::CONFIG_FILES)));
    }
    paths.sort();
    Ok(paths)
}

fn read_text(path: &Path) -> Result<String, ConfigError> {
    let mut bytes = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(limits::CONFIG_BYTES + 1).read_to_end(&mut bytes));
    read.map_err(|error| unreadable(path, &error.to_string()))?;
    if bytes.len() as u64 > limits::CONFIG_BYTES {
        return Err(unreadable(path, &format!("more than {} bytes", limits::CONFIG_BYTES)));
    }
    String::from_utf8(bytes).map_err(|error| unreadable(path, &error.utf8_error().to_string()))
}

fn unreadable(path: &Path, why: &str) -> ConfigError {
    let place = format!("{}: ", path.display());
    ConfigError { code: "config/unreadable", place, message: format!("cannot be read: {why}") }
}

/// A parsed and merged configuration, from which each part is taken by its owner.
pub struct Document<'a> {
    source: Arc<Source>,
    top: DeTable<'a>,
}

impl<'a> Document<'a> {
    /// Parses all files and merges them: later keys override earlier ones, arrays of tables append.
    ///
    /// # Errors
    /// `config/syntax` with the place in the file that is wrong.
    pub fn parse(source: &'a Arc<Source>) -> Result<Self, ConfigError> {
        let mut top = DeTable::new();
        for text in source.texts() {
            let table = DeTable::parse(text).map_err(|error| source.syntax_error(&error))?;
            merge(&mut top, table.into_inner());
        }
        Ok(Self { source: source.clone(), top })
    }

    /// # Errors
    /// `config/unknown-key` for the first top-level key that is not among the known ones.
    pub fn allow(&self, known: &[&str]) -> Result<(), ConfigError> {
        let unknown = self.top.keys().filter(|key| !known.contains(&key.get_ref().as_ref()));
        match unknown.min_by_key(|key| key.span().start) {
            Some(key) => {
                let message = unknown_key(key.get_ref(), known);
                Err(self.source.error("config/unknown-key", Some(key.span()), message))
            }
            None => Ok(()),
        }
    }

    /// `[key]`, if it is there.
    ///
    /// # Errors
    /// It is not a table.
    pub fn table(&mut self, key: &str) -> Result<Option<Section<'a>>, ConfigError> {
        let Some((name, value)) = self.top.remove_entry(key) else { return Ok(None) };
        if !value.get_ref().is_table() {
            let message = format!("`{key}` is a section: write `[{key}]`");
            return Err(self.source.error("config/invalid", Some(name.span()), message));
        }
        Ok(Some(Section { source: self.source.clone(), value }))
    }

    /// Every `[[key]]`, in order.
    ///
    /// # Errors
    /// It is not an array of tables.
    pub fn tables(&mut self, key: &str) -> Result<Vec<Section<'a>>, ConfigError> {
        let Some((name, value)) = self.top.remove_entry(key) else { return Ok(Vec::new()) };
        match value.into_inner() {
            DeValue::Array(array) if array.iter().all(|item| item.get_ref().is_table()) => {
                let section = |value| Section { source: self.source.clone(), value };
                Ok(array.into_iter().map(section).collect())
            }
            _ => {
                let message = format!("there can be several of `{key}`: write `[[{key}]]`");
                Err(self.source.error("config/invalid", Some(name.span()), message))
            }
        }
    }

    /// An error about the whole configuration.
    pub fn error(&self, code: &'static str, message: &str) -> ConfigError {
        self.source.error(code, None, message)
    }
}

fn merge<'a>(into: &mut DeTable<'a>, from: DeTable<'a>) {
    for (key, value) in from {
        let Some((old_key, mut old)) = into.remove_entry(&key) else {
            into.insert(key, value);
            continue;
        };
        let span = value.span();
        match (old.get_mut(), value.into_inner()) {
            (DeValue::Table(old_table), DeValue::Table(table)) => {
                merge(old_table, table);
                into.insert(old_key, old);
            }
            (DeValue::Array(old_array), DeValue::Array(array)) if has_tables(old_array) && has_tables(&array) => {
                array.into_iter().for_each(|item| old_array.push(item));
                into.insert(old_key, old);
            }
            // The later key comes with its own place.
            (_, value) => {
                into.insert(key, Spanned::new(span, value));
            }
        }
    }
}

fn has_tables(array: &[Spanned<DeValue<'_>>]) -> bool {
    array.iter().all(|item| item.get_ref().is_table())
}
