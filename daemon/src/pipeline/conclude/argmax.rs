//! `argmax`: the answer is the class with the highest score, which is so anyway; the step says it.

use std::sync::Arc;

use serde::Deserialize;

use super::{Conclude, ConcludeKind, Reading};
use crate::{
    bundle::Task,
    pipeline::keys::{StepFault, read},
    ports::TensorSpec,
};

pub const KIND: ConcludeKind = ConcludeKind { name: "argmax", read: new };

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Argmax {}

fn new(keys: toml::Table) -> Result<Arc<dyn Conclude>, StepFault> {
    let step: Argmax = read(keys)?;
    Ok(Arc::new(step))
}

impl Conclude for Argmax {
    fn fits(&self, task: Task, _outputs: &[TensorSpec], _labels: &[String]) -> Result<(), String> {
        if task == Task::Classify { Ok(()) } else { Err("`argmax` is for task `classify`".to_owned()) }
    }

    fn apply(&self, _reading: &mut Reading<'_>) -> Result<(), String> {
        Ok(())
    }

    fn identity(&self) -> String {
        "argmax".to_owned()
    }
}
