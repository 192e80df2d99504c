//! Inputs that are bound to constants.

use tract_onnx::pb;

use super::{graph, load};
use crate::{
    ports::{BackendError, Constant},
    tensor::{Dtype, elements},
};

/// Makes initial values of these inputs, so that nobody has to give them.
///
/// # Errors
/// `Broken`: there is no such input, or the values do not fit it.
pub(super) fn bind(proto: &mut pb::ModelProto, constants: &[Constant]) -> Result<(), BackendError> {
    let Some(graph) = &mut proto.graph else { return Ok(()) };
    for constant in constants {
        let name = &constant.input;
        let Some(input) = graph::inputs(graph).find(|input| input.name == *name) else {
            let names: Vec<&str> = graph::inputs(graph).map(|input| input.name.as_str()).collect();
            return Err(BackendError::Broken(format!("there is no input {name:?} to bind, only {names:?}")));
        };
        let spec = load::spec(input, "input")?;
        let values = &constant.values;
        // A dimension that nobody has fixed is 1, as it is for inputs that jobs bring.
        let shape: Vec<usize> = spec.shape.iter().map(|dim| dim.unwrap_or(1)).collect();
        let count = elements(&shape).filter(|count| values.len() == *count || values.len() == 1);
        let Some(count) = count else {
            let message = format!("input {name:?} is {}, bound to {} values", spec.kind(), values.len());
            return Err(BackendError::Broken(message));
        };
        let encoded = values.iter().map(|value| encode(spec.dtype, *value)).collect::<Option<Vec<_>>>();
        let Some(encoded) = encoded else {
            return Err(BackendError::Broken(format!("input {name:?} is {}, which {values:?} is not", spec.kind())));
        };
        let data: Vec<u8> = encoded.into_iter().cycle().take(count).flatten().collect();
        graph.initializer.push(pb::TensorProto {
            name: name.clone(),
            dims: shape.iter().map(|dim| i64::try_from(*dim).unwrap_or(i64::MAX)).collect(),
            data_type: load::data_type(spec.dtype) as i32,
            raw_data: data,
            ..<_>::default()
        });
        graph.input.retain(|input| input.name != *name);
    }
    Ok(())
}

/// The value's bytes; `None` when the type has no such value.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked by going back")]
fn encode(dtype: Dtype, value: f64) -> Option<Vec<u8>> {
    macro_rules! whole {
        ($type:ty) => {
            (f64::from(value as $type) == value).then(|| (value as $type).to_le_bytes().to_vec())
        };
    }
    match dtype {
        Dtype::Bool => (value == 0.0 || value == 1.0).then(|| vec![value as u8]),
        Dtype::Int8 => whole!(i8),
        Dtype::Int16 => whole!(i16),
        Dtype::Int32 => whole!(i32),
        Dtype::Uint8 => whole!(u8),
        Dtype::Uint16 => whole!(u16),
        Dtype::Uint32 => whole!(u32),
        // Whole numbers come from f64, which is exact up to 2^53.
        Dtype::Int64 => {
            (value.fract() == 0.0 && value.abs() <= 2f64.powi(53)).then(|| (value as i64).to_le_bytes().to_vec())
        }
        Dtype::Uint64 => (value.fract() == 0.0 && (0.0..=2f64.powi(53)).contains(&value))
            .then(|| (value as u64).to_le_bytes().to_vec()),
        Dtype::Fp16 => Some(half::f16::from_f64(value).to_le_bytes().to_vec()),
        Dtype::Fp32 => Some((value as f32).to_le_bytes().to_vec()),
        Dtype::Fp64 => Some(value.to_le_bytes().to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::rewrites::{TABLE, testing::*};
    use super::*;

    /// y = x · factor, where `factor` is an input.
    fn scaling(dtype: Dtype) -> pb::ModelProto {
        let r#type = pb::attribute_proto::AttributeType::Int as i32;
        let to = pb::AttributeProto { name: "to".to_owned(), r#type, i: 1, ..<_>::default() };
        let cast = pb::NodeProto { attribute: vec![to], ..node("Cast", &["factor"], &["f"]) };
        let graph = pb::GraphProto {
            node: vec![cast, node("Mul", &["x", "f"], &["y"])],
            input: vec![value("factor", dtype, &[]), value("x", Dtype::Fp32, &[2])],
            output: vec![value("y", Dtype::Fp32, &[2])],
            ..<_>::default()
        };
        model(13, graph)
    }

    fn load(dtype: Dtype, input: &str, values: &[f64]) -> Result<Vec<f32>, String> {
        let mut proto = scaling(dtype);
        bind(&mut proto, &[Constant { input: input.to_owned(), values: values.to_vec() }])
            .map_err(|error| error.to_string())?;
        let signature = load::signature(&proto, Some(&[vec![2]])).unwrap();
        assert_eq!(signature.inputs.iter().map(|input| &input.name).collect::<Vec<_>>(), ["x"]);
        Ok(run(TABLE, &proto, &[floats("x", &[2], &[1.0, 2.5])]).unwrap()[0].to_f32())
    }

    #[test]
    fn a_bound_input_is_none_that_jobs_bring() {
        assert_eq!(load(Dtype::Int64, "factor", &[3.0]).unwrap(), [3.0, 7.5]);
        assert_eq!(load(Dtype::Fp16, "factor", &[0.5]).unwrap(), [0.5, 1.25]);
        assert_eq!(load(Dtype::Bool, "factor", &[1.0]).unwrap(), [1.0, 2.5]);
    }

    #[test]
    fn what_does_not_fit_is_said() {
        assert!(load(Dtype::Int64, "rate", &[3.0]).unwrap_err().contains("no input \"rate\" to bind"));
        assert!(load(Dtype::Int64, "factor", &[3.0, 4.0]).unwrap_err().contains("bound to 2 values"));
        assert!(load(Dtype::Int64, "factor", &[0.5]).unwrap_err().contains("scalar INT64"));
        assert!(load(Dtype::Uint8, "factor", &[-1.0]).unwrap_err().contains("scalar UINT8"));
    }
}
