//! Our tensors and tract's.

use tract_onnx::prelude::{DatumType, IntoTValue, TValue, Tensor as TractTensor};

use crate::{
    ports::BackendError,
    tensor::{Dtype, Tensor},
};

pub(super) const fn datum_type(dtype: Dtype) -> DatumType {
    match dtype {
        Dtype::Bool => DatumType::Bool,
        Dtype::Int8 => DatumType::I8,
        Dtype::Int16 => DatumType::I16,
        Dtype::Int32 => DatumType::I32,
        Dtype::Int64 => DatumType::I64,
        Dtype::Uint8 => DatumType::U8,
        Dtype::Uint16 => DatumType::U16,
        Dtype::Uint32 => DatumType::U32,
        Dtype::Uint64 => DatumType::U64,
        Dtype::Fp16 => DatumType::F16,
        Dtype::Fp32 => DatumType::F32,
        Dtype::Fp64 => DatumType::F64,
    }
}

/// The element type that the bytes of this tract type have; quantised types are their integers.
pub(super) fn dtype(datum_type: DatumType) -> Option<Dtype> {
    let plain = datum_type.unquantized();
    Dtype::ALL.into_iter().find(|dtype| self::datum_type(*dtype) == plain)
}

pub(super) fn to_tract(tensor: &Tensor) -> Result<TValue, BackendError> {
    let mut value = TractTensor::zero_dt(datum_type(tensor.dtype()), tensor.shape())
        .map_err(|error| BackendError::Run(format!("{error:#}")))?;
    if tensor.dtype() == Dtype::Bool {
        // A byte other than 0 and 1 is no bool to Rust.
        value.as_bytes_mut().iter_mut().zip(tensor.data()).for_each(|(to, from)| *to = u8::from(*from != 0));
    } else {
        value.as_bytes_mut().copy_from_slice(tensor.data());
    }
    Ok(value.into_tvalue())
}

pub(super) fn from_tract(name: &str, value: &TractTensor) -> Result<Tensor, BackendError> {
    let Some(dtype) = dtype(value.datum_type()) else {
        // Dimensions computed by the model are integers to everybody else.
        if value.datum_type() == DatumType::TDim {
            let cast = value.cast_to::<i64>().map_err(|error| BackendError::Run(format!("{error:#}")))?;
            return from_tract(name, &cast);
        }
        return Err(BackendError::Run(format!("output {name:?} has type {:?}", value.datum_type())));
    };
    Tensor::new(name, dtype, value.shape().to_vec(), value.as_bytes().to_vec())
        .map_err(|error| BackendError::Run(format!("output {name:?}: {error}")))
}
