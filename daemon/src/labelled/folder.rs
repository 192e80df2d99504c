//! A folder for each label.

use std::path::{Path, PathBuf};

use picket_core::{limits, said::Said};
use sha2::{Digest, Sha256};

use super::{BadData, Case, Input, Labelled, index_of};

pub(super) fn read(path: &Path, labels: &[String]) -> Result<Labelled, BadData> {
    let mut cases = Vec::new();
    for entry in sorted(path)? {
        let place = entry.display().to_string();
        if !entry.is_dir() {
            return Err(BadData(format!("{place}: not in a folder that says its label")));
        }
        let label = index_of(&name(&entry), labels, &place)?;
        for inner in sorted(&entry)? {
            if inner.is_dir() {
                let group = Some(format!("{}/{}", name(&entry), name(&inner)));
                for file in sorted(&inner)? {
                    cases.push(case(label, group.clone(), file)?);
                }
            } else {
                cases.push(case(label, None, inner)?);
            }
            if cases.len() > limits::LABELLED_CASES {
                return Err(BadData(format!("{}: more than {} files", path.display(), limits::LABELLED_CASES)));
            }
        }
    }
    if cases.is_empty() {
        return Err(BadData(format!("{}: there are no cases", path.display())));
    }
    let sha256 = digest(path, &cases)?;
    Ok(Labelled { cases, sha256 })
}

fn case(label: usize, group: Option<String>, file: PathBuf) -> Result<Case, BadData> {
    if !file.is_file() {
        return Err(BadData(format!("{}: a case is a regular file", file.display())));
    }
    Ok(Case { label: Said::Class(label), group, place: file.display().to_string(), input: Input::File(file) })
}

/// What is in a folder, by name; hidden files are left aside.
fn sorted(folder: &Path) -> Result<Vec<PathBuf>, BadData> {
    let unreadable = |error: std::io::Error| BadData(format!("{}: cannot be read: {error}", folder.display()));
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if !name(&path).starts_with('.') {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// SHA-256 of a line for each file: its digest and its path inside the folder.
fn digest(root: &Path, cases: &[Case]) -> Result<String, BadData> {
    let mut whole = Sha256::new();
    for case in cases {
        let Input::File(file) = &case.input else { continue };
        let mut each = Sha256::new();
        let read = std::fs::File::open(file).and_then(|mut open| std::io::copy(&mut open, &mut each));
        read.map_err(|error| BadData(format!("{}: cannot be read: {error}", file.display())))?;
        let inside = file.strip_prefix(root).unwrap_or(file).display();
        whole.update(format!("{}  {inside}\n", crate::answer::hex(&each.finalize())));
    }
    Ok(crate::answer::hex(&whole.finalize()))
}
