//! As much of ONNX's own format as its test cases need: tensors in files, and what a model consists of.

use picket::tensor::{Dtype, Tensor};
use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub struct Model {
    #[prost(message, optional, tag = "7")]
    pub graph: Option<Graph>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Graph {
    #[prost(message, repeated, tag = "1")]
    pub nodes: Vec<Node>,
    #[prost(message, repeated, tag = "5")]
    pub initializers: Vec<TensorProto>,
    #[prost(message, repeated, tag = "11")]
    pub inputs: Vec<Named>,
    #[prost(message, repeated, tag = "12")]
    pub outputs: Vec<Named>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Node {
    #[prost(string, tag = "4")]
    pub op_type: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct Named {
    #[prost(string, tag = "1")]
    pub name: String,
}

/// Its fields by their numbers in `onnx.proto`.
#[derive(Clone, PartialEq, Message)]
pub struct TensorProto {
    #[prost(int64, repeated, tag = "1")]
    pub dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    pub data_type: i32,
    #[prost(float, repeated, tag = "4")]
    pub floats: Vec<f32>,
    /// Integers of up to 32 bits, bools, and halves by their bits.
    #[prost(int32, repeated, tag = "5")]
    pub ints: Vec<i32>,
    #[prost(int64, repeated, tag = "7")]
    pub longs: Vec<i64>,
    #[prost(string, tag = "8")]
    pub name: String,
    #[prost(bytes = "vec", tag = "9")]
    pub raw: Vec<u8>,
    #[prost(double, repeated, tag = "10")]
    pub doubles: Vec<f64>,
    #[prost(uint64, repeated, tag = "11")]
    pub unsigned: Vec<u64>,
}

/// One input or output of a case, where it is a tensor that Picket has.
///
/// # Errors
/// Says what it is instead: a sequence, an optional, or a tensor of another type.
pub fn tensor(bytes: &[u8]) -> Result<Tensor, String> {
    let proto = TensorProto::decode(bytes).map_err(|_| "no tensor".to_owned())?;
    let dtype = Dtype::of_onnx(proto.data_type).ok_or_else(|| format!("ONNX type {}", proto.data_type))?;
    let shape: Vec<usize> = proto.dims.iter().filter_map(|dim| usize::try_from(*dim).ok()).collect();
    let data = if proto.raw.is_empty() { typed(&proto, dtype) } else { proto.raw };
    Tensor::new(proto.name, dtype, shape, data).map_err(|error| format!("no tensor: {error}"))
}

/// The elements where they do not stand as raw bytes.
fn typed(proto: &TensorProto, dtype: Dtype) -> Vec<u8> {
    let size = dtype.size();
    let of_ints = || proto.ints.iter().flat_map(|v| v.to_le_bytes()[..size.min(4)].to_vec()).collect();
    match dtype {
        Dtype::Fp32 => proto.floats.iter().flat_map(|v| v.to_le_bytes()).collect(),
        Dtype::Fp64 => proto.doubles.iter().flat_map(|v| v.to_le_bytes()).collect(),
        Dtype::Int64 => proto.longs.iter().flat_map(|v| v.to_le_bytes()).collect(),
        Dtype::Uint32 | Dtype::Uint64 => proto.unsigned.iter().flat_map(|v| v.to_le_bytes()[..size].to_vec()).collect(),
        _ => of_ints(),
    }
}

/// The model with this tensor as the constant value of its input `name`. Two protobuf messages behind each other are one
/// with the fields of both, so nothing of the model has to be understood for that.
pub fn with_constant(model: &mut Vec<u8>, name: &str, tensor: &[u8]) -> Result<(), prost::DecodeError> {
    let mut constant = TensorProto::decode(tensor)?;
    constant.name = name.to_owned();
    let graph = Graph { initializers: vec![constant], ..Graph::default() };
    model.extend(Model { graph: Some(graph) }.encode_to_vec());
    Ok(())
}
