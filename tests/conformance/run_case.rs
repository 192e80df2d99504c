//! One case through Picket, as its users' models go: a bare `.onnx` file, loaded, served, asked.

use std::path::Path;

use picket::{
    bundle::Bundle,
    inference::served::Served,
    ports::TensorSpec,
    tensor::{Dtype, Tensor},
};
use prost::Message;
use serde::{Deserialize, Serialize};

use crate::{
    cases::{Case, Variant},
    compare::compare,
    corrections, onnx,
};

/// What came of a case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "verdict", content = "why")]
pub enum Verdict {
    /// Served, and answered right.
    Pass,
    /// Not served, with a reason.
    Refuse(String),
    /// Served, and answered wrong or not at all.
    Wrong(String),
    /// Took the process down, or did not end.
    Crash(String),
}

/// Runs the case; `folder` is there for the model's file.
pub fn run(case: &Case, variant: Variant, folder: &Path) -> Verdict {
    match attempt(case, variant, folder) {
        Ok(()) => Verdict::Pass,
        Err(verdict) => verdict,
    }
}

fn attempt(case: &Case, variant: Variant, folder: &Path) -> Result<(), Verdict> {
    let broken = |why: String| Verdict::Wrong(format!("the case cannot be read: {why}"));
    let graph = onnx::Model::decode(case.model.as_slice()).map_err(|error| broken(error.to_string()))?.graph;
    let names: Vec<String> = graph.unwrap_or_default().inputs.into_iter().map(|input| input.name).collect();
    let mut model = case.model.clone();
    let given = if variant == Variant::Constant { 1.min(case.inputs.len()) } else { case.inputs.len() };
    for (name, value) in names.iter().zip(&case.inputs).skip(given) {
        onnx::with_constant(&mut model, name, value).map_err(|error| broken(error.to_string()))?;
    }
    let inputs: Result<Vec<Tensor>, String> =
        names.iter().zip(&case.inputs[..given]).map(|(name, value)| named(name, value)).collect();

    let path = folder.join("model.onnx");
    std::fs::write(&path, model).map_err(|error| broken(error.to_string()))?;
    let mut bundle = Bundle::read(&path).map_err(|error| Verdict::Refuse(error.to_string()))?;
    if let Ok(inputs) = &inputs {
        let fixed = |tensor: &Tensor| TensorSpec {
            name: tensor.name.clone(),
            dtype: tensor.dtype(),
            shape: tensor.shape().iter().copied().map(Some).collect(),
        };
        bundle.inputs = inputs.iter().map(fixed).collect();
        bundle.prepared.clone_from(&bundle.inputs);
    }
    let served =
        Served::load(bundle).map_err(|failure| Verdict::Refuse(format!("{}: {}", failure.code, failure.message)))?;
    // Served, so from here on it must answer.
    let inputs = inputs.map_err(|why| Verdict::Wrong(format!("served with an input that is {why}")))?;
    let mut runner = served.runner().map_err(|failure| Verdict::Wrong(failure.message))?;
    let answer = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| runner.run(inputs)));
    let answer = answer.map_err(|_| Verdict::Wrong("panics".to_owned()))?;
    let answer = answer.map_err(|error| Verdict::Wrong(format!("fails: {error}")))?;
    judge(case, &served, &answer).map_err(Verdict::Wrong)
}

fn named(name: &str, value: &[u8]) -> Result<Tensor, String> {
    let mut tensor = onnx::tensor(value)?;
    name.clone_into(&mut tensor.name);
    Ok(tensor)
}

fn judge(case: &Case, served: &Served, answer: &[Tensor]) -> Result<(), String> {
    if answer.len() != case.outputs.len() {
        return Err(format!("gives {} outputs, want {}", answer.len(), case.outputs.len()));
    }
    for ((index, want), (got, promised)) in
        case.outputs.iter().enumerate().zip(answer.iter().zip(&served.signature.outputs))
    {
        let want = onnx::tensor(want).map_err(|why| format!("gives a tensor for an output that is {why}"))?;
        let want = corrected(&case.name, want);
        compare(&want, got).map_err(|why| format!("output {index}: {why}"))?;
        if promised.dtype != got.dtype() || !promised.accepts(got.shape()) {
            return Err(format!("output {index} is announced as {}, comes as {:?}", promised.kind(), got.shape()));
        }
    }
    Ok(())
}

fn corrected(case: &str, want: Tensor) -> Tensor {
    let Some(correction) = corrections::of(case) else { return want };
    #[expect(clippy::cast_possible_truncation, reason = "the list holds what the types do")]
    let bytes = |value: &f64| match want.dtype() {
        Dtype::Int8 => (*value as i8).to_le_bytes().to_vec(),
        _ => (*value as f32).to_le_bytes().to_vec(),
    };
    let data: Vec<u8> = correction.values.iter().flat_map(bytes).collect();
    // A correction of another size or type than the case would be one of another case: it fails as wrong.
    Tensor::new(want.name.as_str(), want.dtype(), want.shape().to_vec(), data).unwrap_or(want)
}
