//! The values of one tensor: from JSON text straight to little-endian bytes, and back.
//!
//! serde_json has proved the text to be JSON by the time it comes here, so that a scan for commas and brackets finds every
//! value. `str::parse` then rounds correctly, which serde_json by default does not, and needs no tree of values.

use half::f16;
use picket_core::job::Failure;

use super::{tensors::Nulls, undecodable};
use crate::tensor::{Dtype, Tensor, shape_text};

/// Why a text is no value of a type.
enum Bad {
    Type,
    NonFinite,
}

/// `count` values of `text`, an array that is flat or nested like `shape`.
pub(super) fn decode(
    name: &str,
    dtype: Dtype,
    shape: &[usize],
    count: usize,
    text: &str,
    nulls: Nulls,
) -> Result<Vec<u8>, Failure> {
    if !text.starts_with('[') {
        return Err(undecodable(format!("tensor `{name}`: `data` is an array")));
    }
    // Every value takes two characters at least: a shape alone reserves no memory.
    let mut out = Vec::with_capacity(count.min(text.len() / 2 + 1) * dtype.size());
    let scan = Scan { name, dtype, shape, count };
    match dtype {
        Dtype::Bool => scan.values(text, |value| {
            out.push(match value {
                "true" => 1,
                "false" => 0,
                _ => return Err(Bad::Type),
            });
            Ok(())
        }),
        Dtype::Int8 => scan.values(text, |v| whole::<i8>(v).map(|n| out.extend_from_slice(&n.to_le_bytes()))),
        Dtype::Int16 => scan.values(text, |v| whole::<i16>(v).map(|n| out.extend_from_slice(&n.to_le_bytes()))),
        Dtype::Int32 => scan.values(text, |v| whole::<i32>(v).map(|n| out.extend_from_slice(&n.to_le_bytes()))),
        Dtype::Int64 => scan.values(text, |v| whole::<i64>(v).map(|n| out.extend_from_slice(&n.to_le_bytes()))),
        Dtype::Uint8 => scan.values(text, |v| whole::<u8>(v).map(|n| out.extend_from_slice(&n.to_le_bytes()))),
        Dtype::Uint16 => scan.values(text, |v| whole::<u16>(v).map(|n| out.extend_from_slice(&n.to_le_bytes()))),
        Dtype::Uint32 => scan.values(text, |v| whole::<u32>(v).map(|n| out.extend_from_slice(&n.to_le_bytes()))),
        Dtype::Uint64 => scan.values(text, |v| whole::<u64>(v).map(|n| out.extend_from_slice(&n.to_le_bytes()))),
        Dtype::Fp16 => scan.values(text, |v| {
            let number = real(v, nulls, f64::NAN)?;
            let half = f16::from_f64(number);
            finite_or_null(half.is_finite(), v)?;
            out.extend_from_slice(&half.to_le_bytes());
            Ok(())
        }),
        Dtype::Fp32 => scan.values(text, |v| {
            let number = real(v, nulls, f32::NAN)?;
            finite_or_null(number.is_finite(), v)?;
            out.extend_from_slice(&number.to_le_bytes());
            Ok(())
        }),
        Dtype::Fp64 => scan.values(text, |v| {
            let number = real(v, nulls, f64::NAN)?;
            finite_or_null(number.is_finite(), v)?;
            out.extend_from_slice(&number.to_le_bytes());
            Ok(())
        }),
    }?;
    Ok(out)
}

/// An integer, also when it is written `3.0` or `1e3`, as some JSON writers do.
fn whole<T: TryFrom<i128>>(text: &str) -> Result<T, Bad> {
    let number = match text.parse::<i64>() {
        Ok(number) => i128::from(number),
        Err(_) => match text.parse::<i128>() {
            Ok(number) => number,
            // Below 2^53 every whole number is exact; above, the text may have meant another one.
            Err(_) => match text.parse::<f64>() {
                Ok(real) if real.fract() == 0.0 && real.abs() < 9_007_199_254_740_992.0 => real as i128,
                _ => return Err(Bad::Type),
            },
        },
    };
    T::try_from(number).map_err(|_| Bad::Type)
}

fn real<T: std::str::FromStr>(text: &str, nulls: Nulls, nan: T) -> Result<T, Bad> {
    if text == "null" {
        return if nulls == Nulls::AreNan { Ok(nan) } else { Err(Bad::NonFinite) };
    }
    text.parse().map_err(|_| Bad::Type)
}

/// A number of JSON that became infinite was too large for its type; a NaN can only be a `null` that was let through.
fn finite_or_null(finite: bool, text: &str) -> Result<(), Bad> {
    if finite || text == "null" { Ok(()) } else { Err(Bad::NonFinite) }
}

struct Scan<'a> {
    name: &'a str,
    dtype: Dtype,
    shape: &'a [usize],
    count: usize,
}

