//! Depthwise convolutions and largest-value pools over two spatial axes, in f32: operators of our own that slide over whole
//! planes; see [`picket_kernels::planes`]. A clip behind a convolution becomes its bounds.

use picket_kernels::{
    int8::Geometry,
    planes::{DepthwisePlanes, MaxPlanes},
};
use tract_onnx::tract_core::{
    internal::*,
    ops::{
        binary::TypedBinOp,
        cnn::{Conv, KernelFormat, MaxPool, PoolSpec},
        math::{Max, Min},
    },
};

use super::quantised::{floats, scalar};

/// See the table.
pub(super) fn depthwise(model: &mut TypedModel) -> TractResult<()> {
    for id in nodes(model) {
        let node = model.node(id);
        let Some(conv) = node.op_as::<Conv>() else { continue };
        let x = model.outlet_fact(node.inputs[0])?;
        let Some(geometry) = geometry(&conv.pool_spec, x) else { continue };
        let channels = geometry.channels;
        let plain = conv.q_params.is_none()
            && conv.kernel_fmt == KernelFormat::OIHW
            && conv.pool_spec.output_channels == channels;
        if !plain || conv.group != channels || channels == 1 {
            continue;
        }
        let Some(bias) = floats(model, node.inputs[2], channels)? else { continue };
        let bounds = bounds(model, id)?;
        let mut patch = TypedModelPatch::new("a depthwise convolution over planes");
        let inputs = patch.taps(model, &node.inputs[..2])?;
        let bias = patch.add_const(format!("{}.bias_of_planes", node.name), tensor1(&bias))?;
        let op = DepthwisePlanes { geometry, low: bounds.low, high: bounds.high };
        let name = &model.node(bounds.last).name;
        let out = patch.wire_node(format!("{name}.planes"), op, &[inputs[0], inputs[1], bias])?[0];
        patch.shunt_outside(model, bounds.last.into(), out)?;
        patch.apply(model)?;
    }
    Ok(())
}

/// See the table.
pub(super) fn max_pool(model: &mut TypedModel) -> TractResult<()> {
    for id in nodes(model) {
        let node = model.node(id);
        let Some(pool) = node.op_as::<MaxPool>().filter(|pool| pool.with_index_outputs.is_none()) else { continue };
        let Some(geometry) = geometry(&pool.pool_spec, model.outlet_fact(node.inputs[0])?) else { continue };
        let mut patch = TypedModelPatch::new("a pool over planes");
        let x = patch.tap_model(model, node.inputs[0])?;
        let out = patch.wire_node(format!("{}.planes", node.name), MaxPlanes { geometry }, &[x])?[0];
        patch.shunt_outside(model, id.into(), out)?;
        patch.apply(model)?;
    }
    Ok(())
}

fn nodes(model: &TypedModel) -> Vec<usize> {
    model.nodes().iter().map(|node| node.id).collect()
}

/// Of f32.
fn geometry(spec: &PoolSpec, x: &TypedFact) -> Option<Geometry> {
    (x.datum_type == f32::datum_type()).then(|| Geometry::of(spec, x)).flatten()
}

struct Bounds {
    low: f32,
    high: f32,
    /// The last node that is done by them.
    last: usize,
}

/// The clips behind a node, as far as nobody else reads between.
fn bounds(model: &TypedModel, id: usize) -> TractResult<Bounds> {
    let mut bounds = Bounds { low: f32::NEG_INFINITY, high: f32::INFINITY, last: id };
    while let Some(next) = model.single_succ(bounds.last)? {
        let Some(op) = next.op_as::<TypedBinOp>() else { break };
        if next.inputs[0] != OutletId::new(bounds.last, 0) {
            break;
        }
        let Some(bound) = scalar(model, next.inputs[1])? else { break };
        if op.0.is::<Max>() && bound <= bounds.high {
            bounds.low = bounds.low.max(bound);
        } else if op.0.is::<Min>() && bound >= bounds.low {
            bounds.high = bounds.high.min(bound);
        } else {
            break;
        }
        bounds.last = next.id;
    }
    Ok(bounds)
}

#[cfg(test)]
mod tests {
    use tract_onnx::pb;

    use super::super::{TABLE, testing::*};
    use crate::{
        inference::tract::load,
        tensor::{Dtype, Tensor},
    };

    fn ints(mut node: pb::NodeProto, name: &str, ints: &[i64]) -> pb::NodeProto {
        node.attribute.push(pb::AttributeProto {
            name: name.to_owned(),
            r#type: pb::attribute_proto::AttributeType::Ints as i32,
            ints: ints.to_vec(),
            ..Default::default()
        });
        node
    }

    fn proves(row: &str, operator: &str, nodes: Vec<pb::NodeProto>, initialisers: &[Tensor], output: &[i64]) {
        let graph = pb::GraphProto {
            node: nodes,
            input: vec![value("x", Dtype::Fp32, &[1, 4, 9, 8])],
            output: vec![value("y", Dtype::Fp32, output)],
            initializer: initialisers.iter().map(constant).collect(),
            ..Default::default()
        };
        let proto = model(13, graph);
        let x: Vec<f32> = (0..4 * 9 * 8).map(|at| (at * 37 % 29) as f32 - 14.0).collect();
        let x = [floats("x", &[1, 4, 9, 8], &x)];
        let operators = |table: &[_]| {
            let plan = load::plan(table, proto.clone(), &[vec![1, 4, 9, 8]]).unwrap();
            plan.model().nodes().iter().map(|node| node.op().name().into_owned()).collect::<Vec<_>>()
        };
        let with = operators(TABLE);
        assert!(with.iter().any(|name| name == operator), "{with:?}");
        assert!(!with.iter().any(|name| name.contains("Max") && name != operator), "a clip beside it: {with:?}");
        assert!(!operators(&without(row)).iter().any(|name| name == operator));
        assert_eq!(run(TABLE, &proto, &x).unwrap(), run(&without(row), &proto, &x).unwrap());
    }

    #[test]
    fn a_depthwise_convolution_slides_over_planes_with_its_clip() {
        let weights: Vec<f32> = (0..4 * 9).map(|at| (at % 7) as f32 - 3.0).collect();
        let initialisers = [
            floats("w", &[4, 1, 3, 3], &weights),
            floats("b", &[4], &[1.0, -2.0, 3.0, 0.0]),
            floats("low", &[], &[0.0]),
            floats("high", &[], &[60.0]),
        ];
        let mut conv = ints(ints(node("Conv", &["x", "w", "b"], &["c"]), "pads", &[1, 1, 1, 1]), "strides", &[2, 2]);
        conv.attribute.push(pb::AttributeProto {
            name: "group".to_owned(),
            r#type: pb::attribute_proto::AttributeType::Int as i32,
            i: 4,
            ..Default::default()
        });
        let nodes = vec![conv, node("Clip", &["c", "low", "high"], &["y"])];
        proves("depthwise-planes", "DepthwisePlanes", nodes, &initialisers, &[1, 4, 5, 4]);
    }

    #[test]
    fn a_pool_slides_over_planes() {
        let pool = ints(ints(node("MaxPool", &["x"], &["y"]), "kernel_shape", &[3, 3]), "strides", &[2, 2]);
        proves("max-planes", "MaxPlanes", vec![ints(pool, "pads", &[1, 1, 1, 1])], &[], &[1, 4, 5, 4]);
    }
}
