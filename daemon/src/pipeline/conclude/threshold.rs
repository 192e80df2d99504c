//! `threshold`: boxes with at least this score are the answer. What is below it, and what is `grey` near it, still says how sure the
//! answer is (escalation.md 1.3).

use std::sync::Arc;

use serde::Deserialize;

use super::{Conclude, ConcludeKind, Reading, Role};
use crate::{
    bundle::Task,
    pipeline::keys::{StepFault, bits, read},
    ports::TensorSpec,
};

pub const KIND: ConcludeKind = ConcludeKind { name: "threshold", read: new };

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Threshold {
    score: f32,
    #[serde(default = "around")]
    grey: f32,
}

const fn around() -> f32 {
    0.1
}

fn new(keys: toml::Table) -> Result<Arc<dyn Conclude>, StepFault> {
    let step: Threshold = read(keys)?;
    if !(0.0..=1.0).contains(&step.score) || !(0.0..=1.0).contains(&step.grey) {
        return Err(StepFault::invalid("`score` and `grey` lie between 0 and 1"));
    }
    Ok(Arc::new(step))
}

impl Conclude for Threshold {
    fn fits(&self, task: Task, _outputs: &[TensorSpec], _labels: &[String]) -> Result<(), String> {
        super::for_detect("threshold", task)
    }

    fn apply(&self, reading: &mut Reading<'_>) -> Result<(), String> {
        (reading.shown, reading.grey) = (self.score, self.grey);
        Ok(())
    }

    fn identity(&self) -> String {
        format!("threshold {}", bits(&[self.score, self.grey]))
    }

    fn role(&self) -> Role {
        Role::Shows
    }
}
