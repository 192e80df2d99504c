//! The bundle's `[[conclude]]` steps: what the outputs say, as far as the decision needs it.

mod argmax;
mod dequantize;
mod detect;
mod fastestdet;
mod nms;
mod reconstruction_error;
mod sigmoid;
mod softmax;
mod ssd;
#[cfg(test)]
mod tests_support;
mod threshold;
mod windows;
mod yunet;

use std::{fmt, sync::Arc};

use picket_core::{boxes::Found, escalation::decide::Observation, said::Measure};

use super::keys::StepFault;
pub use super::view::View;
use crate::{
    bundle::{Bundle, Task},
    ports::TensorSpec,
    tensor::Tensor,
};
pub use windows::{Gathering, Take};

/// The registration table: to add a step, add its file, its `mod` line and its line here.
pub static CONCLUDE: &[ConcludeKind] = &[
    dequantize::KIND,
    softmax::KIND,
    sigmoid::KIND,
    argmax::KIND,
    ssd::KIND,
    yunet::KIND,
    fastestdet::KIND,
    nms::KIND,
    threshold::KIND,
    reconstruction_error::KIND,
    windows::KIND,
];

/// One kind of step.
pub struct ConcludeKind {
    /// What `step = "…"` says.
    pub name: &'static str,
    /// Reads the step's other keys.
    pub read: fn(toml::Table) -> Result<Arc<dyn Conclude>, StepFault>,
}

/// One step behind the model.
pub trait Conclude: fmt::Debug + Send + Sync {
    /// # Errors
    /// Says why it has no place behind such a model.
    fn fits(&self, task: Task, outputs: &[TensorSpec], labels: &[String]) -> Result<(), String>;

    /// # Errors
    /// The outputs are none that it can read: says why.
    fn apply(&self, reading: &mut Reading<'_>) -> Result<(), String>;

    /// Name and parameters to the last bit: a certificate holds for these steps and no others.
    fn identity(&self) -> String;

    /// So many scores it makes of whatever the outputs are.
    fn scores(&self) -> Option<usize> {
        None
    }

    /// It says which of a job's windows count.
    fn take(&self) -> Option<Take> {
        None
    }

    /// What it does for a detector.
    fn role(&self) -> Role {
        Role::Other
    }
}

/// A detector needs one step that makes boxes, and one that says which are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    MakesBoxes,
    Shows,
    Other,
}

/// What has been read of the outputs so far.
#[derive(Debug)]
pub struct Reading<'a> {
    /// What the model got …
    pub inputs: &'a [Tensor],
    /// … and gave; every element is finite.
    pub outputs: &'a [Tensor],
    pub labels: &'a [String],
    /// Of the first input.
    pub view: View,
    /// Elements of the first output, until a step makes something else of them.
    pub scores: Vec<f64>,
    /// They are logits, not probabilities.
    pub logits: bool,
    /// In the pixels of the model's image.
    pub boxes: Vec<Found>,
    /// Boxes from this score on are the answer …
    pub shown: f32,
    /// … and those so near it are doubtful.
    pub grey: f32,
}

impl<'a> Reading<'a> {
    fn new(inputs: &'a [Tensor], outputs: &'a [Tensor], labels: &'a [String], view: View) -> Self {
        let scores = outputs.first().map(Tensor::to_f64).unwrap_or_default();
        Self { inputs, outputs, labels, view, scores, logits: false, boxes: Vec::new(), shown: 0.0, grey: 0.0 }
    }

    /// Width and height of the model's image: its first input, channels first or last.
    fn frame(&self) -> Result<(f32, f32), String> {
        let shape = self.inputs.first().map(Tensor::shape).unwrap_or_default();
        let (width, height) = match *shape {
            [1, 1 | 3, height, width] | [1, height, width, 1 | 3] | [height, width, 1 | 3] => (width, height),
            _ => return Err(format!("the model's input is no image: {shape:?}")),
        };
        Ok((width as f32, height as f32))
    }
}

/// The declared output of this name.
fn spec_of<'s>(outputs: &'s [TensorSpec], name: &str) -> Result<&'s TensorSpec, String> {
    let known = || outputs.iter().map(|spec| spec.name.as_str()).collect::<Vec<_>>().join(", ");
    outputs
        .iter()
        .find(|spec| spec.name == name)
        .ok_or_else(|| format!("there is no output `{name}`; there is: {}", known()))
}

