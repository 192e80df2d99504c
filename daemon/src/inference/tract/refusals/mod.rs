//! The table of refusals: what tract answers wrong, or cannot answer once it is asked, is not served.
//!
//! Each row is a behaviour of tract 0.23.9 that ONNX Runtime or ONNX's own cases showed to be wrong (`tests/conformance`), as
//! narrow as the graph tells it. What can be mended exactly is mended in `rewrites` and has no row here.

mod node;
mod typed;

use tract_onnx::pb;

use self::node::{Node, Scope};
pub(super) use self::typed::check_typed;
use super::{graph, operators};
use crate::ports::BackendError;

/// The newest operator set of ONNX that the conformance cases are of. What a later one changes, nobody here has seen.
const NEWEST_OPSET: i64 = 25;

/// One known wrong behaviour.
struct Refusal {
    op: &'static str,
    when: fn(&Node<'_>) -> bool,
    why: &'static str,
}

/// By operator.
static TABLE: &[Refusal] = &[
    Refusal {
        op: "Attention",
        when: |node| node.int("left_window_size", -1) >= 0 || node.int("right_window_size", -1) >= 0,
        why: "the window is ignored",
    },
    Refusal {
        op: "DFT",
        when: |node| node.is_given(1) && !(node.is_set("inverse") && node.is_set("onesided")),
        why: "dft_length is ignored",
    },
    Refusal {
        op: "DequantizeLinear",
        when: |node| !matches!(node.int("output_dtype", 0), 0 | FLOAT),
        why: "output_dtype is ignored",
    },
    Refusal {
        op: "Dropout",
        when: |node| {
            let is_zero = |input| node.constant(input).is_some_and(|value| value == [0.0]);
            node.is_given(2) && !is_zero(2) && !is_zero(1)
        },
        why: "training mode, or what may be",
    },
    Refusal {
        op: "Einsum",
        when: |node| {
            node.text("equation").is_some_and(|equation| equation.trim_end().ends_with("->") && equation.trim() != "->")
        },
        why: "a sum over all axes comes out as no sum",
    },
    Refusal { op: "GRU", when: |node| node.has("clip"), why: "clip is ignored" },
    Refusal { op: "GRU", when: |node| node.has_activations(&["Sigmoid", "Tanh"]), why: "activations are ignored" },
    Refusal { op: "GlobalLpPool", when: |_| true, why: "the norm is divided by the number of elements" },
    Refusal {
        op: "GridSample",
        when: |node| {
            matches!(node.text("mode"), Some("bicubic" | "cubic")) && node.text("padding_mode") == Some("border")
        },
        why: "cubic interpolation at a border is wrong",
    },
    Refusal { op: "LSTM", when: |node| node.has("clip"), why: "clip is ignored" },
    Refusal { op: "LSTM", when: |node| node.is_set("input_forget"), why: "input_forget is ignored" },
    Refusal {
        op: "LSTM",
        when: |node| node.has_activations(&["Sigmoid", "Tanh", "Tanh"]),
        why: "activations are ignored",
    },
    Refusal {
        op: "LinearClassifier",
        when: |node| {
            let classes = node.count("classlabels_ints").max(node.count("classlabels_strings"));
            classes == 2 && node.count("intercepts") == 1 && node.text("post_transform") != Some("LOGISTIC")
        },
        why: "the scores of the first of two classes are wrong",
    },
    Refusal {
        op: "NonMaxSuppression",
        when: |node| !node.is_given(2) || node.constant(2).is_some_and(|most| most == [0.0]),
        why: "none per class is taken for all of them",
    },
    Refusal {
        op: "Normalizer",
        when: |node| node.text("norm").is_none_or(|norm| norm == "MAX"),
        why: "the norm MAX is not ONNX Runtime's where values are negative",
    },
    Refusal {
        op: "QuantizeLinear",
        when: |node| !node.is_given(2) && !matches!(node.int("output_dtype", 0), 0 | UINT8),
        why: "output_dtype is ignored",
    },
    Refusal { op: "RNN", when: |node| node.has("clip"), why: "clip is ignored" },
    Refusal { op: "RNN", when: |node| node.has_activations(&["Tanh"]), why: "activations are ignored" },
    Refusal { op: "ReduceLogSum", when: |node| node.is_integer(0), why: "integers are not summed as such" },
    Refusal { op: "ReduceLogSumExp", when: |node| node.is_integer(0), why: "integers are not summed as such" },
    Refusal {
        op: "ReduceMax",
        when: |node| node.scope.takes_nothing,
        why: "the largest of nothing is an infinity, and comes out finite",
    },
    Refusal {
        op: "ReduceMin",
        when: |node| node.scope.takes_nothing,
        why: "the smallest of nothing is an infinity, and comes out finite",
    },
    Refusal {
        op: "Resize",
        when: |node| node.opset == 10 && node.text("mode") != Some("linear") && !node.has_whole_scales(1),
        why: "the nearest element of operator set 10 is another one where scales are no whole numbers",
    },
    Refusal { op: "Swish", when: |node| node.float("alpha", 1.0).total_cmp(&1.0).is_ne(), why: "alpha is ignored" },
    Refusal {
        op: "TreeEnsembleClassifier",
        when: |node| node.texts("nodes_modes").any(|mode| mode == "BRANCH_GTE"),
        why: "BRANCH_GTE takes the other branch where values are equal or not",
    },
];

const FLOAT: i64 = pb::tensor_proto::DataType::Float as i64;
const UINT8: i64 = pb::tensor_proto::DataType::Uint8 as i64;

/// Operators of ONNX Runtime's own domain that tract computes as ONNX's of the same name, which are others.
const NAMESAKES: &[&str] = &["Attention", "GridSample", "RotaryEmbedding"];

/// Binary operators that took `axis` before operator set 7.
const ONCE_BROADCAST: &[&str] = &["Add", "And", "Div", "Equal", "Greater", "Less", "Mul", "Or", "Pow", "Sub", "Xor"];

/// Refuses what a row of the table is about; `shapes` of the inputs, as far as the plan is for them.
///
/// # Errors
/// `op X at node Y: …`.
pub(super) fn check(proto: &pb::ModelProto, shapes: &[Vec<usize>]) -> Result<(), BackendError> {
    let Some(graph) = &proto.graph else { return Ok(()) };
    let opset = opset(proto);
    if opset > NEWEST_OPSET {
        let message = format!("the model is of ONNX operator set {opset}; up to {NEWEST_OPSET} is known here");
        return Err(BackendError::Unsupported(message));
    }
    let scope = Scope::new(graph, shapes);
    let found = graph::find_node(graph, &mut |proto| {
        let node = Node { proto, opset, scope: &scope };
        reason(&node).map(|why| BackendError::Unsupported(sentence(proto, why)))
    });
    found.map_or(Ok(()), Err)
}

fn reason(node: &Node<'_>) -> Option<&'static str> {
    let op = node.proto.op_type.as_str();
    if node.proto.domain == "com.microsoft" && NAMESAKES.contains(&op) {
        return Some("it is not the operator of this name that ONNX has");
    }
    if node.opset < 7 && ONCE_BROADCAST.contains(&op) && node.has("axis") {
        return Some("the broadcasting of operator sets before 7 is ignored");
    }
    TABLE.iter().find(|row| row.op == op && (row.when)(node)).map(|row| row.why)
}

fn sentence(node: &pb::NodeProto, why: &str) -> String {
    format!("op {} at node {:?}: {why}", operators::name(node), operators::place(node))
}

fn opset(proto: &pb::ModelProto) -> i64 {
    let ours = proto.opset_import.iter().find(|import| matches!(import.domain.as_str(), "" | "ai.onnx"));
    ours.map_or(0, |import| import.version)
}

#[cfg(test)]
mod tests;
