//! ONNX files made in code, good ones and others: an encoder that checks nothing.
//!
//! Field numbers are those of `onnx.proto`.

/// A message under construction.
#[derive(Clone, Debug, Default)]
pub struct Message(pub Vec<u8>);

impl Message {
    #[must_use]
    pub fn int(mut self, field: u32, value: i64) -> Self {
        self.varint(u64::from(field) << 3);
        self.varint(value.cast_unsigned());
        self
    }

    #[must_use]
    pub fn bytes(mut self, field: u32, bytes: impl AsRef<[u8]>) -> Self {
        self.varint(u64::from(field) << 3 | 2);
        self.varint(bytes.as_ref().len() as u64);
        self.0.extend_from_slice(bytes.as_ref());
        self
    }

    #[must_use]
    pub fn message(self, field: u32, message: &Message) -> Self {
        self.bytes(field, &message.0)
    }

    #[must_use]
    pub fn all(self, field: u32, messages: &[Message]) -> Self {
        messages.iter().fold(self, |whole, part| whole.message(field, part))
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

pub const FLOAT: i64 = 1;
pub const INT64: i64 = 7;

/// A `TensorProto` of whole numbers, with its data.
pub fn ints(name: &str, dims: &[i64], values: &[i64]) -> Message {
    let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    tensor(name, INT64, dims).bytes(9, raw)
}

/// A `TensorProto` of floats, with its data.
pub fn floats(name: &str, dims: &[i64], values: &[f32]) -> Message {
    let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    tensor(name, FLOAT, dims).bytes(9, raw)
}

/// A `TensorProto` without data.
pub fn tensor(name: &str, kind: i64, dims: &[i64]) -> Message {
    dims.iter().fold(Message::default(), |tensor, dim| tensor.int(1, *dim)).int(2, kind).bytes(8, name)
}

/// A tensor whose data is `location`, another file.
pub fn external(name: &str, dims: &[i64], location: &str) -> Message {
    let entry = |key: &str, value: &str| Message::default().bytes(1, key).bytes(2, value);
    tensor(name, FLOAT, dims).message(13, &entry("location", location)).int(14, 1)
}

pub fn node(op: &str, inputs: &[&str], outputs: &[&str], attributes: &[Message]) -> Message {
    let node = inputs.iter().fold(Message::default(), |node, name| node.bytes(1, name));
    let node = outputs.iter().fold(node, |node, name| node.bytes(2, name));
    node.bytes(3, format!("{op}-{}", outputs.first().unwrap_or(&""))).bytes(4, op).all(5, attributes)
}

pub fn graph_attribute(name: &str, graph: &Message) -> Message {
    Message::default().bytes(1, name).message(6, graph).int(20, 5)
}

pub fn tensor_attribute(name: &str, tensor: &Message) -> Message {
    Message::default().bytes(1, name).message(5, tensor).int(20, 4)
}

pub fn int_attribute(name: &str, value: i64) -> Message {
    Message::default().bytes(1, name).int(3, value).int(20, 2)
}

pub fn ints_attribute(name: &str, values: &[i64]) -> Message {
    values.iter().fold(Message::default().bytes(1, name), |attribute, value| attribute.int(8, *value)).int(20, 7)
}

/// A `ValueInfoProto` of a tensor; a negative dimension is one without a value.
pub fn value(name: &str, kind: i64, dims: &[i64]) -> Message {
    let dim = |dim: &i64| if *dim < 0 { Message::default().bytes(2, "n") } else { Message::default().int(1, *dim) };
    let shape = dims.iter().fold(Message::default(), |shape, size| shape.message(1, &dim(size)));
    let tensor = Message::default().int(1, kind).message(2, &shape);
    Message::default().bytes(1, name).message(2, &Message::default().message(1, &tensor))
}

/// The parts of a graph.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    pub nodes: Vec<Message>,
    pub initializers: Vec<Message>,
    pub inputs: Vec<Message>,
    pub outputs: Vec<Message>,
}

impl Graph {
    /// From input `x` to output `y`, both of these dimensions.
    pub fn through(dims: &[i64], nodes: Vec<Message>) -> Self {
        Self { nodes, inputs: vec![value("x", FLOAT, dims)], outputs: vec![value("y", FLOAT, dims)], ..Self::default() }
    }

    #[must_use]
    pub fn with(mut self, initializers: Vec<Message>) -> Self {
        self.initializers.extend(initializers);
        self
    }

    pub fn message(&self) -> Message {
        let graph = Message::default().all(1, &self.nodes).bytes(2, "g");
        graph.all(5, &self.initializers).all(11, &self.inputs).all(12, &self.outputs)
    }
}

/// A whole file.
pub fn model(graph: &Graph) -> Vec<u8> {
    model_with(&graph.message(), &[])
}

/// A whole file with functions of its own.
pub fn model_with(graph: &Message, functions: &[Message]) -> Vec<u8> {
    let opset = |domain: &str| Message::default().bytes(1, domain).int(2, 17);
    let model = Message::default().int(1, 8).bytes(2, "picket-tests").message(8, &opset(""));
    model.message(8, &opset("own")).message(7, graph).all(25, functions).0
}

/// `y = x + 1`, for two floats: the smallest model that does something.
pub fn good() -> Vec<u8> {
    let add = node("Add", &["x", "one"], &["y"], &[]);
    model(&Graph::through(&[2], vec![add]).with(vec![floats("one", &[1], &[1.0])]))
}
