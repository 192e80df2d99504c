//! Operators on 8-bit codes, for models that were quantised: what a quantised model says in floating point between a
//! DequantizeLinear and a QuantizeLinear, they compute in integers.
//!
//! tract runs such a model in f32 and converts to codes and back around every layer, which costs more than the arithmetic.
//! Here tensors stay codes, channels last, from layer to layer; a layer widens a band of its input that fits into the
//! cache, with the zero point taken off so that padding is zero, and sums products exactly. Where the processor multiplies
//! bytes faster ([`narrow`]), they stay bytes.
//!
//! Every product of codes less their zero points is at most 255², so sums of [`MOST_TERMS`] are exact in f32, and of
//! [`MOST_TERMS_OF_I32`] in i32.

mod add;
mod codes;
mod conv;
mod depthwise;
mod ends;
mod geometry;
mod narrow;
mod tile;

#[cfg(test)]
mod tests;

pub use add::QuantisedAdd;
pub use codes::Codes;
pub use conv::{Packed, QuantisedConv, lanes};
pub use depthwise::{LANES, QuantisedDepthwise};
pub use ends::CHANNELS;
pub use geometry::Geometry;

/// Terms of a sum that f32 holds exactly: 255² · 256 < 2^24.
pub const MOST_TERMS: usize = 256;
/// Terms of a sum that i32 holds: 255² · 33,000 < 2^31.
pub const MOST_TERMS_OF_I32: usize = 33_000;
