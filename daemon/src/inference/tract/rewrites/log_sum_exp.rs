//! ReduceLogSumExp that does not overflow: tract takes the exponential of its input as it is, which is infinite from 89 on.
//!
//! log Σ e^x = m + log Σ e^(x - m), with m the largest x.

use tract_onnx::pb;

use super::{
    Known,
    expand::{self, Expansion},
};
use crate::ports::BackendError;

pub(super) fn shift(proto: &mut pb::ModelProto, _known: &Known<'_>) -> Result<(), BackendError> {
    let opset = expand::opset(proto);
    if let Some(graph) = &mut proto.graph {
        expand::everywhere(graph, &|node| expansion(node, opset));
    }
    Ok(())
}

fn expansion(node: &pb::NodeProto, opset: i64) -> Option<Expansion<'_>> {
    let (Some(x), Some(y)) = (node.input.first(), node.output.first()) else { return None };
    let of_input = node.input.get(1).filter(|axes| !axes.is_empty());
    // Axes that an input gives may be none, which then means that nothing is reduced: `noop_with_empty_axes`.
    let is_noop = expand::attribute(node, "noop_with_empty_axes").is_some_and(|flag| flag.i != 0);
    if node.op_type != "ReduceLogSumExp" || is_noop {
        return None;
    }
    let mut found = Expansion::of(node);
    let keep = expand::attribute(node, "keepdims").map_or(1, |keep| keep.i);
    let as_list = expand::attribute(node, "axes").map(|axes| axes.ints.clone());
    let reduce = |found: &mut Expansion<'_>, op: &str, from: &str, keep: i64| {
        // Sums take their axes as an input from operator set 13 on, all others from 18 on.
        let by_input = opset >= 18 || (opset >= 13 && op == "ReduceSum");
        let mut attributes = vec![expand::int("keepdims", keep)];
        let mut inputs = vec![from.to_owned()];
        match (&as_list, of_input) {
            (Some(list), _) if by_input => inputs.push(found.longs(&[list.len().try_into().unwrap_or(0)], list)),
            (Some(list), _) => attributes.push(expand::ints("axes", list)),
            (None, Some(axes)) => inputs.push(axes.clone()),
            (None, None) => {}
        }
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        found.op(op, &inputs, attributes)
    };
    let largest = reduce(&mut found, "ReduceMax", x, 1);
    let outer = if keep == 0 { reduce(&mut found, "ReduceMax", x, 0) } else { largest.clone() };
    let shifted = found.op("Sub", &[x, &largest], Vec::new());
    let power = found.op("Exp", &[&shifted], Vec::new());
    let sum = reduce(&mut found, "ReduceSum", &power, keep);
    let log = found.op("Log", &[&sum], Vec::new());
    found.op_into("Add", &[&log, &outer], y, Vec::new());
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::{
        super::{TABLE, testing::*},
        *,
    };
    use crate::tensor::Dtype;

    #[test]
    fn large_values_do_not_overflow() {
        let mut reduce = node("ReduceLogSumExp", &["x"], &["y"]);
        reduce.attribute = vec![expand::ints("axes", &[1]), expand::int("keepdims", 0)];
        let graph = pb::GraphProto {
            node: vec![reduce],
            input: vec![value("x", Dtype::Fp32, &[2, 2])],
            output: vec![value("y", Dtype::Fp32, &[2])],
            ..<_>::default()
        };
        let answer = |table: &[_]| {
            let x = floats("x", &[2, 2], &[100.0, 100.0, -3.0, -3.0]);
            run(table, &model(13, graph.clone()), &[x]).unwrap()[0].to_f32()
        };
        let got = answer(TABLE);
        let ln_2 = std::f32::consts::LN_2;
        assert!((got[0] - 100.0 - ln_2).abs() < 1e-4 && (got[1] + 3.0 - ln_2).abs() < 1e-6, "{got:?}");
        assert_eq!(answer(&without("log-sum-exp"))[0], f32::INFINITY, "tract has mended this: the row can go");
    }
}
