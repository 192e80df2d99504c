//! The cases of ONNX's backend tests, as their archive has them.

use std::{collections::BTreeMap, fs::File, io::Read, path::Path};

use anyhow::{Context, Result};
use flate2::read::GzDecoder;
use prost::Message;

use crate::onnx::Model;

/// One case: a model, and what it must give for what.
#[derive(Debug, Default)]
pub struct Case {
    pub name: String,
    pub model: Vec<u8>,
    /// Serialised ONNX values, in the graph's order.
    pub inputs: Vec<Vec<u8>>,
    pub outputs: Vec<Vec<u8>>,
    /// The operator that it is about.
    pub operator: String,
}

/// What of a case's inputs the model knows beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Variant {
    /// Nothing: all of them come with the job, as the case has it.
    Given,
    /// All but the first: weights, axes and shapes are constants, as in the models that people have.
    Constant,
}

/// # Errors
/// The archive cannot be read, or holds something else.
pub fn read(archive: &Path) -> Result<Vec<Case>> {
    let file = File::open(archive).with_context(|| archive.display().to_string())?;
    let mut cases: BTreeMap<String, Case> = BTreeMap::new();
    for entry in tar::Archive::new(GzDecoder::new(file)).entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let parts: Vec<String> = path.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        // Beside the node cases there are some of whole graphs.
        let [kind, name, rest @ ..] = parts.as_slice() else { continue };
        let Some(file) = rest.last().filter(|_| kind == "node" && entry.header().entry_type().is_file()) else {
            continue;
        };
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        let case = cases.entry(name.clone()).or_insert_with(|| Case { name: name.clone(), ..Case::default() });
        if file == "model.onnx" {
            case.model = bytes;
        } else {
            let (kind, number) = file.trim_end_matches(".pb").rsplit_once('_').context("a file of another kind")?;
            let values = if kind == "input" { &mut case.inputs } else { &mut case.outputs };
            let number: usize = number.parse().context(path.display().to_string())?;
            values.resize(values.len().max(number + 1), Vec::new());
            values[number] = bytes;
        }
    }
    let mut cases: Vec<Case> = cases.into_values().collect();
    name_operators(&mut cases)?;
    Ok(cases)
}

/// A case whose operator is spelled out in simpler ones (`…_expanded`) is about the operator all the same.
fn name_operators(cases: &mut [Case]) -> Result<()> {
    let mut known = BTreeMap::new();
    for case in &mut *cases {
        let model = Model::decode(case.model.as_slice()).with_context(|| case.name.clone())?;
        let nodes = model.graph.unwrap_or_default().nodes;
        let mut names: Vec<String> = nodes.into_iter().map(|node| node.op_type).collect();
        // Constants and what merely wraps are not what a case is about.
        if names.len() > 1 {
            names.retain(|name| name != "Constant");
        }
        names.dedup();
        case.operator = match names.as_slice() {
            [only] => only.clone(),
            _ => names.join("+"),
        };
        known.insert(case.name.clone(), case.operator.clone());
    }
    for case in cases {
        if let Some((base, _)) = case.name.split_once("_expanded")
            && let Some(operator) = known.get(base)
        {
            case.operator = format!("{operator} (as function)");
        }
    }
    Ok(())
}
