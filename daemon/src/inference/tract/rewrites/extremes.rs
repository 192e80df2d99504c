//! ReduceMax and ReduceMin that know infinities: tract begins at the largest finite number, which is then the answer for
//! nothing but -∞, and for nothing at all.

use tract_onnx::tract_core::{
    internal::{tract_ndarray::Axis, *},
    ops::nn::{Reduce, Reducer},
};

/// A reduction to the largest or smallest f32 or f64.
#[derive(Clone, Debug, Hash, PartialEq, Eq)]
struct Extreme(Reduce);

impl Extreme {
    /// The answer once more from an `infinity` on where it may be no more than tract's `beginning`, which is rare.
    fn mend<T: Datum + Copy + PartialOrd>(
        &self,
        input: &Tensor,
        output: TValue,
        [beginning, infinity]: [T; 2],
    ) -> TractResult<TValue> {
        if output.try_as_plain_ram()?.as_slice::<T>()?.iter().all(|value| *value != beginning) {
            return Ok(output);
        }
        let largest = self.0.reducer == Reducer::Max;
        let farther = |a: &T, b: &T| if (largest && b > a) || (!largest && b < a) { *b } else { *a };
        let mut found = input.try_as_plain_ram()?.to_array_view::<T>()?.to_owned();
        for axis in &self.0.axes {
            found = found.fold_axis(Axis(*axis), infinity, farther).insert_axis(Axis(*axis));
        }
        Ok(found.into_tensor().into_tvalue())
    }
}

impl Op for Extreme {
    fn name(&self) -> StaticName {
        "ExactExtreme".into()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        self.0.info()
    }

    op_as_typed_op!();
}

impl EvalOp for Extreme {
    op_out_of_plan!();

    fn eval(&self, context: &EvalContext<'_>, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let input = inputs[0].clone();
        let output = self.0.eval(context, inputs)?.remove(0);
        let largest = self.0.reducer == Reducer::Max;
        let output = if input.datum_type() == f64::datum_type() {
            let [beginning, infinity] = if largest { [f64::MIN, f64::NEG_INFINITY] } else { [f64::MAX, f64::INFINITY] };
            self.mend(&input, output, [beginning, infinity])?
        } else {
            let [beginning, infinity] = if largest { [f32::MIN, f32::NEG_INFINITY] } else { [f32::MAX, f32::INFINITY] };
            self.mend(&input, output, [beginning, infinity])?
        };
        Ok(tvec!(output))
    }
}

impl TypedOp for Extreme {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        self.0.output_facts(inputs)
    }

    fn axes_mapping(&self, inputs: &[&TypedFact], outputs: &[&TypedFact]) -> TractResult<AxesMapping> {
        self.0.axes_mapping(inputs, outputs)
    }

    fn change_axes(
        &self,
        model: &TypedModel,
        node: &TypedNode,
        io: InOut,
        change: &AxisOp,
    ) -> TractResult<Option<AxisChangeConsequence>> {
        let Some(mut found) = self.0.change_axes(model, node, io, change)? else { return Ok(None) };
        if let Some(op) = found.substitute_op.take() {
            let Some(reduce) = op.downcast_ref::<Reduce>() else { return Ok(None) };
            found.substitute_op = Some(Box::new(Self(reduce.clone())));
        }
        Ok(Some(found))
    }

    as_op!();
}

/// Puts [`Extreme`] in the place of reductions to the largest or smallest f32 or f64.
pub(super) fn know_infinities(model: &mut TypedModel) -> TractResult<()> {
    super::everywhere(model, &mut |node| {
        let floats = [f32::datum_type(), f64::datum_type()];
        let floating = node.outputs.iter().all(|output| floats.contains(&output.fact.datum_type));
        let Some(reduce) = node.op_as::<Reduce>().filter(|_| floating) else { return };
        if matches!(reduce.reducer, Reducer::Max | Reducer::Min) {
            node.op = Box::new(Extreme(reduce.clone()));
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use tract_onnx::pb;

    use super::super::{Rewrite, TABLE, expand, testing::*};
    use crate::tensor::Dtype;

    #[test]
    fn the_largest_of_nothing_but_infinities_is_one() {
        let mut reduce = node("ReduceMax", &["x"], &["y"]);
        reduce.attribute = vec![expand::ints("axes", &[1])];
        let graph = pb::GraphProto {
            node: vec![reduce],
            input: vec![value("x", Dtype::Fp32, &[3, 2])],
            output: vec![value("y", Dtype::Fp32, &[3, 1])],
            ..<_>::default()
        };
        let answer = |table: &[Rewrite]| {
            let lowest = f32::NEG_INFINITY;
            let x = floats("x", &[3, 2], &[lowest, lowest, lowest, f32::MIN, 1.0, 2.0]);
            run(table, &model(13, graph.clone()), &[x]).unwrap()[0].to_f32()
        };
        assert_eq!(answer(TABLE), [f32::NEG_INFINITY, f32::MIN, 2.0]);
        assert_eq!(answer(&without("exact-extremes"))[0], f32::MIN, "tract has mended this: the row can go");
    }
}
