//! A tensor between transports, pipeline and backends: little-endian bytes with a type and a shape.

use std::fmt;

use bytes::Bytes;

/// Element types, by their Open Inference Protocol names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dtype {
    Bool,
    Int8,
    Int16,
    Int32,
    Int64,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Fp16,
    Fp32,
    Fp64,
}

impl Dtype {
    pub const ALL: [Self; 12] = [
        Self::Bool,
        Self::Int8,
        Self::Int16,
        Self::Int32,
        Self::Int64,
        Self::Uint8,
        Self::Uint16,
        Self::Uint32,
        Self::Uint64,
        Self::Fp16,
        Self::Fp32,
        Self::Fp64,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Bool => "BOOL",
            Self::Int8 => "INT8",
            Self::Int16 => "INT16",
            Self::Int32 => "INT32",
            Self::Int64 => "INT64",
            Self::Uint8 => "UINT8",
            Self::Uint16 => "UINT16",
            Self::Uint32 => "UINT32",
            Self::Uint64 => "UINT64",
            Self::Fp16 => "FP16",
            Self::Fp32 => "FP32",
            Self::Fp64 => "FP64",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dtype| dtype.name() == name)
    }

    /// The type that has this number in ONNX (`TensorProto.DataType`); `None`: one that no tensor here has.
    pub const fn of_onnx(number: i32) -> Option<Self> {
        Some(match number {
            1 => Self::Fp32,
            2 => Self::Uint8,
            3 => Self::Int8,
            4 => Self::Uint16,
            5 => Self::Int16,
            6 => Self::Int32,
            7 => Self::Int64,
            9 => Self::Bool,
            10 => Self::Fp16,
            11 => Self::Fp64,
            12 => Self::Uint32,
            13 => Self::Uint64,
            _ => return None,
        })
    }

    /// Bytes of one element.
    pub const fn size(self) -> usize {
        match self {
            Self::Bool | Self::Int8 | Self::Uint8 => 1,
            Self::Int16 | Self::Uint16 | Self::Fp16 => 2,
            Self::Int32 | Self::Uint32 | Self::Fp32 => 4,
            Self::Int64 | Self::Uint64 | Self::Fp64 => 8,
        }
    }

    pub const fn is_float(self) -> bool {
        matches!(self, Self::Fp16 | Self::Fp32 | Self::Fp64)
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Elements in C order, little-endian; `data.len() == elements × dtype.size()` always holds.
#[derive(Clone, PartialEq)]
pub struct Tensor {
    pub name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    data: Bytes,
}

/// The bytes do not make up such a tensor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a {shape} {dtype} tensor has {want} bytes, these are {got}")]
pub struct SizeMismatch {
    pub shape: String,
    pub dtype: Dtype,
    pub want: String,
    pub got: usize,
}

impl Tensor {
    /// # Errors
    /// The number of bytes does not fit the shape, or the shape is larger than any tensor may be.
    pub fn new(
        name: impl Into<String>,
        dtype: Dtype,
        shape: Vec<usize>,
        data: impl Into<Bytes>,
    ) -> Result<Self, SizeMismatch> {
        let data = data.into();
        let want = elements(&shape).and_then(|n| n.checked_mul(dtype.size()));
        if want != Some(data.len()) {
            let want = want.map_or_else(|| "too many".to_owned(), |n| n.to_string());
            return Err(SizeMismatch { shape: shape_text(&shape), dtype, want, got: data.len() });
        }
        Ok(Self { name: name.into(), dtype, shape, data })
    }

    /// A tensor of f32 values.
    ///
    /// # Errors
    /// The number of values does not fit the shape.
    pub fn from_f32(name: impl Into<String>, shape: Vec<usize>, values: &[f32]) -> Result<Self, SizeMismatch> {
        let data: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Self::new(name, Dtype::Fp32, shape, data)
    }

    pub const fn dtype(&self) -> Dtype {
        self.dtype
    }

    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    pub const fn data(&self) -> &Bytes {
        &self.data
    }

    pub fn elements(&self) -> usize {
        self.data.len() / self.dtype.size()
    }

    /// Every element as f64: exact for all types but 64-bit integers beyond 2^53.
    pub fn to_f64(&self) -> Vec<f64> {
        let size = self.dtype.size();
        self.data.chunks_exact(size).map(|bytes| element(self.dtype, bytes)).collect()
    }

    /// Every element as f32.
    pub fn to_f32(&self) -> Vec<f32> {
        if self.dtype == Dtype::Fp32 {
            return self.data.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        }
        self.to_f64().into_iter().map(|v| v as f32).collect()
    }

    /// Index of the first NaN or infinite element.
    pub fn first_non_finite(&self) -> Option<usize> {
        match self.dtype {
            Dtype::Fp32 => self.data.as_chunks::<4>().0.iter().position(|b| !f32::from_le_bytes(*b).is_finite()),
            dtype if dtype.is_float() => self.to_f64().iter().position(|v| !v.is_finite()),
            _ => None,
        }
    }

    /// As people write it: `1x64 FP32`.
    pub fn kind(&self) -> String {
        format!("{} {}", shape_text(&self.shape), self.dtype)
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.kind())
    }
}

