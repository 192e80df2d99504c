//! Quantisation divides by its scale.
//!
//! ONNX rounds x / scale half to even. tract multiplies by the reciprocal, which is off in the last bit, and where results
//! lie half between two codes, as means and sums of codes do, every other of these falls to the other side: one code in
//! fourteen where codes are halved.

use picket_kernels::quantise::{quantise_i8, quantise_u8};
use tract_onnx::tract_core::{
    internal::*,
    ops::{
        element_wise::ElementWiseOp,
        konst::Const,
        quant::{DequantizeLinearF32, QuantizeLinearI8, QuantizeLinearU8},
    },
};

/// The scales that a model's file has: tract keeps but the reciprocals of those that are divided by.
pub(super) struct Scales(Vec<f32>);

impl Scales {
    /// Of constants, and of what dequantises.
    pub(super) fn of(model: &TypedModel) -> Self {
        let scale = |node: &TypedNode| {
            if let Some(op) = node.op_as::<DequantizeLinearF32>() {
                return Some(op.scale);
            }
            let tensor = node.op_as::<Const>()?.val();
            (tensor.datum_type() == f32::datum_type() && tensor.len() == 1)
                .then(|| tensor.cast_to_scalar::<f32>().ok())
                .flatten()
        };
        Self(model.nodes().iter().filter_map(scale).collect())
    }

    /// The one of them with this reciprocal; what is nearest to it when there is none, or several.
    pub(super) fn exact(&self, reciprocal: f32) -> f32 {
        let mut fitting = self.0.iter().filter(|scale| scale.recip().to_bits() == reciprocal.to_bits());
        let Some(first) = fitting.next() else { return reciprocal.recip() };
        if fitting.all(|other| other == first) { *first } else { reciprocal.recip() }
    }
}

/// Puts an operator that divides in the place of tract's, but where tract makes a table of 256 entries of it and of
/// functions before it.
pub(super) fn divide(model: &mut TypedModel) -> TractResult<()> {
    super::bodies(model).try_for_each(divide)?;
    let scales = Scales::of(model);
    let mut changed = Vec::new();
    for node in model.nodes() {
        let Some(ElementWiseOp(op, None)) = node.op_as::<ElementWiseOp>() else { continue };
        if model.node_input_facts(node.id)?[0].datum_type != f32::datum_type() || ends_a_table(model, node) {
            continue;
        }
        if let Some(op) = op.downcast_ref::<QuantizeLinearU8>() {
            changed.push((node.id, quantise_u8(scales.exact(op.scale), op.zero_point)));
        } else if let Some(op) = op.downcast_ref::<QuantizeLinearI8>() {
            changed.push((node.id, quantise_i8(scales.exact(op.scale), op.zero_point)));
        }
    }
    for (id, op) in changed {
        model.node_mut(id).op = Box::new(op);
    }
    Ok(())
}

/// Whether all that lies between a dequantisation and this node are functions of one value, at least one.
fn ends_a_table(model: &TypedModel, node: &TypedNode) -> bool {
    let mut functions = 0;
    let mut before = model.node(node.inputs[0].node);
    while before.op_is::<ElementWiseOp>() && before.outputs[0].successors.len() == 1 {
        functions += 1;
        before = model.node(before.inputs[0].node);
    }
    functions > 0 && before.op_is::<DequantizeLinearF32>() && before.outputs[0].successors.len() == 1
}

#[cfg(test)]
mod tests {
    use super::super::{Rewrite, TABLE, testing::*};
    use super::*;
    use crate::tensor::Dtype;
    use tract_onnx::pb;

    /// The halves of all codes of this scale, as codes of it.
    fn halves(table: &[Rewrite], scale: f32) -> Vec<u8> {
        let codes: Vec<u8> = (0..=255).collect();
        let graph = pb::GraphProto {
            node: vec![
                node("DequantizeLinear", &["x", "scale", "zero"], &["f"]),
                node("Mul", &["f", "half"], &["h"]),
                node("QuantizeLinear", &["h", "scale", "zero"], &["y"]),
            ],
            initializer: vec![
                constant(&floats("scale", &[], &[scale])),
                constant(&floats("half", &[], &[0.5])),
                constant(&bytes("zero", Dtype::Uint8, &[0], &[])),
            ],
            input: vec![value("x", Dtype::Uint8, &[256])],
            output: vec![value("y", Dtype::Uint8, &[256])],
            ..<_>::default()
        };
        run(table, &model(13, graph), &[bytes("x", Dtype::Uint8, &codes, &[256])]).unwrap()[0].data().to_vec()
    }

    #[test]
    fn halves_are_rounded_as_onnx_says() {
        let exact = |scale: f32| -> Vec<u8> {
            let halves = (0..=255u8).map(|code| f32::from(code) * scale * 0.5);
            halves.map(|half| (half / scale).round_ties_even() as u8).collect()
        };
        let scales: Vec<f32> = (1..=50u8).map(|step| f32::from(step) * 0.007).collect();
        assert!(scales.iter().all(|scale| halves(TABLE, *scale) == exact(*scale)));
        let rest = without("quantise-by-division");
        assert!(scales.iter().any(|scale| halves(&rest, *scale) != exact(*scale)), "tract divides: the row can go");
    }

    #[test]
    fn a_scale_is_found_by_its_reciprocal_if_it_is_the_only_one() {
        // Neighbours with one reciprocal.
        let (low, high) = (1.999_999_9f32, 1.999_999_8f32);
        let other =
            (0..9).map(|step| f32::from_bits(low.to_bits() - step)).find(|s| *s != low && s.recip() == low.recip());
        assert_eq!(Scales(vec![0.3, 0.7]).exact(0.7f32.recip()), 0.7);
        assert_eq!(Scales(vec![]).exact(0.25), 4.0);
        if let Some(other) = other {
            assert_eq!(Scales(vec![low, other]).exact(low.recip()), low.recip().recip());
            assert_eq!(Scales(vec![other, 0.3, other]).exact(low.recip()), other);
        }
        assert!(high < low);
    }
}
