//! `sigmoid`: 1 / (1 + e^-x) of each score: logits become probabilities.

use std::sync::Arc;

use serde::Deserialize;

use super::{Conclude, ConcludeKind, Reading};
use crate::{
    bundle::Task,
    pipeline::keys::{StepFault, read},
    ports::TensorSpec,
};

pub const KIND: ConcludeKind = ConcludeKind { name: "sigmoid", read: new };

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sigmoid {}

fn new(keys: toml::Table) -> Result<Arc<dyn Conclude>, StepFault> {
    let step: Sigmoid = read(keys)?;
    Ok(Arc::new(step))
}

impl Conclude for Sigmoid {
    fn fits(&self, task: Task, _outputs: &[TensorSpec], _labels: &[String]) -> Result<(), String> {
        match task {
            Task::Classify | Task::Anomaly => Ok(()),
            other => Err(format!("`sigmoid` is for scores, and task `{}` has none", other.name())),
        }
    }

    fn apply(&self, reading: &mut Reading<'_>) -> Result<(), String> {
        reading.scores.iter_mut().for_each(|score| *score = sigmoid(*score));
        Ok(())
    }

    fn identity(&self) -> String {
        "sigmoid".to_owned()
    }
}

pub(super) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}
