//! Quantisation divides by its scale.
//!
//! ONNX rounds x / scale half to even. tract multiplies by the reciprocal, which is off in the last bit, and where results
//! lie half between two codes, as means and sums of codes do, every other of these falls to the other side: one code in
//! fourteen where codes are halved.

use tract_onnx::tract_core::internal::*;

use crate::cpu::widened;

/// 1.5 · 2^23: added to a float of less than 2^22, it leaves the float rounded half to even in the low bits.
const ROUNDER: f32 = 12_582_912.0;

element_wise_oop!(quantise_u8, QuantiseU8 { scale: f32, zero: u8 },
    [f32] => u8 |op, values, codes| {
        let (low, high) = (-f32::from(op.zero), f32::from(u8::MAX) - f32::from(op.zero));
        divide_u8(values, op.scale, [low, high], op.zero, codes);
        Ok(())
    }
);

element_wise_oop!(quantise_i8, QuantiseI8 { scale: f32, zero: i8 },
    [f32] => i8 |op, values, codes| {
        let (low, high) = (f32::from(i8::MIN) - f32::from(op.zero), f32::from(i8::MAX) - f32::from(op.zero));
        divide_i8(values, op.scale, [low, high], op.zero, codes);
        Ok(())
    }
);

widened!(fn divide_u8(values: &[f32], scale: f32, bounds: [f32; 2], zero: u8, codes: &mut [u8]) = each_u8);
widened!(fn divide_i8(values: &[f32], scale: f32, bounds: [f32; 2], zero: i8, codes: &mut [i8]) = each_i8);

#[inline(always)]
fn each_u8(values: &[f32], scale: f32, [low, high]: [f32; 2], zero: u8, codes: &mut [u8]) {
    for (code, value) in codes.iter_mut().zip(values) {
        *code = low_byte(value / scale, low, high).wrapping_add(zero);
    }
}

#[inline(always)]
fn each_i8(values: &[f32], scale: f32, [low, high]: [f32; 2], zero: i8, codes: &mut [i8]) {
    for (code, value) in codes.iter_mut().zip(values) {
        *code = low_byte(value / scale, low, high).cast_signed().wrapping_add(zero);
    }
}

/// The lowest byte of the rounded value; not a number is the lowest code. Without a branch, for vectors.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the low byte is the code")]
fn low_byte(value: f32, low: f32, high: f32) -> u8 {
    let value = if value > low { value } else { low };
    let value = if value < high { value } else { high };
    (value + ROUNDER).to_bits() as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_saturate_and_what_is_no_number_is_the_lowest_code() {
        let code = |value: f32| low_byte(value / 0.5, -100.0, 155.0).wrapping_add(100);
        assert_eq!([-50.0, -50.3, 0.0, 0.25, 0.75, 77.5, 1e30, f32::NAN].map(code), [0, 0, 100, 100, 102, 255, 255, 0]);
    }
}
