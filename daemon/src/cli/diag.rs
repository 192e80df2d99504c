//! `picket diag collect`: what a bug report needs, in one archive. No secret and no job's input is in it.

mod archive;
mod machine;
mod records;
mod redact;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap::{Args, Subcommand};
use picket_core::limits;
use serde_json::{Value, json};

use self::{archive::Archive, redact::Scrubber};
use super::{check, http::Face, one_line};
use crate::{
    board::Board,
    config::{Config, secret},
    ports::DeadLetter,
};

#[derive(Debug, Args)]
pub struct Diag {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Write the archive. Works whether the daemon runs or not, and whatever is broken: what could not be had is in its
    /// manifest, with the reason.
    Collect(Collect),
}

#[derive(Debug, Args)]
struct Collect {
    #[arg(long, default_value = "/etc/picket/picket.toml")]
    config: PathBuf,
    /// The running daemon's HTTP face; by default where the configuration has it.
    #[arg(long)]
    url: Option<String>,
    /// File with the token, where the daemon wants one; by default the configuration's.
    #[arg(long)]
    token_file: Option<PathBuf>,
    /// The archive, a new file; by default `picket-diag-<time>.tar.gz` here.
    #[arg(long)]
    output: Option<PathBuf>,
    /// Whose lines of the journal.
    #[arg(long, default_value = "picket.service")]
    unit: String,
}

pub fn run(diag: &Diag, as_json: bool) -> anyhow::Result<()> {
    let What::Collect(asked) = &diag.what;
    let Begun { mut archive, texts, door } = begin(asked);
    archive.put_json("version.json", "this program", &machine::version());
    for (name, text) in texts {
        archive.put(&name, "the configuration without its comments and without what may be a secret", &text);
    }
    let config = judge(&mut archive, &asked.config);
    let of_this_machine;
    let board = match &config {
        Some(config) => &config.device.board,
        None => {
            of_this_machine = Board::of_this_machine();
            &of_this_machine
        }
    };
    let folder = config.as_ref().map_or_else(|| PathBuf::from("/var/lib/picket"), |config| config.store.path.clone());
    archive.put_json("machine.json", "board, processor, limits, clock", &machine::document(board, Some(&folder)));
    ask(&mut archive, &door);
    if folder.is_dir() {
        records::store(&mut archive, &folder);
        records::ledger(&mut archive, &folder);
        records::decisions(&mut archive, &folder);
    } else {
        archive
            .leave_out("store.json, ledger.json, decisions.json", &format!("there is no folder {}", folder.display()));
    }
    match &config {
        Some(config) => records::bundles(&mut archive, config),
        None => archive.leave_out("models.json", "the configuration does not say which models"),
    }
    records::journal(&mut archive, &asked.unit);
    archive.leave_out("events", "they are published on P/event and kept nowhere; the journal has them, too");
    archive.leave_out("inputs, results, dead letters' texts", "never part of an archive");
    finish(&archive, asked.output.as_deref(), as_json)
}

struct Begun {
    archive: Archive,
    /// The configuration's files as they may be shown.
    texts: Vec<(String, String)>,
    door: Door,
}

/// Where the running daemon is asked.
struct Door {
    url: String,
    token_file: Option<PathBuf>,
}

impl Door {
    /// What the command line does not say, the configuration does, also one that is wrong elsewhere.
    fn of(asked: &Collect, texts: &[(PathBuf, String)]) -> Self {
        let tables = || texts.iter().filter_map(|(_, text)| text.parse::<toml::Table>().ok());
        let http =
            |key| tables().filter_map(|table| Some(table.get("http")?.get(key)?.as_str()?.to_owned())).next_back();
        let url = asked.url.clone().or_else(|| http("listen").map(|listen| format!("http://{listen}")));
        let token_file = || secret::file_of(Path::new(&http("token_file")?)).ok();
        Self {
            url: url.unwrap_or_else(|| "http://127.0.0.1:8470".to_owned()),
            token_file: asked.token_file.clone().or_else(token_file),
        }
    }
}