impl Scan<'_> {
    /// Calls `each` for every value, and checks the nesting and the number of values against the shape.
    fn values(&self, text: &str, mut each: impl FnMut(&str) -> Result<(), Bad>) -> Result<(), Failure> {
        let bytes = text.as_bytes();
        // Number of items so far in every open array, the outermost first.
        let mut open: Vec<usize> = Vec::new();
        let (mut at, mut found, mut nested) = (0, 0usize, false);
        while let Some(byte) = bytes.get(at) {
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' | b',' => at += 1,
                b'[' => {
                    if open.len() == self.shape.len().max(1) {
                        return Err(self.nesting());
                    }
                    nested |= !open.is_empty();
                    count_item(&mut open);
                    open.push(0);
                    at += 1;
                }
                b']' => {
                    let items = open.pop();
                    if nested && items != self.shape.get(open.len()).copied() {
                        return Err(self.nesting());
                    }
                    at += 1;
                }
                _ => {
                    let rest = &bytes[at..];
                    let end = rest.iter().position(|b| matches!(b, b',' | b']' | b' ' | b'\t' | b'\n' | b'\r'));
                    let value = text.get(at..at + end.unwrap_or(rest.len())).unwrap_or_default();
                    if found < self.count {
                        each(value).map_err(|bad| self.bad_value(found, value, &bad))?;
                    }
                    found += 1;
                    count_item(&mut open);
                    at += value.len().max(1);
                }
            }
        }
        if found != self.count {
            let message = format!("tensor `{}` has not as many values as its shape says", self.name);
            return Err(Failure::new("input/shape-mismatch", message)
                .expected(format!("{} values", self.count), format!("{found} values")));
        }
        Ok(())
    }

    fn nesting(&self) -> Failure {
        let message = format!("tensor `{}`: `data` is neither flat nor nested like its shape", self.name);
        Failure::new("input/shape-mismatch", message).expected(shape_text(self.shape), "another nesting")
    }

    fn bad_value(&self, index: usize, value: &str, bad: &Bad) -> Failure {
        let shown: String = value.chars().take(40).collect();
        let (code, what) = match bad {
            Bad::Type => ("input/dtype-mismatch", "is no value of its type"),
            Bad::NonFinite => ("input/non-finite", "is not a finite number of its type"),
        };
        let message = format!("tensor `{}`: value {index}, {shown}, {what}", self.name);
        Failure::new(code, message).expected(self.dtype.name(), shown)
    }
}

/// One more item in the innermost open array.
fn count_item(open: &mut [usize]) {
    if let Some(items) = open.last_mut() {
        *items += 1;
    }
}

/// Appends the values of a tensor as one flat JSON array: floats in the shortest form that reads back to the same bits,
/// `null` for what JSON has no number for (NaN and the infinities).
pub(super) fn encode(tensor: &Tensor, out: &mut Vec<u8>) {
    let size = tensor.dtype().size();
    out.reserve(tensor.elements() * (2 * size + 2) + 2);
    out.push(b'[');
    for (index, bytes) in tensor.data().chunks_exact(size).enumerate() {
        if index > 0 {
            out.push(b',');
        }
        encode_value(tensor.dtype(), bytes, out);
    }
    out.push(b']');
}

fn encode_value(dtype: Dtype, bytes: &[u8], out: &mut Vec<u8>) {
    fn fixed<const N: usize>(bytes: &[u8]) -> [u8; N] {
        let mut array = [0; N];
        array.copy_from_slice(bytes);
        array
    }
    let written = match dtype {
        Dtype::Bool => serde_json::to_writer(out, &(bytes[0] != 0)),
        Dtype::Int8 => serde_json::to_writer(out, &i8::from_le_bytes(fixed(bytes))),
        Dtype::Uint8 => serde_json::to_writer(out, &u8::from_le_bytes(fixed(bytes))),
        Dtype::Int16 => serde_json::to_writer(out, &i16::from_le_bytes(fixed(bytes))),
        Dtype::Uint16 => serde_json::to_writer(out, &u16::from_le_bytes(fixed(bytes))),
        Dtype::Int32 => serde_json::to_writer(out, &i32::from_le_bytes(fixed(bytes))),
        Dtype::Uint32 => serde_json::to_writer(out, &u32::from_le_bytes(fixed(bytes))),
        Dtype::Int64 => serde_json::to_writer(out, &i64::from_le_bytes(fixed(bytes))),
        Dtype::Uint64 => serde_json::to_writer(out, &u64::from_le_bytes(fixed(bytes))),
        Dtype::Fp16 => serde_json::to_writer(out, &f16::from_le_bytes(fixed(bytes)).to_f32()),
        Dtype::Fp32 => serde_json::to_writer(out, &f32::from_le_bytes(fixed(bytes))),
        Dtype::Fp64 => serde_json::to_writer(out, &f64::from_le_bytes(fixed(bytes))),
    };
    debug_assert!(written.is_ok(), "writing a number to memory cannot fail");
}
