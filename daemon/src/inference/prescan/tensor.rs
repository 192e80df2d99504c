//! Tensors inside an ONNX file: what they declare against what they bring.

use picket_core::limits;

use super::{
    Refusal,
    budget::{Budget, within},
    wire::{Fields, Value, packed, packed_count},
};

/// The head of a `TensorProto`. Its data stays where it is.
#[derive(Clone, Debug, Default)]
pub(super) struct Tensor<'a> {
    pub name: &'a [u8],
    pub elements: usize,
    /// Whole numbers, where it has few: they may be shapes.
    pub numbers: Option<Vec<i64>>,
}

/// More than a shape ever has.
const SHAPE_NUMBERS: usize = limits::MAX_TENSOR_RANK;
const EXTERNAL: u64 = 1;

/// ONNX's numbers of element types.
const STRING: u64 = 8;
const INT32: u64 = 6;
const INT64: u64 = 7;

/// What the fields of a tensor say.
#[derive(Default)]
struct Parts<'a> {
    name: &'a [u8],
    dims: Vec<i64>,
    kind: u64,
    raw: Option<&'a [u8]>,
    /// Elements in the typed lists, whichever there are.
    typed: usize,
    small: Vec<i64>,
    external: bool,
}

/// # Errors
/// `model/external-data`, `model/too-large`, or `model/broken`: dimensions that cannot be, or data that is not what they say.
pub(super) fn read<'a>(message: &'a [u8], budget: &mut Budget) -> Result<Tensor<'a>, Refusal> {
    let parts = parts(message, budget)?;
    let name = String::from_utf8_lossy(&parts.name[..parts.name.len().min(64)]).into_owned();
    if parts.external {
        let message = format!("the data of tensor {name:?} lies in another file; put it into the model");
        return Err(Refusal::new("model/external-data", message));
    }
    let elements = elements(&parts.dims).map_err(|why| why.within(&format!("tensor {name:?}")))?;
    let broken = |what: String| Refusal::broken(format!("tensor {name:?} {what}"));
    match parts.raw {
        Some(raw) => {
            let bits = bits(parts.kind).ok_or_else(|| broken(format!("has the type {}", parts.kind)))?;
            let want = elements.saturating_mul(bits).div_ceil(8);
            if raw.len() != want {
                return Err(broken(format!("has {} bytes, its dimensions say {want}", raw.len())));
            }
        }
        None => {
            let fits = typed_counts(parts.kind, elements).contains(&parts.typed);
            if !fits {
                return Err(broken(format!("has {} elements, its dimensions say {elements}", parts.typed)));
            }
        }
    }
    budget.data(elements)?;
    Ok(Tensor { name: parts.name, elements, numbers: numbers(&parts, elements) })
}

fn parts<'a>(message: &'a [u8], budget: &mut Budget) -> Result<Parts<'a>, Refusal> {
    let mut parts = Parts::default();
    for field in Fields::of(message) {
        let field = field?;
        match (field.number, field.value) {
            (1, Value::Varint(dim)) => parts.dims.push(dim.cast_signed()),
            (1, Value::Bytes(dims)) => {
                within("dimensions of a tensor", packed_count(dims), limits::MAX_TENSOR_RANK)?;
                parts.dims.extend(packed(dims)?);
            }
            (2, Value::Varint(kind)) => parts.kind = kind,
            (4, Value::Bytes(floats)) => parts.typed += floats.len() / 4,
            (10, Value::Bytes(doubles)) => parts.typed += doubles.len() / 8,
            (5 | 11, Value::Bytes(numbers)) => parts.typed += packed_count(numbers),
            (7, Value::Bytes(numbers)) => {
                parts.typed += packed_count(numbers);
                if parts.typed <= SHAPE_NUMBERS {
                    parts.small.extend(packed(numbers)?);
                }
            }
            (7, Value::Varint(number)) => {
                parts.typed += 1;
                if parts.typed <= SHAPE_NUMBERS {
                    parts.small.push(number.cast_signed());
                }
            }
            (4 | 5 | 10 | 11, _) => parts.typed += 1,
            (6, Value::Bytes(text)) => {
                parts.typed += 1;
                budget.text(text)?;
            }
            (8, Value::Bytes(name)) => parts.name = budget.name(name)?,
            (9, Value::Bytes(raw)) => parts.raw = Some(raw),
            (13, Value::Bytes(_)) => parts.external = true,
            (14, Value::Varint(place)) => parts.external |= place == EXTERNAL,
            (12 | 16, Value::Bytes(_)) => budget.part()?,
            _ => {}
        }
        within("dimensions of a tensor", parts.dims.len(), limits::MAX_TENSOR_RANK)?;
    }
    Ok(parts)
}

/// Elements of a tensor of these dimensions.
///
/// # Errors
/// `model/broken` for a negative one, `model/too-large` beyond [`limits::MAX_TENSOR_ELEMENTS`].
pub(super) fn elements(dims: &[i64]) -> Result<usize, Refusal> {
    let sizes: Option<Vec<usize>> = dims.iter().map(|dim| usize::try_from(*dim).ok()).collect();
    let sizes = sizes.ok_or_else(|| Refusal::broken(format!("the dimensions {dims:?}")))?;
    if sizes.contains(&0) {
        return Ok(0);
    }
    let product = sizes.iter().try_fold(1_usize, |product, size| product.checked_mul(*size));
    product.filter(|count| *count <= limits::MAX_TENSOR_ELEMENTS).ok_or_else(|| {
        let message = format!("the dimensions {dims:?} are more than {} elements", limits::MAX_TENSOR_ELEMENTS);
        Refusal::new("model/too-large", message)
    })
}

/// Bits of an element in `raw_data`.
const fn bits(kind: u64) -> Option<usize> {
    Some(match kind {
        2 | 3 | 9 | 17..=20 | 24 => 8,
        4 | 5 | 10 | 16 => 16,
        1 | 6 | 12 => 32,
        7 | 11 | 13 | 14 => 64,
        15 => 128,
        21..=23 => 4,
        25 | 26 => 2,
        _ => return None,
    })
}

/// How many entries the typed lists may have for so many elements: complex numbers take two, small ones share.
fn typed_counts(kind: u64, elements: usize) -> Vec<usize> {
    match kind {
        14 | 15 => vec![elements * 2],
        21..=23 => vec![elements, elements.div_ceil(2)],
        25 | 26 => vec![elements, elements.div_ceil(4)],
        _ => vec![elements],
    }
}

fn numbers(parts: &Parts<'_>, elements: usize) -> Option<Vec<i64>> {
    if elements > SHAPE_NUMBERS || parts.kind == STRING {
        return None;
    }
    match (parts.kind, parts.raw) {
        (INT64, Some(raw)) => {
            let fixed = |bytes: &[u8]| i64::from_le_bytes(bytes.try_into().unwrap_or_default());
            Some(raw.chunks_exact(8).map(fixed).collect())
        }
        (INT32, Some(raw)) => {
            let fixed = |bytes: &[u8]| i32::from_le_bytes(bytes.try_into().unwrap_or_default());
            Some(raw.chunks_exact(4).map(|bytes| fixed(bytes).into()).collect())
        }
        (INT64, None) => Some(parts.small.clone()),
        _ => None,
    }
}
