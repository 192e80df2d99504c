//! `If` that every job decides anew, like one on a sample rate that comes with the samples.
//!
//! tract's own operator wants both branches to work for the shapes at hand, and prepares the one that it takes again for
//! every job. This one keeps both as plans, and a branch that cannot work is an error only for those who take it.

use std::sync::Arc;

use tract_onnx::{
    model::ParsingContext,
    pb,
    prelude::{InferenceModelExt as _, TypedRunnableModel},
    tract_core::{internal::*, tract_data::itertools::Itertools as _},
    tract_hir::internal::{Factoid as _, InferenceFact, InferenceModel, InferenceNode, InferenceOp},
};

type Facts = TVec<InferenceFact>;

/// Builds the operator of an `If` node; also says which values of the graphs around it its branches read.
pub(super) fn build(
    context: &ParsingContext<'_>,
    node: &pb::NodeProto,
) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let parse = |name: &str| {
        let attribute = node.attribute.iter().find(|attribute| attribute.name == name);
        let graph = attribute.and_then(|attribute| attribute.g.as_ref());
        context.parse_graph(graph.with_context(|| format!("If has no {name}"))?)
    };
    let parsed = [parse("then_branch")?, parse("else_branch")?];
    ensure!(parsed[0].model.outputs.len() == parsed[1].model.outputs.len(), "branches with different outputs");
    let read: Vec<String> = parsed.iter().flat_map(|p| p.unresolved_inputs.iter().cloned()).sorted().unique().collect();
    let branches = parsed.map(|parsed| Parsed {
        // Behind the condition, which is the node's first input.
        inputs: parsed
            .unresolved_inputs
            .iter()
            .filter_map(|name| read.iter().position(|r| r == name))
            .map(|at| at + 1)
            .collect(),
        body: parsed.model,
        typed: None,
    });
    Ok((Box::new(Untyped { branches }), read))
}

/// A branch, until the shapes are known.
#[derive(Clone, Debug)]
struct Parsed {
    /// Which of the node's inputs the body takes.
    inputs: Vec<usize>,
    body: InferenceModel,
    /// What came of it for the shapes at hand.
    typed: Option<Result<TypedModel, String>>,
}

impl Parsed {
    fn with_inputs(&self, facts: &[InferenceFact]) -> TractResult<TypedModel> {
        let mut body = self.body.clone();
        for (index, input) in self.inputs.iter().enumerate() {
            body.set_input_fact(index, facts[*input].clone())?;
        }
        body.into_typed()
    }
}

#[derive(Clone, Debug)]
struct Untyped {
    /// Then, else.
    branches: [Parsed; 2],
}

impl PartialEq for Untyped {
    fn eq(&self, _: &Self) -> bool {
        false
    }
}

impl Eq for Untyped {}

impl Op for Untyped {
    fn name(&self) -> StaticName {
        "If".into()
    }

    not_a_typed_op!();
}

impl EvalOp for Untyped {
    not_out_of_plan!();

    fn eval(&self, _: &EvalContext<'_>, _: TVec<TValue>) -> TractResult<TVec<TValue>> {
        bail!("an If is typed before it runs")
    }
}

impl InferenceOp for Untyped {
    fn infer_facts(
        &mut self,
        inputs: TVec<&InferenceFact>,
        outputs: TVec<&InferenceFact>,
        observed: TVec<&InferenceFact>,
    ) -> TractResult<(Facts, Facts, Facts)> {
        let own = |facts: TVec<&InferenceFact>| facts.into_iter().cloned().collect::<Facts>();
        let (inputs, mut outputs, observed) = (own(inputs), own(outputs), own(observed));
        let known = |fact: &InferenceFact| fact.datum_type.is_concrete() && fact.shape.is_concrete();
        if !inputs.iter().skip(1).all(known) {
            return Ok((inputs, outputs, observed));
        }
        for branch in &mut self.branches {
            if branch.typed.is_none() {
                branch.typed = Some(branch.with_inputs(&inputs).map_err(|error| format!("{error:#}")));
            }
            let Some(Ok(typed)) = &branch.typed else { continue };
            for (index, output) in outputs.iter_mut().enumerate() {
                let fact = typed.output_fact(index)?;
                let fact = InferenceFact::dt_shape(fact.datum_type, &*fact.shape);
                output.unify_with(&fact).context("the branches of an If give different things")?;
            }
        }
        if let [Some(Err(first)), Some(Err(_))] = self.branches.each_ref().map(|branch| branch.typed.as_ref()) {
            bail!("no branch of an If can run: {first}");
        }
        Ok((inputs, outputs, observed))
    }

    fn nboutputs(&self) -> TractResult<usize> {
        Ok(self.branches[0].body.outputs.len())
    }

    fn to_typed(
        &self,
        _: &InferenceModel,
        node: &InferenceNode,
        target: &mut TypedModel,
        mapping: &HashMap<OutletId, OutletId>,
    ) -> TractResult<TVec<OutletId>> {
        let inputs: TVec<OutletId> = node.inputs.iter().map(|outlet| mapping[outlet]).collect();
        let branches = self.branches.clone().map(|parsed| Branch {
            inputs: parsed.inputs,
            body: parsed.typed.unwrap_or_else(|| Err("its shapes are unknown".to_owned())),
        });
        target.wire_node(&node.name, Choice { branches }, &inputs)
    }

    as_op!();
}

/// A branch that is typed, or why it cannot be.
#[derive(Clone, Debug)]
struct Branch<Body> {
    inputs: Vec<usize>,
    body: Result<Body, String>,
}

