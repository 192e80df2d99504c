//! Walking through ONNX graphs and the graphs inside them.

use std::collections::{HashMap, HashSet};

use tract_onnx::pb;

/// The inputs that somebody has to give: those without initial values.
pub(super) fn inputs(graph: &pb::GraphProto) -> impl Iterator<Item = &pb::ValueInfoProto> {
    let initialised: HashSet<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    graph.input.iter().filter(move |input| !initialised.contains(input.name.as_str()))
}

/// The graphs inside a node: branches and bodies.
pub(super) fn subgraphs(node: &pb::NodeProto) -> impl Iterator<Item = &pb::GraphProto> {
    node.attribute.iter().flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs))
}

pub(super) fn subgraphs_mut(node: &mut pb::NodeProto) -> impl Iterator<Item = &mut pb::GraphProto> {
    node.attribute.iter_mut().flat_map(|attribute| attribute.g.iter_mut().chain(&mut attribute.graphs))
}

/// Calls `visit` for every node, those inside of nodes too; ends with the first that it says something of.
pub(super) fn find_node<T>(graph: &pb::GraphProto, visit: &mut dyn FnMut(&pb::NodeProto) -> Option<T>) -> Option<T> {
    graph.node.iter().find_map(|node| visit(node).or_else(|| subgraphs(node).find_map(|inner| find_node(inner, visit))))
}

/// Every value name that a node reads, those inside of it too.
pub(super) fn reads(node: &pb::NodeProto) -> HashSet<&str> {
    fn collect<'a>(node: &'a pb::NodeProto, names: &mut HashSet<&'a str>) {
        names.extend(node.input.iter().map(String::as_str).filter(|name| !name.is_empty()));
        for inner in subgraphs(node) {
            inner.node.iter().for_each(|node| collect(node, names));
            names.extend(inner.output.iter().map(|output| output.name.as_str()));
        }
    }
    let mut names = HashSet::new();
    collect(node, &mut names);
    names
}

/// Gives values and nodes of a graph, and of the graphs inside it, other names.
pub(super) fn rename(node: &mut pb::NodeProto, names: &HashMap<String, String>) {
    let swap = |name: &mut String| {
        if let Some(new) = names.get(name.as_str()) {
            name.clone_from(new);
        }
    };
    node.input.iter_mut().chain(&mut node.output).for_each(swap);
    for inner in subgraphs_mut(node) {
        inner.node.iter_mut().for_each(|node| rename(node, names));
        inner.output.iter_mut().for_each(|output| swap(&mut output.name));
    }
}
