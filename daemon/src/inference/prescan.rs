//! A look at an ONNX file before anything decodes it: is it whole, is it within limits, does it keep to itself?
//!
//! Reads the bytes in place, without a library for the format, and takes time and memory in proportion to what the limits
//! allow. What it refuses cannot be a model that runs here; what it passes may still be anything, which is why models are
//! proven in a process of their own.

mod budget;
mod graph;
mod made;
mod order;
mod tensor;
mod types;
mod wire;

use std::{
    collections::{BTreeMap, HashMap},
    mem,
};

use picket_core::limits;

use self::{
    graph::{Graph, Operator, Walk},
    types::{Dim, Face, Kind},
    wire::{Fields, Malformed, Value},
};

/// Why a file is not even tried. The code is stable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("error[{code}]: {message}")]
pub struct Refusal {
    pub code: &'static str,
    pub message: String,
}

impl Refusal {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    fn broken(message: impl Into<String>) -> Self {
        Self::new("model/broken", message)
    }

    /// The same, of this part of the file.
    fn within(self, part: &str) -> Self {
        Self { message: format!("{part}: {}", self.message), ..self }
    }
}

impl From<Malformed> for Refusal {
    fn from(Malformed(why): Malformed) -> Self {
        Self::broken(format!("not an ONNX model: {why}"))
    }
}

/// What the file says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outline {
    /// The program that wrote it.
    pub producer: String,
    /// Versions of the operator sets, by domain; the standard one's domain is empty.
    pub opsets: Vec<(String, i64)>,
    /// Inputs that a job brings: those that have no value in the file.
    pub inputs: Vec<ValueOutline>,
    pub outputs: Vec<ValueOutline>,
    /// How often each operator is used, by `domain:name`, or the name alone in the standard domain.
    pub operators: BTreeMap<String, usize>,
    /// Elements of all initialisers.
    pub parameters: usize,
}

/// An input or output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueOutline {
    pub name: String,
    /// ONNX's number of the element type; `None` for what is no tensor.
    pub element: Option<u64>,
    /// `None`: nothing is said, not even how many.
    pub shape: Option<Vec<DimOutline>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DimOutline {
    Fixed(usize),
    /// A name such as `batch`, or an empty one.
    Free(String),
}

/// Looks a file over.
///
/// # Errors
/// `model/broken` (it is no ONNX model, or contradicts itself), `model/external-data` (its data lies elsewhere) or
/// `model/too-large` (more of something than [`limits`] allows).
pub fn scan(file: &[u8]) -> Result<Outline, Refusal> {
    if file.len() as u64 > limits::MAX_MODEL_BYTES {
        return Err(Refusal::new("model/too-large", format!("more than {} bytes", limits::MAX_MODEL_BYTES)));
    }
    let mut walk = Walk::default();
    let mut outline = Outline::default();
    let mut main = None;
    let mut functions = HashMap::new();
    for field in Fields::of(file) {
        let field = field?;
        match (field.number, field.value) {
            // Two of them would be merged by who decodes them, and nobody writes two.
            (7, Value::Bytes(_)) if main.is_some() => return Err(Refusal::broken("it has two graphs")),
            (7, Value::Bytes(message)) => {
                let graph = walk.graph(message, 0)?;
                main = Some((graph, mem::take(&mut walk.calls)));
            }
            (20, Value::Bytes(message)) => training(&mut walk, message)?,
            (25, Value::Bytes(message)) => {
                let name = function(&mut walk, message)?;
                if functions.insert(name, mem::take(&mut walk.calls)).is_some() {
                    return Err(Refusal::broken("two functions have one name"));
                }
            }
            (2, Value::Bytes(text)) => outline.producer = lossy(walk.budget.name(text)?),
            (8, Value::Bytes(message)) => outline.opsets.push(opset(&mut walk, message)?),
            (14, Value::Bytes(message)) => walk.texts(message)?,
            (_, Value::Bytes(_)) => walk.budget.part()?,
            _ => {}
        }
    }
    let Some((graph, calls)) = main else { return Err(Refusal::broken("not an ONNX model: it has no graph")) };
    if graph.outputs.is_empty() {
        return Err(Refusal::broken("it has no output"));
    }
    order::expanded(&calls, &functions)?;
    describe(&mut outline, &graph, &calls)?;
    Ok(outline)
}

