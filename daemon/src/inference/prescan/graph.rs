//! Graphs, their nodes, and the graphs inside of those. Field numbers are those of `onnx.proto`
//! (<https://github.com/onnx/onnx/blob/main/onnx/onnx.proto>).

use std::collections::HashMap;

use picket_core::limits;

use super::{
    Refusal,
    budget::{Budget, within},
    made, order,
    tensor::{self, Tensor},
    types::{self, Face},
    wire::{Fields, Value, packed, packed_count},
};

/// What one pass over the file collects.
#[derive(Default)]
pub(super) struct Walk<'a> {
    pub budget: Budget,
    /// How often the body that is read now uses each operator, graphs inside of it included.
    pub calls: HashMap<Operator<'a>, usize>,
}

/// Domain and name.
pub(super) type Operator<'a> = (&'a [u8], &'a [u8]);

#[derive(Default)]
pub(super) struct Graph<'a> {
    pub inputs: Vec<Face<'a>>,
    pub outputs: Vec<Face<'a>>,
    pub initializers: Vec<Tensor<'a>>,
    pub nodes: Vec<Node<'a>>,
}

#[derive(Default)]
pub(super) struct Node<'a> {
    pub name: &'a [u8],
    pub domain: &'a [u8],
    pub op: &'a [u8],
    pub inputs: Vec<&'a [u8]>,
    pub outputs: Vec<&'a [u8]>,
    pub constants: Vec<Constant<'a>>,
}

/// An attribute that may be a shape, or a part of one.
pub(super) struct Constant<'a> {
    pub name: &'a [u8],
    pub numbers: Vec<i64>,
    pub elements: usize,
}

impl Node<'_> {
    /// For a sentence about it.
    pub fn show(&self) -> String {
        let short = |text: &[u8]| String::from_utf8_lossy(&text[..text.len().min(64)]).into_owned();
        format!("{} {:?}", short(self.op), short(self.name))
    }

    pub fn constant(&self, name: &[u8]) -> Option<&Constant<'_>> {
        self.constants.iter().find(|constant| constant.name == name)
    }
}

