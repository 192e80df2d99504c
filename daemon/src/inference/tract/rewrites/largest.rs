//! The index of the largest value along one axis: see [`picket_kernels::largest`].

use picket_kernels::largest::Largest;
use tract_onnx::tract_core::{
    internal::*,
    ops::nn::{Reduce, Reducer},
};

/// See the table.
pub(super) fn look(model: &mut TypedModel) -> TractResult<()> {
    let facts: Vec<Option<DatumType>> = model
        .nodes()
        .iter()
        .map(|node| node.inputs.first().and_then(|input| model.outlet_fact(*input).ok()).map(|fact| fact.datum_type))
        .collect();
    for (node, datum_type) in model.nodes_mut().iter_mut().zip(facts) {
        let Some(op) = node.op_as::<Reduce>().filter(|op| op.reducer == Reducer::ArgMax(false)) else { continue };
        let &[axis] = &*op.axes else { continue };
        node.op = match datum_type {
            Some(DatumType::F32) => Box::new(Largest::<f32>::along(axis)),
            Some(DatumType::U8) => Box::new(Largest::<u8>::along(axis)),
            Some(DatumType::I8) => Box::new(Largest::<i8>::along(axis)),
            _ => continue,
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tract_onnx::pb;

    use super::super::{TABLE, testing::*};
    use crate::{inference::tract::load, tensor::Dtype};

    #[test]
    fn the_first_of_the_largest_is_found_without_views() {
        for axis in [0i64, 1, 2] {
            let mut argmax = node("ArgMax", &["x"], &["y"]);
            argmax.attribute.push(pb::AttributeProto {
                name: "axis".to_owned(),
                r#type: pb::attribute_proto::AttributeType::Int as i32,
                i: axis,
                ..Default::default()
            });
            let mut shape = [3, 5, 7];
            let graph = pb::GraphProto {
                node: vec![argmax],
                input: vec![value("x", Dtype::Fp32, &shape)],
                output: vec![value("y", Dtype::Int64, {
                    shape[axis as usize] = 1;
                    &shape
                })],
                ..Default::default()
            };
            let proto = model(13, graph);
            let mut values: Vec<f32> = (0..3 * 5 * 7).map(|at| (at * 31 % 6) as f32).collect();
            values[40] = f32::NAN;
            let x = [floats("x", &[3, 5, 7], &values)];
            let operators = |table: &[_]| {
                let plan = load::plan(table, proto.clone(), &[vec![3, 5, 7]]).unwrap();
                plan.model().nodes().iter().map(|node| node.op().name().into_owned()).collect::<Vec<_>>()
            };
            assert!(operators(TABLE).iter().any(|name| name == "Largest"));
            assert!(!operators(&without("largest")).iter().any(|name| name == "Largest"));
            assert_eq!(run(TABLE, &proto, &x).unwrap(), run(&without("largest"), &proto, &x).unwrap());
        }
    }
}
