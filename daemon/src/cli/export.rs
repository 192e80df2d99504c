//! `picket export`: labelled cases for the next local model, with where everything in them comes from.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::Args;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    answer::hex,
    config::Config,
    export::{self, Case, FOLDER, Row, Split},
    media::Media,
};

#[derive(Debug, Args)]
pub struct Export {
    /// A folder that is not there yet, or is empty.
    folder: PathBuf,
    /// The daemon's configuration, which says where its store is.
    #[arg(long, default_value = "/etc/picket/picket.toml", conflicts_with = "store")]
    config: PathBuf,
    /// The store's folder itself.
    #[arg(long)]
    store: Option<PathBuf>,
}

pub fn run(export: &Export, as_json: bool) -> anyhow::Result<()> {
    let store = match &export.store {
        Some(store) => store.clone(),
        None => Config::load(&export.config)?.store.path,
    };
    let to = &export.folder;
    let unwritable = || format!("error[export/unwritable]: {}", to.display());
    if to.exists() && fs::read_dir(to).with_context(unwritable)?.next().is_some() {
        bail!("error[export/not-empty]: {} is not empty; what is exported gets a folder of its own", to.display());
    }
    let inputs = to.join("inputs");
    let mut left_out = LeftOut::default();
    let from = store.join(FOLDER);
    let mut seen = Seen::default();
    let holdout = collect(&from, Split::Holdout, &inputs, &mut left_out, |row, _| {
        // All of them: to choose among them would bias what they measure.
        seen.add(row);
        true
    })?;
    let of_holdout = std::mem::take(&mut seen);
    let mut train = collect(&from, Split::Train, &inputs, &mut left_out, |row, left_out| {
        // What a model has seen, or another frame of it, measures nothing any more.
        let is_shared = of_holdout.has(row);
        left_out.shared_with_holdout += u64::from(is_shared);
        !is_shared
    })?;
    if train.is_empty() && holdout.is_empty() {
        bail!(
            "error[export/nothing-kept]: no labelled case is in {}; `[export] keep = \"256MiB\"` keeps those that a provider \
             labels from then on",
            from.display()
        );
    }
    // Disagreements first: of frames of one part, one of them stays.
    train.sort_by_key(|row| row.agree);
    train.retain(|row| seen.takes(row, &mut left_out));
    prune(&inputs, train.iter().chain(&holdout)).with_context(unwritable)?;
    let manifest = manifest(to, &train, &holdout, &left_out).with_context(unwritable)?;
    if as_json {
        println!("{manifest}");
    } else {
        let disagree = train.iter().filter(|row| !row.agree).count();
        println!(
            "{} cases to train on, {disagree} of them answered wrongly here; {} to measure by",
            train.len(),
            holdout.len()
        );
        println!("{left_out}");
        println!("{}", to.join("manifest.json").display());
    }
    Ok(())
}

/// Cases that were kept and are not exported.
#[derive(Default)]
struct LeftOut {
    duplicates: u64,
    shared_with_holdout: u64,
    unreadable: u64,
}

impl std::fmt::Display for LeftOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { duplicates, shared_with_holdout, unreadable } = self;
        write!(
            f,
            "left out: {duplicates} of a part or an input that is there already, {shared_with_holdout} of one in the \
             holdout, {unreadable} that cannot be read"
        )
    }
}

/// Parts and inputs that are there already.
#[derive(Default)]
struct Seen {
    groups: BTreeSet<(String, String)>,
    inputs: BTreeSet<String>,
}

impl Seen {
    fn has(&self, row: &Row) -> bool {
        self.inputs.contains(&row.input.sha256) || group(row).is_some_and(|group| self.groups.contains(&group))
    }

    fn takes(&mut self, row: &Row, left_out: &mut LeftOut) -> bool {
        if self.has(row) {
            left_out.duplicates += 1;
            return false;
        }
        self.add(row);
        true
    }

    fn add(&mut self, row: &Row) {
        self.inputs.insert(row.input.sha256.clone());
        self.groups.extend(group(row));
    }
}

fn group(row: &Row) -> Option<(String, String)> {
    Some((row.model.clone(), row.group.clone()?))
}

/// Rows of one split, their inputs written already: they need not be in memory together.
fn collect(
    from: &Path,
    split: Split,
    inputs: &Path,
    left_out: &mut LeftOut,
    mut takes: impl FnMut(&Row, &mut LeftOut) -> bool,
) -> anyhow::Result<Vec<Row>> {
    let (mut rows, mut counts) = (Vec::new(), std::mem::take(left_out));
    let unreadable = export::read(from, split, |Case { mut row, input }| {
        if takes(&row, &mut counts) {
            let end = ending(&row.input.form);
            let name = format!("{}.{end}", row.input.sha256);
            fs::create_dir_all(inputs)?;
            fs::write(inputs.join(&name), input)?;
            row.input.file = Some(format!("inputs/{name}"));
            rows.push(row);
        }
        Ok(())
    });
    *left_out = counts;
    left_out.unreadable += unreadable.with_context(|| format!("error[export/unreadable]: {}", from.display()))?;
    Ok(rows)
}

/// Inputs whose rows were left out go.
/// The extension of an input's file.
fn ending(form: &str) -> &'static str {
    match (form, Media::parse(form)) {
        (_, Some(Media::Jpeg)) => "jpg",
        (_, Some(Media::Png)) => "png",
        (_, Some(Media::Bmp)) => "bmp",
        ("raw", None) => "bin",
        _ => "oip",
    }
}

fn prune<'r>(inputs: &Path, rows: impl Iterator<Item = &'r Row>) -> std::io::Result<()> {
    let wanted: BTreeSet<String> =
        rows.filter_map(|row| row.input.file.as_deref()?.strip_prefix("inputs/").map(str::to_owned)).collect();
    for entry in fs::read_dir(inputs)? {
        let entry = entry?;
        if !wanted.contains(entry.file_name().to_string_lossy().as_ref()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn manifest(to: &Path, train: &[Row], holdout: &[Row], left_out: &LeftOut) -> std::io::Result<Value> {
    let mut splits = BTreeMap::new();
    for (split, rows) in [(Split::Train, train), (Split::Holdout, holdout)] {
        let mut text = Vec::new();
        for row in rows {
            serde_json::to_writer(&mut text, row)?;
            text.push(b'\n');
        }
        let file = format!("{}.jsonl", split.name());
        fs::write(to.join(&file), &text)?;
        let mut labels: BTreeMap<&str, u64> = BTreeMap::new();
        for row in rows {
            *labels.entry(&row.label).or_default() += 1;
        }
        splits.insert(
            split.name(),
            json!({
                "file": file, "rows": rows.len(), "disagreements": rows.iter().filter(|row| !row.agree).count(),
                "labels": labels, "sha256": hex(&Sha256::digest(&text)),
            }),
        );
    }
    let models: BTreeSet<(&str, &str, &str)> = train
        .iter()
        .chain(holdout)
        .map(|row| (row.model.as_str(), row.model_version.as_str(), row.model_sha256.as_str()))
        .collect();
    let manifest = json!({
        "format": "picket-export/1",
        "splits": splits,
        "models": models.into_iter().map(|(name, version, sha256)| json!({ "name": name, "version": version, "sha256": sha256 })).collect::<Vec<_>>(),
        "left_out": {
            "duplicates": left_out.duplicates, "shared_with_holdout": left_out.shared_with_holdout,
            "unreadable": left_out.unreadable,
        },
    });
    fs::write(to.join("manifest.json"), format!("{manifest:#}\n"))?;
    Ok(manifest)
}
