//! `If` whose condition is known when the plan is made: its branch takes its place.
//!
//! Exporters write `If` for what depends on shapes alone (`squeeze` of a dimension that may be 1, an RNN that takes two or
//! three dimensions), with branches that differ in rank; tract cannot give such a node one type. And an input that is bound
//! to a constant, like a sample rate, decides others. Known is what follows from constants and from the inputs' shapes:
//! tract itself is asked, with the part of the graph that leads to the condition.

use std::collections::{HashMap, HashSet};

use picket_core::limits;
use tract_onnx::{
    pb,
    prelude::{Framework, InferenceModelExt as _, TractResult},
    tract_hir::internal::{Factoid as _, InferenceFact, TractErrorContext as _},
};

use super::{super::graph, Known};
use crate::ports::BackendError;

/// Folds every `If` that can be, inside of branches that stay too.
pub(super) fn fold(proto: &mut pb::ModelProto, known: &Known<'_>) -> Result<(), BackendError> {
    let Some(mut top) = proto.graph.take() else { return Ok(()) };
    let mut folding = Folding { proto, known, asked: 0 };
    folding.graph(&mut top, &[]);
    proto.graph = Some(top);
    Ok(())
}

struct Folding<'a> {
    /// The model without its graph.
    proto: &'a pb::ModelProto,
    known: &'a Known<'a>,
    /// How many conditions were asked for.
    asked: usize,
}

impl Folding<'_> {
    /// `outer` are the graphs around this one, the outermost first.
    fn graph(&mut self, graph: &mut pb::GraphProto, outer: &[&pb::GraphProto]) {
        let mut at = 0;
        while at < graph.node.len() {
            let is_if = graph.node[at].op_type == "If" && graph.node[at].domain.is_empty();
            let condition = if is_if { self.condition(graph, outer, at) } else { None };
            if let Some(condition) = condition
                && inline(graph, at, condition)
            {
                // What has taken its place is looked at next.
                continue;
            }
            let mut node = std::mem::take(&mut graph.node[at]);
            let around: Vec<&pb::GraphProto> = outer.iter().copied().chain([&*graph]).collect();
            graph::subgraphs_mut(&mut node).for_each(|inner| self.graph(inner, &around));
            graph.node[at] = node;
            at += 1;
        }
    }

    /// What the condition of this `If` is, if that is known by now.
    fn condition(&mut self, graph: &pb::GraphProto, outer: &[&pb::GraphProto], at: usize) -> Option<bool> {
        self.asked += 1;
        if self.asked > limits::FOLDED_IFS {
            return None;
        }
        let scopes: Vec<&pb::GraphProto> = outer.iter().copied().chain([graph]).collect();
        let name = graph.node[at].input.first()?;
        // Shapes are known without the weights, which may be large.
        [Weights::Shapes, Weights::Values].into_iter().find_map(|weights| {
            let graph = Some(cone(&scopes, name, weights)?);
            let opset_import = self.proto.opset_import.clone();
            let proto = pb::ModelProto { ir_version: self.proto.ir_version, opset_import, graph, ..<_>::default() };
            self.value(&proto).inspect_err(|error| tracing::debug!(%name, "no condition: {error:#}")).ok().flatten()
        })
    }

    /// The only output of this model, if it is a constant.
    fn value(&self, proto: &pb::ModelProto) -> TractResult<Option<bool>> {
        let mut model = self.known.reader.model_for_proto_model(proto)?;
        for index in 0..model.inputs.len() {
            let name = &model.node(model.inputs[index].node).name;
            let Some(shape) = self.known.shape_of(name) else { continue };
            let fact = match model.input_fact(index)?.datum_type.concretize() {
                Some(datum_type) => InferenceFact::dt_shape(datum_type, shape),
                None => InferenceFact::shape(shape),
            };
            model.set_input_fact(index, fact)?;
        }
        let typed = model.into_typed().context("typing the condition")?;
        let Some(value) = typed.output_fact(0)?.konst.clone() else { return Ok(None) };
        value.cast_to_scalar::<bool>().map(Some)
    }
}

/// What of large constants a condition is asked with.
#[derive(Clone, Copy)]
enum Weights {
    Shapes,
    Values,
}

/// Floats that are more than these are weights.
const WEIGHTS: i64 = 64;

