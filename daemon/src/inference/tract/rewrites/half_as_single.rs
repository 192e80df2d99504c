//! Half precision computed in single precision.
//!
//! Without half-precision arithmetic in the CPU every operation of tract's converts there and back: SqueezeNet takes 2 s
//! instead of 10 ms, and its answer is off by 1 % of the range. Weights are widened once, values between are f32; what a
//! model takes and gives keeps its type.

use std::collections::HashMap;

use half::f16;
use tract_onnx::pb::{self, tensor_proto::DataType};

use super::{super::graph, Known};
use crate::ports::BackendError;

const HALF: i32 = DataType::Float16 as i32;
const SINGLE: i32 = DataType::Float as i32;

/// Widens the whole model, if there is anything half in it.
pub(super) fn widen(proto: &mut pb::ModelProto, _known: &Known<'_>) -> Result<(), BackendError> {
    let Some(top) = &mut proto.graph else { return Ok(()) };
    if !has_half(top) {
        return Ok(());
    }
    // What users see stays half, under its own name; what the graph computes with gets another.
    let is_half = |value: &&pb::ValueInfoProto| elem_type(value) == Some(HALF);
    let taken: Vec<String> = graph::inputs(top).filter(is_half).map(|input| input.name.clone()).collect();
    let given: Vec<String> = top.output.iter().filter(is_half).map(|output| output.name.clone()).collect();
    let others: HashMap<String, String> =
        taken.iter().chain(&given).map(|name| (name.clone(), format!("{name}/single"))).collect();
    graph(top)?;
    top.node.iter_mut().for_each(|node| graph::rename(node, &others));
    // An output that is an initialiser is none of a node's.
    for tensor in top.initializer.iter_mut().filter(|tensor| given.contains(&tensor.name)) {
        tensor.name = format!("{}/single", tensor.name);
    }
    let widened: Vec<pb::NodeProto> = taken.iter().map(|name| cast(name, &others[name], SINGLE)).collect();
    top.node.splice(0..0, widened);
    // An input that is an output as it is, is there already.
    let narrowed = given.iter().filter(|name| !taken.contains(name));
    top.node.extend(narrowed.map(|name| cast(&others[name], name, HALF)));
    for value in top.input.iter_mut().chain(&mut top.output) {
        if others.contains_key(&value.name) {
            set_elem_type(value, HALF);
        }
    }
    Ok(())
}

fn has_half(graph: &pb::GraphProto) -> bool {
    graph.initializer.iter().any(|tensor| tensor.data_type == HALF)
        || graph.input.iter().chain(&graph.output).any(|value| elem_type(value) == Some(HALF))
        || graph.node.iter().any(|node| {
            node.attribute.iter().any(|a| is_half_type(node, a) || a.t.as_ref().is_some_and(|t| t.data_type == HALF))
                || graph::subgraphs(node).any(has_half)
        })
}

/// An attribute that says of an operator that it gives halves.
fn is_half_type(node: &pb::NodeProto, attribute: &pb::AttributeProto) -> bool {
    let names: &[&str] = if node.op_type == "Cast" { &["to"] } else { &["dtype", "output_dtype"] };
    names.contains(&attribute.name.as_str()) && attribute.i == i64::from(HALF)
}

fn elem_type(value: &pb::ValueInfoProto) -> Option<i32> {
    match value.r#type.as_ref()?.value.as_ref()? {
        pb::type_proto::Value::TensorType(tensor) => Some(tensor.elem_type),
    }
}

fn set_elem_type(value: &mut pb::ValueInfoProto, data_type: i32) {
    let tensor = value.r#type.as_mut().and_then(|r#type| r#type.value.as_mut());
    if let Some(pb::type_proto::Value::TensorType(tensor)) = tensor {
        tensor.elem_type = data_type;
    }
}

/// Everything half of a graph and of the graphs inside it becomes single.
fn graph(graph: &mut pb::GraphProto) -> Result<(), BackendError> {
    graph.initializer.iter_mut().try_for_each(tensor)?;
    for value in graph.input.iter_mut().chain(&mut graph.output).chain(&mut graph.value_info) {
        if elem_type(value) == Some(HALF) {
            set_elem_type(value, SINGLE);
        }
    }
    let mut at = 0;
    while at < graph.node.len() {
        let node = &mut graph.node[at];
        at += 1;
        graph::subgraphs_mut(node).try_for_each(self::graph)?;
        let mut rounds = false;
        for index in 0..node.attribute.len() {
            let halves = is_half_type(node, &node.attribute[index]);
            rounds |= halves && node.op_type == "Cast";
            let attribute = &mut node.attribute[index];
            if halves && !rounds {
                attribute.i = i64::from(SINGLE);
            }
            attribute.t.as_mut().map_or(Ok(()), tensor)?;
        }
        // A cast to half rounds, and that is kept.
        if rounds && let Some(output) = node.output.first_mut() {
            let (rounded, name) = (format!("{output}/half"), output.clone());
            output.clone_from(&rounded);
            graph.node.insert(at, cast(&rounded, &name, SINGLE));
            at += 1;
        }
    }
    Ok(())
}

