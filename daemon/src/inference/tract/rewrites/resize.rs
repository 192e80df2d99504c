//! Enlarging a picture: first its rows, then its columns.
//!
//! tract takes the axes in their order, so that all of the enlarged rows are gone through element by element along the last
//! axis. The other way round only the few rows of the small picture are, and the rest is done row by row.

use tract_onnx::tract_core::{
    internal::*,
    ops::nn::resize::{Interpolator, Resize},
};

use super::quantised::constant_floats;

/// See the table.
pub(super) fn last_axis_first(model: &mut TypedModel) -> TractResult<()> {
    let nodes: Vec<usize> = model.nodes().iter().map(|node| node.id).collect();
    for id in nodes {
        let node = model.node(id);
        let Some(op) = node.op_as::<Resize>() else { continue };
        let (Some(at), None) = (op.optional_scales_input, op.optional_sizes_input) else { continue };
        let Some(scales) = constant_floats(model, node.inputs[at])? else { continue };
        let fact = model.outlet_fact(node.inputs[0])?;
        let Some((last, others)) = scales.split_last() else { continue };
        let enlarges = *last > 1.0 && others.last().is_some_and(|scale| *scale > 1.0);
        let smooth = !matches!(op.interpolator, Interpolator::Nearest);
        if !enlarges || !smooth || scales.len() != fact.rank() || fact.datum_type != f32::datum_type() {
            continue;
        }
        let mut columns = vec![1.0f32; scales.len()];
        let mut rows = scales.clone();
        columns[scales.len() - 1] = *last;
        rows[scales.len() - 1] = 1.0;
        let op = Resize { optional_scales_input: Some(1), ..op.clone() };
        let name = &node.name;
        let mut patch = TypedModelPatch::new("the last axis first");
        let x = patch.tap_model(model, node.inputs[0])?;
        let columns = patch.add_const(format!("{name}.scales_of_columns"), tensor1(&columns))?;
        let rows = patch.add_const(format!("{name}.scales_of_rows"), tensor1(&rows))?;
        let wide = patch.wire_node(format!("{name}.columns"), op.clone(), &[x, columns])?[0];
        let out = patch.wire_node(format!("{name}.rows"), op, &[wide, rows])?[0];
        if patch.outlet_fact(out)?.shape != node.outputs[0].fact.shape {
            continue;
        }
        patch.shunt_outside(model, id.into(), out)?;
        patch.apply(model)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tract_onnx::pb;

    use super::super::{TABLE, testing::*};
    use crate::{bundle::golden::compare, inference::tract::load, tensor::Dtype};

    #[test]
    fn columns_are_enlarged_before_rows() {
        let mut resize = node("Resize", &["x", "", "scales"], &["y"]);
        resize.attribute.push(pb::AttributeProto {
            name: "mode".to_owned(),
            r#type: pb::attribute_proto::AttributeType::String as i32,
            s: b"linear".to_vec(),
            ..Default::default()
        });
        let graph = pb::GraphProto {
            node: vec![resize],
            input: vec![value("x", Dtype::Fp32, &[1, 2, 5, 4])],
            output: vec![value("y", Dtype::Fp32, &[1, 2, 15, 10])],
            initializer: vec![constant(&floats("scales", &[4], &[1.0, 1.0, 3.0, 2.5]))],
            ..Default::default()
        };
        let proto = model(13, graph);
        let x: Vec<f32> = (0..40).map(|at| (at * 37 % 29) as f32 - 14.0).collect();
        let x = [floats("x", &[1, 2, 5, 4], &x)];
        let resizes = |table: &[_]| {
            let plan = load::plan(table, proto.clone(), &[vec![1, 2, 5, 4]]).unwrap();
            plan.model().nodes().iter().filter(|node| node.op().name() == "Resize").count()
        };
        let rest = without("last-axis-first");
        assert_eq!((resizes(TABLE), resizes(&rest)), (2, 1));
        compare(&run(&rest, &proto, &x).unwrap()[0], &run(TABLE, &proto, &x).unwrap()[0], 1e-6).unwrap();
    }
}