impl<'a> Walk<'a> {
    /// Reads and checks a `GraphProto`, `depth` graphs deep.
    pub fn graph(&mut self, message: &'a [u8], depth: usize) -> Result<Graph<'a>, Refusal> {
        within("graphs inside one another", depth, limits::ONNX_DEPTH)?;
        let mut graph = Graph::default();
        for field in Fields::of(message) {
            let field = field?;
            match (field.number, field.value) {
                (1, Value::Bytes(node)) => graph.nodes.push(self.node(node, depth)?),
                (2, Value::Bytes(name)) => drop(self.budget.name(name)?),
                (5, Value::Bytes(message)) => {
                    self.budget.tensor()?;
                    graph.initializers.push(tensor::read(message, &mut self.budget)?);
                }
                (15, Value::Bytes(message)) => drop(self.sparse(message)?),
                (11, Value::Bytes(face)) => graph.inputs.push(types::face(face, &mut self.budget)?),
                (12, Value::Bytes(face)) => graph.outputs.push(types::face(face, &mut self.budget)?),
                (13, Value::Bytes(face)) => drop(types::face(face, &mut self.budget)?),
                (14, Value::Bytes(annotation)) => self.texts(annotation)?,
                (_, Value::Bytes(_)) => self.budget.part()?,
                _ => {}
            }
        }
        order::check(&graph)?;
        made::check(&graph, &mut self.budget)?;
        Ok(graph)
    }

    pub fn node(&mut self, message: &'a [u8], depth: usize) -> Result<Node<'a>, Refusal> {
        self.budget.node()?;
        let mut node = Node::default();
        for field in Fields::of(message) {
            let field = field?;
            match (field.number, field.value) {
                (1, Value::Bytes(name)) => node.inputs.push(self.budget.name(name)?),
                (2, Value::Bytes(name)) => node.outputs.push(self.budget.name(name)?),
                (3, Value::Bytes(name)) => node.name = self.budget.name(name)?,
                (4, Value::Bytes(op)) => node.op = self.budget.name(op)?,
                (7, Value::Bytes(domain)) => node.domain = self.budget.name(domain)?,
                (5, Value::Bytes(attribute)) => node.constants.extend(self.attribute(attribute, depth)?),
                (_, Value::Bytes(_)) => self.budget.part()?,
                _ => {}
            }
        }
        *self.calls.entry((node.domain, node.op)).or_default() += 1;
        Ok(node)
    }

    /// Checks an `AttributeProto` and everything in it.
    fn attribute(&mut self, message: &'a [u8], depth: usize) -> Result<Option<Constant<'a>>, Refusal> {
        self.budget.part()?;
        let mut found = Constant { name: &[], numbers: Vec::new(), elements: 0 };
        let mut graph = None;
        for field in Fields::of(message) {
            let field = field?;
            match (field.number, field.value) {
                (1, Value::Bytes(name)) => found.name = self.budget.name(name)?,
                (3, Value::Varint(number)) => found.push(number.cast_signed()),
                (8, Value::Varint(number)) => found.push(number.cast_signed()),
                (8, Value::Bytes(numbers)) if packed_count(numbers) <= SHAPE_NUMBERS => {
                    packed(numbers)?.into_iter().for_each(|number| found.push(number));
                }
                (5, Value::Bytes(message)) => {
                    self.budget.tensor()?;
                    let tensor = tensor::read(message, &mut self.budget)?;
                    found.elements = tensor.elements;
                    found.numbers = tensor.numbers.unwrap_or_default();
                }
                (10, Value::Bytes(message)) => {
                    self.budget.tensor()?;
                    tensor::read(message, &mut self.budget)?;
                }
                (22 | 23, Value::Bytes(message)) => drop(self.sparse(message)?),
                // Two of a singular message are merged by who decodes them, and nobody writes two.
                (6, Value::Bytes(_)) if graph.is_some() => {
                    return Err(Refusal::broken("an attribute has two graphs".to_owned()));
                }
                (6, Value::Bytes(message)) => graph = Some(self.graph(message, depth + 1)?),
                (11, Value::Bytes(message)) => drop(self.graph(message, depth + 1)?),
                (14 | 15, Value::Bytes(message)) => types::kind(message, 0, &mut self.budget).map(drop)?,
                (_, Value::Bytes(_)) => self.budget.part()?,
                _ => {}
            }
        }
        Ok(KEPT.contains(&found.name).then_some(found))
    }

    /// A `SparseTensorProto`: values, their indices, and the dimensions of what they make up.
    fn sparse(&mut self, message: &'a [u8]) -> Result<(), Refusal> {
        self.budget.part()?;
        let mut dims = Vec::new();
        for field in Fields::of(message) {
            let field = field?;
            match (field.number, field.value) {
                (1 | 2, Value::Bytes(message)) => {
                    self.budget.tensor()?;
                    tensor::read(message, &mut self.budget)?;
                }
                (3, Value::Varint(dim)) => dims.push(dim.cast_signed()),
                (3, Value::Bytes(numbers)) if packed_count(numbers) <= limits::MAX_TENSOR_RANK => {
                    dims.extend(packed(numbers)?);
                }
                _ => {}
            }
            within("dimensions of a tensor", dims.len(), limits::MAX_TENSOR_RANK)?;
        }
        self.budget.made(tensor::elements(&dims)?)
    }

    /// The default value of a function's attribute.
    pub fn default_of(&mut self, message: &'a [u8]) -> Result<(), Refusal> {
        self.attribute(message, 0).map(drop)
    }

    /// A message of texts.
    pub fn texts(&mut self, message: &'a [u8]) -> Result<(), Refusal> {
        self.budget.part()?;
        for field in Fields::of(message) {
            if let Value::Bytes(_) = field?.value {
                self.budget.part()?;
            }
        }
        Ok(())
    }
}

/// Attributes that say how large something becomes.
const KEPT: [&[u8]; 6] = [b"value", b"value_int", b"value_ints", b"shape", b"pads", b"repeats"];
/// More than a shape, or pads on both sides of one, ever have.
const SHAPE_NUMBERS: usize = 2 * limits::MAX_TENSOR_RANK;

impl Constant<'_> {
    fn push(&mut self, number: i64) {
        self.elements += 1;
        if self.numbers.len() < SHAPE_NUMBERS {
            self.numbers.push(number);
        }
    }
}
