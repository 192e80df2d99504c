//! `reshape`: the same elements in another shape.

use std::sync::Arc;

use picket_core::job::Failure;
use serde::Deserialize;

use super::{Prepare, PrepareKind};
use crate::{
    pipeline::{
        draft::Draft,
        keys::{StepFault, read},
    },
    ports::TensorSpec,
    tensor::elements,
};

pub const KIND: PrepareKind = PrepareKind { name: "reshape", read: new };

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reshape {
    shape: Vec<usize>,
}

fn new(keys: toml::Table) -> Result<Arc<dyn Prepare>, StepFault> {
    let step: Reshape = read(keys)?;
    if step.shape.contains(&0) || elements(&step.shape).is_none() {
        return Err(StepFault::invalid(
            "`shape` has dimensions of at least 1, and no more elements than a tensor may have",
        ));
    }
    Ok(Arc::new(step))
}

impl Prepare for Reshape {
    fn shape(&self, spec: TensorSpec) -> Result<TensorSpec, String> {
        let was: Option<Vec<usize>> = spec.shape.iter().copied().collect();
        if was.as_deref().and_then(elements) != elements(&self.shape) {
            return Err(format!("input `{}` is {}, which does not make {:?}", spec.name, spec.kind(), self.shape));
        }
        Ok(TensorSpec { shape: self.shape.iter().copied().map(Some).collect(), ..spec })
    }

    fn apply(&self, draft: Draft) -> Result<Draft, Failure> {
        if elements(&draft.shape) != elements(&self.shape) {
            let message = format!("{:?} does not make {:?}", draft.shape, self.shape);
            return Err(Failure::new("input/shape-mismatch", message));
        }
        Ok(Draft { shape: self.shape.clone(), ..draft })
    }

    fn identity(&self) -> String {
        format!("reshape {:?}", self.shape)
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        pipeline::prepare::{prepare, tests_support::step},
        ports::TensorSpec,
        tensor::{Dtype, Tensor},
    };

    #[test]
    fn the_elements_stay_in_their_order() {
        let tensor = Tensor::from_f32("x", vec![4], &[1.0, 2.0, 3.0, 4.0]).unwrap();
        let out = prepare(vec![tensor], &[step("step = \"reshape\"\nshape = [1, 2, 2]")]).unwrap().inputs;
        assert_eq!((out[0].kind(), out[0].to_f32()), ("1x2x2 FP32".to_owned(), vec![1.0, 2.0, 3.0, 4.0]));
    }

    #[test]
    fn a_shape_of_other_elements_is_refused_before_anything_runs() {
        let step = step("step = \"reshape\"\nshape = [3, 2]").step;
        let spec = |shape: Vec<Option<usize>>| TensorSpec { name: "x".into(), dtype: Dtype::Fp32, shape };
        assert!(step.shape(spec(vec![Some(6)])).is_ok());
        for shape in [vec![Some(5)], vec![None, Some(2)]] {
            assert!(step.shape(spec(shape)).unwrap_err().contains("does not make"));
        }
    }
}
