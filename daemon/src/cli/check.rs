//! `picket check`: reads everything, opens nothing.

use std::path::Path;

use serde_json::{Value, json};

use crate::{
    assemble,
    board::Board,
    config::{Config, ConfigError},
    inference::{prover::Prover, served::Served},
};

/// What was found good, and what is missing at the moment.
pub struct Verdict {
    pub config: Config,
    models: Vec<Value>,
    missing: Vec<String>,
}

/// # Errors
/// What is wrong with the configuration or with a model.
pub fn verdict(path: &Path) -> anyhow::Result<Verdict> {
    let config = Config::load(path)?;
    let prover = Prover::this_program()?;
    let mut models = Vec::new();
    let mut all_served = Vec::new();
    for model in &config.models {
        let served = assemble::load(model, &prover).map_err(|failure| ConfigError {
            code: failure.code,
            place: format!("{}: model {:?}: ", path.display(), model.name),
            message: failure.message,
        })?;
        let redaction = assemble::fitted(model, config.escalation.as_ref(), &served)?;
        models.push(json!({
            "name": *model.name,
            "version": served.bundle.version,
            "proven": served.proven,
            "golden_vectors": served.bundle.golden.len(),
            "inputs": served.signature.inputs.iter().map(|i| format!("{} {}", i.name, i.kind())).collect::<Vec<_>>(),
            "redaction": redaction.map(|redaction| redaction.describe()).unwrap_or_default(),
            "warnings": served.bundle.warnings,
        }));
        all_served.push(served);
    }
    assemble::siblings(&config.models, &all_served.iter().map(Some).collect::<Vec<Option<&Served>>>())?;
    let served_as =
        |name: &str| config.models.iter().position(|model| &*model.name == name).map(|index| &all_served[index]);
    for source in &config.sources {
        assemble::fits(source, served_as(&source.model))?;
    }
    for output in &config.outputs {
        let served = served_as(&output.model);
        assemble::plan(output, served)?;
    }
    let missing = missing(&config);
    Ok(Verdict { config, models, missing })
}

impl Verdict {
    fn transports(&self) -> Vec<&str> {
        self.config.transports.iter().map(|(name, _)| *name).collect()
    }

    fn warnings(&self) -> &[String] {
        self.config.escalation.as_ref().map(|escalation| escalation.warnings.as_slice()).unwrap_or_default()
    }

    pub fn document(&self) -> Value {
        let Self { config, models, missing } = self;
        json!({
            "ok": true, "device": &*config.device.id, "transports": self.transports(), "models": models,
            "warnings": self.warnings(), "board": config.device.board.document(), "missing": missing,
        })
    }
}

pub fn run(path: &Path, as_json: bool) -> anyhow::Result<()> {
    let verdict = verdict(path)?;
    if as_json {
        println!("{}", verdict.document());
        return Ok(());
    }
    println!("{} is good: device {}, {}", path.display(), verdict.config.device.id, verdict.transports().join(" and "));
    for model in &verdict.models {
        let proof = if model["proven"] == true {
            format!("{} golden vectors right on this CPU", model["golden_vectors"])
        } else {
            "not proven: it has no golden vectors".to_owned()
        };
        println!("  model {} version {}: {proof}", text(&model["name"]), text(&model["version"]));
    }
    for warning in verdict.warnings() {
        println!("  warning: {warning}");
    }
    for missing in &verdict.missing {
        println!("  missing now: {missing}");
    }
    print_board(&verdict.config.device.board);
    Ok(())
}

/// What sources and outputs need and is not there at the moment. Nothing is taken.
fn missing(config: &Config) -> Vec<String> {
    let sources = config.sources.iter().filter_map(|source| Some(("source", &source.name, source.setup.missing()?)));
    let outputs = config.outputs.iter().filter_map(|output| Some(("output", &output.name, output.place.missing()?)));
    sources.chain(outputs).map(|(kind, name, what)| format!("{kind} {name}: {what}")).collect()
}

fn print_board(board: &Board) {
    let profile = &board.profile;
    println!("  board {} ({}): {}", profile.name, profile.title, board.why);
    let features = if board.features().is_empty() { "none".to_owned() } else { board.features().join(", ") };
    let memory = board.memory_mib.map_or_else(|| "unknown".to_owned(), |mib| format!("{mib} MiB"));
    println!("    {} cores, features {features}, memory {memory}", board.cpu.cores);
    for zone in &board.zones {
        let now = zone.celsius.map_or_else(|| "cannot be read now".to_owned(), |celsius| format!("{celsius:.1} °C"));
        let limits = zone.limits.map_or_else(
            || "not watched".to_owned(),
            |limits| format!("eased from {} °C on, hard limit {} °C", limits.soft(), limits.hard()),
        );
        println!("    zone {}: {now}, {limits}", zone.name);
    }
    for warning in board.warnings() {
        println!("    warning[{}]: {}; {}", warning.code, warning.message, warning.hint);
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
