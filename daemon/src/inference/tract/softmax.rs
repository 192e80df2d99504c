//! Keeps tract 0.23.9 from answering int8 models wrong without a word.
//!
//! `DequantizeLinearF32::declutter` (tract-core, `ops/quant.rs`) folds dequantise → … → quantise into a table of 256
//! entries when every operator between is element-wise, which it infers from the axes mapping. Softmax declares the
//! natural mapping, so it passes for element-wise, and the table is filled with the softmax of single elements: 1.0 for
//! all, every class saturated. The operator here computes the same and declares that no axis passes through unmixed.

use tract_onnx::tract_core::{internal::*, ops::nn::Softmax};

/// Softmax, with an axes mapping that does not invite anybody to split it.
#[derive(Clone, Debug, Hash, PartialEq, Eq)]
struct MixingSoftmax(Softmax);

impl Op for MixingSoftmax {
    fn name(&self) -> StaticName {
        "MixingSoftmax".into()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        self.0.info()
    }

    op_as_typed_op!();
}

impl EvalOp for MixingSoftmax {
    op_out_of_plan!();

    fn eval(&self, context: &EvalContext<'_>, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        self.0.eval(context, inputs)
    }
}

impl TypedOp for MixingSoftmax {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        self.0.output_facts(inputs)
    }

    fn axes_mapping(&self, inputs: &[&TypedFact], outputs: &[&TypedFact]) -> TractResult<AxesMapping> {
        AxesMapping::disconnected(inputs, outputs)
    }

    as_op!();
}

/// Puts [`MixingSoftmax`] in every Softmax's place. To be called before anything declutters.
pub(super) fn protect(model: &mut TypedModel) {
    for node in model.nodes_mut() {
        if let Some(softmax) = node.op_as::<Softmax>() {
            node.op = Box::new(MixingSoftmax(softmax.clone()));
        }
    }
}
