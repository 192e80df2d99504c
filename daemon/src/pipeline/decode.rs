//! A job's bytes as tensors that fit what the model asks for.

use picket_core::job::Failure;

use crate::{
    oip,
    ports::{Content, TensorSpec},
    tensor::{Dtype, Tensor, elements, shape_text},
};

/// Decodes a job and checks it against `wanted`; the tensors come in that order.
///
/// # Errors
/// `input/undecodable`, `input/shape-mismatch`, `input/dtype-mismatch` or `input/non-finite`, with what was wanted and
/// what came.
pub fn decode(content: &Content, wanted: &[TensorSpec]) -> Result<Vec<Tensor>, Failure> {
    let tensors = match content {
        Content::Raw { bytes, dtype, shape } => vec![raw(bytes, *dtype, shape.as_deref(), wanted)?],
        Content::Oip { json, binary } => oip::decode_inputs(json, binary)?,
    };
    let tensors = in_order(tensors, wanted)?;
    for (tensor, spec) in tensors.iter().zip(wanted) {
        check(tensor, spec)?;
    }
    Ok(tensors)
}

fn raw(
    bytes: &bytes::Bytes,
    dtype: Option<Dtype>,
    shape: Option<&[usize]>,
    wanted: &[TensorSpec],
) -> Result<Tensor, Failure> {
    let [spec] = wanted else {
        let message = format!("this model has {} inputs; a raw tensor is only one, send a JSON request", wanted.len());
        return Err(Failure::new("input/undecodable", message));
    };
    if bytes.is_empty() {
        return Err(Failure::new("input/undecodable", "the payload is empty").expected(spec.kind(), "0 bytes"));
    }
    let dtype = dtype.unwrap_or(spec.dtype);
    let shape = match shape {
        Some(shape) => shape.to_vec(),
        None => implied_shape(bytes.len(), dtype, spec)?,
    };
    Tensor::new(spec.name.as_str(), dtype, shape, bytes.clone()).map_err(|error| {
        let got = format!("{} bytes", bytes.len());
        Failure::new("input/shape-mismatch", error.to_string()).expected(spec.kind(), got)
    })
}

/// The bundle's shape; one free dimension takes what the payload's length leaves for it.
fn implied_shape(bytes: usize, dtype: Dtype, spec: &TensorSpec) -> Result<Vec<usize>, Failure> {
    let known: Vec<usize> = spec.shape.iter().copied().flatten().collect();
    let free = spec.shape.len() - known.len();
    let count = bytes / dtype.size();
    let product = elements(&known).unwrap_or(0).max(1);
    let fits =
        bytes.is_multiple_of(dtype.size()) && if free == 0 { count == product } else { count.is_multiple_of(product) };
    if !fits || free > 1 {
        let got =
            if bytes.is_multiple_of(dtype.size()) { raw_kind(count, dtype, spec) } else { format!("{bytes} bytes") };
        let message = format!("{} raw bytes do not make a {}", bytes, spec.kind());
        return Err(Failure::new("input/shape-mismatch", message).expected(spec.kind(), got));
    }
    Ok(spec.shape.iter().map(|dim| dim.unwrap_or(count / product)).collect())
}

/// How people would write the tensor that so many elements are: as a row, where the model wants rows.
fn raw_kind(count: usize, dtype: Dtype, spec: &TensorSpec) -> String {
    match spec.shape.as_slice() {
        [Some(1), _] => format!("1x{count} {dtype}"),
        _ => format!("{count} {dtype}"),
    }
}

/// By name where names are right; a single input may have any name.
fn in_order(mut tensors: Vec<Tensor>, wanted: &[TensorSpec]) -> Result<Vec<Tensor>, Failure> {
    if let ([tensor], [spec]) = (tensors.as_mut_slice(), wanted) {
        tensor.name.clone_from(&spec.name);
        return Ok(tensors);
    }
    let mut ordered = Vec::with_capacity(wanted.len());
    for spec in wanted {
        let Some(at) = tensors.iter().position(|tensor| tensor.name == spec.name) else {
            let want: Vec<&str> = wanted.iter().map(|spec| spec.name.as_str()).collect();
            let message = format!("input {:?} is missing", spec.name);
            return Err(Failure::new("input/undecodable", message)
                .expected(want.join(", "), format!("{} inputs", tensors.len())));
        };
        ordered.push(tensors.swap_remove(at));
    }
    match tensors.first() {
        Some(extra) => Err(Failure::new("input/undecodable", format!("there is no input {:?}", extra.name))),
        None => Ok(ordered),
    }
}

fn check(tensor: &Tensor, spec: &TensorSpec) -> Result<(), Failure> {
    if tensor.dtype() != spec.dtype {
        let message = format!("input {:?} is {}, not {}", spec.name, spec.dtype, tensor.dtype());
        return Err(Failure::new("input/dtype-mismatch", message).expected(spec.kind(), tensor.kind()));
    }
    if !spec.accepts(tensor.shape()) {
        let message = format!("input {:?} has the shape {}", spec.name, shape_text(tensor.shape()));
        return Err(Failure::new("input/shape-mismatch", message).expected(spec.kind(), tensor.kind()));
    }
    match tensor.first_non_finite() {
        Some(at) => {
            Err(Failure::new("input/non-finite", format!("input {:?} is not finite at element {at}", spec.name)))
        }
        None => Ok(()),
    }
}
