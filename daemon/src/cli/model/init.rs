//! `picket model init`: a first bundle around an ONNX file.
//!
//! What the file says is written down; what it does not say is guessed where a guess can be seen to be wrong, and left open
//! where not. The golden vector is made by a script with ONNX Runtime: a model that proves itself by its own answers proves
//! nothing.

mod guess;
mod write;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap::Args;
use picket_core::limits;
use serde_json::json;

use self::guess::Guess;
use crate::{
    bundle::{Bundle, MANIFEST, files},
    inference::{admit::admit, prescan, prover::Prover},
};

/// The script that makes the golden vector.
const SCRIPT: &str = "golden.py";

#[derive(Debug, Args)]
pub struct Init {
    /// The ONNX file.
    file: PathBuf,
    /// classify, regress, anomaly or tensor; without it a guess from the outputs.
    #[arg(long, value_parser = ["classify", "regress", "anomaly", "tensor"])]
    task: Option<String>,
    /// Folder of the bundle; without it one with the file's name, here.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Leave the model where it is, and name it by `path`; without it the bundle gets a copy.
    #[arg(long)]
    in_place: bool,
}

pub fn run(asked: &Init, as_json: bool) -> anyhow::Result<()> {
    let model = files::read_capped(&asked.file, limits::MAX_MODEL_BYTES)?;
    let outline = prescan::scan(&model)
        .map_err(|why| anyhow::anyhow!("error[{}]: {}: {}", why.code, asked.file.display(), why.message))?;
    // What the engine finds says more than the file, where it can run it at all.
    let bare = Bundle::bare(&asked.file, model.clone());
    let (signature, trouble) = match admit(bare, &Prover::this_program()?) {
        Ok(served) => (Some(served.model.signature().clone()), None),
        Err(failure) => (None, Some(failure)),
    };
    let guess = Guess::of(&outline, signature.as_ref(), asked.task.as_deref())?;
    let name = guess::name(&asked.file);
    let out = asked.out.clone().unwrap_or_else(|| PathBuf::from(&name));
    let place = place(asked, &out)?;
    let manifest = write::manifest(&write::Facts {
        name: &name,
        place: &place,
        sha256: &files::sha256(&model),
        outline: &outline,
        guess: &guess,
        trouble: trouble.as_ref().map(|failure| failure.to_string()),
    });
    create(&out, &manifest, &write::script(&guess, place.name()), (!asked.in_place).then_some(&*model))?;
    if as_json {
        let trouble = trouble.map(|failure| json!({ "code": failure.code, "message": failure.message }));
        println!("{}", json!({ "bundle": out, "task": guess.task, "runs": trouble.is_none(), "trouble": trouble }));
        return Ok(());
    }
    let shown = out.display();
    println!("{shown}/{MANIFEST}: task {} ({}); open it and fill in what says FILL IN", guess.task, guess.why);
    println!("{shown}/{SCRIPT}: makes the golden vector: pip install onnxruntime numpy; python3 {shown}/{SCRIPT}");
    println!("picket model check {shown}: says what is still missing");
    if let Some(failure) = trouble {
        println!("but this Picket cannot run the model: error[{}]: {}", failure.code, failure.message);
    }
    Ok(())
}

/// Where the manifest says that the model is.
enum Place {
    Copy,
    At(String),
}

impl Place {
    fn name(&self) -> &str {
        match self {
            Self::Copy => "model.onnx",
            Self::At(path) => path,
        }
    }
}

fn place(asked: &Init, out: &Path) -> anyhow::Result<Place> {
    if !asked.in_place {
        return Ok(Place::Copy);
    }
    let path = asked.file.canonicalize().with_context(|| asked.file.display().to_string())?;
    let text = path.to_str().with_context(|| format!("{}: a path in {} is text", path.display(), out.display()))?;
    Ok(Place::At(text.to_owned()))
}

/// Writes the folder, and nothing over what is there.
fn create(out: &Path, manifest: &str, script: &str, model: Option<&[u8]>) -> anyhow::Result<()> {
    let exists = || anyhow::anyhow!("error[bundle/exists]: there is a bundle in {} already", out.display());
    anyhow::ensure!(!out.join(MANIFEST).exists(), exists());
    fs::create_dir_all(out.join("golden")).with_context(|| out.display().to_string())?;
    let write = |name: &str, bytes: &[u8]| {
        let path = out.join(name);
        fs::write(&path, bytes).with_context(|| path.display().to_string())
    };
    if let Some(model) = model {
        write("model.onnx", model)?;
    }
    write(SCRIPT, script.as_bytes())?;
    write(MANIFEST, manifest.as_bytes())
}