impl Weights {
    /// The tensor as an input of unknown value, if only its shape is wanted.
    fn as_input(self, name: &str, tensor: &pb::TensorProto) -> Option<pb::ValueInfoProto> {
        use pb::{
            tensor_proto::DataType,
            tensor_shape_proto::{Dimension, dimension},
            type_proto,
        };
        let float = [DataType::Float as i32, DataType::Double as i32].contains(&tensor.data_type);
        let many = tensor.dims.iter().try_fold(1i64, |all, dim| all.checked_mul(*dim)).is_none_or(|all| all > WEIGHTS);
        if matches!(self, Self::Values) || !float || !many {
            return None;
        }
        let dim = |dim: &i64| Dimension { value: Some(dimension::Value::DimValue(*dim)), ..<_>::default() };
        let shape = Some(pb::TensorShapeProto { dim: tensor.dims.iter().map(dim).collect() });
        let value = type_proto::Value::TensorType(type_proto::Tensor { elem_type: tensor.data_type, shape });
        let r#type = Some(pb::TypeProto { value: Some(value), ..<_>::default() });
        Some(pb::ValueInfoProto { name: name.to_owned(), r#type, ..<_>::default() })
    }
}

/// The part of nested graphs that leads to a value, as one graph; `None` when it comes out of something that is no graph
/// around it, like the input of a loop's body.
fn cone(scopes: &[&pb::GraphProto], output: &str, weights: Weights) -> Option<pb::GraphProto> {
    let top = scopes.first()?;
    let mut makers: HashMap<&str, (usize, usize)> = HashMap::new();
    for (scope, graph) in scopes.iter().enumerate() {
        for (at, node) in graph.node.iter().enumerate() {
            makers.extend(node.output.iter().map(|name| (name.as_str(), (scope, at))));
        }
    }
    let (mut nodes, mut given) = (HashSet::new(), HashSet::new());
    let mut wanted = vec![output];
    while let Some(name) = wanted.pop() {
        match makers.get(name) {
            Some((scope, at)) if nodes.insert((*scope, *at)) => {
                let node = &scopes[*scope].node[*at];
                // What is defined inside of a node is no value of the graphs around it.
                let inner = defined_inside(node);
                wanted.extend(graph::reads(node).into_iter().filter(|name| !inner.contains(name)));
            }
            Some(_) => {}
            None => {
                given.insert(name);
            }
        }
    }
    let mut found = pb::GraphProto {
        output: vec![pb::ValueInfoProto { name: output.to_owned(), ..<_>::default() }],
        ..<_>::default()
    };
    for (scope, graph) in scopes.iter().enumerate() {
        for (_, node) in graph.node.iter().enumerate().filter(|(at, _)| nodes.contains(&(scope, *at))) {
            let constant = node.attribute.iter().filter(|_| node.op_type == "Constant").find_map(|a| a.t.as_ref());
            match constant.zip(node.output.first()).and_then(|(tensor, name)| weights.as_input(name, tensor)) {
                Some(input) => found.input.push(input),
                None => found.node.push(node.clone()),
            }
        }
        for tensor in graph.initializer.iter().filter(|tensor| given.remove(tensor.name.as_str())) {
            match weights.as_input(&tensor.name, tensor) {
                Some(input) => found.input.push(input),
                None => found.initializer.push(tensor.clone()),
            }
        }
    }
    found.input.extend(top.input.iter().filter(|input| given.remove(input.name.as_str())).cloned());
    given.is_empty().then_some(found)
}

fn defined_inside(node: &pb::NodeProto) -> HashSet<&str> {
    let mut names = HashSet::new();
    for inner in graph::subgraphs(node) {
        names.extend(inner.initializer.iter().map(|tensor| tensor.name.as_str()));
        names.extend(inner.input.iter().map(|input| input.name.as_str()));
        for node in &inner.node {
            names.extend(node.output.iter().map(String::as_str));
            names.extend(defined_inside(node));
        }
    }
    names
}

/// Puts a branch in its `If`'s place; false when it is no such `If`.
fn inline(graph: &mut pb::GraphProto, at: usize, condition: bool) -> bool {
    let branch = if condition { "then_branch" } else { "else_branch" };
    let node = &mut graph.node[at];
    let Some(branch) = node.attribute.iter_mut().find(|attribute| attribute.name == branch) else { return false };
    let Some(mut branch) = branch.g.take() else { return false };
    let (outputs, name) = (std::mem::take(&mut node.output), std::mem::take(&mut node.name));
    // Branches of different nodes may use the same names.
    let prefix = outputs.iter().find(|output| !output.is_empty()).cloned().unwrap_or(name);
    let defined = branch.node.iter().flat_map(|node| node.output.iter());
    let defined = defined.chain(branch.initializer.iter().map(|tensor| &tensor.name)).filter(|name| !name.is_empty());
    let names: HashMap<String, String> = defined.map(|name| (name.clone(), format!("{prefix}/{name}"))).collect();
    for node in &mut branch.node {
        graph::rename(node, &names);
        if !node.name.is_empty() {
            node.name = format!("{prefix}/{}", node.name);
        }
    }
    for tensor in &mut branch.initializer {
        tensor.name = format!("{prefix}/{}", tensor.name);
    }
    let results = branch.output.iter().zip(outputs).filter(|(_, output)| !output.is_empty());
    let results: Vec<pb::NodeProto> = results
        .map(|(result, output)| pb::NodeProto {
            op_type: "Identity".to_owned(),
            name: format!("{output}/branch"),
            input: vec![names.get(&result.name).unwrap_or(&result.name).clone()],
            output: vec![output],
            ..<_>::default()
        })
        .collect();
    graph.initializer.append(&mut branch.initializer);
    graph.node.splice(at..=at, branch.node.into_iter().chain(results));
    true
}

#[cfg(test)]
mod tests {
    use super::super::{TABLE, testing::*};
    use crate::tensor::Dtype;
    use tract_onnx::pb;

    /// Squeezes axis 1 if it is 1, as PyTorch exports it: the branches differ in rank.
    fn squeezing(input: &str, output: &str) -> Vec<pb::NodeProto> {
        let [shape, size, is_one] = ["shape", "size", "is_one"].map(|what| format!("{output}_{what}"));
        let mut choice = node("If", &[&is_one], &[output]);
        choice.attribute = vec![
            branch(
                "then_branch",
                vec![node("Squeeze", &[input, "axis"], &["b"])],
                "b",
                vec![constant(&longs("axis", &[1], &[1]))],
            ),
            branch("else_branch", vec![node("Identity", &[input], &["b"])], "b", vec![]),
        ];
        vec![
            node("Shape", &[input], &[&shape]),
            node("Gather", &[&shape, "one"], &[&size]),
            node("Equal", &[&size, "one"], &[&is_one]),
            choice,
        ]
    }

    /// Two of them, whose branches use the same names, and a third inside of a branch of a fourth.
    fn exported() -> pb::ModelProto {
        let mut outer = node("If", &["r_known"], &["s"]);
        outer.attribute = vec![
            branch("then_branch", vec![node("Neg", &["q"], &["b"])], "b", vec![]),
            branch("else_branch", squeezing("q", "r"), "r", vec![]),
        ];
        let mut nodes = squeezing("x", "p");
        nodes.push(node("Unsqueeze", &["p", "one_axis"], &["u"]));
        nodes.extend(squeezing("u", "v"));
        nodes.push(node("Unsqueeze", &["v", "one_axis"], &["q"]));
        nodes.push(outer);
        let graph = pb::GraphProto {
            node: nodes,
            initializer: vec![
                constant(&longs("one", &[], &[1])),
                constant(&longs("one_axis", &[1], &[1])),
                constant(&bytes("r_known", Dtype::Bool, &[0], &[])),
            ],
            input: vec![value("x", Dtype::Fp32, &[2, 1, 3])],
            output: vec![pb::ValueInfoProto { name: "s".to_owned(), ..value("s", Dtype::Fp32, &[2, 3]) }],
            ..<_>::default()
        };
        model(13, graph)
    }

    #[test]
    fn ifs_on_shapes_become_their_branches() {
        let input = floats("x", &[2, 1, 3], &[1., 2., 3., 4., 5., 6.]);
        let outputs = run(TABLE, &exported(), std::slice::from_ref(&input)).unwrap();
        assert_eq!(outputs[0].shape(), [2, 3]);
        assert_eq!(outputs[0].data(), input.data());
        run(&without("fold-ifs"), &exported(), &[input]).expect_err("tract types it now: the row can go");
    }

    /// Whether there is any weight above 0, of more than are looked at at first.
    #[test]
    fn a_condition_may_depend_on_weights() {
        let mut choice = node("If", &["any"], &["y"]);
        // Of different ranks, so that only one of them can be.
        choice.attribute = vec![
            branch("then_branch", vec![node("Neg", &["x"], &["b"])], "b", vec![]),
            branch("else_branch", vec![node("Unsqueeze", &["x", "axis"], &["b"])], "b", vec![]),
        ];
        let graph = pb::GraphProto {
            node: vec![
                node("ReduceMax", &["weights"], &["most"]),
                node("Greater", &["most", "none"], &["any"]),
                choice,
            ],
            initializer: vec![
                constant(&floats("weights", &[100], &[0.5; 100])),
                constant(&floats("none", &[1], &[0.0])),
                constant(&longs("axis", &[1], &[0])),
            ],
            input: vec![value("x", Dtype::Fp32, &[2])],
            output: vec![pb::ValueInfoProto { name: "y".to_owned(), ..<_>::default() }],
            ..<_>::default()
        };
        let outputs = run(TABLE, &model(13, graph), &[floats("x", &[2], &[1.0, -2.0])]).unwrap();
        assert_eq!(outputs[0].to_f32(), [-1.0, 2.0]);
    }
}