/// What must not be in the archive is known before anything is put into it.
fn begin(asked: &Collect) -> Begun {
    let mut scrubber = Scrubber::default();
    let (texts, unreadable) = match Config::texts(&asked.config) {
        Ok(texts) => (texts, None),
        Err(error) => (Vec::new(), Some(error.to_string())),
    };
    let door = Door::of(asked, &texts);
    let shown = |(number, (path, text)): (usize, (PathBuf, String))| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        (format!("config/{number:02}-{name}"), scrubber.configuration(&text))
    };
    let texts: Vec<_> = texts.into_iter().enumerate().map(shown).collect();
    let named: Vec<PathBuf> = scrubber.files.iter().filter_map(|file| secret::file_of(file).ok()).collect();
    for file in named.iter().chain(&door.token_file) {
        let small = fs::metadata(file).is_ok_and(|file| file.is_file() && file.len() <= limits::CONFIG_BYTES);
        if let Some(content) = small.then(|| fs::read(file).ok()).flatten() {
            scrubber.know_file(&content);
        }
    }
    let mut archive = Archive::new(scrubber);
    if let Some(why) = unreadable {
        archive.leave_out("config", &why);
    }
    Begun { archive, texts, door }
}

/// What `picket check` says.
fn judge(archive: &mut Archive, path: &Path) -> Option<Config> {
    let (document, config) = match check::verdict(path) {
        Ok(verdict) => (verdict.document(), Some(verdict.config)),
        // A model that is not good does not hide where the store is.
        Err(error) => (json!({ "ok": false, "error": one_line(&error) }), Config::load(path).ok()),
    };
    archive.put_json("check.json", "what `picket check` says", &document);
    config
}

/// What the running daemon says of itself.
fn ask(archive: &mut Archive, door: &Door) {
    let face = match Face::new(&door.url, door.token_file.as_deref()) {
        Ok(face) => face,
        Err(error) => return archive.leave_out("status.json, metrics.txt, dead.json", &one_line(&error)),
    };
    match face.get::<Value>("/status") {
        Ok(status) => archive.put_json("status.json", "what the running daemon says of itself", &status),
        Err(error) => return archive.leave_out("status.json, metrics.txt, dead.json", &one_line(&error)),
    }
    match face.page("/metrics") {
        Ok(text) => archive.put("metrics.txt", "its metrics", &String::from_utf8_lossy(&text)),
        Err(error) => archive.leave_out("metrics.txt", &one_line(&error)),
    }
    match face.get::<Vec<DeadLetter>>("/dead") {
        Ok(letters) => {
            let short = |letter: &DeadLetter| {
                json!({
                    "number": letter.number, "model": letter.model, "code": letter.code, "attempts": letter.attempts,
                    "since": letter.since, "bytes": letter.bytes,
                })
            };
            let letters: Vec<Value> = letters.iter().map(short).collect();
            archive.put_json("dead.json", "codes of the dead letters", &letters);
        }
        Err(error) => archive.leave_out("dead.json", &one_line(&error)),
    }
}

fn finish(archive: &Archive, output: Option<&Path>, as_json: bool) -> anyhow::Result<()> {
    let manifest = archive.manifest();
    let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let path = output.map_or_else(|| PathBuf::from(format!("picket-diag-{seconds}.tar.gz")), Path::to_owned);
    let written = archive.write(&path, &manifest);
    let bytes = written.with_context(|| format!("error[diag/unwritable]: {}", path.display()))?;
    if as_json {
        println!("{}", json!({ "archive": path.display().to_string(), "bytes": bytes, "manifest": manifest }));
        return Ok(());
    }
    let of = |list: &str| manifest[list].as_array().cloned().unwrap_or_default();
    for entry in of("entries") {
        println!("{:>10}  {}: {}", entry["bytes"], text(&entry["name"]), text(&entry["what"]));
    }
    for left_out in of("left_out") {
        println!("{:>10}  {}: {}", "left out", text(&left_out["name"]), text(&left_out["why"]));
    }
    println!("{} ({bytes} bytes); look at it before you send it", path.display());
    Ok(())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
