//! Operators that nobody here has, said by name before tract sees the graph.

use std::collections::BTreeSet;

use tract_onnx::{Onnx, pb};

use super::graph;
use crate::ports::BackendError;

/// The domains whose operators tract's registry, which looks at names alone, is about.
const DOMAINS: &[&str] = &["", "ai.onnx", "ai.onnx.ml", "com.microsoft"];

/// More than these are not listed.
const NAMES: usize = 8;

/// Looks for every operator of the graph, and of the graphs inside it, in the reader's registry.
///
/// # Errors
/// `op Domain::Op at node "N": …`, with the names of the others that are unknown too.
pub(super) fn check(proto: &pb::ModelProto, reader: &Onnx) -> Result<(), BackendError> {
    let Some(graph) = &proto.graph else { return Ok(()) };
    let mut first = None;
    let mut names = BTreeSet::new();
    graph::find_node(graph, &mut |node| -> Option<()> {
        let known = DOMAINS.contains(&node.domain.as_str()) && reader.op_register.0.contains_key(&node.op_type);
        if !known {
            first.get_or_insert_with(|| format!("op {} at node {:?}", name(node), place(node)));
            names.insert(name(node));
        }
        None
    });
    let Some(first) = first else { return Ok(()) };
    let others: Vec<String> = names.into_iter().filter(|other| !first.starts_with(&format!("op {other} "))).collect();
    let more = match others.len() {
        0 => String::new(),
        1..=NAMES => format!("; nor {}", others.join(", ")),
        count => format!("; nor {} and {} more", others[..NAMES].join(", "), count - NAMES),
    };
    Err(BackendError::Unsupported(format!("{first}: there is no such operator here{more}")))
}

/// `com.microsoft::Attention`; operators of ONNX itself without a domain.
pub(super) fn name(node: &pb::NodeProto) -> String {
    match node.domain.as_str() {
        "" | "ai.onnx" => node.op_type.clone(),
        domain => format!("{domain}::{}", node.op_type),
    }
}

/// The node's name, or that of what it gives when it has none.
pub(super) fn place(node: &pb::NodeProto) -> &str {
    let first = node.output.iter().find(|output| !output.is_empty());
    [Some(&node.name), first].into_iter().flatten().find(|name| !name.is_empty()).map_or("", String::as_str)
}

#[cfg(test)]
mod tests {
    use super::super::rewrites::{self, testing::*};
    use super::*;
    use crate::tensor::Dtype;

    fn verdict(nodes: Vec<pb::NodeProto>) -> Result<(), String> {
        let graph = pb::GraphProto {
            node: nodes,
            input: vec![value("x", Dtype::Fp32, &[1])],
            output: vec![value("y", Dtype::Fp32, &[1])],
            ..<_>::default()
        };
        check(&model(13, graph), &rewrites::reader(rewrites::TABLE)).map_err(|error| error.to_string())
    }

    fn of(domain: &str, node: pb::NodeProto) -> pb::NodeProto {
        pb::NodeProto { domain: domain.to_owned(), ..node }
    }

    #[test]
    fn an_unknown_operator_is_named_with_its_domain_and_node() {
        let nameless = pb::NodeProto { name: String::new(), ..node("Frobnicate", &["x"], &["y"]) };
        assert_eq!(verdict(vec![nameless]).unwrap_err(), "op Frobnicate at node \"y\": there is no such operator here");
        let nodes = vec![
            node("Neg", &["x"], &["a"]),
            of("org.example", node("Neg", &["a"], &["b"])),
            node("Frobnicate", &["b"], &["c"]),
            of("org.example", node("Neg", &["c"], &["y"])),
        ];
        assert_eq!(
            verdict(nodes).unwrap_err(),
            "op org.example::Neg at node \"Neg_b\": there is no such operator here; nor Frobnicate"
        );
    }

    #[test]
    fn operators_inside_of_branches_are_looked_at() {
        let mut choice = node("If", &["c"], &["y"]);
        choice.attribute = vec![
            branch("then_branch", vec![node("Neg", &["x"], &["b"])], "b", vec![]),
            branch("else_branch", vec![node("Frobnicate", &["x"], &["b"])], "b", vec![]),
        ];
        assert!(verdict(vec![choice]).unwrap_err().contains("op Frobnicate at node \"Frobnicate_b\""));
        assert_eq!(verdict(vec![node("Neg", &["x"], &["y"])]), Ok(()));
    }
}
