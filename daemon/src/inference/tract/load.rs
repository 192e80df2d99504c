//! From ONNX bytes to a runnable plan.
//!
//! The bytes are read from memory, never from a path: tract maps files, and a file that shrinks under a mapping kills the
//! process; and without a path, external data cannot be reached.

use std::sync::Arc;

use tract_onnx::{
    pb,
    prelude::*,
    tract_hir::internal::{DimLike, Factoid, InferenceFact, InferenceModel, InferenceModelExt},
};

use super::{
    convert, graph, operators, refusals,
    rewrites::{self, Known, Rewrite},
};
use crate::{
    ports::{BackendError, Signature, TensorSpec},
    tensor::{Dtype, elements, shape_text},
};

pub(super) fn parse(model: &[u8]) -> Result<pb::ModelProto, BackendError> {
    let proto = onnx()
        .proto_model_for_read(&mut std::io::Cursor::new(model))
        .map_err(|error| BackendError::Broken(format!("not an ONNX model: {error:#}")))?;
    if proto.graph.is_none() {
        return Err(BackendError::Broken("not an ONNX model: it has no graph".to_owned()));
    }
    operators::check(&proto, &rewrites::reader(rewrites::TABLE))?;
    Ok(proto)
}

/// What the ONNX file says of its inputs and outputs; `shapes` fixes the inputs'.
pub(super) fn signature(proto: &pb::ModelProto, shapes: Option<&[Vec<usize>]>) -> Result<Signature, BackendError> {
    let Some(graph) = &proto.graph else {
        return Err(BackendError::Broken("the model has no graph".to_owned()));
    };
    let mut inputs = graph::inputs(graph).map(|input| spec(input, "input")).collect::<Result<Vec<_>, _>>()?;
    if let Some(shapes) = shapes {
        if shapes.len() != inputs.len() {
            let message = format!("the model has {} inputs, {} were declared", inputs.len(), shapes.len());
            return Err(BackendError::Broken(message));
        }
        for (input, shape) in inputs.iter_mut().zip(shapes) {
            if !input.accepts(shape) {
                let message = format!("input {:?} is {}, declared as {shape:?}", input.name, input.kind());
                return Err(BackendError::Broken(message));
            }
            input.shape = shape.iter().copied().map(Some).collect();
        }
    }
    let outputs = graph.output.iter().map(|output| spec(output, "output")).collect::<Result<Vec<_>, _>>()?;
    Ok(Signature { inputs, outputs })
}

pub(super) fn spec(value: &pb::ValueInfoProto, what: &str) -> Result<TensorSpec, BackendError> {
    use pb::{tensor_shape_proto::dimension, type_proto};
    let name = value.name.clone();
    let Some(type_proto::Value::TensorType(tensor)) = value.r#type.as_ref().and_then(|t| t.value.as_ref()) else {
        return Err(BackendError::Unsupported(format!("{what} {name:?} is no tensor")));
    };
    let dtype = Dtype::of_onnx(tensor.elem_type)
        .ok_or_else(|| BackendError::Unsupported(format!("{what} {name:?} is of {}", type_name(tensor.elem_type))))?;
    let shape = tensor.shape.as_ref().map(|shape| {
        let dim = |d: &pb::tensor_shape_proto::Dimension| match d.value {
            Some(dimension::Value::DimValue(n)) => usize::try_from(n).ok().filter(|n| *n > 0),
            _ => None,
        };
        shape.dim.iter().map(dim).collect()
    });
    Ok(TensorSpec { name, dtype, shape: shape.unwrap_or_default() })
}

/// ONNX's own name of an element type.
fn type_name(elem_type: i32) -> String {
    pb::tensor_proto::DataType::try_from(elem_type)
        .map_or_else(|_| format!("ONNX type {elem_type}"), |known| known.as_str_name().to_owned())
}

