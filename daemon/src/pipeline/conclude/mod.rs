//! The bundle's `[[conclude]]` steps: what the outputs say, as far as the decision needs it.

mod argmax;
mod reconstruction_error;
mod softmax;
mod windows;

use std::{fmt, sync::Arc};

use picket_core::{boxes::Found, escalation::decide::Observation};

use super::keys::StepFault;
pub use super::view::View;
use crate::{
    bundle::{Bundle, Task},
    ports::TensorSpec,
    tensor::Tensor,
};
pub use windows::{Gathering, Take};

/// The registration table: to add a step, add its file, its `mod` line and its line here.
pub static CONCLUDE: &[ConcludeKind] = &[softmax::KIND, argmax::KIND, windows::KIND, reconstruction_error::KIND];

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
    /// In the coordinates that the model sees.
    pub boxes: Vec<Found>,
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
    let Some(first) = outputs.first() else {
        return Err(Observation::Malformed("the model gave no output".to_owned()));
    };
    let labels = &bundle.labels;
    let mut reading =
        Reading { inputs, outputs, labels, view, scores: first.to_f64(), logits: false, boxes: Vec::new() };
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
