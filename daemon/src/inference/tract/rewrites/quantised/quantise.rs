//! The QuantizeLinear that are left.

use tract_onnx::tract_core::internal::*;

use super::quantiser;
use crate::inference::tract::int8::Quantise;

/// See the table.
pub(in crate::inference::tract) fn quantise(model: &mut TypedModel) -> TractResult<()> {
    let of_floats: Vec<bool> = model
        .nodes()
        .iter()
        .map(|node| {
            node.inputs
                .first()
                .and_then(|x| model.outlet_fact(*x).ok())
                .is_some_and(|x| x.datum_type == f32::datum_type())
        })
        .collect();
    for (node, of_floats) in model.nodes_mut().iter_mut().zip(of_floats) {
        if let Some((recip, codes)) = quantiser(node).filter(|_| of_floats) {
            node.op = Box::new(Quantise { codes, recip });
        }
    }
    Ok(())
}
