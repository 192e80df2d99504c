//! Quotients that are rounded down are quotients, and no products with a reciprocal.
//!
//! tract-core 0.23.9 (`declutter_div`, `ops/math/mod.rs`) makes x · (1/y) of every x / y of floats, which is off in the last
//! bit: 41 / 41 is 0.99999994, and its floor 0. Of the multiples of 61 up to 12,200 it gets 92 in 100 wrong, which is how
//! indices become rows and columns. Where a quotient leads to a step (a floor, a cast, a comparison), it stays one.

use std::collections::HashSet;

use tract_onnx::tract_core::{
    internal::*,
    ops::{
        binary::TypedBinOp,
        cast::Cast,
        change_axes::AxisOp,
        element_wise::ElementWiseOp,
        math::{Ceil, Div, Floor, Round, RoundHalfToEven, Sign},
    },
};

/// Nodes that are looked at behind a division.
const MOST_NODES: usize = 64;

bin_to_super_type!(quotient, Quotient,
    is_commutative: false,
    [f32, f64] => |quotient, dividend, divisor| *quotient = dividend / divisor
);

/// Puts [`Quotient`] in the place of those divisions.
pub(super) fn keep(model: &mut TypedModel) -> TractResult<()> {
    super::bodies(model).try_for_each(keep)?;
    let mut kept = Vec::new();
    for node in model.nodes() {
        let Some(op) = node.op_as::<TypedBinOp>().filter(|op| op.0.is::<Div>()) else { continue };
        let float = matches!(model.node_input_facts(node.id)?[0].datum_type, DatumType::F32 | DatumType::F64);
        if float && op.1.is_none() && leads_to_a_step(model, node.id) {
            kept.push(node.id);
        }
    }
    for id in kept {
        model.node_mut(id).op = Box::new(quotient());
    }
    Ok(())
}

/// Over what computes element by element, or moves elements.
fn leads_to_a_step(model: &TypedModel, from: usize) -> bool {
    let mut seen = HashSet::from([from]);
    let mut open = vec![from];
    while let Some(id) = open.pop() {
        for next in model.node(id).outputs.iter().flat_map(|output| &output.successors) {
            let node = model.node(next.node);
            if is_step(node) {
                return true;
            }
            let passes = node.op_is::<ElementWiseOp>() || node.op_is::<TypedBinOp>() || node.op_is::<AxisOp>();
            if passes && seen.len() < MOST_NODES && seen.insert(node.id) {
                open.push(node.id);
            }
        }
    }
    false
}

fn is_step(node: &TypedNode) -> bool {
    if let Some(cast) = node.op_as::<Cast>() {
        return !cast.to.is_float();
    }
    if let Some(ElementWiseOp(op, _)) = node.op_as::<ElementWiseOp>() {
        return op.is::<Floor>()
            || op.is::<Ceil>()
            || op.is::<Round>()
            || op.is::<RoundHalfToEven>()
            || op.is::<Sign>();
    }
    node.outputs.iter().any(|output| output.fact.datum_type == bool::datum_type())
}

#[cfg(test)]
mod tests {
    use super::super::{Rewrite, TABLE, testing::*};
    use crate::tensor::Dtype;
    use tract_onnx::pb;

    /// ⌊x / 61⌋ of the multiples of 61, with a reshape between.
    fn rows(table: &[Rewrite]) -> Vec<f32> {
        let graph = pb::GraphProto {
            node: vec![
                node("Div", &["x", "width"], &["q"]),
                node("Reshape", &["q", "table"], &["t"]),
                node("Floor", &["t"], &["y"]),
            ],
            initializer: vec![constant(&floats("width", &[1], &[61.0])), constant(&longs("table", &[2], &[10, 10]))],
            input: vec![value("x", Dtype::Fp32, &[100])],
            output: vec![value("y", Dtype::Fp32, &[10, 10])],
            ..<_>::default()
        };
        let x: Vec<f32> = (0..100u8).map(|row| f32::from(row) * 61.0).collect();
        run(table, &model(13, graph), &[floats("x", &[100], &x)]).unwrap()[0].to_f32()
    }

    #[test]
    fn indices_become_the_right_rows() {
        let right = |rows: Vec<f32>| rows.into_iter().zip(0u8..).filter(|(row, want)| *row == f32::from(*want)).count();
        assert_eq!(right(rows(TABLE)), 100);
        assert!(right(rows(&without("quotients"))) < 50, "tract divides now: the row can go");
    }
}
