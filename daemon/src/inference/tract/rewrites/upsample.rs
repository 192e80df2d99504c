//! Upsample, which tract does not have: the name that Resize had up to operator set 9.
//!
//! It takes the element at ⌊i / scale⌋, or interpolates at i / scale: Resize with asymmetric coordinates, and the floor.

use tract_onnx::{
    model::ParsingContext,
    pb,
    prelude::{TractError, TractResult},
    tract_hir::internal::InferenceOp,
};

use super::{
    Known,
    expand::{self, Expansion},
};
use crate::ports::BackendError;

/// Up to operator set 8 the scales are an attribute: they become the input that they are in 9.
pub(super) fn give_scales(proto: &mut pb::ModelProto, _known: &Known<'_>) -> Result<(), BackendError> {
    if let Some(graph) = &mut proto.graph {
        expand::everywhere(graph, &with_scales);
    }
    Ok(())
}

fn with_scales(node: &pb::NodeProto) -> Option<Expansion<'_>> {
    let scales = expand::attribute(node, "scales").filter(|_| node.op_type == "Upsample" && node.input.len() == 1)?;
    let mut found = Expansion::of(node);
    let count = i64::try_from(scales.floats.len()).ok()?;
    let scales = found.floats(&[count], &scales.floats);
    let mut inner = node.clone();
    inner.input.push(scales);
    found.push(inner);
    Some(found)
}

/// Upsample as tract's Resize of a later operator set.
pub(super) fn build(
    context: &ParsingContext<'_>,
    node: &pb::NodeProto,
) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let registered = &context.framework.op_register.0;
    let resize = registered.get("Resize").ok_or_else(|| TractError::msg("tract has no Resize"))?;
    let [x, scales] = node.input.as_slice() else {
        return Err(TractError::msg("an Upsample takes an input and its scales"));
    };
    let mode = expand::attribute(node, "mode").map_or("nearest", |mode| match mode.s.as_slice() {
        b"linear" | b"bilinear" | b"trilinear" => "linear",
        _ => "nearest",
    });
    let as_resize = pb::NodeProto {
        op_type: "Resize".to_owned(),
        input: vec![x.clone(), String::new(), scales.clone()],
        attribute: vec![
            expand::text("mode", mode),
            expand::text("coordinate_transformation_mode", "asymmetric"),
            expand::text("nearest_mode", "floor"),
        ],
        ..node.clone()
    };
    let context = ParsingContext { onnx_operator_set_version: 13, ..context.clone() };
    resize(&context, &as_resize)
}

#[cfg(test)]
mod tests {
    use super::{
        super::{TABLE, testing::*},
        *,
    };
    use crate::tensor::Dtype;

    fn twice(opset: i64) -> pb::ModelProto {
        let mut upsample = node("Upsample", if opset < 9 { &["x"] } else { &["x", "scales"] }, &["y"]);
        if opset < 9 {
            let r#type = pb::attribute_proto::AttributeType::Floats as i32;
            let floats = vec![1.0, 1.0, 1.0, 2.0];
            upsample.attribute =
                vec![pb::AttributeProto { name: "scales".to_owned(), floats, r#type, ..<_>::default() }];
        }
        let graph = pb::GraphProto {
            node: vec![upsample],
            initializer: vec![constant(&floats("scales", &[4], &[1.0, 1.0, 1.0, 2.0]))],
            input: vec![value("x", Dtype::Fp32, &[1, 1, 1, 3])],
            output: vec![value("y", Dtype::Fp32, &[1, 1, 1, 6])],
            ..<_>::default()
        };
        model(opset, graph)
    }

    #[test]
    fn upsample_repeats_elements() {
        let input = [floats("x", &[1, 1, 1, 3], &[1.0, 2.0, 3.0])];
        for opset in [7, 9] {
            let answer = run(TABLE, &twice(opset), &input).unwrap();
            assert_eq!(answer[0].to_f32(), [1.0, 1.0, 2.0, 2.0, 3.0, 3.0]);
        }
        assert!(run(&without("upsample"), &twice(9), &input).is_err(), "tract has it now: the rows can go");
        assert!(run(&without("upsample-scales"), &twice(7), &input).is_err());
    }
}
