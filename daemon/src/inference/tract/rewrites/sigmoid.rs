//! A sigmoid that is right in its lower tail too: see [`picket_kernels::sigmoid`].

use picket_kernels::sigmoid::exact_sigmoid;
use tract_onnx::tract_core::{
    internal::*,
    ops::{element_wise::ElementWiseOp, nn::Sigmoid},
};

/// Puts an exact one in every Sigmoid's place, also where tract would make one operator of x · sigmoid(x): with that,
/// policies of three such layers are off by 4e-5 of their range.
pub(super) fn replace(model: &mut TypedModel) -> TractResult<()> {
    super::everywhere(model, &mut |node| {
        let Some(op) = node.op_as::<ElementWiseOp>() else { return };
        // What it gives has the type of what it takes.
        let single = node.outputs.iter().all(|output| output.fact.datum_type == f32::datum_type());
        if op.0.is::<Sigmoid>() && op.1.is_none() && single {
            node.op = Box::new(exact_sigmoid());
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{TABLE, testing::*};
    use crate::tensor::Dtype;

    #[test]
    fn scores_near_zero_are_no_noise() {
        let graph = tract_onnx::pb::GraphProto {
            node: vec![node("Sigmoid", &["x"], &["y"])],
            input: vec![value("x", Dtype::Fp32, &[2])],
            output: vec![value("y", Dtype::Fp32, &[2])],
            ..Default::default()
        };
        let input = [floats("x", &[2], &[-12.0, -20.0])];
        let off = |table: &[_]| {
            let outputs = run(table, &model(13, graph.clone()), &input).unwrap();
            let exact = [-12.0f64, -20.0].map(|x| 1.0 / (1.0 + (-x).exp()));
            outputs[0].to_f64().iter().zip(exact).map(|(got, want)| (got / want - 1.0).abs()).fold(0.0, f64::max)
        };
        assert!(off(TABLE) < 1e-6);
        assert!(off(&without("exact-sigmoid")) > 1e-3, "tract has mended this: the row can go");
    }
}
