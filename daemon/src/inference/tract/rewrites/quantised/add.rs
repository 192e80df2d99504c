//! Sums of two tensors of codes of one shape.

use tract_onnx::tract_core::{
    internal::*,
    ops::{binary::TypedBinOp, math::Add},
};

use super::{Quantised, input, rewrite};
use picket_kernels::int8::QuantisedAdd;

/// See the table.
pub(in crate::inference::tract) fn add(model: &mut TypedModel) -> TractResult<()> {
    rewrite(model, layer)
}

fn layer(model: &TypedModel, end: &Quantised) -> TractResult<Option<TypedModelPatch>> {
    let node = model.node(end.value.node);
    if !node.op_as::<TypedBinOp>().is_some_and(|op| op.0.is::<Add>()) {
        return Ok(None);
    }
    let (Some(a), Some(b)) = (input(model, node.inputs[0])?, input(model, node.inputs[1])?) else { return Ok(None) };
    if model.outlet_fact(a.source)?.shape != model.outlet_fact(b.source)?.shape {
        return Ok(None);
    }
    let op = QuantisedAdd { x: [a.codes, b.codes], scales: [a.scale, b.scale], y: end.codes, scale: end.scale };
    let mut patch = TypedModelPatch::new("a sum of codes");
    let inputs = [patch.tap_model(model, a.source)?, patch.tap_model(model, b.source)?];
    let out = patch.wire_node(&model.node(end.node).name, op, &inputs)?[0];
    patch.shunt_outside(model, end.node.into(), out)?;
    Ok(Some(patch))
}
