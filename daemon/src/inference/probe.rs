//! A model without golden vectors shows at least that it runs.

use picket_core::job::Failure;

use crate::{
    ports::{Model, TensorSpec},
    tensor::{Dtype, Tensor},
};

/// Runs the model once on zeros, and if that fails on ones, which some operators want: a model that loads and then cannot
/// answer is refused before anybody asks. What takes inputs of any shape is left alone: that it does not run on the
/// smallest ones says nothing.
///
/// # Errors
/// `model/unsupported` when the model does not run.
pub(super) fn probe(model: &dyn Model, mut run: impl FnMut(Vec<Tensor>) -> Result<(), Failure>) -> Result<(), Failure> {
    let inputs = &model.signature().inputs;
    let Some(zeros) = filled(inputs, 0) else { return Ok(()) };
    let Err(failure) = run(zeros) else { return Ok(()) };
    let ones = filled(inputs, 1).unwrap_or_default();
    run(ones).map_err(|_| Failure::new("model/unsupported", format!("it loads and does not run: {}", failure.message)))
}

/// A tensor for every input with `value` in each element; `None` when a shape is not fixed.
fn filled(inputs: &[TensorSpec], value: u8) -> Option<Vec<Tensor>> {
    let tensor = |input: &TensorSpec| {
        let shape = input.shape.iter().copied().collect::<Option<Vec<usize>>>()?;
        let data = element(input.dtype, value).repeat(shape.iter().product());
        Tensor::new(input.name.as_str(), input.dtype, shape, data).ok()
    };
    inputs.iter().map(tensor).collect()
}

fn element(dtype: Dtype, value: u8) -> Vec<u8> {
    match dtype {
        Dtype::Fp16 => half::f16::from_f32(f32::from(value)).to_le_bytes().to_vec(),
        Dtype::Fp32 => f32::from(value).to_le_bytes().to_vec(),
        Dtype::Fp64 => f64::from(value).to_le_bytes().to_vec(),
        _ => u64::from(value).to_le_bytes()[..dtype.size()].to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::ports::{BackendError, Runner, Signature};

    struct Fixed(Signature);

    impl Model for Fixed {
        fn signature(&self) -> &Signature {
            &self.0
        }

        fn runner(self: Arc<Self>) -> Result<Box<dyn Runner>, BackendError> {
            Err(BackendError::Run("not asked".to_owned()))
        }
    }

    fn model(shape: &[Option<usize>]) -> Fixed {
        let input = TensorSpec { name: "x".to_owned(), dtype: Dtype::Fp32, shape: shape.to_vec() };
        Fixed(Signature { inputs: vec![input], outputs: Vec::new() })
    }

    fn fails_below(least: f32) -> impl FnMut(Vec<Tensor>) -> Result<(), Failure> {
        move |inputs| {
            if inputs[0].to_f32()[0] < least { Err(Failure::new("model/failed", "a reason")) } else { Ok(()) }
        }
    }

    #[test]
    fn what_runs_on_zeros_or_on_ones_is_served() {
        let model = model(&[Some(2), Some(3)]);
        assert!(probe(&model, fails_below(0.0)).is_ok());
        assert!(probe(&model, fails_below(1.0)).is_ok());
    }

    #[test]
    fn what_runs_on_neither_is_refused_with_the_first_reason() {
        let failure = probe(&model(&[Some(2)]), fails_below(2.0)).unwrap_err();
        assert_eq!(
            (failure.code, failure.message.as_str()),
            ("model/unsupported", "it loads and does not run: a reason")
        );
    }

    #[test]
    fn an_open_shape_is_not_tried() {
        assert!(probe(&model(&[None, Some(2)]), fails_below(2.0)).is_ok());
    }
}
