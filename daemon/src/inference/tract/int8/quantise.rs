//! Floats to codes, at the edges of what is computed on codes.

use tract_onnx::tract_core::internal::*;

use super::{
    super::cpu::widened,
    codes::{Codes, Rounding},
};

/// Element by element. tract's own takes one element after the other.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::inference::tract) struct Quantise {
    pub(in crate::inference::tract) codes: Codes,
    /// One over the codes' scale.
    pub(in crate::inference::tract) recip: f32,
}

impl Eq for Quantise {}

impl Op for Quantise {
    fn name(&self) -> StaticName {
        "Quantise".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Quantise {
    op_out_of_plan!();

    fn eval(&self, _context: &EvalContext<'_>, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let x = args_1!(inputs);
        let mut y = Tensor::zero_dt(self.codes.datum_type(), x.shape())?;
        run(x.try_as_plain_ram()?.as_slice::<f32>()?, self.codes.rounding(self.recip), y.as_bytes_mut());
        Ok(tvec!(y.into_tvalue()))
    }
}

impl TypedOp for Quantise {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(self.codes.datum_type().fact(inputs[0].shape.clone())))
    }

    fn axes_mapping(&self, inputs: &[&TypedFact], outputs: &[&TypedFact]) -> TractResult<AxesMapping> {
        AxesMapping::natural(inputs, outputs)
    }

    fn change_axes(
        &self,
        model: &TypedModel,
        node: &TypedNode,
        _io: InOut,
        change: &AxisOp,
    ) -> TractResult<Option<AxisChangeConsequence>> {
        Ok(Some(AxisChangeConsequence::new(model, node, None, change)))
    }

    as_op!();
}

widened!(fn run(x: &[f32], rounding: Rounding, y: &mut [u8]) = body);

#[inline(always)]
fn body(x: &[f32], rounding: Rounding, y: &mut [u8]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y = rounding.byte(*x));
}
