//! From sums back to codes.

use tract_onnx::prelude::{DatumType, TractError, TractResult};

/// The codes that an operator gives: `value / scale`, rounded half to even, plus `zero`, between `low` and `high`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Codes {
    pub signed: bool,
    pub zero: i32,
    pub low: i32,
    pub high: i32,
}

/// 1.5 · 2^23: added to a float of less than 2^22, it leaves the float rounded half to even in the low bits.
const ROUNDER: f32 = 12_582_912.0;

impl Codes {
    /// All codes of an 8-bit type; `None` for other types.
    pub const fn all(datum_type: DatumType, zero: i32) -> Option<Self> {
        match datum_type {
            DatumType::U8 => Some(Self { signed: false, zero, low: 0, high: 255 }),
            DatumType::I8 => Some(Self { signed: true, zero, low: -128, high: 127 }),
            _ => None,
        }
    }

    pub const fn datum_type(self) -> DatumType {
        if self.signed { DatumType::I8 } else { DatumType::U8 }
    }

    /// For the loops: see [`Rounding::byte`]. `recip` is one over the codes' scale.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the byte of a code")]
    pub(super) const fn rounding(self, recip: f32) -> Rounding {
        Rounding {
            recip,
            low: (self.low - self.zero) as f32,
            high: (self.high - self.zero) as f32,
            zero: self.zero as u8,
        }
    }

    /// The bytes' type, for reading: is it what the model said?
    pub(super) fn check(self, datum_type: DatumType) -> TractResult<()> {
        if datum_type == self.datum_type() {
            return Ok(());
        }
        Err(TractError::msg(format!("expected codes of {:?}, got {datum_type:?}", self.datum_type())))
    }
}

/// [`Codes`] as the loops need them.
#[derive(Clone, Copy)]
pub(super) struct Rounding {
    recip: f32,
    low: f32,
    high: f32,
    zero: u8,
}

impl Rounding {
    /// The byte of the code of `value`. Not a number becomes the lowest code.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the low byte is the code")]
    pub(super) fn byte(self, value: f32) -> u8 {
        let value = value * self.recip;
        // Comparisons, not f32::max: that one's word on NaN costs two more instructions.
        let value = if value > self.low { value } else { self.low };
        let value = if value < self.high { value } else { self.high };
        ((value + ROUNDER).to_bits() as u8).wrapping_add(self.zero)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_round_half_to_even_and_saturate() {
        let rounding = Codes::all(DatumType::I8, -128).unwrap().rounding(2.0);
        let code = |value: f32| i32::from(rounding.byte(value).cast_signed());
        assert_eq!([0.25, 0.75, 1.25, 0.2499].map(code), [-128, -126, -126, -128]);
        assert_eq!([-3.0, 127.3, 1e9, f32::NEG_INFINITY, f32::NAN].map(code), [-128, 127, 127, -128, -128]);
        let rounding = Codes { low: 20, high: 200, ..Codes::all(DatumType::U8, 20).unwrap() }.rounding(1.0);
        assert_eq!([-0.5, 0.6, 300.0].map(|value| rounding.byte(value)), [20, 21, 200]);
    }
}
