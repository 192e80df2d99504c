//! The bundle's `[[prepare]]` steps: from what a job brings to what the model takes.

use picket_core::job::Failure;

use crate::{bundle::PrepareStep, tensor::Tensor};

/// Applies the steps in order to every input. Steps compute in f32, so an input becomes FP32.
///
/// # Errors
/// `input/shape-mismatch` when a step does not fit the tensor's shape.
pub fn prepare(tensors: Vec<Tensor>, steps: &[PrepareStep]) -> Result<Vec<Tensor>, Failure> {
    if steps.is_empty() {
        return Ok(tensors);
    }
    tensors.into_iter().map(|tensor| steps.iter().try_fold(tensor, apply)).collect()
}

fn apply(tensor: Tensor, step: &PrepareStep) -> Result<Tensor, Failure> {
    let mut values = tensor.to_f32();
    match step {
        PrepareStep::Scale { factor } => values.iter_mut().for_each(|value| *value *= factor),
        PrepareStep::Normalize { axis, mean, std } => normalize(&mut values, tensor.shape(), *axis, mean, std)?,
    }
    Tensor::from_f32(tensor.name.as_str(), tensor.shape().to_vec(), &values)
        .map_err(|error| Failure::new("input/shape-mismatch", error.to_string()))
}

/// `(x - mean[c]) / std[c]`, where `c` is the index along `axis`.
fn normalize(values: &mut [f32], shape: &[usize], axis: usize, mean: &[f32], std: &[f32]) -> Result<(), Failure> {
    if shape.get(axis) != Some(&mean.len()) || mean.len() != std.len() {
        let message = format!("normalize has {} channels along axis {axis} of {shape:?}", mean.len());
        return Err(Failure::new("input/shape-mismatch", message));
    }
    let inner: usize = shape[axis + 1..].iter().product();
    for (block, channel) in values.chunks_exact_mut(inner.max(1)).zip((0..mean.len()).cycle()) {
        block.iter_mut().for_each(|value| *value = (*value - mean[channel]) / std[channel]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalizes_each_channel() {
        let tensor = Tensor::from_f32("x", vec![1, 2, 2], &[1.0, 3.0, 10.0, 30.0]).unwrap();
        let step = PrepareStep::Normalize { axis: 1, mean: vec![1.0, 10.0], std: vec![2.0, 20.0] };
        let out = prepare(vec![tensor], &[step]).unwrap();
        assert_eq!(out[0].to_f32(), vec![0.0, 1.0, 0.0, 1.0]);
    }

    #[test]
    fn scales_integers_as_floats() {
        let tensor = Tensor::new("x", crate::tensor::Dtype::Uint8, vec![2], vec![8u8, 16]).unwrap();
        let out = prepare(vec![tensor], &[PrepareStep::Scale { factor: 0.0625 }]).unwrap();
        assert_eq!(out[0].kind(), "2 FP32");
        assert_eq!(out[0].to_f32(), vec![0.5, 1.0]);
    }
}