/// Number of elements of a shape, unless there are more than any tensor may have.
pub fn elements(shape: &[usize]) -> Option<usize> {
    let n = shape.iter().try_fold(1usize, |n, dim| n.checked_mul(*dim))?;
    (n <= picket_core::limits::MAX_TENSOR_ELEMENTS).then_some(n)
}

/// `1x64`; a scalar is `scalar`.
pub fn shape_text(shape: &[usize]) -> String {
    if shape.is_empty() {
        return "scalar".to_owned();
    }
    shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x")
}

/// One little-endian element as f64. `bytes` has exactly the type's size.
fn element(dtype: Dtype, bytes: &[u8]) -> f64 {
    fn fixed<const N: usize>(bytes: &[u8]) -> [u8; N] {
        let mut array = [0; N];
        array.copy_from_slice(bytes);
        array
    }
    match dtype {
        Dtype::Bool => f64::from(u8::from(bytes[0] != 0)),
        Dtype::Uint8 => f64::from(bytes[0]),
        Dtype::Int8 => f64::from(bytes[0] as i8),
        Dtype::Int16 => f64::from(i16::from_le_bytes(fixed(bytes))),
        Dtype::Uint16 => f64::from(u16::from_le_bytes(fixed(bytes))),
        Dtype::Fp16 => half::f16::from_le_bytes(fixed(bytes)).to_f64(),
        Dtype::Int32 => f64::from(i32::from_le_bytes(fixed(bytes))),
        Dtype::Uint32 => f64::from(u32::from_le_bytes(fixed(bytes))),
        Dtype::Fp32 => f64::from(f32::from_le_bytes(fixed(bytes))),
        Dtype::Int64 => i64::from_le_bytes(fixed(bytes)) as f64,
        Dtype::Uint64 => u64::from_le_bytes(fixed(bytes)) as f64,
        Dtype::Fp64 => f64::from_le_bytes(fixed(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_must_fit_the_shape() {
        let error = Tensor::new("x", Dtype::Fp32, vec![1, 64], vec![0u8; 252]).unwrap_err();
        assert_eq!(error.to_string(), "a 1x64 FP32 tensor has 256 bytes, these are 252");
        let huge = Tensor::new("x", Dtype::Int8, vec![usize::MAX, usize::MAX], vec![0u8; 1]).unwrap_err();
        assert!(huge.to_string().contains("too many"));
    }

    #[test]
    fn every_type_converts_to_float() {
        for dtype in Dtype::ALL {
            let mut one = vec![0u8; dtype.size()];
            match dtype {
                Dtype::Fp16 => one.copy_from_slice(&half::f16::from_f32(1.0).to_le_bytes()),
                Dtype::Fp32 => one.copy_from_slice(&1f32.to_le_bytes()),
                Dtype::Fp64 => one.copy_from_slice(&1f64.to_le_bytes()),
                _ => one[0] = 1,
            }
            let tensor = Tensor::new("x", dtype, vec![1], one).unwrap();
            assert_eq!(tensor.to_f32(), vec![1.0], "{dtype}");
            assert_eq!(Dtype::parse(dtype.name()), Some(dtype));
        }
    }

    #[test]
    fn finds_the_first_nan() {
        let tensor = Tensor::from_f32("x", vec![3], &[0.0, f32::NAN, f32::INFINITY]).unwrap();
        assert_eq!(tensor.first_non_finite(), Some(1));
    }
}
