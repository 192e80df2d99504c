//! A sigmoid that is right in its lower tail too.
//!
//! tract's is a rational function of x plus 0.5: off by 6e-8 at most, which is everything where the sigmoid itself is of
//! that size, and by 5e-7 below -14.5, where it ends. Detectors multiply such scores, and take their logarithm.

use tract_onnx::tract_core::internal::*;

use crate::cpu::widened;

/// e^-x and e^x stay normal numbers.
const EDGE: f32 = 87.0;

element_wise!(exact_sigmoid, ExactSigmoid,
    [f32] => |_, values| { all(values); Ok(()) };
    cost: |datum_type| tvec!((Cost::FMA(datum_type), 10), (Cost::Div(datum_type), 1))
);

widened!(fn all(values: &mut [f32]) = each);

#[inline(always)]
fn each(values: &mut [f32]) {
    values.iter_mut().for_each(|value| *value = sigmoid(*value));
}

/// 1 / (1 + e^-x) to 3 units in the last place, without a branch, so that the compiler makes vectors of it.
///
/// The exponential is Cephes' `expf`: x = n ln 2 + r, |r| ≤ ln 2 / 2, e^x = 2^n P(r) (S. Moshier, Cephes, single/expf.c).
/// Beyond ±87 the result is that of ±87; NaN stays NaN.
#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    /// Adding it leaves a small number's nearest integer in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    let minus = -x.clamp(-EDGE, EDGE);
    let rounded = minus * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    // ln 2 in two parts, the first with few bits, so that n · ln 2 is exact.
    let r = minus - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_2e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 0.166_666_65;
    let p = p * r + 0.5;
    let p = p * (r * r) + r + 1.0;
    let power = f32::from_bits(rounded.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23);
    1.0 / (1.0 + p * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sigmoid_is_right_to_a_few_units_in_the_last_place() {
        let mut worst = 0.0f64;
        for step in -87_000..=87_000 {
            let x = step as f32 / 1000.0;
            let exact = 1.0 / (1.0 + (-f64::from(x)).exp());
            worst = worst.max((f64::from(sigmoid(x)) - exact).abs() / exact);
        }
        assert!(worst < 3.0 * f64::from(f32::EPSILON), "relative error {worst:e}");
        assert!(sigmoid(f32::NAN).is_nan());
        assert_eq!(sigmoid(f32::INFINITY), 1.0);
        assert!(sigmoid(f32::NEG_INFINITY) < 2e-38);
    }
}
