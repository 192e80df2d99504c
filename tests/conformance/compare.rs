//! Is an answer right? As ONNX Runtime judges itself on these cases, but integers and bools must be equal.

use picket::tensor::{Dtype, Tensor};

/// For `numpy.testing.assert_allclose`: the relative one is that of `onnx.backend.test` (`loader/__init__.py`).
const RELATIVE: f64 = 1e-3;
/// ONNX Runtime's for these cases. ONNX's own 1e-7 is below what sums of f32 can keep where they cancel out.
const ABSOLUTE: f64 = 1e-5;
/// Of half precision, as a share of the largest value: engines differ in what they round to a half between. What the golden
/// models are asked for, too.
const HALF: f64 = 1e-2;

/// # Errors
/// Says what is wrong, with the first wrong element.
pub fn compare(want: &Tensor, got: &Tensor) -> Result<(), String> {
    if want.dtype() != got.dtype() || want.shape() != got.shape() {
        return Err(format!("gives {}, want {}", kind(got), kind(want)));
    }
    if !want.dtype().is_float() {
        let size = want.dtype().size();
        let pairs = want.data().chunks_exact(size).zip(got.data().chunks_exact(size));
        return match pairs.into_iter().position(|(a, b)| a != b) {
            None => Ok(()),
            Some(index) => Err(wrong(want, got, index)),
        };
    }
    let wanted = want.to_f64();
    let half = want.dtype() == Dtype::Fp16;
    let largest = wanted.iter().filter(|value| value.is_finite()).fold(0.0, |most: f64, value| most.max(value.abs()));
    let absolute = if half { ABSOLUTE + HALF * largest } else { ABSOLUTE };
    let near = |want: f64, got: f64| {
        if !(want.is_finite() && got.is_finite()) {
            return want == got || (want.is_nan() && got.is_nan());
        }
        (want - got).abs() <= absolute + RELATIVE * want.abs()
    };
    match wanted.into_iter().zip(got.to_f64()).position(|(want, got)| !near(want, got)) {
        None => Ok(()),
        Some(index) => Err(wrong(want, got, index)),
    }
}

fn wrong(want: &Tensor, got: &Tensor, index: usize) -> String {
    let value = |tensor: &Tensor| tensor.to_f64().get(index).copied().unwrap_or(f64::NAN);
    format!("element {index} of {} is {}, want {}", kind(want), value(got), value(want))
}

fn kind(tensor: &Tensor) -> String {
    format!("{} {:?}", tensor.dtype(), tensor.shape())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_is_a_thousandth_and_nan_equals_nan() {
        let tensor = |values: &[f32]| Tensor::from_f32("y", vec![values.len()], values).unwrap();
        let want = tensor(&[100.0, f32::NAN, f32::INFINITY]);
        assert!(compare(&want, &tensor(&[100.09, f32::NAN, f32::INFINITY])).is_ok());
        assert!(compare(&want, &tensor(&[100.2, f32::NAN, f32::INFINITY])).is_err());
        assert!(compare(&want, &tensor(&[100.0, 1.0, f32::INFINITY])).is_err());
        assert!(compare(&want, &tensor(&[100.0, f32::NAN, f32::NEG_INFINITY])).is_err());
        assert!(compare(&want, &tensor(&[100.0])).is_err());
    }
}
