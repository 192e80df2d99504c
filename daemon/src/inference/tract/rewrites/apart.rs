//! Keeps tract 0.23.9 from a table between two kinds of bytes.
//!
//! `DequantizeLinearF32::declutter` (tract-core, `ops/quant.rs`) folds dequantise → element-wise → quantise into a table of
//! 256 bytes, and takes the type that comes out for the one that goes in: with i8 on one side and u8 on the other, the model
//! does not load.

use tract_onnx::tract_core::{
    internal::*,
    ops::{
        element_wise::ElementWiseOp,
        quant::{DequantizeLinearF32, QuantizeLinearI8, QuantizeLinearU8},
    },
};

use super::alone::Alone;

/// Keeps those quantisations apart that a dequantisation of another type leads to.
pub(super) fn keep(model: &mut TypedModel) -> TractResult<()> {
    super::bodies(model).try_for_each(keep)?;
    let mut apart = Vec::new();
    for node in model.nodes().iter().filter(|node| node.op_is::<DequantizeLinearF32>()) {
        let from = model.node_input_facts(node.id)?[0].datum_type;
        let mut next = model.single_succ(node.id)?;
        while let Some(node) = next {
            if let Some(to) = quantised(node) {
                apart.extend((to != from).then_some(node.id));
                break;
            }
            next = if node.inputs.len() == 1 { model.single_succ(node.id)? } else { None };
        }
    }
    for id in apart {
        let node = model.node_mut(id);
        if let Some(op) = node.op_as::<ElementWiseOp>() {
            node.op = Box::new(Alone(op.clone()));
        }
    }
    Ok(())
}

/// The type that a quantisation gives; `None` of other operators.
fn quantised(node: &TypedNode) -> Option<DatumType> {
    let op = node.op_as::<ElementWiseOp>()?;
    if op.0.is::<QuantizeLinearU8>() {
        return Some(u8::datum_type());
    }
    op.0.is::<QuantizeLinearI8>().then(i8::datum_type)
}

#[cfg(test)]
mod tests {
    use super::super::{TABLE, testing::*};
    use crate::tensor::Dtype;

    #[test]
    fn bytes_of_one_kind_become_those_of_the_other() {
        let graph = tract_onnx::pb::GraphProto {
            node: vec![
                node("DequantizeLinear", &["x", "scale", "signed"], &["f"]),
                node("Tanh", &["f"], &["r"]),
                node("QuantizeLinear", &["r", "scale", "unsigned"], &["y"]),
            ],
            initializer: vec![
                constant(&floats("scale", &[], &[0.5])),
                constant(&bytes("signed", Dtype::Int8, &[0], &[])),
                constant(&bytes("unsigned", Dtype::Uint8, &[10], &[])),
            ],
            input: vec![value("x", Dtype::Int8, &[4])],
            output: vec![value("y", Dtype::Uint8, &[4])],
            ..Default::default()
        };
        let model = model(13, graph);
        let input = [bytes("x", Dtype::Int8, &[0x80, 0xff, 1, 127], &[4])];
        assert_eq!(run(TABLE, &model, &input).unwrap()[0].data().to_vec(), [8, 9, 11, 12]);
        run(&without("quantise-apart"), &model, &input).expect_err("tract loads it now: the row can go");
    }
}
