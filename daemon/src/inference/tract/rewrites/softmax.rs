//! Keeps tract 0.23.9 from answering int8 models wrong without a word.
//!
//! `DequantizeLinearF32::declutter` (tract-core, `ops/quant.rs`) folds dequantise → … → quantise into a table of 256
//! entries when every operator between is element-wise, which it infers from the axes mapping. Softmax declares the
//! natural mapping, so it passes for element-wise, and the table is filled with the softmax of single elements: 1.0 for
//! all, every class saturated. The operator here computes the same and declares that no axis passes through unmixed.

use tract_onnx::tract_core::{internal::*, ops::nn::Softmax};

use super::alone::Alone;

/// Puts one that stands [`Alone`] in every Softmax's place. To be called before anything declutters.
pub(super) fn protect(model: &mut TypedModel) -> TractResult<()> {
    super::everywhere(model, &mut |node| {
        if let Some(softmax) = node.op_as::<Softmax>() {
            node.op = Box::new(Alone(softmax.clone()));
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{TABLE, testing::*};
    use crate::tensor::{Dtype, Tensor};

    /// A softmax between bytes, as quantised classifiers end.
    fn classifier() -> tract_onnx::pb::ModelProto {
        let graph = tract_onnx::pb::GraphProto {
            node: vec![
                node("DequantizeLinear", &["x", "scale", "zero"], &["logits"]),
                node("Softmax", &["logits"], &["p"]),
                node("QuantizeLinear", &["p", "fine", "zero"], &["y"]),
            ],
            initializer: vec![
                constant(&floats("scale", &[], &[0.1])),
                constant(&floats("fine", &[], &[1.0 / 256.0])),
                constant(&bytes("zero", Dtype::Uint8, &[0], &[])),
            ],
            input: vec![value("x", Dtype::Uint8, &[1, 4])],
            output: vec![value("y", Dtype::Uint8, &[1, 4])],
            ..Default::default()
        };
        model(13, graph)
    }

    fn answer(table: &[super::super::Rewrite]) -> Vec<u8> {
        let outputs = run(table, &classifier(), &[bytes("x", Dtype::Uint8, &[0, 10, 20, 40], &[1, 4])]).unwrap();
        outputs.first().map(Tensor::data).unwrap().to_vec()
    }

    #[test]
    fn quantised_classes_are_not_saturated() {
        // exp(0, 1, 2, 4) / 65.705, in 256ths.
        assert_eq!(answer(TABLE), [4, 11, 29, 213]);
        // Quantisation that is not tract's own gets no table either; tract looks for its own.
        let mut rest = without("mixing-softmax");
        rest.retain(|row| row.name != "quantise-by-division");
        assert_eq!(answer(&rest), [255; 4], "tract has mended this: the row can go");
    }
}
