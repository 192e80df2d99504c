//! `picket model check`: would this bundle be served, and if not, what all is in the way?

use std::path::Path;

use serde_json::{Value, json};

use crate::{
    bundle::{Bundle, Card, inspect},
    inference::{
        admit::admit_with_proof,
        prover::{Proof, Prover},
        served::Served,
    },
    ports::TensorSpec,
};

pub fn run(path: &Path, as_json: bool) -> anyhow::Result<()> {
    let mut faults: Vec<(&str, String)> =
        inspect::faults(path).into_iter().map(|fault| (fault.code, fault.message)).collect();
    let mut found = None;
    if faults.is_empty() {
        let prover = Prover::this_program()?.measuring();
        match admit_with_proof(Bundle::read(path)?, &prover) {
            Ok(admitted) => found = Some(admitted),
            Err(failure) => faults.push((failure.code, failure.message)),
        }
    }
    if as_json {
        let faults: Vec<Value> =
            faults.iter().map(|(code, message)| json!({ "code": code, "message": message })).collect();
        let model = found.as_ref().map(|(served, proof)| document(served, proof));
        println!("{}", json!({ "ok": model.is_some(), "faults": faults, "model": model }));
    } else {
        for (code, message) in &faults {
            println!("error[{code}]: {message}");
        }
        if let Some((served, proof)) = &found {
            print(path, served, proof);
        }
    }
    let count = faults.len();
    let things = if count == 1 { "1 thing is" } else { &*format!("{count} things are") };
    anyhow::ensure!(count == 0, "error[bundle/not-served]: {}: {things} in the way", path.display());
    Ok(())
}

fn document(served: &Served, proof: &Proof) -> Value {
    let Bundle { name, version, task, labels, card, golden, warnings, .. } = &served.bundle;
    let tensors = |specs: &[TensorSpec]| specs.iter().map(shown).collect::<Vec<_>>();
    json!({
        "name": name, "version": version, "task": task.name(), "labels": labels.len(), "proven": served.proven,
        "golden_vectors": golden.len(),
        "inputs": tensors(&served.signature.inputs), "outputs": tensors(&served.signature.outputs),
        "card": card.as_ref().map(card_rows).map(|rows| rows.into_iter().collect::<serde_json::Map<_, _>>()),
        "load_ms": millis(proof.load_us), "infer_ms": proof.infer_us.map(millis), "peak_kib": proof.peak_kib,
        "held": proof.held, "warnings": warnings,
    })
}

fn print(path: &Path, served: &Served, proof: &Proof) {
    let Bundle { name, version, task, card, golden, warnings, .. } = &served.bundle;
    let proven = match golden.len() {
        0 => "not proven: it has no golden vectors".to_owned(),
        1 => "its golden vector came out right on this CPU".to_owned(),
        count => format!("{count} golden vectors came out right on this CPU"),
    };
    println!("{} is served: {name} version {version}, {}; {proven}", path.display(), task.name());
    for spec in &served.signature.inputs {
        println!("  takes   {}", shown(spec));
    }
    for spec in &served.signature.outputs {
        println!("  gives   {}", shown(spec));
    }
    let inference = proof.infer_us.map_or_else(String::new, |us| format!("   one inference {:.3} ms", millis(us)));
    println!("  loaded and proven in {:.1} ms{inference}   peak memory {} KiB", millis(proof.load_us), proof.peak_kib);
    println!("  proven in a child confined by {}", proof.held.join(", "));
    for (key, value) in card.iter().flat_map(card_rows) {
        println!("  {key:<14} {}", value.as_str().unwrap_or_default());
    }
    for warning in warnings {
        println!("  warning: {warning}");
    }
}

fn shown(spec: &TensorSpec) -> String {
    format!("{} {}", spec.name, spec.kind())
}

fn card_rows(card: &Card) -> Vec<(String, Value)> {
    let Card {
        intended_use,
        training_data,
        data_licence,
        attribution,
        known_limits,
        measured,
        risk_class,
        responsible,
    } = card;
    let rows = [
        ("intended_use", Some(intended_use)),
        ("training_data", Some(training_data)),
        ("data_licence", Some(data_licence)),
        ("attribution", attribution.as_ref()),
        ("known_limits", Some(known_limits)),
        ("measured", Some(measured)),
        ("risk_class", Some(risk_class)),
        ("responsible", Some(responsible)),
    ];
    rows.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?.as_str().into()))).collect()
}

fn millis(micros: u64) -> f64 {
    micros as f64 / 1e3
}
