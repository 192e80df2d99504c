//! What an ONNX file says of its tensors, and what its outputs may be for.

use std::path::Path;

use crate::{
    inference::prescan::{DimOutline, Outline, ValueOutline},
    ports::Signature,
    tensor::Dtype,
};

/// What goes into the manifest.
pub(super) struct Guess {
    pub task: &'static str,
    /// Half a sentence: why this task.
    pub why: String,
    pub inputs: Vec<TensorGuess>,
    pub outputs: Vec<TensorGuess>,
    /// Scores of the first output, where the task is to classify.
    pub classes: usize,
    /// The scores are logits.
    pub softmax: bool,
}

pub(super) struct TensorGuess {
    pub name: String,
    pub dtype: Dtype,
    /// -1 is a dimension that the job decides.
    pub shape: Vec<i64>,
    /// Names of the dimensions that the file leaves open, with the place of each.
    pub open: Vec<(usize, String)>,
}

/// Most classes that a guess goes for; more are rather a mask or an embedding.
const MOST_CLASSES: usize = 2_000;

impl Guess {
    /// `signature`: what the engine found, where it runs the model.
    ///
    /// # Errors
    /// `model/unsupported`: an input or output that is no tensor, or of a type that no job can bring.
    pub fn of(outline: &Outline, signature: Option<&Signature>, asked: Option<&str>) -> anyhow::Result<Self> {
        let inputs = outline.inputs.iter().map(input).collect::<anyhow::Result<Vec<_>>>()?;
        let mut outputs = outline.outputs.iter().map(output).collect::<anyhow::Result<Vec<_>>>()?;
        for (output, found) in outputs.iter_mut().zip(signature.iter().flat_map(|signature| &signature.outputs)) {
            output.dtype = found.dtype;
            // With inputs as they are declared, more is known than the file says.
            if found.shape.len() != output.shape.len() || output.open.is_empty() {
                output.shape = found.shape.iter().map(|dim| dim.map_or(-1, |dim| dim as i64)).collect();
            }
        }
        let classes = outputs.first().map_or(0, scores);
        let softmax = !outline.operators.keys().any(|op| op == "Softmax");
        let (task, why) = match asked {
            Some("classify") => ("classify", "as asked for".to_owned()),
            Some("regress") => ("regress", "as asked for".to_owned()),
            Some("anomaly") => ("anomaly", "as asked for".to_owned()),
            Some(_) => ("tensor", "as asked for".to_owned()),
            None if outputs.len() == 1 && (2..=MOST_CLASSES).contains(&classes) => {
                ("classify", format!("a guess: its only output is one row of {classes} scores"))
            }
            None if outputs.len() == 1 && classes == 1 => {
                ("tensor", "its only output is one number: `regress` or `anomaly` would say more".to_owned())
            }
            None => ("tensor", "its outputs are not one row of scores".to_owned()),
        };
        Ok(Self { task, why, inputs, outputs, classes, softmax })
    }
}

/// Elements of an output that is one row of floats; 0 for any other.
fn scores(output: &TensorGuess) -> usize {
    let long = output.shape.iter().filter(|dim| **dim > 1).count();
    let free = output.shape.iter().skip(1).any(|dim| *dim < 0);
    if long > 1 || free || !output.dtype.is_float() || output.shape.is_empty() {
        return 0;
    }
    output.shape.iter().filter_map(|dim| usize::try_from(*dim).ok()).product()
}

/// A bundle fixes what a job brings: what the file leaves open is 1, until somebody says otherwise.
fn input(value: &ValueOutline) -> anyhow::Result<TensorGuess> {
    tensor(value, "input", 1)
}

fn output(value: &ValueOutline) -> anyhow::Result<TensorGuess> {
    tensor(value, "output", -1)
}

fn tensor(value: &ValueOutline, what: &str, unknown: i64) -> anyhow::Result<TensorGuess> {
    let dtype = value.element.and_then(|number| i32::try_from(number).ok()).and_then(Dtype::of_onnx);
    let dtype = dtype
        .ok_or_else(|| anyhow::anyhow!("error[model/unsupported]: {what} {:?} is no tensor of numbers", value.name))?;
    let dims = value.shape.as_deref().unwrap_or_default();
    let mut open = Vec::new();
    let mut size = |(index, dim): (usize, &DimOutline)| match dim {
        DimOutline::Fixed(size) => i64::try_from(*size).unwrap_or(i64::MAX),
        DimOutline::Free(name) => {
            open.push((index, name.clone()));
            unknown
        }
    };
    let shape = dims.iter().enumerate().map(&mut size).collect();
    Ok(TensorGuess { name: value.name.clone(), dtype, shape, open })
}

/// A bundle's name out of a file's.
pub(super) fn name(file: &Path) -> String {
    const LONGEST: usize = 63;
    let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let fits = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let name: String = stem.chars().map(fits).take(LONGEST).collect();
    let name = name.trim_start_matches(['.', '_', '-']);
    if name.is_empty() { "model".to_owned() } else { name.to_owned() }
}
