//! The index of the largest value along one axis: tract makes a view for every output element, which takes ten times as
//! long as looking at the values.

use std::marker::PhantomData;

use tract_onnx::tract_core::{
    internal::*,
    ops::nn::{Reduce, Reducer},
};

use super::super::cpu::widened;

/// The first index of the largest value along an axis, of a type `T`.
#[derive(Clone, Debug, PartialEq)]
struct Largest<T> {
    axis: usize,
    of: PhantomData<T>,
}

impl<T: Value> Eq for Largest<T> {}

/// Values that can be compared.
trait Value: Datum + Copy + PartialOrd {
    const LEAST: Self;
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

/// See the table.
pub(super) fn look(model: &mut TypedModel) -> TractResult<()> {
    let facts: Vec<Option<DatumType>> = model
        .nodes()
        .iter()
        .map(|node| node.inputs.first().and_then(|input| model.outlet_fact(*input).ok()).map(|fact| fact.datum_type))
        .collect();
    for (node, datum_type) in model.nodes_mut().iter_mut().zip(facts) {
        let Some(op) = node.op_as::<Reduce>().filter(|op| op.reducer == Reducer::ArgMax(false)) else { continue };
        let &[axis] = &*op.axes else { continue };
        node.op = match datum_type {
            Some(DatumType::F32) => Box::new(Largest::<f32> { axis, of: PhantomData }),
            Some(DatumType::U8) => Box::new(Largest::<u8> { axis, of: PhantomData }),
            Some(DatumType::I8) => Box::new(Largest::<i8> { axis, of: PhantomData }),
            _ => continue,
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tract_onnx::pb;

    use super::super::{TABLE, testing::*};
    use crate::{inference::tract::load, tensor::Dtype};

    #[test]
    fn the_first_of_the_largest_is_found_without_views() {
        for axis in [0i64, 1, 2] {
            let mut argmax = node("ArgMax", &["x"], &["y"]);
            argmax.attribute.push(pb::AttributeProto {
                name: "axis".to_owned(),
                r#type: pb::attribute_proto::AttributeType::Int as i32,
                i: axis,
                ..Default::default()
            });
            let mut shape = [3, 5, 7];
            let graph = pb::GraphProto {
                node: vec![argmax],
                input: vec![value("x", Dtype::Fp32, &shape)],
                output: vec![value("y", Dtype::Int64, {
                    shape[axis as usize] = 1;
                    &shape
                })],
                ..Default::default()
            };
            let proto = model(13, graph);
            let mut values: Vec<f32> = (0..3 * 5 * 7).map(|at| (at * 31 % 6) as f32).collect();
            values[40] = f32::NAN;
            let x = [floats("x", &[3, 5, 7], &values)];
            let operators = |table: &[_]| {
                let plan = load::plan(table, proto.clone(), &[vec![3, 5, 7]]).unwrap();
                plan.model().nodes().iter().map(|node| node.op().name().into_owned()).collect::<Vec<_>>()
            };
            assert!(operators(TABLE).iter().any(|name| name == "Largest"));
            assert!(!operators(&without("largest")).iter().any(|name| name == "Largest"));
            assert_eq!(run(TABLE, &proto, &x).unwrap(), run(&without("largest"), &proto, &x).unwrap());
        }
    }
}
