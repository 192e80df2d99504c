//! The third power as two products: exporters write the tanh form of GELU with `Pow(x, 3)`, and a power of any exponent
//! takes fifty times as long as two products.

use tract_onnx::tract_core::{
    internal::*,
    ops::{
        binary::TypedBinOp,
        math::{Pow, mul},
    },
};

use super::quantised::scalar;

/// See the table.
pub(super) fn multiply(model: &mut TypedModel) -> TractResult<()> {
    let nodes: Vec<usize> = model.nodes().iter().map(|node| node.id).collect();
    for id in nodes {
        let node = model.node(id);
        let power = node.op_as::<TypedBinOp>().is_some_and(|op| op.0.is::<Pow>());
        if !power || scalar(model, node.inputs[1])? != Some(3.0) {
            continue;
        }
        let mut patch = TypedModelPatch::new("a cube as two products");
        let x = patch.tap_model(model, node.inputs[0])?;
        if patch.outlet_fact(x)?.datum_type != f32::datum_type()
            || patch.outlet_fact(x)?.rank() != node.outputs[0].fact.rank()
        {
            continue;
        }
        let square = patch.wire_node(format!("{}.square", node.name), mul(), &[x, x])?[0];
        let cube = patch.wire_node(&node.name, mul(), &[square, x])?[0];
        patch.shunt_outside(model, id.into(), cube)?;
        patch.apply(model)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tract_onnx::pb;

    use super::super::{TABLE, testing::*};
    use crate::{inference::tract::load, tensor::Dtype};

    #[test]
    fn a_cube_is_two_products() {
        let graph = pb::GraphProto {
            node: vec![node("Pow", &["x", "three"], &["y"])],
            input: vec![value("x", Dtype::Fp32, &[2, 2])],
            output: vec![value("y", Dtype::Fp32, &[2, 2])],
            initializer: vec![constant(&floats("three", &[], &[3.0]))],
            ..Default::default()
        };
        let proto = model(13, graph);
        let x = [floats("x", &[2, 2], &[-1.5, 0.0, 2.0, 1e10])];
        let y = run(TABLE, &proto, &x).unwrap();
        assert_eq!(y[0].to_f64(), [-3.375, 0.0, 8.0, f64::from(1e30f32)]);
        let powers = |table: &[_]| {
            let plan = load::plan(table, proto.clone(), &[vec![2, 2]]).unwrap();
            plan.model().nodes().iter().filter(|node| node.op().name().contains("Pow")).count()
        };
        assert_eq!((powers(TABLE), powers(&without("cube"))), (0, 1));
    }
}
