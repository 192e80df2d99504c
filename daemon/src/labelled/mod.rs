//! Labelled cases: inputs of which somebody knows the right answer. What a calibration is made of.

mod csv;
mod file;
mod folder;
mod npz;
#[cfg(test)]
mod tests;

use std::path::Path;

use picket_core::said::Said;

pub use self::file::content;
use crate::{bundle::files, ports::Content, ports::TensorSpec};

/// Cases in the order in which they were found.
#[derive(Debug)]
pub struct Labelled {
    pub cases: Vec<Case>,
    /// SHA-256 of the file; of a folder, that of its files' names and digests.
    pub sha256: String,
}

/// One input and what is right for it.
#[derive(Debug)]
pub struct Case {
    /// What would be right: an index among the bundle's labels, or a number.
    pub label: Said,
    /// What several cases show, when they show the same part; only one of them counts.
    pub group: Option<String>,
    /// File and line, array index or path, for messages.
    pub place: String,
    pub input: Input,
}

/// Small inputs are there already, files are read when their turn comes.
#[derive(Debug)]
pub enum Input {
    Ready(Content),
    File(std::path::PathBuf),
}

/// `error[calibration/bad-data]`: what is wrong with the data, and where.
#[derive(Debug, thiserror::Error)]
#[error("error[calibration/bad-data]: {0}")]
pub struct BadData(String);

/// Reads cases: a `.csv` or `.npz` file, or a folder with a folder for each label. Without `labels` what is right is a number,
/// which a table or an array of floats has.
///
/// - CSV: a header; the column `label`, if need be a column `group`, and all other columns in their order are the elements
///   of the only input. Lines that begin with `#` are comments.
/// - NPZ: `label` (N whole numbers, indices of labels), if need be `group` (N whole numbers), and for each input an array of
///   its name with N in front of its shape; a shape that begins with 1 may have N in its place.
/// - Folder: `label/file` or `label/group/file`; a file is what `picket infer` takes.
///
/// # Errors
/// The first thing that cannot be.
pub fn read(path: &Path, labels: &[String], inputs: &[TensorSpec]) -> Result<Labelled, BadData> {
    if path.is_dir() {
        if labels.is_empty() {
            return Err(BadData(format!("{}: a folder names labels, and this model gives numbers", path.display())));
        }
        return folder::read(path, labels);
    }
    let bytes = files::read_capped(path, picket_core::limits::MAX_LABELLED_BYTES).map_err(|e| BadData(e.message))?;
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
    let cases = match extension.as_deref() {
        Some("csv") => csv::read(path, &bytes, labels, inputs),
        Some("npz") => npz::read(path, &bytes, labels, inputs),
        _ => Err(BadData(format!("{}: neither a .csv nor a .npz file, nor a folder", path.display()))),
    }?;
    if cases.is_empty() {
        return Err(BadData(format!("{}: there are no cases", path.display())));
    }
    Ok(Labelled { cases, sha256: files::sha256(&bytes) })
}

/// A label, or the number where there are no labels.
fn right(text: &str, labels: &[String], place: &str) -> Result<Said, BadData> {
    if !labels.is_empty() {
        return index_of(text, labels, place).map(Said::Class);
    }
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(Said::Value(number)),
        _ => Err(BadData(format!("{place}: the label {text:?} is no number"))),
    }
}

/// Index of a label; the error lists what there is.
fn index_of(label: &str, labels: &[String], place: &str) -> Result<usize, BadData> {
    labels.iter().position(|known| known == label).ok_or_else(|| {
        let known: Vec<&str> = labels.iter().map(String::as_str).collect();
        BadData(format!("{place}: {}", crate::config::section::unknown_word("label", label, &known)))
    })
}
