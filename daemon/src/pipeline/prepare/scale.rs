//! `scale`: `x · factor`, in f32.

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

pub const KIND: PrepareKind = PrepareKind { name: "scale", read: new };

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Scale {
    factor: f32,
}

fn new(keys: toml::Table) -> Result<Arc<dyn Prepare>, StepFault> {
    let scale: Scale = read(keys)?;
    if !scale.factor.is_finite() {
        return Err(StepFault::invalid("`factor` must be finite"));
    }
    Ok(Arc::new(scale))
}

impl Prepare for Scale {
    fn shape(&self, spec: TensorSpec) -> Result<TensorSpec, String> {
        Ok(TensorSpec { dtype: Dtype::Fp32, ..spec })
    }

    fn apply(&self, mut draft: Draft) -> Result<Draft, Failure> {
        draft.reckon(|values| values.iter_mut().for_each(|value| *value *= self.factor));
        Ok(draft)
    }

    fn identity(&self) -> String {
        format!("scale {}", bits(&[self.factor]))
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        pipeline::prepare::{prepare, tests_support::step},
        tensor::{Dtype, Tensor},
    };

    #[test]
    fn scales_integers_as_floats() {
        let tensor = Tensor::new("x", Dtype::Uint8, vec![2], vec![8u8, 16]).unwrap();
        let out = prepare(vec![tensor], &[step("step = \"scale\"\nfactor = 0.0625")]).unwrap().inputs;
        assert_eq!(out[0].kind(), "2 FP32");
        assert_eq!(out[0].to_f32(), vec![0.5, 1.0]);
    }
}