impl<Body> Branch<Body> {
    /// The body with what it takes.
    fn of(&self, inputs: &TVec<TValue>) -> TractResult<(&Body, TVec<TValue>)> {
        let body = self.body.as_ref().map_err(|why| format_err!("this branch of an If cannot run: {why}"))?;
        Ok((body, self.inputs.iter().map(|input| inputs[*input].clone()).collect()))
    }
}

/// The typed operator, whose bodies can still be rewritten.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    branches: [Branch<TypedModel>; 2],
}

impl Choice {
    pub(super) fn bodies_mut(&mut self) -> impl Iterator<Item = &mut TypedModel> {
        self.branches.iter_mut().filter_map(|branch| branch.body.as_mut().ok())
    }
}

impl PartialEq for Choice {
    fn eq(&self, _: &Self) -> bool {
        false
    }
}

impl Eq for Choice {}

impl Op for Choice {
    fn name(&self) -> StaticName {
        "Choice".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Choice {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext<'_>, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let (body, inputs) = chosen(&self.branches, &inputs)?;
        body.clone().into_runnable()?.run(inputs)
    }
}

impl TypedOp for Choice {
    fn output_facts(&self, _: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let body = self.branches.iter().find_map(|branch| branch.body.as_ref().ok());
        let body = body.context("no branch of an If can run")?;
        (0..body.outputs.len()).map(|index| Ok(body.output_fact(index)?.without_value())).collect()
    }

    fn codegen(&self, model: &TypedModel, node: &TypedNode) -> TractResult<Option<TypedModelPatch>> {
        let [then, otherwise] = self.branches.clone().map(|branch| -> TractResult<_> {
            let plan = |body: TypedModel| body.into_decluttered()?.into_optimized()?.into_runnable();
            let body = branch.body.map_or_else(|why| Ok(Err(why)), |body| plan(body).map(Ok))?;
            Ok(Branch { inputs: branch.inputs, body })
        });
        let planned = Planned { branches: [then?, otherwise?], facts: self.output_facts(&[])? };
        TypedModelPatch::replace_single_op(model, node, &node.inputs, planned).map(Some)
    }

    as_op!();
}

/// The operator that runs.
#[derive(Clone, Debug)]
struct Planned {
    branches: [Branch<Arc<TypedRunnableModel>>; 2],
    facts: TVec<TypedFact>,
}

impl PartialEq for Planned {
    fn eq(&self, _: &Self) -> bool {
        false
    }
}

impl Eq for Planned {}

impl Op for Planned {
    fn name(&self) -> StaticName {
        "PlannedChoice".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Planned {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext<'_>, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let (plan, inputs) = chosen(&self.branches, &inputs)?;
        plan.run(inputs)
    }
}

impl TypedOp for Planned {
    fn output_facts(&self, _: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(self.facts.clone())
    }

    as_op!();
}

/// The body that the condition chooses, with what it takes.
fn chosen<'a, Body>(branches: &'a [Branch<Body>; 2], inputs: &TVec<TValue>) -> TractResult<(&'a Body, TVec<TValue>)> {
    let condition = inputs.first().context("an If without condition")?.cast_to_scalar::<bool>()?;
    branches[usize::from(!condition)].of(inputs)
}

#[cfg(test)]
mod tests {
    use super::super::{TABLE, testing::*};
    use crate::{ports::BackendError, tensor::Dtype};
    use tract_onnx::pb;

    /// `rate == 16000 ? -x : reshape(x, [1, 2])`; the second works for two values only.
    fn on_rate(values: i64) -> pb::ModelProto {
        let mut choice = node("If", &["wide"], &["y"]);
        choice.attribute = vec![
            branch("then_branch", vec![node("Neg", &["x"], &["b"])], "b", vec![]),
            branch(
                "else_branch",
                vec![node("Reshape", &["x", "to"], &["b"])],
                "b",
                vec![constant(&longs("to", &[2], &[1, 2]))],
            ),
        ];
        let graph = pb::GraphProto {
            node: vec![node("Equal", &["rate", "rate_16k"], &["wide"]), choice],
            initializer: vec![constant(&longs("rate_16k", &[], &[16_000]))],
            input: vec![value("x", Dtype::Fp32, &[1, values]), value("rate", Dtype::Int64, &[])],
            output: vec![pb::ValueInfoProto { name: "y".to_owned(), ..value("y", Dtype::Fp32, &[1, values]) }],
            ..<_>::default()
        };
        model(13, graph)
    }

    #[test]
    fn a_job_decides_which_branch_runs() {
        let x = floats("x", &[1, 2], &[1.0, -2.0]);
        for (rate, answer) in [(16_000, [-1.0, 2.0]), (8_000, [1.0, -2.0])] {
            let outputs = run(TABLE, &on_rate(2), &[x.clone(), longs("rate", &[], &[rate])]).unwrap();
            assert_eq!(outputs[0].to_f32(), answer);
        }
    }

    #[test]
    fn a_branch_that_cannot_work_is_an_error_for_those_who_take_it() {
        let x = floats("x", &[1, 3], &[1.0, -2.0, 3.0]);
        let outputs = run(TABLE, &on_rate(3), &[x.clone(), longs("rate", &[], &[16_000])]).unwrap();
        assert_eq!(outputs[0].to_f32(), [-1.0, 2.0, -3.0]);
        let other = [x, longs("rate", &[], &[8_000])];
        let error = run(TABLE, &on_rate(3), &other).unwrap_err();
        assert!(matches!(&error, BackendError::Run(why) if why.contains("this branch of an If cannot run")), "{error}");
        let error = run(&without("choice"), &on_rate(3), &other).unwrap_err();
        assert!(matches!(error, BackendError::Unsupported(_)), "tract loads it now: the row can go");
    }
}
