//! One ONNX node becomes several: what the rewrites on the graph share.

use tract_onnx::pb;

use super::super::graph;

/// The nodes that take one node's place, and the constants that they need. Their values are named after its first output.
pub(super) struct Expansion<'a> {
    node: &'a pb::NodeProto,
    nodes: Vec<pb::NodeProto>,
    constants: Vec<pb::TensorProto>,
}

impl<'a> Expansion<'a> {
    pub(super) const fn of(node: &'a pb::NodeProto) -> Self {
        Self { node, nodes: Vec::new(), constants: Vec::new() }
    }

    fn fresh(&self) -> String {
        let first = self.node.output.iter().find(|output| !output.is_empty());
        let count = self.nodes.len() + self.constants.len();
        format!("{}/expanded.{count}", first.unwrap_or(&self.node.name))
    }

    pub(super) fn longs(&mut self, dims: &[i64], values: &[i64]) -> String {
        self.constant(pb::tensor_proto::DataType::Int64, dims, values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    pub(super) fn floats(&mut self, dims: &[i64], values: &[f32]) -> String {
        self.constant(pb::tensor_proto::DataType::Float, dims, values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    fn constant(&mut self, data_type: pb::tensor_proto::DataType, dims: &[i64], raw_data: Vec<u8>) -> String {
        let name = self.fresh();
        let tensor = pb::TensorProto {
            name: name.clone(),
            dims: dims.to_vec(),
            data_type: data_type as i32,
            raw_data,
            ..<_>::default()
        };
        self.constants.push(tensor);
        name
    }

    /// A node with one output of a new name, which is returned.
    pub(super) fn op(&mut self, op: &str, inputs: &[&str], attributes: Vec<pb::AttributeProto>) -> String {
        let output = self.fresh();
        self.op_into(op, inputs, &output, attributes);
        output
    }

    /// A node that gives one value that the graph knows already.
    pub(super) fn op_into(&mut self, op: &str, inputs: &[&str], output: &str, attribute: Vec<pb::AttributeProto>) {
        self.push(pb::NodeProto {
            op_type: op.to_owned(),
            name: format!("{}/{op}", self.fresh()),
            input: inputs.iter().map(|input| (*input).to_owned()).collect(),
            output: vec![output.to_owned()],
            attribute,
            ..<_>::default()
        });
    }

    pub(super) fn push(&mut self, node: pb::NodeProto) {
        self.nodes.push(node);
    }
}

/// Puts expansions in the place of the nodes that `expand` has one for, those inside of nodes too.
pub(super) fn everywhere(graph: &mut pb::GraphProto, expand: &dyn Fn(&pb::NodeProto) -> Option<Expansion<'_>>) {
    let mut nodes = Vec::with_capacity(graph.node.len());
    for mut node in std::mem::take(&mut graph.node) {
        graph::subgraphs_mut(&mut node).for_each(|inner| everywhere(inner, expand));
        let expansion = expand(&node).map(|found| (found.nodes, found.constants));
        match expansion {
            Some((mut expanded, mut constants)) => {
                nodes.append(&mut expanded);
                graph.initializer.append(&mut constants);
            }
            None => nodes.push(node),
        }
    }
    graph.node = nodes;
}

pub(super) fn attribute<'a>(node: &'a pb::NodeProto, name: &str) -> Option<&'a pb::AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name == name)
}

pub(super) fn int(name: &str, i: i64) -> pb::AttributeProto {
    let r#type = pb::attribute_proto::AttributeType::Int as i32;
    pb::AttributeProto { name: name.to_owned(), i, r#type, ..<_>::default() }
}

pub(super) fn float(name: &str, f: f32) -> pb::AttributeProto {
    let r#type = pb::attribute_proto::AttributeType::Float as i32;
    pb::AttributeProto { name: name.to_owned(), f, r#type, ..<_>::default() }
}

pub(super) fn ints(name: &str, ints: &[i64]) -> pb::AttributeProto {
    let r#type = pb::attribute_proto::AttributeType::Ints as i32;
    pb::AttributeProto { name: name.to_owned(), ints: ints.to_vec(), r#type, ..<_>::default() }
}

pub(super) fn text(name: &str, text: &str) -> pb::AttributeProto {
    let r#type = pb::attribute_proto::AttributeType::String as i32;
    pb::AttributeProto { name: name.to_owned(), s: text.as_bytes().to_vec(), r#type, ..<_>::default() }
}

/// The version of ONNX's own operators that the model is of.
pub(super) fn opset(proto: &pb::ModelProto) -> i64 {
    let ours = proto.opset_import.iter().find(|import| matches!(import.domain.as_str(), "" | "ai.onnx"));
    ours.map_or(0, |import| import.version)
}
