//! Celu with an `alpha` other than 1, of which tract forgets a factor below 0.
//!
//! Celu is max(0, x) + min(0, α (e^(x/α) - 1)) (ONNX, `Celu`), which is α · Elu(x/α) with Elu's own alpha at 1.

use tract_onnx::pb;

use super::{
    Known,
    expand::{self, Expansion},
};
use crate::ports::BackendError;

pub(super) fn as_elu(proto: &mut pb::ModelProto, _known: &Known<'_>) -> Result<(), BackendError> {
    if let Some(graph) = &mut proto.graph {
        expand::everywhere(graph, &expansion);
    }
    Ok(())
}

fn expansion(node: &pb::NodeProto) -> Option<Expansion<'_>> {
    let (Some(x), Some(y)) = (node.input.first(), node.output.first()) else { return None };
    let alpha = expand::attribute(node, "alpha").filter(|_| node.op_type == "Celu")?.f;
    let mut found = Expansion::of(node);
    let factor = found.floats(&[], &[alpha]);
    let part = found.op("Div", &[x, &factor], Vec::new());
    let elu = found.op("Elu", &[&part], vec![expand::float("alpha", 1.0)]);
    found.op_into("Mul", &[&elu, &factor], y, Vec::new());
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
    fn celu_has_its_alpha_below_zero() {
        let mut celu = node("Celu", &["x"], &["y"]);
        celu.attribute.push(expand::float("alpha", 2.0));
        let graph = pb::GraphProto {
            node: vec![celu],
            input: vec![value("x", Dtype::Fp32, &[3])],
            output: vec![value("y", Dtype::Fp32, &[3])],
            ..<_>::default()
        };
        let answer = |table: &[_]| {
            let outputs = run(table, &model(12, graph.clone()), &[floats("x", &[3], &[-2.0, 0.0, 3.0])]).unwrap();
            outputs[0].to_f32()
        };
        let below = 2.0 * ((-1.0f32).exp() - 1.0);
        let got = answer(TABLE);
        assert!((got[0] - below).abs() < 1e-6 && got[1..] == [0.0, 3.0], "{got:?}");
        assert!((answer(&without("celu"))[0] - below).abs() > 0.5, "tract has mended this: the row can go");
    }
}