/// ONNX's element type of ours.
pub(super) const fn data_type(dtype: Dtype) -> pb::tensor_proto::DataType {
    use pb::tensor_proto::DataType;
    match dtype {
        Dtype::Bool => DataType::Bool,
        Dtype::Int8 => DataType::Int8,
        Dtype::Int16 => DataType::Int16,
        Dtype::Int32 => DataType::Int32,
        Dtype::Int64 => DataType::Int64,
        Dtype::Uint8 => DataType::Uint8,
        Dtype::Uint16 => DataType::Uint16,
        Dtype::Uint32 => DataType::Uint32,
        Dtype::Uint64 => DataType::Uint64,
        Dtype::Fp16 => DataType::Float16,
        Dtype::Fp32 => DataType::Float,
        Dtype::Fp64 => DataType::Double,
    }
}

/// One of everything that the model leaves open, which is right for batches.
pub(super) fn default_shapes(signature: &Signature) -> Vec<Vec<usize>> {
    signature.inputs.iter().map(|input| input.shape.iter().map(|dim| dim.unwrap_or(1)).collect()).collect()
}

/// Rewrites, analyses, types, optimises.
///
/// # Errors
/// The model uses what tract cannot run.
pub(super) fn plan(
    table: &[Rewrite],
    mut proto: pb::ModelProto,
    shapes: &[Vec<usize>],
) -> Result<Arc<TypedRunnableModel>, BackendError> {
    let reader = rewrites::reader(table);
    let known = Known::new(&proto, shapes, &reader);
    rewrites::on_graph(table, &mut proto, &known)?;
    refusals::check(&proto, shapes)?;
    // Some exporters write shapes that contradict the graph: what the file says of values between and of outputs is
    // only a hint, and what the operators say counts.
    let strict = optimised(table, &reader, &proto, shapes);
    let model = match strict {
        Ok(model) => model,
        Err(first) => {
            let lenient = reader.with_ignore_value_info(true).with_ignore_output_shapes(true);
            optimised(table, &lenient, &proto, shapes).map_err(|_| unsupported(&first))?
        }
    };
    drop(proto);
    model.into_runnable().map_err(|error| unsupported(&error))
}

fn optimised(
    table: &[Rewrite],
    onnx: &tract_onnx::Onnx,
    proto: &pb::ModelProto,
    shapes: &[Vec<usize>],
) -> TractResult<TypedModel> {
    let mut model: InferenceModel = onnx.model_for_proto_model(proto)?;
    for (index, shape) in shapes.iter().enumerate() {
        if elements(shape).is_none() {
            return Err(TractError::msg(format!("input {index} has the shape {shape:?}")));
        }
        let datum_type = model.input_fact(index)?.datum_type.concretize();
        let fact = match datum_type {
            Some(datum_type) => InferenceFact::dt_shape(datum_type, shape.as_slice()),
            None => InferenceFact::shape(shape.as_slice()),
        };
        model.set_input_fact(index, fact)?;
    }
    let mut typed = model.into_typed()?;
    refusals::check_typed(&typed)?;
    rewrites::on_typed(table, &mut typed)?;
    let mut decluttered = typed.into_decluttered()?;
    rewrites::on_decluttered(table, &mut decluttered)?;
    decluttered.into_optimized()
}

/// Says what was assumed, when the model leaves shapes open: another one may do.
pub(super) fn with_assumption(error: BackendError, signature: &Signature, shapes: &[Vec<usize>]) -> BackendError {
    match error {
        BackendError::Unsupported(why) if signature.inputs.iter().any(|input| input.shape.contains(&None)) => {
            let shapes: Vec<String> = shapes.iter().map(|shape| shape_text(shape)).collect();
            let message = format!("{why} (tried with inputs of {}; a bundle declares others)", shapes.join(", "));
            BackendError::Unsupported(message)
        }
        other => other,
    }
}

fn unsupported(error: &TractError) -> BackendError {
    BackendError::Unsupported(format!("tract cannot run this model: {error:#}"))
}

/// Replaces what the file claims of its outputs by what the plan found, where that is known.
pub(super) fn with_output_facts(mut signature: Signature, plan: &TypedRunnableModel, free: bool) -> Signature {
    for (index, output) in signature.outputs.iter_mut().enumerate() {
        let Ok(fact) = plan.model().output_fact(index) else { continue };
        if let Some(dtype) = convert::dtype(fact.datum_type) {
            output.dtype = dtype;
        }
        if !free {
            output.shape = fact.shape.iter().map(|dim| dim.to_usize().ok()).collect();
        }
    }
    signature
}
