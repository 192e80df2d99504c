//! Layers between a DequantizeLinear and a QuantizeLinear become operators on codes; see [`super::super::int8`].
//!
//! What is recognised: `QuantizeLinear(clip*(layer(DequantizeLinear(codes), constants)))`, with one scale for the tensor
//! and one or many for the weights. Anything else stays as it is. Clips before the rounding are bounds of the codes after
//! it, as rounding keeps the order.

mod add;
mod conv;
mod kept;
mod matmul;

#[cfg(test)]
mod tests;

use tract_onnx::tract_core::{
    internal::*,
    ops::{
        binary::TypedBinOp,
        cast::Cast,
        element_wise::ElementWiseOp,
        math::{Max, Min, Mul, Sub},
        quant::{DequantizeLinearF32, QuantizeLinearI8, QuantizeLinearU8},
    },
};

pub(super) use self::{add::add, conv::conv, kept::build as kept_codes, matmul::matmul};
use super::quantise::Scales;
use picket_kernels::int8::Codes;

/// Steps back from a QuantizeLinear over clips, and over operators that make a constant.
const MOST_STEPS: usize = 16;

/// A layer's end.
struct Quantised {
    node: usize,
    /// What the layer computes, before it is clipped.
    value: OutletId,
    /// The codes' scale …
    scale: f32,
    /// … and one over it.
    recip: f32,
    codes: Codes,
}

/// A layer's dynamic input.
struct Input {
    source: OutletId,
    scale: f32,
    codes: Codes,
}

/// A layer's constant input.
struct Weights {
    /// Zero points taken off, in the tensor's order.
    values: Vec<i32>,
    shape: TVec<usize>,
    /// One, or one for each index of the axis.
    scales: Vec<f32>,
}

impl Weights {
    fn scale(&self, index: usize) -> f32 {
        if self.scales.len() == 1 { self.scales[0] } else { self.scales[index] }
    }
}

/// Replaces whole layers: `rewrite` makes a patch of a layer's end, where it knows the layer.
fn rewrite(
    model: &mut TypedModel,
    rewrite: impl Fn(&TypedModel, &Quantised) -> TractResult<Option<TypedModelPatch>>,
) -> TractResult<()> {
    let scales = Scales::of(model);
    let ends: Vec<usize> = model.nodes().iter().map(|node| node.id).collect();
    for node in ends {
        let Some(end) = quantised(model, node, &scales)? else { continue };
        if let Some(patch) = rewrite(model, &end)? {
            patch.apply(model)?;
        }
    }
    Ok(())
}

fn quantised(model: &TypedModel, node: usize, scales: &Scales) -> TractResult<Option<Quantised>> {
    let Some(op) = model.node(node).op_as::<ElementWiseOp>() else { return Ok(None) };
    let (recip, codes) = if let Some(op) = op.0.downcast_ref::<QuantizeLinearU8>() {
        (op.scale, Codes::all(DatumType::U8, op.zero_point.into()))
    } else if let Some(op) = op.0.downcast_ref::<QuantizeLinearI8>() {
        (op.scale, Codes::all(DatumType::I8, op.zero_point.into()))
    } else {
        return Ok(None);
    };
    let Some(mut codes) = codes.filter(|_| recip.is_finite() && recip > 0.0) else { return Ok(None) };
    let mut value = model.node(node).inputs[0];
    for _ in 0..MOST_STEPS {
        let node = model.node(value.node);
        let alone = node.outputs[0].successors.len() == 1;
        let Some(op) = node.op_as::<TypedBinOp>().filter(|_| alone) else { break };
        let Some(bound) = scalar(model, node.inputs[1])? else { break };
        let bound = code(bound, recip, codes);
        if op.0.is::<Max>() {
            codes.low = bound.clamp(codes.low, codes.high);
        } else if op.0.is::<Min>() {
            codes.high = bound.clamp(codes.low, codes.high);
        } else {
            break;
        }
        value = node.inputs[0];
    }
    Ok(Some(Quantised { node, value, scale: scales.exact(recip), recip, codes }))
}

/// The code of a bound.
#[expect(clippy::cast_possible_truncation, reason = "the conversion saturates")]
fn code(bound: f32, recip: f32, codes: Codes) -> i32 {
    ((bound * recip).round_ties_even() as i32).saturating_add(codes.zero)
}

/// The codes behind a DequantizeLinear.
fn input(model: &TypedModel, outlet: OutletId) -> TractResult<Option<Input>> {
    let node = model.node(outlet.node);
    let Some(op) = node.op_as::<DequantizeLinearF32>() else { return Ok(None) };
    let source = node.inputs[0];
    let codes = Codes::all(model.outlet_fact(source)?.datum_type, op.zero_point);
    Ok(codes.map(|codes| Input { source, scale: op.scale, codes }))
}

