//! The index of the largest value along one axis: tract makes a view for every output element, which takes ten times as
//! long as looking at the values.

use std::marker::PhantomData;

use tract_onnx::tract_core::internal::*;

use crate::cpu::widened;

/// The first index of the largest value along an axis, of a type `T`.
#[derive(Clone, Debug, PartialEq)]
pub struct Largest<T> {
    axis: usize,
    of: PhantomData<T>,
}

impl<T: Value> Eq for Largest<T> {}

impl<T: Value> Largest<T> {
    pub const fn along(axis: usize) -> Self {
        Self { axis, of: PhantomData }
    }
}

/// Values that can be compared.
pub trait Value: Datum + Copy + PartialOrd {
    /// No value is less.
    const LEAST: Self;
    /// `values` of one outer index: for each index of the axis, `inner` values. Betters what is in `best`.
    fn search(values: &[Self], inner: usize, best: &mut [Self], found: &mut [i64]);
}

macro_rules! value {
    ($type:ty, $search:ident, $body:ident, $least:expr) => {
        widened!(fn $search(values: &[$type], inner: usize, best: &mut [$type], found: &mut [i64]) = $body);

        /// `values` of one outer index: for each index of the axis, `inner` values.
        #[inline(always)]
        fn $body(values: &[$type], inner: usize, best: &mut [$type], found: &mut [i64]) {
            for (index, row) in (0i64..).zip(values.chunks_exact(inner)) {
                for ((value, best), found) in row.iter().zip(best.iter_mut()).zip(found.iter_mut()) {
                    let more = *value > *best;
                    *best = if more { *value } else { *best };
                    *found = if more { index } else { *found };
                }
            }
        }

        impl Value for $type {
            const LEAST: Self = $least;
            fn search(values: &[Self], inner: usize, best: &mut [Self], found: &mut [i64]) {
                $search(values, inner, best, found);
            }
        }
    };
}
value!(f32, search_f32, body_f32, f32::MIN);
value!(u8, search_u8, body_u8, u8::MIN);
value!(i8, search_i8, body_i8, i8::MIN);

impl<T: Value> Op for Largest<T> {
    fn name(&self) -> StaticName {
        "Largest".into()
    }

    op_as_typed_op!();
}

impl<T: Value> EvalOp for Largest<T> {
    op_out_of_plan!();

    fn eval(&self, _context: &EvalContext<'_>, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let x = args_1!(inputs);
        let mut shape: TVec<usize> = x.shape().into();
        ensure!(self.axis < shape.len(), "x has too few axes");
        let (length, inner) = (shape[self.axis], shape[self.axis + 1..].iter().product::<usize>());
        shape[self.axis] = 1;
        let mut found = Tensor::zero::<i64>(&shape)?;
        if found.len() > 0 && length > 0 {
            let mut plain = found.try_as_plain_ram_mut()?;
            let mut best = vec![T::LEAST; inner];
            let values = x.try_as_plain_ram()?.as_slice::<T>()?.chunks_exact(length * inner);
            for (values, found) in values.zip(plain.as_slice_mut::<i64>()?.chunks_exact_mut(inner)) {
                best.fill(T::LEAST);
                T::search(values, inner, &mut best, found);
            }
        }
        Ok(tvec!(found.into_tvalue()))
    }
}

impl<T: Value> TypedOp for Largest<T> {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let mut shape = inputs[0].shape.clone();
        shape.set(self.axis, 1.to_dim());
        Ok(tvec!(i64::datum_type().fact(shape)))
    }

    as_op!();
}