fn describe(outline: &mut Outline, graph: &Graph<'_>, calls: &HashMap<Operator<'_>, usize>) -> Result<(), Refusal> {
    let initialised: std::collections::HashSet<&[u8]> = graph.initializers.iter().map(|tensor| tensor.name).collect();
    outline.inputs = graph.inputs.iter().filter(|input| !initialised.contains(input.name)).map(value).collect();
    outline.outputs = graph.outputs.iter().map(value).collect();
    budget::within("inputs and outputs", outline.inputs.len() + outline.outputs.len(), limits::ONNX_FACES)?;
    outline.parameters = graph.initializers.iter().map(|tensor| tensor.elements).sum();
    for ((domain, op), count) in calls {
        let domain = lossy(domain);
        let name = if domain.is_empty() { lossy(op) } else { format!("{domain}:{}", lossy(op)) };
        *outline.operators.entry(name).or_default() += count;
    }
    Ok(())
}

fn value(face: &Face<'_>) -> ValueOutline {
    let dim = |dim: &Dim<'_>| match dim {
        Dim::Fixed(size) => usize::try_from(*size)
            .ok()
            .filter(|size| *size > 0)
            .map_or(DimOutline::Free(String::new()), DimOutline::Fixed),
        Dim::Named(name) => DimOutline::Free(lossy(name)),
        Dim::Free => DimOutline::Free(String::new()),
    };
    let (element, shape) = match &face.kind {
        Kind::Tensor(element, dims) => (Some(*element), dims.as_ref().map(|dims| dims.iter().map(dim).collect())),
        Kind::Other => (None, None),
    };
    ValueOutline { name: lossy(face.name), element, shape }
}

/// A `FunctionProto`; returns its domain and name.
fn function<'a>(walk: &mut Walk<'a>, message: &'a [u8]) -> Result<Operator<'a>, Refusal> {
    let (mut name, mut domain): (&[u8], &[u8]) = (&[], &[]);
    for field in Fields::of(message) {
        let field = field?;
        match (field.number, field.value) {
            (1, Value::Bytes(text)) => name = walk.budget.name(text)?,
            (10, Value::Bytes(text)) => domain = walk.budget.name(text)?,
            (7, Value::Bytes(node)) => drop(walk.node(node, 0)?),
            (11, Value::Bytes(attribute)) => walk.default_of(attribute)?,
            (_, Value::Bytes(_)) => walk.budget.part()?,
            _ => {}
        }
    }
    Ok((domain, name))
}

/// A `TrainingInfoProto`: nobody here trains, but a decoder reads it.
fn training<'a>(walk: &mut Walk<'a>, message: &'a [u8]) -> Result<(), Refusal> {
    for field in Fields::of(message) {
        let field = field?;
        match (field.number, field.value) {
            (1 | 2, Value::Bytes(message)) => drop(walk.graph(message, 1)?),
            (_, Value::Bytes(message)) => walk.texts(message)?,
            _ => {}
        }
    }
    walk.calls.clear();
    Ok(())
}

/// An `OperatorSetIdProto`.
fn opset(walk: &mut Walk<'_>, message: &[u8]) -> Result<(String, i64), Refusal> {
    let (mut domain, mut version) = (String::new(), 0);
    walk.budget.part()?;
    for field in Fields::of(message) {
        let field = field?;
        match (field.number, field.value) {
            (1, Value::Bytes(text)) => domain = lossy(walk.budget.name(text)?),
            (2, Value::Varint(number)) => version = number.cast_signed(),
            _ => {}
        }
    }
    Ok((domain, version))
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}
