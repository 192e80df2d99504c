//! An operator that tract's optimiser does not take apart.

use tract_onnx::tract_core::internal::*;

/// Computes what the operator in it does, and declares that no axis passes through unmixed, so that nobody splits it, and
/// nothing is folded into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Alone<O>(pub(super) O);

impl<O: TypedOp + Clone + Eq> Op for Alone<O> {
    fn name(&self) -> StaticName {
        format!("{}Alone", self.0.name()).into()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        self.0.info()
    }

    op_as_typed_op!();
}

impl<O: TypedOp + Clone + Eq> EvalOp for Alone<O> {
    op_out_of_plan!();

    fn eval(&self, context: &EvalContext<'_>, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        self.0.eval(context, inputs)
    }
}

impl<O: TypedOp + Clone + Eq> TypedOp for Alone<O> {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        self.0.output_facts(inputs)
    }

    fn axes_mapping(&self, inputs: &[&TypedFact], outputs: &[&TypedFact]) -> TractResult<AxesMapping> {
        AxesMapping::disconnected(inputs, outputs)
    }

    as_op!();
}
