//! What is written down beside jobs, without what was in them: store, ledger, log of decisions, bundles, journal.

use std::{collections::BTreeMap, fs, io, path::Path, process::Command};

use picket_core::escalation::decide::Verdict;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::archive::Archive;
use crate::{
    answer::hex,
    calendar::SystemCalendar,
    config::{Config, ModelConfig},
    decisions::{read as decisions, record::What},
    ledger::read as ledger,
    store::redb::look,
};

/// Lines of the journal.
const JOURNAL_LINES: &str = "1000";
/// Bytes of a bundle's description.
const MANIFEST_BYTES: u64 = 1 << 20;

pub fn store(archive: &mut Archive, folder: &Path) {
    match look(folder, &SystemCalendar::new()) {
        Ok(look) => {
            archive.put_json("store.json", "tables, sizes and dead letters by code, without any payload", &look)
        }
        Err(why) => archive.leave_out("store.json", &format!("{}: {why}", folder.display())),
    }
    let names = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<Value> = names
        .map(|file| {
            let bytes = file.metadata().map(|metadata| metadata.len()).ok();
            json!({ "name": file.file_name().to_string_lossy(), "bytes": bytes })
        })
        .collect();
    files.sort_by_key(|file| file["name"].as_str().unwrap_or_default().to_owned());
    archive.put_json("store-files.json", "names and sizes of the files in the store's folder", &files);
}

pub fn ledger(archive: &mut Archive, folder: &Path) {
    match ledger::read(folder, None, |_| {}) {
        Ok(verdict) => {
            let head = verdict.last.as_ref().map(|link| json!({ "seq": link.seq, "hash": link.hash }));
            let document = json!({
                "lines": verdict.lines,
                "head": head,
                "begins_at": verdict.begins_at,
                "wrong": verdict.wrong.map(|wrong| wrong.to_string()),
                "restarted": verdict.restarted.is_some(),
                "unfinished_bytes": verdict.unfinished,
            });
            archive.put_json("ledger.json", "head and verdict of what left this device, without its lines", &document);
        }
        Err(error) => archive.leave_out("ledger.json", &error.to_string()),
    }
}

pub fn decisions(archive: &mut Archive, folder: &Path) {
    let (mut kinds, mut reasons) = (BTreeMap::<&str, u64>::new(), BTreeMap::<&str, u64>::new());
    let (mut first, mut last) = (None, None);
    let read = decisions::read(folder, |_, entry| {
        let kind = match &entry.what {
            What::Judged(judged) => {
                let reason = match &judged.decision.verdict {
                    Verdict::AnswerLocal(reason) | Verdict::Escalate { reason, .. } => reason.code(),
                    Verdict::Reuse { .. } => "reused",
                    Verdict::Fail(_) => "failed",
                };
                *reasons.entry(reason).or_default() += 1;
                "judged"
            }
            _ => "others",
        };
        *kinds.entry(kind).or_default() += 1;
        first.get_or_insert(entry.at.wall);
        last = Some(entry.at.wall);
    });
    match read {
        Ok(reading) => {
            let time = |wall: Option<u64>| wall.and_then(crate::decisions::record::time);
            let document = json!({
                "records": reading.records, "unreadable": reading.unreadable, "unfinished_bytes": reading.unfinished,
                "from": time(first), "to": time(last), "kinds": kinds, "reasons": reasons,
            });
            archive.put_json("decisions.json", "how many decisions, and their reasons", &document);
        }
        Err(why) => archive.leave_out("decisions.json", &why.to_string()),
    }
}

/// Descriptions as they are, everything else as its digest.
pub fn bundles(archive: &mut Archive, config: &Config) {
    let documents: Vec<Value> = config.models.iter().map(|model| bundle(archive, model)).collect();
    archive.put_json("models.json", "files of the bundles, with their digests", &documents);
    archive.leave_out("models/*/model.onnx, golden", "weights and vectors: models.json has their digests");
}

fn bundle(archive: &mut Archive, model: &ModelConfig) -> Value {
    let mut files = Vec::new();
    walk(&model.bundle, &model.bundle, &mut files);
    files.sort_by_key(|file| file["name"].as_str().unwrap_or_default().to_owned());
    let description = model.bundle.join("bundle.toml");
    let small = fs::metadata(&description).is_ok_and(|file| file.is_file() && file.len() <= MANIFEST_BYTES);
    match fs::read_to_string(&description) {
        Ok(text) if small => {
            archive.put(&format!("models/{}/bundle.toml", model.name), "a bundle's description", &text)
        }
        _ => archive.leave_out(&format!("models/{}/bundle.toml", model.name), "it is not there, or too large"),
    }
    json!({ "name": &*model.name, "bundle": model.bundle.display().to_string(), "files": files })
}

fn walk(top: &Path, path: &Path, files: &mut Vec<Value>) {
    if path.is_file() {
        let name = path.strip_prefix(top).ok().filter(|name| !name.as_os_str().is_empty()).unwrap_or(path);
        files.push(match digest(path) {
            Ok((bytes, sha256)) => json!({ "name": name.display().to_string(), "bytes": bytes, "sha256": sha256 }),
            Err(error) => json!({ "name": name.display().to_string(), "error": error.to_string() }),
        });
        return;
    }
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        // A link may lead anywhere.
        if entry.file_type().is_ok_and(|kind| !kind.is_symlink()) {
            walk(top, &entry.path(), files);
        }
    }
}

/// Piece by piece: weights may be larger than what memory is left.
fn digest(path: &Path) -> io::Result<(u64, String)> {
    let mut sha256 = Sha256::new();
    let bytes = io::copy(&mut fs::File::open(path)?, &mut sha256)?;
    Ok((bytes, hex(&sha256.finalize())))
}

/// The unit's last lines, where there is a journal.
pub fn journal(archive: &mut Archive, unit: &str) {
    let command = ["--unit", unit, "--lines", JOURNAL_LINES, "--no-pager", "--quiet", "--output", "short-iso"];
    match Command::new("journalctl").args(command).output() {
        Ok(output) if output.status.success() && !output.stdout.is_empty() => {
            let text = String::from_utf8_lossy(&output.stdout);
            let lines: String = text.lines().map(without_input).collect();
            archive.put("journal.txt", "the unit's last lines; of a job that failed only its code", &lines);
        }
        Ok(output) if output.status.success() => {
            archive.leave_out("journal.txt", &format!("the journal has no line of {unit}"))
        }
        Ok(output) => {
            archive.leave_out("journal.txt", &format!("journalctl: {}", String::from_utf8_lossy(&output.stderr).trim()))
        }
        Err(error) => archive.leave_out("journal.txt", &format!("journalctl: {error}")),
    }
}

/// What is wrong with a job's input may quote it.
pub fn without_input(line: &str) -> String {
    let end = if line.contains("job failed") { line.find(" why=").unwrap_or(line.len()) } else { line.len() };
    format!("{}\n", &line[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_about_a_failed_job_ends_before_what_may_quote_it() {
        let line = r#"job failed job=j/1 model=digits code=input/not-json why="unknown field `canary`""#;
        assert_eq!(without_input(line), "job failed job=j/1 model=digits code=input/not-json\n");
        assert_eq!(without_input("model is not served why=golden"), "model is not served why=golden\n");
    }
}
