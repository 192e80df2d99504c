//! GatherND and ScatterND with indices that count from the end, at which tract panics.

use tract_onnx::tract_core::{
    internal::*,
    ops::array::{GatherNd, ScatterNd},
};

#[derive(Clone, Debug, Hash, PartialEq, Eq)]
enum Inner {
    Gather(GatherNd),
    Scatter(ScatterNd),
}

/// The operator inside, given indices from the start.
#[derive(Clone, Debug, Hash, PartialEq, Eq)]
struct FromStart(Inner);

impl FromStart {
    fn inner(&self) -> &dyn TypedOp {
        match &self.0 {
            Inner::Gather(op) => op,
            Inner::Scatter(op) => op,
        }
    }

    /// Axes of the data that are no matter of the indices.
    const fn batch_dims(&self) -> usize {
        match &self.0 {
            Inner::Gather(op) => op.batch_dims,
            Inner::Scatter(_) => 0,
        }
    }
}

impl Op for FromStart {
    fn name(&self) -> StaticName {
        match &self.0 {
            Inner::Gather(_) => "GatherNdFromStart".into(),
            Inner::Scatter(_) => "ScatterNdFromStart".into(),
        }
    }

    op_as_typed_op!();
}

impl EvalOp for FromStart {
    op_out_of_plan!();

    fn eval(&self, context: &EvalContext<'_>, mut inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let dims = inputs[0].shape()[self.batch_dims()..].to_vec();
        let datum_type = inputs[1].datum_type();
        let depth = inputs[1].shape().last().copied().unwrap_or(1).max(1);
        let mut indices = inputs[1].cast_to::<i64>()?.into_owned();
        let mut negative = false;
        for (position, index) in indices.try_as_plain_ram_mut()?.as_slice_mut::<i64>()?.iter_mut().enumerate() {
            let dim = dims.get(position % depth).copied().unwrap_or(0) as i64;
            if *index < 0 {
                *index += dim;
                negative = true;
            }
            ensure!((0..dim).contains(index), "an index is beyond the {dim} elements of its axis");
        }
        if negative {
            inputs[1] = indices.cast_to_dt(datum_type)?.into_owned().into_tvalue();
        }
        match &self.0 {
            Inner::Gather(op) => op.eval(context, inputs),
            Inner::Scatter(op) => op.eval(context, inputs),
        }
    }
}

impl TypedOp for FromStart {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        self.inner().output_facts(inputs)
    }

    as_op!();
}

/// Puts [`FromStart`] around every GatherND and ScatterND.
pub(super) fn count_from_start(model: &mut TypedModel) -> TractResult<()> {
    super::everywhere(model, &mut |node| {
        let gather = node.op_as::<GatherNd>().cloned().map(Inner::Gather);
        if let Some(inner) = gather.or_else(|| node.op_as::<ScatterNd>().cloned().map(Inner::Scatter)) {
            node.op = Box::new(FromStart(inner));
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use tract_onnx::pb;

    use super::super::{TABLE, testing::*};
    use crate::tensor::Dtype;

    #[test]
    fn an_index_below_zero_counts_from_the_end() {
        let graph = pb::GraphProto {
            node: vec![node("GatherND", &["x", "at"], &["y"])],
            input: vec![value("x", Dtype::Fp32, &[3]), value("at", Dtype::Int64, &[2, 1])],
            output: vec![value("y", Dtype::Fp32, &[2])],
            ..<_>::default()
        };
        let data = floats("x", &[3], &[1.0, 2.0, 3.0]);
        let answer =
            |indices: &[i64]| run(TABLE, &model(13, graph.clone()), &[data.clone(), longs("at", &[2, 1], indices)]);
        assert_eq!(answer(&[-1, 0]).unwrap()[0].to_f32(), [3.0, 1.0]);
        assert!(answer(&[-4, 0]).unwrap_err().to_string().contains("beyond"));
        let bare = || {
            run(
                &without("indices-from-start"),
                &model(13, graph.clone()),
                &[data.clone(), longs("at", &[2, 1], &[-1, 0])],
            )
        };
        assert!(std::panic::catch_unwind(bare).is_err(), "tract has mended this: the row can go");
    }

    #[test]
    fn values_are_scattered_from_the_end() {
        let graph = pb::GraphProto {
            node: vec![node("ScatterND", &["x", "at", "v"], &["y"])],
            input: vec![
                value("x", Dtype::Fp32, &[3]),
                value("at", Dtype::Int64, &[1, 1]),
                value("v", Dtype::Fp32, &[1]),
            ],
            output: vec![value("y", Dtype::Fp32, &[3])],
            ..<_>::default()
        };
        let inputs = [floats("x", &[3], &[1.0, 2.0, 3.0]), longs("at", &[1, 1], &[-2]), floats("v", &[1], &[9.0])];
        assert_eq!(run(TABLE, &model(13, graph), &inputs).unwrap()[0].to_f32(), [1.0, 9.0, 3.0]);
    }
}
