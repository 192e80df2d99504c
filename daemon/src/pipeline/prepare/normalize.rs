//! `normalize`: `(x - mean[c]) / std[c]`, where `c` is the index along `axis`; in f32.

use std::sync::Arc;

use picket_core::job::Failure;
use serde::Deserialize;

use super::{Prepare, PrepareKind};
use crate::{
    pipeline::{
        draft::Draft,
        keys::{StepFault, bits, read},
    },
    ports::TensorSpec,
    tensor::Dtype,
};

pub const KIND: PrepareKind = PrepareKind { name: "normalize", read: new };

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Normalize {
    axis: usize,
    mean: Vec<f32>,
    std: Vec<f32>,
}

fn new(keys: toml::Table) -> Result<Arc<dyn Prepare>, StepFault> {
    let step: Normalize = read(keys)?;
    let Normalize { mean, std, .. } = &step;
    if mean.len() != std.len() {
        let message = format!("`mean` has {} values, `std` has {}", mean.len(), std.len());
        return Err(StepFault::invalid(message));
    }
    if mean.iter().chain(std).any(|value| !value.is_finite()) || std.contains(&0.0) {
        return Err(StepFault::invalid("`mean` and `std` must be finite, and `std` not 0"));
    }
    Ok(Arc::new(step))
}

impl Prepare for Normalize {
    fn shape(&self, spec: TensorSpec) -> Result<TensorSpec, String> {
        let Self { axis, mean, .. } = self;
        if spec.shape.get(*axis) != Some(&Some(mean.len())) {
            return Err(format!(
                "`mean` has {} values along axis {axis}, but input `{}` is {}",
                mean.len(),
                spec.name,
                spec.kind()
            ));
        }
        Ok(TensorSpec { dtype: Dtype::Fp32, ..spec })
    }

    fn apply(&self, mut draft: Draft) -> Result<Draft, Failure> {
        let Self { axis, mean, std } = self;
        if draft.shape.get(*axis) != Some(&mean.len()) {
            let message = format!("normalize has {} channels along axis {axis} of {:?}", mean.len(), draft.shape);
            return Err(Failure::new("input/shape-mismatch", message));
        }
        let inner: usize = draft.shape[axis + 1..].iter().product();
        draft.reckon(|values| {
            for (block, channel) in values.chunks_exact_mut(inner.max(1)).zip((0..mean.len()).cycle()) {
                block.iter_mut().for_each(|value| *value = (*value - mean[channel]) / std[channel]);
            }
        });
        Ok(draft)
    }

    fn identity(&self) -> String {
        format!("normalize {} {} {}", self.axis, bits(&self.mean), bits(&self.std))
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        pipeline::prepare::{prepare, tests_support::step},
        tensor::Tensor,
    };

    #[test]
    fn normalizes_each_channel() {
        let tensor = Tensor::from_f32("x", vec![1, 2, 2], &[1.0, 3.0, 10.0, 30.0]).unwrap();
        let step = step("step = \"normalize\"\naxis = 1\nmean = [1.0, 10.0]\nstd = [2.0, 20.0]");
        let out = prepare(vec![tensor], &[step]).unwrap().inputs;
        assert_eq!(out[0].to_f32(), vec![0.0, 1.0, 0.0, 1.0]);
    }
}