fn cast(from: &str, to: &str, data_type: i32) -> pb::NodeProto {
    let r#type = pb::attribute_proto::AttributeType::Int as i32;
    pb::NodeProto {
        op_type: "Cast".to_owned(),
        name: format!("{from}/to/{to}"),
        input: vec![from.to_owned()],
        output: vec![to.to_owned()],
        attribute: vec![pb::AttributeProto {
            name: "to".to_owned(),
            r#type,
            i: i64::from(data_type),
            ..<_>::default()
        }],
        ..<_>::default()
    }
}

/// The same values in single precision.
fn tensor(tensor: &mut pb::TensorProto) -> Result<(), BackendError> {
    if tensor.data_type != HALF {
        return Ok(());
    }
    if !tensor.external_data.is_empty() {
        return Err(BackendError::Unsupported(format!("tensor {:?} has external data", tensor.name)));
    }
    // ONNX keeps halves as bytes, or bit by bit in integers.
    let widened: Vec<f32> = if tensor.raw_data.is_empty() {
        let bits = tensor.int32_data.iter().map(|bits| u16::try_from(*bits));
        bits.map(|bits| bits.map(|bits| f16::from_bits(bits).to_f32()))
            .collect::<Result<_, _>>()
            .map_err(|_| BackendError::Broken(format!("tensor {:?} has halves of more than 16 bits", tensor.name)))?
    } else {
        tensor.raw_data.chunks_exact(2).map(|pair| f16::from_le_bytes([pair[0], pair[1]]).to_f32()).collect()
    };
    tensor.data_type = SINGLE;
    tensor.int32_data = Vec::new();
    tensor.raw_data = widened.iter().flat_map(|value| value.to_le_bytes()).collect();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{
        super::{TABLE, testing::*},
        *,
    };
    use crate::tensor::{Dtype, Tensor};

    fn halves(name: &str, shape: &[usize], values: &[f32]) -> Tensor {
        let data: Vec<u8> = values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect();
        Tensor::new(name, Dtype::Fp16, shape.to_vec(), data).unwrap()
    }

    /// y = ((x + big) - big): half precision has no bits left for what is added to 2048.
    fn absorbing() -> pb::ModelProto {
        let mut big = constant(&halves("big", &[1], &[2048.0]));
        // The other way of writing halves.
        big.int32_data = vec![i32::from(f16::from_f32(2048.0).to_bits())];
        big.raw_data.clear();
        let graph = pb::GraphProto {
            node: vec![node("Add", &["x", "big"], &["sum"]), node("Sub", &["sum", "bigger"], &["y"])],
            initializer: vec![big, constant(&halves("bigger", &[1], &[2048.0]))],
            input: vec![value("x", Dtype::Fp16, &[3])],
            output: vec![value("y", Dtype::Fp16, &[3])],
            ..<_>::default()
        };
        model(13, graph)
    }

    #[test]
    fn half_precision_is_computed_in_single_precision() {
        let input = [halves("x", &[3], &[0.25, 0.5, 1.25])];
        let outputs = run(TABLE, &absorbing(), &input).unwrap();
        assert_eq!(outputs[0].dtype(), Dtype::Fp16);
        assert_eq!(outputs[0].to_f32(), [0.25, 0.5, 1.25]);
        let outputs = run(&without("half-as-single"), &absorbing(), &input).unwrap();
        assert_eq!(outputs[0].to_f32(), [0.0, 0.0, 2.0]);
    }

    #[test]
    fn a_cast_to_half_still_rounds() {
        let to_half = pb::NodeProto { name: "own".to_owned(), ..cast("x", "h", HALF) };
        let graph = pb::GraphProto {
            node: vec![to_half, node("Mul", &["h", "two"], &["t"]), cast("t", "y", SINGLE)],
            initializer: vec![constant(&halves("two", &[1], &[2.0]))],
            input: vec![value("x", Dtype::Fp32, &[2])],
            output: vec![value("y", Dtype::Fp32, &[2])],
            ..<_>::default()
        };
        let outputs = run(TABLE, &model(13, graph), &[floats("x", &[2], &[2049.0, 0.5])]).unwrap();
        assert_eq!(outputs[0].to_f32(), [4096.0, 1.0]);
    }
}
