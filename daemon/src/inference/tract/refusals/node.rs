//! One node of an ONNX graph, as the table of refusals asks about it.

use std::collections::HashMap;

use tract_onnx::pb::{self, tensor_proto::DataType};

use super::graph;

/// What is known of the values of a model, those of inner graphs too.
pub(super) struct Scope<'a> {
    constants: HashMap<&'a str, &'a pb::TensorProto>,
    data_types: HashMap<&'a str, i32>,
    /// An input of floats has no elements; one of integers may be axes, of which there may be none.
    pub(super) takes_nothing: bool,
}

impl<'a> Scope<'a> {
    pub(super) fn new(graph: &'a pb::GraphProto, shapes: &[Vec<usize>]) -> Self {
        let mut scope = Self { constants: HashMap::new(), data_types: HashMap::new(), takes_nothing: false };
        scope.add(graph);
        let floats = [DataType::Float, DataType::Double, DataType::Float16].map(|float| float as i32);
        let is_float = |name: &str| scope.data_types.get(name).is_some_and(|known| floats.contains(known));
        scope.takes_nothing =
            graph::inputs(graph).zip(shapes).any(|(input, shape)| shape.contains(&0) && is_float(&input.name));
        scope
    }

    fn add(&mut self, graph: &'a pb::GraphProto) {
        for tensor in &graph.initializer {
            self.constants.insert(&tensor.name, tensor);
            self.data_types.insert(&tensor.name, tensor.data_type);
        }
        for value in graph.input.iter().chain(&graph.value_info) {
            if let Some(pb::type_proto::Value::TensorType(tensor)) =
                value.r#type.as_ref().and_then(|t| t.value.as_ref())
            {
                self.data_types.insert(&value.name, tensor.elem_type);
            }
        }
        for node in &graph.node {
            if let ("Constant", [output]) = (node.op_type.as_str(), node.output.as_slice())
                && let Some(tensor) = node.attribute.iter().find_map(|attribute| attribute.t.as_ref())
            {
                self.constants.insert(output, tensor);
            }
            graph::subgraphs(node).for_each(|inner| self.add(inner));
        }
    }
}

/// A node, with what is known around it.
pub(super) struct Node<'a> {
    pub(super) proto: &'a pb::NodeProto,
    /// Of ONNX's own domain.
    pub(super) opset: i64,
    pub(super) scope: &'a Scope<'a>,
}

impl Node<'_> {
    fn attribute(&self, name: &str) -> Option<&pb::AttributeProto> {
        self.proto.attribute.iter().find(|attribute| attribute.name == name)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.attribute(name).is_some()
    }

    pub(super) fn int(&self, name: &str, default: i64) -> i64 {
        self.attribute(name).map_or(default, |attribute| attribute.i)
    }

    /// A flag that is there and not 0.
    pub(super) fn is_set(&self, name: &str) -> bool {
        self.int(name, 0) != 0
    }

    pub(super) fn float(&self, name: &str, default: f32) -> f32 {
        self.attribute(name).map_or(default, |attribute| attribute.f)
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.attribute(name).and_then(|attribute| std::str::from_utf8(&attribute.s).ok())
    }

    pub(super) fn texts(&self, name: &str) -> impl Iterator<Item = &str> {
        self.attribute(name).into_iter().flat_map(|attribute| &attribute.strings).filter_map(|text| {
            // What is no text is no keyword either.
            std::str::from_utf8(text).ok()
        })
    }

    /// Elements of a list.
    pub(super) fn count(&self, name: &str) -> usize {
        self.attribute(name)
            .map_or(0, |attribute| attribute.ints.len().max(attribute.floats.len()).max(attribute.strings.len()))
    }

    fn input(&self, index: usize) -> Option<&str> {
        self.proto.input.get(index).map(String::as_str).filter(|name| !name.is_empty())
    }

    pub(super) fn is_given(&self, index: usize) -> bool {
        self.input(index).is_some()
    }

    /// The values of an input that is a constant of the model, where they can be read.
    pub(super) fn constant(&self, index: usize) -> Option<Vec<f64>> {
        numbers(self.scope.constants.get(self.input(index)?)?)
    }

    /// Is the input known to be of an integer type?
    pub(super) fn is_integer(&self, index: usize) -> bool {
        use DataType as T;
        let known = self.input(index).and_then(|name| self.scope.data_types.get(name));
        let integers = [T::Int8, T::Int16, T::Int32, T::Int64, T::Uint8, T::Uint16, T::Uint32, T::Uint64];
        known.is_some_and(|known| integers.iter().any(|integer| *integer as i32 == *known))
    }

    /// Are the scales that this input gives whole numbers?
    pub(super) fn has_whole_scales(&self, index: usize) -> bool {
        self.constant(index).is_some_and(|scales| scales.iter().all(|scale| scale.fract() == 0.0))
    }

    /// Activations other than these, which each direction has by default?
    pub(super) fn has_activations(&self, default: &[&str]) -> bool {
        let mut usual = default.iter().cycle();
        self.texts("activations").any(|name| usual.next().is_some_and(|usual| !usual.eq_ignore_ascii_case(name)))
    }
}

/// The elements of a small tensor; `None` for types that no row asks about.
fn numbers(tensor: &pb::TensorProto) -> Option<Vec<f64>> {
    use DataType as T;
    let of_raw = |size: usize, read: fn(&[u8]) -> f64| Some(tensor.raw_data.chunks_exact(size).map(read).collect());
    let raw = !tensor.raw_data.is_empty();
    match T::try_from(tensor.data_type).ok()? {
        T::Float if raw => of_raw(4, |b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]).into()),
        T::Float => Some(tensor.float_data.iter().copied().map(f64::from).collect()),
        #[expect(clippy::cast_precision_loss, reason = "a count or an axis, and no row tells large ones apart")]
        T::Int64 if raw => of_raw(8, |b| i64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]) as f64),
        #[expect(clippy::cast_precision_loss, reason = "as above")]
        T::Int64 => Some(tensor.int64_data.iter().map(|value| *value as f64).collect()),
        T::Bool if raw => of_raw(1, |b| b[0].into()),
        T::Bool => Some(tensor.int32_data.iter().copied().map(f64::from).collect()),
        _ => None,
    }
}
