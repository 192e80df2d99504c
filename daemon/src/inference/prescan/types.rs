//! Types of values, and what a graph says of its inputs and outputs.

use picket_core::limits;

use super::{
    Refusal,
    budget::{Budget, within},
    tensor,
    wire::{Fields, Value},
};

/// A `ValueInfoProto`.
#[derive(Clone, Debug, Default)]
pub(super) struct Face<'a> {
    pub name: &'a [u8],
    pub kind: Kind<'a>,
}

/// A `TypeProto`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Kind<'a> {
    /// Element type by ONNX's number, and dimensions where there are any.
    Tensor(u64, Option<Vec<Dim<'a>>>),
    /// A sequence, a map, an optional or a sparse tensor; or nothing is said.
    #[default]
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dim<'a> {
    Fixed(i64),
    Named(&'a [u8]),
    Free,
}

pub(super) fn face<'a>(message: &'a [u8], budget: &mut Budget) -> Result<Face<'a>, Refusal> {
    budget.part()?;
    let mut face = Face::default();
    for field in Fields::of(message) {
        let field = field?;
        match (field.number, field.value) {
            (1, Value::Bytes(name)) => face.name = budget.name(name)?,
            (2, Value::Bytes(message)) => face.kind = kind(message, 0, budget)?,
            (_, Value::Bytes(_)) => budget.part()?,
            _ => {}
        }
    }
    if let Kind::Tensor(_, Some(dims)) = &face.kind {
        // A dimension that is not known is written as 0 or -1, too.
        let known: Vec<i64> = dims.iter().map(|dim| if let Dim::Fixed(n @ 1..) = dim { *n } else { 1 }).collect();
        let name = String::from_utf8_lossy(&face.name[..face.name.len().min(64)]).into_owned();
        tensor::elements(&known).map_err(|why| why.within(&format!("value {name:?}")))?;
    }
    Ok(face)
}

/// Reads a `TypeProto`, which may hold others.
pub(super) fn kind<'a>(message: &'a [u8], depth: usize, budget: &mut Budget) -> Result<Kind<'a>, Refusal> {
    within("types inside one another", depth, limits::ONNX_DEPTH)?;
    budget.part()?;
    let mut found = Kind::Other;
    for field in Fields::of(message) {
        let field = field?;
        match (field.number, field.value) {
            (1, Value::Bytes(message)) => found = tensor_kind(message, budget)?,
            (8, Value::Bytes(message)) => drop(tensor_kind(message, budget)?),
            // A sequence, an optional, a map: the type of what is in it is its field 1 or 2.
            (4 | 5 | 9, Value::Bytes(message)) => {
                for field in Fields::of(message) {
                    let field = field?;
                    if let (1 | 2, Value::Bytes(message)) = (field.number, field.value) {
                        kind(message, depth + 1, budget)?;
                    }
                }
            }
            (_, Value::Bytes(_)) => budget.part()?,
            _ => {}
        }
    }
    Ok(found)
}

fn tensor_kind<'a>(message: &'a [u8], budget: &mut Budget) -> Result<Kind<'a>, Refusal> {
    budget.part()?;
    let (mut element, mut dims) = (0, None);
    for field in Fields::of(message) {
        let field = field?;
        match (field.number, field.value) {
            (1, Value::Varint(kind)) => element = kind,
            (2, Value::Bytes(message)) => dims = Some(shape(message, budget)?),
            _ => {}
        }
    }
    Ok(Kind::Tensor(element, dims))
}

fn shape<'a>(message: &'a [u8], budget: &mut Budget) -> Result<Vec<Dim<'a>>, Refusal> {
    budget.part()?;
    let mut dims = Vec::new();
    for field in Fields::of(message) {
        let field = field?;
        let (1, Value::Bytes(message)) = (field.number, field.value) else { continue };
        budget.part()?;
        let mut dim = Dim::Free;
        for field in Fields::of(message) {
            let field = field?;
            match (field.number, field.value) {
                (1, Value::Varint(size)) => dim = Dim::Fixed(size.cast_signed()),
                (2, Value::Bytes(name)) => {
                    within("bytes in a dimension", name.len(), limits::ONNX_DIM_BYTES)?;
                    dim = Dim::Named(budget.name(name)?);
                }
                (_, Value::Bytes(_)) => budget.part()?,
                _ => {}
            }
        }
        dims.push(dim);
        within("dimensions of a value", dims.len(), limits::MAX_TENSOR_RANK)?;
    }
    Ok(dims)
}
