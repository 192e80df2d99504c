//! `transpose`: axis `i` of what comes out is axis `axes[i]` of what goes in.

use std::sync::Arc;

use picket_core::{job::Failure, limits};
use serde::Deserialize;

use super::{Prepare, PrepareKind};
use crate::{
    pipeline::{
        draft::{Draft, Values},
        keys::{StepFault, read},
    },
    ports::TensorSpec,
};

pub const KIND: PrepareKind = PrepareKind { name: "transpose", read: new };

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Transpose {
    axes: Vec<usize>,
}

fn new(keys: toml::Table) -> Result<Arc<dyn Prepare>, StepFault> {
    let step: Transpose = read(keys)?;
    let mut sorted = step.axes.clone();
    sorted.sort_unstable();
    if sorted.len() > limits::MAX_TENSOR_RANK || !sorted.iter().copied().eq(0..sorted.len()) {
        return Err(StepFault::invalid(format!("`axes` is {:?}; it names each axis once, from 0", step.axes)));
    }
    Ok(Arc::new(step))
}

impl Transpose {
    fn moved<T: Copy>(&self, was: &[T]) -> Option<Vec<T>> {
        (was.len() == self.axes.len()).then(|| self.axes.iter().map(|axis| was[*axis]).collect())
    }
}

impl Prepare for Transpose {
    fn shape(&self, spec: TensorSpec) -> Result<TensorSpec, String> {
        match self.moved(&spec.shape) {
            Some(shape) => Ok(TensorSpec { shape, ..spec }),
            None => Err(format!("input `{}` is {}, which has not {} axes", spec.name, spec.kind(), self.axes.len())),
        }
    }

    fn apply(&self, draft: Draft) -> Result<Draft, Failure> {
        let Some(shape) = self.moved(&draft.shape) else {
            let message = format!("{:?} has not {} axes", draft.shape, self.axes.len());
            return Err(Failure::new("input/shape-mismatch", message));
        };
        let mut strides = vec![1; draft.shape.len()];
        for axis in (1..strides.len()).rev() {
            strides[axis - 1] = strides[axis] * draft.shape[axis];
        }
        let strides: Vec<usize> = self.axes.iter().map(|axis| strides[*axis]).collect();
        let values = match &draft.values {
            Values::Unsigned(values) => Values::Unsigned(gather(values, &shape, &strides)),
            Values::Signed(values) => Values::Signed(gather(values, &shape, &strides)),
            Values::Floats(values) => Values::Floats(gather(values, &shape, &strides)),
        };
        Ok(Draft { shape, values, ..draft })
    }

    fn identity(&self) -> String {
        format!("transpose {:?}", self.axes)
    }
}

/// The elements of a tensor of this shape, whose axes have these strides in `values`, in C order.
fn gather<T: Copy>(values: &[T], shape: &[usize], strides: &[usize]) -> Vec<T> {
    let mut index = vec![0; shape.len()];
    let mut at = 0;
    let mut out = Vec::with_capacity(values.len());
    while out.len() < values.len() {
        out.push(values[at]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            at += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            at -= strides[axis] * shape[axis];
            index[axis] = 0;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use crate::{
        pipeline::prepare::{prepare, tests_support::step},
        tensor::{Dtype, Tensor},
    };

    #[test]
    fn rows_become_columns() {
        let tensor = Tensor::from_f32("x", vec![2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
        let out = prepare(vec![tensor], &[step("step = \"transpose\"\naxes = [1, 0]")]).unwrap().inputs;
        assert_eq!((out[0].kind(), out[0].to_f32()), ("3x2 FP32".to_owned(), vec![1.0, 4.0, 2.0, 5.0, 3.0, 6.0]));
    }

    #[test]
    fn axes_turn_round_and_bytes_stay_bytes() {
        let tensor = Tensor::new("x", Dtype::Uint8, vec![1, 2, 3], vec![1u8, 2, 3, 4, 5, 6]).unwrap();
        let out = prepare(vec![tensor], &[step("step = \"transpose\"\naxes = [2, 0, 1]")]).unwrap().inputs;
        assert_eq!((out[0].kind(), out[0].data().to_vec()), ("3x1x2 UINT8".to_owned(), vec![1, 4, 2, 5, 3, 6]));
    }
}
