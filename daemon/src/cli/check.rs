//! `picket check`: reads everything, opens nothing.

use std::path::Path;

use serde_json::json;

use crate::{
    assemble,
    config::{Config, ConfigError},
    inference::prover::Prover,
};

pub fn run(path: &Path, as_json: bool) -> anyhow::Result<()> {
    let config = Config::load(path)?;
    let prover = Prover::this_program()?;
    let mut models = Vec::new();
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
    }
    let warnings = config.escalation.as_ref().map(|escalation| escalation.warnings.as_slice()).unwrap_or_default();
    let transports: Vec<&str> = config.transports.iter().map(|(name, _)| *name).collect();
    if as_json {
        let device = &*config.device.id;
        println!(
            "{}",
            json!({ "ok": true, "device": device, "transports": transports, "models": models, "warnings": warnings })
        );
        return Ok(());
    }
    println!("{} is good: device {}, {}", path.display(), config.device.id, transports.join(" and "));
    for model in &models {
        let proof = if model["proven"] == true {
            format!("{} golden vectors right on this CPU", model["golden_vectors"])
        } else {
            "not proven: it has no golden vectors".to_owned()
        };
        println!("  model {} version {}: {proof}", text(&model["name"]), text(&model["version"]));
    }
    for warning in warnings {
        println!("  warning: {warning}");
    }
    Ok(())
}

fn text(value: &serde_json::Value) -> &str {
    value.as_str().unwrap_or_default()
}
