//! Keeps the codes of constants.
//!
//! While tract infers types it evaluates whatever is constant, and of a layer's weights nothing is left but floats. With
//! this DequantizeLinear it does so later, when it declutters.

use std::sync::LazyLock;

use tract_onnx::{
    model::ParsingContext,
    pb::NodeProto,
    prelude::{TVec, TractResult, TypedModel},
    tract_core::internal::OutletId,
    tract_hir::{
        infer::rules::InferenceResult,
        internal::{Expansion, InferenceOp, Solver, StaticName, TensorProxy, expand},
    },
};

type Builder = fn(&ParsingContext<'_>, &NodeProto) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)>;

const NAME: &str = "DequantizeLinear";

/// tract's own.
static THEIRS: LazyLock<Option<Builder>> = LazyLock::new(|| tract_onnx::onnx().op_register.0.get(NAME).copied());

/// Builds the operator of a DequantizeLinear node.
pub(in crate::inference::tract) fn build(
    context: &ParsingContext<'_>,
    node: &NodeProto,
) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let Some(theirs) = *THEIRS else {
        return Err(tract_onnx::prelude::TractError::msg("tract has no DequantizeLinear"));
    };
    let (op, closures) = theirs(context, node)?;
    let kept = op.as_op().downcast_ref::<Box<dyn Expansion>>().map(|op| expand(Kept(op.clone())));
    Ok((kept.unwrap_or(op), closures))
}

#[derive(Clone, Debug)]
struct Kept(Box<dyn Expansion>);

impl Expansion for Kept {
    fn name(&self) -> StaticName {
        self.0.name()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        self.0.rules(solver, inputs, outputs)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        self.0.wire(prefix, model, inputs)
    }

    fn runs_out_of_plan(&self) -> bool {
        false
    }
}
