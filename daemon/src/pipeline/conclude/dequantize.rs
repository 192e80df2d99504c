//! `dequantize`: (q - zero_point) · scale of the first output: DequantizeLinear of ONNX.

use std::sync::Arc;

use serde::Deserialize;

use super::{Conclude, ConcludeKind, Reading};
use crate::{
    bundle::Task,
    pipeline::keys::{StepFault, bits, read},
    ports::TensorSpec,
};

pub const KIND: ConcludeKind = ConcludeKind { name: "dequantize", read: new };

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Dequantize {
    scale: f32,
    #[serde(default)]
    zero_point: i16,
}

fn new(keys: toml::Table) -> Result<Arc<dyn Conclude>, StepFault> {
    let step: Dequantize = read(keys)?;
    if !(step.scale.is_finite() && step.scale > 0.0) {
        return Err(StepFault::invalid("`scale` must be finite, and more than 0"));
    }
    Ok(Arc::new(step))
}

impl Conclude for Dequantize {
    fn fits(&self, task: Task, outputs: &[TensorSpec], _labels: &[String]) -> Result<(), String> {
        if matches!(task, Task::Tensor | Task::Detect) {
            return Err(format!("`dequantize` has no scores in task `{}`", task.name()));
        }
        match outputs.first() {
            Some(output) if output.dtype.is_float() => Err(format!("output `{}` is {}", output.name, output.kind())),
            _ => Ok(()),
        }
    }

    fn apply(&self, reading: &mut Reading<'_>) -> Result<(), String> {
        let (scale, zero) = (f64::from(self.scale), f64::from(self.zero_point));
        reading.scores.iter_mut().for_each(|score| *score = (*score - zero) * scale);
        Ok(())
    }

    fn identity(&self) -> String {
        format!("dequantize {} {}", bits(&[self.scale]), self.zero_point)
    }
}
