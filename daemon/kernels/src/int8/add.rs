//! Sums of two tensors of codes, as residual networks have them.

use tract_onnx::tract_core::internal::*;

use super::{
    super::cpu::widened,
    codes::{Codes, Rounding},
    geometry::Bytes,
};

/// Two tensors of codes of one shape, added element by element.
#[derive(Clone, Debug, PartialEq)]
pub struct QuantisedAdd {
    /// Of each input; only type and zero point count.
    pub x: [Codes; 2],
    pub scales: [f32; 2],
    pub y: Codes,
    /// The output's scale, which is divided by: sums of codes often lie half between two others.
    pub scale: f32,
}

impl Eq for QuantisedAdd {}

impl Op for QuantisedAdd {
    fn name(&self) -> StaticName {
        "QuantisedAdd".into()
    }

    op_as_typed_op!();
}

impl EvalOp for QuantisedAdd {
    op_out_of_plan!();

    fn eval(&self, _context: &EvalContext<'_>, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let (a, b) = args_2!(inputs);
        self.x[0].check(a.datum_type())?;
        self.x[1].check(b.datum_type())?;
        ensure!(a.shape() == b.shape(), "two shapes");
        let mut y = Tensor::zero_dt(self.y.datum_type(), a.shape())?;
        let term = |index: usize, tensor| Term {
            codes: Bytes { bytes: tensor, signed: self.x[index].signed, zero: self.x[index].zero },
            scale: self.scales[index],
        };
        let rounding = self.y.rounding(1.0);
        run(term(0, a.as_bytes()), term(1, b.as_bytes()), self.scale, rounding, y.as_bytes_mut());
        Ok(tvec!(y.into_tvalue()))
    }
}

impl TypedOp for QuantisedAdd {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        ensure!(inputs.len() == 2 && inputs[0].shape == inputs[1].shape, "two inputs of one shape");
        Ok(tvec!(self.y.datum_type().fact(inputs[0].shape.clone())))
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

#[derive(Clone, Copy)]
struct Term<'a> {
    codes: Bytes<'a>,
    scale: f32,
}

impl Term<'_> {
    #[inline(always)]
    #[expect(clippy::cast_precision_loss, reason = "a difference of codes has 9 bits")]
    fn value<const SIGNED: bool>(self, byte: u8) -> f32 {
        let code = if SIGNED { i32::from(byte.cast_signed()) } else { i32::from(byte) };
        (code - self.codes.zero) as f32 * self.scale
    }
}

widened!(fn run(a: Term<'_>, b: Term<'_>, scale: f32, rounding: Rounding, y: &mut [u8]) = body);

#[inline(always)]
fn body(a: Term<'_>, b: Term<'_>, scale: f32, rounding: Rounding, y: &mut [u8]) {
    match (a.codes.signed, b.codes.signed) {
        (false, false) => sum::<false, false>(a, b, scale, rounding, y),
        (false, true) => sum::<false, true>(a, b, scale, rounding, y),
        (true, false) => sum::<true, false>(a, b, scale, rounding, y),
        (true, true) => sum::<true, true>(a, b, scale, rounding, y),
    }
}

#[inline(always)]
fn sum<const A: bool, const B: bool>(a: Term<'_>, b: Term<'_>, scale: f32, rounding: Rounding, y: &mut [u8]) {
    for ((y, x), z) in y.iter_mut().zip(a.codes.bytes).zip(b.codes.bytes) {
        *y = rounding.byte((a.value::<A>(*x) + b.value::<B>(*z)) / scale);
    }
}