/// A constant's codes behind a DequantizeLinear with one scale, or with one for each index of `axis`.
fn weights(model: &TypedModel, outlet: OutletId, axis: usize) -> TractResult<Option<Weights>> {
    let node = model.node(outlet.node);
    if let Some(op) = node.op_as::<DequantizeLinearF32>() {
        let Some(codes) = integers(model, node.inputs[0])? else { return Ok(None) };
        let values = codes.try_as_plain_ram()?.as_slice::<i32>()?.iter().map(|code| code - op.zero_point).collect();
        return Ok(Some(Weights { values, shape: codes.shape().into(), scales: vec![op.scale] }));
    }
    // With scales along an axis tract says (cast(codes) - zeros) · scales.
    let Some(offset) = operand::<Mul>(model, outlet) else { return Ok(None) };
    let Some(scales) = constant(model, node.inputs[1], MOST_STEPS)? else { return Ok(None) };
    let Some(cast) = operand::<Sub>(model, offset) else { return Ok(None) };
    let Some(zeros) = constant(model, model.node(offset.node).inputs[1], MOST_STEPS)? else { return Ok(None) };
    let Some(codes) = model.node(cast.node).op_as::<Cast>().map(|_| model.node(cast.node).inputs[0]) else {
        return Ok(None);
    };
    let Some(codes) = integers(model, codes)? else { return Ok(None) };
    let shape = codes.shape();
    let along = |tensor: &Tensor| {
        tensor.rank() == shape.len()
            && (0..shape.len()).all(|index| tensor.shape()[index] == if index == axis { shape[axis] } else { 1 })
    };
    if axis >= shape.len() || !along(&scales) || !along(&zeros) {
        return Ok(None);
    }
    let after: usize = shape[axis + 1..].iter().product();
    let zeros = zeros.cast_to::<i32>()?;
    let zeros = zeros.try_as_plain_ram()?.as_slice::<i32>()?.to_vec();
    let values = codes.try_as_plain_ram()?.as_slice::<i32>()?.iter().enumerate();
    let values = values.map(|(at, code)| code - zeros[at / after.max(1) % shape[axis]]).collect();
    let scales = scales.try_as_plain_ram()?.as_slice::<f32>()?.to_vec();
    Ok(Some(Weights { values, shape: shape.into(), scales }))
}

/// The first input of a node that is this operation.
fn operand<Op: tract_onnx::tract_core::ops::binary::BinMiniOp>(
    model: &TypedModel,
    outlet: OutletId,
) -> Option<OutletId> {
    let node = model.node(outlet.node);
    node.op_as::<TypedBinOp>().filter(|op| op.0.is::<Op>()).map(|_| node.inputs[0])
}

/// A constant of 8-bit codes as i32.
fn integers(model: &TypedModel, outlet: OutletId) -> TractResult<Option<Tensor>> {
    let Some(tensor) = constant(model, outlet, MOST_STEPS)? else { return Ok(None) };
    if !matches!(tensor.datum_type(), DatumType::U8 | DatumType::I8) {
        return Ok(None);
    }
    Ok(Some(tensor.cast_to::<i32>()?.into_owned()))
}

/// The value of what does not depend on any input.
fn constant(model: &TypedModel, outlet: OutletId, steps: usize) -> TractResult<Option<Arc<Tensor>>> {
    if let Some(value) = &model.outlet_fact(outlet)?.konst {
        return Ok(Some(value.clone()));
    }
    let node = model.node(outlet.node);
    if steps == 0 || node.inputs.is_empty() {
        return Ok(None);
    }
    let mut inputs = tvec!();
    for input in &node.inputs {
        let Some(value) = constant(model, *input, steps - 1)? else { return Ok(None) };
        inputs.push(value.into_tvalue());
    }
    let outputs = node.op.eval_out_of_plan(inputs)?;
    Ok(outputs.and_then(|outputs| outputs.into_iter().nth(outlet.slot)).map(TValue::into_arc_tensor))
}

/// A constant of one float.
pub(super) fn scalar(model: &TypedModel, outlet: OutletId) -> TractResult<Option<f32>> {
    let Some(value) = constant(model, outlet, MOST_STEPS)? else { return Ok(None) };
    if value.len() != 1 || value.datum_type() != DatumType::F32 {
        return Ok(None);
    }
    Ok(value.try_as_plain_ram()?.as_slice::<f32>()?.first().copied())
}

/// A constant of one float, or of `count`, as `count` floats.
pub(super) fn floats(model: &TypedModel, outlet: OutletId, count: usize) -> TractResult<Option<Vec<f32>>> {
    let Some(values) = constant_floats(model, outlet)? else { return Ok(None) };
    Ok(match values.len() {
        1 => Some(vec![values[0]; count]),
        len if len == count => Some(values),
        _ => None,
    })
}

/// A constant's floats.
pub(super) fn constant_floats(model: &TypedModel, outlet: OutletId) -> TractResult<Option<Vec<f32>>> {
    let Some(value) = constant(model, outlet, MOST_STEPS)? else { return Ok(None) };
    if value.datum_type() != DatumType::F32 {
        return Ok(None);
    }
    Ok(Some(value.try_as_plain_ram()?.as_slice::<f32>()?.to_vec()))
}