/// The elements of the output of this name.
fn output(reading: &Reading<'_>, name: &str) -> Result<Vec<f32>, String> {
    let found = reading.outputs.iter().find(|tensor| tensor.name == name);
    found.map(Tensor::to_f32).ok_or_else(|| format!("the model gave no output {name:?}"))
}

fn for_detect(step: &str, task: Task) -> Result<(), String> {
    if task == Task::Detect { Ok(()) } else { Err(format!("`{step}` is for task `detect`")) }
}

/// What a model got and gave.
#[derive(Clone, Copy, Debug)]
pub struct Ran<'a> {
    pub inputs: &'a [Tensor],
    pub outputs: &'a [Tensor],
    pub view: View,
}

/// Reads the outputs by the bundle's steps and its task. A NaN or infinite output is malformed, whatever the task.
pub fn conclude(ran: Ran<'_>, bundle: &Bundle) -> Observation {
    match reading(ran, bundle) {
        Ok(reading) => observe(&reading, bundle),
        Err(seen) => seen,
    }
}

/// What the steps read; `Err` where they need not, or cannot.
fn reading<'a>(ran: Ran<'a>, bundle: &'a Bundle) -> Result<Reading<'a>, Observation> {
    let Ran { inputs, outputs, view } = ran;
    if let Some((output, at)) = outputs.iter().find_map(|o| o.first_non_finite().map(|at| (o, at))) {
        return Err(Observation::Malformed(format!("output {:?} is not finite at element {at}", output.name)));
    }
    if bundle.task == Task::Tensor {
        return Err(Observation::Opaque);
    }
    if outputs.is_empty() {
        return Err(Observation::Malformed("the model gave no output".to_owned()));
    }
    let mut reading = Reading::new(inputs, outputs, &bundle.labels, view);
    for step in &bundle.conclude {
        if let Err(why) = step.apply(&mut reading) {
            return Err(Observation::Malformed(why));
        }
    }
    Ok(reading)
}

fn observe(reading: &Reading<'_>, bundle: &Bundle) -> Observation {
    match bundle.task {
        Task::Tensor => Observation::Opaque,
        Task::Classify => classify(reading),
        Task::Anomaly => anomaly(reading),
        Task::Regress => regress(reading, bundle),
        Task::Detect => match bundle.measure {
            Measure::Boxes { listed, .. } => Observation::Boxes(detect::detect(reading, &listed)),
            _ => Observation::Malformed("nothing says what makes boxes right".to_owned()),
        },
    }
}

fn classify(reading: &Reading<'_>) -> Observation {
    let scores: Vec<f32> = reading.scores.iter().map(|score| *score as f32).collect();
    let Some(first) = reading.outputs.first() else {
        return Observation::Malformed("the model gave no output".to_owned());
    };
    if scores.len() != reading.labels.len() {
        let message = format!("output {:?} is {} for {} labels", first.name, first.kind(), reading.labels.len());
        return Observation::Malformed(message);
    }
    if reading.logits {
        return Observation::Scores(scores);
    }
    // Without a softmax step the model gives probabilities; their logarithms are logits of the same distribution.
    if scores.iter().any(|p| *p < 0.0) || scores.iter().all(|p| *p == 0.0) {
        return Observation::Malformed(format!("output {:?} is no list of probabilities", first.name));
    }
    Observation::Scores(scores.into_iter().map(|p| p.max(f32::MIN_POSITIVE).ln()).collect())
}

fn anomaly(reading: &Reading<'_>) -> Observation {
    match reading.scores[..] {
        [score] => Observation::Anomaly(score),
        ref other => Observation::Malformed(format!("the model gave {} scores, not one", other.len())),
    }
}

fn regress(reading: &Reading<'_>, bundle: &Bundle) -> Observation {
    let named = match bundle.sigma.map(|at| reading.outputs.get(at).map(Tensor::to_f64)) {
        None => None,
        Some(Some(sigma)) if sigma.len() == 1 => Some(sigma[0]),
        Some(_) => return Observation::Malformed("the model gave no sigma".to_owned()),
    };
    let (value, sigma) = match reading.scores[..] {
        [value] => (value, named),
        [value, sigma] => (value, Some(sigma)),
        ref other => {
            return Observation::Malformed(format!(
                "the model gave {} numbers: a value, or value and sigma, are wanted",
                other.len()
            ));
        }
    };
    match sigma {
        Some(sigma) if sigma < 0.0 => Observation::Malformed(format!("the sigma is {sigma}, which is less than 0")),
        _ => Observation::Value { value, sigma },
    }
}
