//! `softmax`: the scores are logits. Without it they are probabilities.

use std::sync::Arc;

use serde::Deserialize;

use super::{Conclude, ConcludeKind, Reading};
use crate::{
    bundle::Task,
    pipeline::keys::{StepFault, read},
    ports::TensorSpec,
};

pub const KIND: ConcludeKind = ConcludeKind { name: "softmax", read: new };

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Softmax {}

fn new(keys: toml::Table) -> Result<Arc<dyn Conclude>, StepFault> {
    let step: Softmax = read(keys)?;
    Ok(Arc::new(step))
}

impl Conclude for Softmax {
    fn fits(&self, task: Task, _outputs: &[TensorSpec], _labels: &[String]) -> Result<(), String> {
        if task == Task::Classify { Ok(()) } else { Err("`softmax` is for task `classify`".to_owned()) }
    }

    fn apply(&self, reading: &mut Reading<'_>) -> Result<(), String> {
        reading.logits = true;
        Ok(())
    }

    fn identity(&self) -> String {
        "softmax".to_owned()
    }
}
