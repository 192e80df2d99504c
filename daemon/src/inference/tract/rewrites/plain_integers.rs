//! CumSum and TopK of what tract takes for dimensions, at which they give up.
//!
//! A cast to INT64 may be a shape in the making, so tract computes it as dimensions, which may have unknowns. Position ids of
//! language models are such sums of casts; when they are computed, they are plain integers.

use tract_onnx::tract_core::{
    internal::*,
    ops::array::{CumSum, Topk},
};

#[derive(Clone, Debug, Hash, PartialEq, Eq)]
enum Inner {
    Sum(CumSum),
    Top(Topk),
}

/// The operator inside, given integers for dimensions; what it makes of them is dimensions again.
#[derive(Clone, Debug, Hash, PartialEq, Eq)]
struct OfIntegers(Inner);

impl Op for OfIntegers {
    fn name(&self) -> StaticName {
        match &self.0 {
            Inner::Sum(_) => "CumSumOfIntegers".into(),
            Inner::Top(_) => "TopkOfIntegers".into(),
        }
    }

    op_as_typed_op!();
}

impl EvalOp for OfIntegers {
    op_out_of_plan!();

    fn eval(&self, context: &EvalContext<'_>, mut inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        inputs[0] = inputs[0].cast_to::<i64>()?.into_owned().into_tvalue();
        let mut outputs = match &self.0 {
            Inner::Sum(op) => op.eval(context, inputs)?,
            Inner::Top(op) => op.eval(context, inputs)?,
        };
        outputs[0] = outputs[0].cast_to::<TDim>()?.into_owned().into_tvalue();
        Ok(outputs)
    }
}

impl TypedOp for OfIntegers {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        match &self.0 {
            Inner::Sum(op) => op.output_facts(inputs),
            Inner::Top(op) => op.output_facts(inputs),
        }
    }

    as_op!();
}

/// Puts [`OfIntegers`] around the CumSums and TopKs of dimensions.
pub(super) fn plain(model: &mut TypedModel) -> TractResult<()> {
    super::everywhere(model, &mut |node| {
        // What they give has the type of what they take.
        if node.outputs.first().is_none_or(|output| output.fact.datum_type != TDim::datum_type()) {
            return;
        }
        let sum = node.op_as::<CumSum>().cloned().map(Inner::Sum);
        if let Some(inner) = sum.or_else(|| node.op_as::<Topk>().cloned().map(Inner::Top)) {
            node.op = Box::new(OfIntegers(inner));
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use tract_onnx::pb;

    use super::super::{TABLE, expand, testing::*};
    use crate::tensor::{Dtype, Tensor};

    #[test]
    fn positions_are_sums_of_casts() {
        let mut cast = node("Cast", &["x"], &["mask"]);
        cast.attribute = vec![expand::int("to", pb::tensor_proto::DataType::Int64 as i64)];
        let graph = pb::GraphProto {
            node: vec![cast, node("CumSum", &["mask", "axis"], &["y"])],
            initializer: vec![constant(&longs("axis", &[], &[1]))],
            input: vec![value("x", Dtype::Bool, &[1, 4])],
            output: vec![value("y", Dtype::Int64, &[1, 4])],
            ..<_>::default()
        };
        let input = || [bytes("x", Dtype::Bool, &[1, 1, 0, 1], &[1, 4])];
        let answer = run(TABLE, &model(14, graph.clone()), &input()).unwrap();
        assert_eq!(answer.first().map(Tensor::to_f64).unwrap(), [1.0, 2.0, 2.0, 3.0]);
        assert!(run(&without("plain-integers"), &model(14, graph), &input()).is_err(), "tract has mended this");
    }
}
