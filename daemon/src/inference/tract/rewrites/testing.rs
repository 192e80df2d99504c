//! Small ONNX models for the rewrites' tests, and the pipeline with rows left out.

#![allow(clippy::unwrap_used, reason = "a broken test shall panic where it is broken")]

use tract_onnx::{pb, prelude::TypedRunnableModel};

use super::{Rewrite, TABLE};
use crate::{
    inference::tract::{convert, load},
    ports::BackendError,
    tensor::{Dtype, Tensor},
};

/// The table without one row, for the proof that it is needed.
pub(in crate::inference::tract) fn without(name: &str) -> Vec<Rewrite> {
    let rest: Vec<Rewrite> = TABLE.iter().copied().filter(|row| row.name != name).collect();
    assert_eq!(rest.len() + 1, TABLE.len(), "there is no row {name:?}");
    rest
}

/// A model of one graph; `opset` is of the default domain.
pub(in crate::inference::tract) fn model(opset: i64, graph: pb::GraphProto) -> pb::ModelProto {
    let opset_import = vec![pb::OperatorSetIdProto { domain: String::new(), version: opset }];
    pb::ModelProto { ir_version: 8, opset_import, graph: Some(graph), ..Default::default() }
}

pub(in crate::inference::tract) fn node(op: &str, inputs: &[&str], outputs: &[&str]) -> pb::NodeProto {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    pb::NodeProto {
        op_type: op.to_owned(),
        name: format!("{op}_{}", outputs.first().copied().unwrap_or_default()),
        input: owned(inputs),
        output: owned(outputs),
        ..Default::default()
    }
}

/// A branch of an If.
pub(in crate::inference::tract) fn branch(
    name: &str,
    nodes: Vec<pb::NodeProto>,
    output: &str,
    constants: Vec<pb::TensorProto>,
) -> pb::AttributeProto {
    let graph = pb::GraphProto {
        node: nodes,
        initializer: constants,
        output: vec![pb::ValueInfoProto { name: output.to_owned(), ..<_>::default() }],
        ..<_>::default()
    };
    let r#type = pb::attribute_proto::AttributeType::Graph as i32;
    pb::AttributeProto { name: name.to_owned(), r#type, g: Some(graph), ..<_>::default() }
}

/// A graph's input or output.
pub(in crate::inference::tract) fn value(name: &str, dtype: Dtype, shape: &[i64]) -> pb::ValueInfoProto {
    use pb::tensor_shape_proto::{Dimension, dimension::Value};
    let dim = |n: &i64| Dimension { value: Some(Value::DimValue(*n)), ..Default::default() };
    let tensor = pb::type_proto::Tensor {
        elem_type: load::data_type(dtype) as i32,
        shape: Some(pb::TensorShapeProto { dim: shape.iter().map(dim).collect() }),
    };
    let r#type = pb::TypeProto { value: Some(pb::type_proto::Value::TensorType(tensor)), ..Default::default() };
    pb::ValueInfoProto { name: name.to_owned(), r#type: Some(r#type), ..Default::default() }
}

/// An initialiser.
pub(in crate::inference::tract) fn constant(tensor: &Tensor) -> pb::TensorProto {
    pb::TensorProto {
        name: tensor.name.clone(),
        dims: tensor.shape().iter().map(|n| i64::try_from(*n).unwrap()).collect(),
        data_type: load::data_type(tensor.dtype()) as i32,
        raw_data: tensor.data().to_vec(),
        ..Default::default()
    }
}

pub(in crate::inference::tract) fn floats(name: &str, shape: &[usize], values: &[f32]) -> Tensor {
    let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    Tensor::new(name, Dtype::Fp32, shape.to_vec(), data).unwrap()
}

pub(in crate::inference::tract) fn longs(name: &str, shape: &[usize], values: &[i64]) -> Tensor {
    let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    Tensor::new(name, Dtype::Int64, shape.to_vec(), data).unwrap()
}

pub(in crate::inference::tract) fn bytes(name: &str, dtype: Dtype, values: &[u8], shape: &[usize]) -> Tensor {
    Tensor::new(name, dtype, shape.to_vec(), values.to_vec()).unwrap()
}

/// Plans the model with this table and runs it once.
pub(in crate::inference::tract) fn run(
    table: &[Rewrite],
    proto: &pb::ModelProto,
    inputs: &[Tensor],
) -> Result<Vec<Tensor>, BackendError> {
    let shapes: Vec<Vec<usize>> = inputs.iter().map(|input| input.shape().to_vec()).collect();
    let plan: std::sync::Arc<TypedRunnableModel> = load::plan(table, proto.clone(), &shapes)?;
    let inputs = inputs.iter().map(convert::to_tract).collect::<Result<_, _>>()?;
    let outputs = plan.run(inputs).map_err(|error| BackendError::Run(format!("{error:#}")))?;
    outputs.iter().enumerate().map(|(index, value)| convert::from_tract(&format!("out{index}"), value)).collect()
}
