//! `../shared/golden`: what ONNX Runtime answers, and the inputs that it was asked with.

use std::path::Path;

use picket::{
    bundle::npz,
    tensor::{Dtype, Tensor},
};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
pub struct Entry {
    /// Path under `../shared`.
    pub model: String,
    /// Path of the answers; `None` for models without.
    pub golden: Option<String>,
    #[serde(default)]
    pub inputs: Vec<Input>,
}

#[derive(Debug, Deserialize)]
pub struct Input {
    pub name: String,
    pub dtype: String,
    pub shape: Vec<usize>,
    /// A constant for every element, or `"arange"`.
    pub value: Option<serde_json::Value>,
    /// Upper bound of integer inputs.
    #[serde(rename = "N")]
    pub bound: Option<f64>,
}

pub fn entries(shared: &Path) -> Vec<Entry> {
    let text = std::fs::read_to_string(shared.join("golden/spec.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

impl Entry {
    pub fn tensors(&self) -> Vec<Tensor> {
        self.inputs.iter().map(Input::tensor).collect()
    }

    pub fn shapes(&self) -> Vec<Vec<usize>> {
        self.inputs.iter().map(|input| input.shape.clone()).collect()
    }

    /// ONNX Runtime's outputs, in graph order.
    pub fn outputs(&self, shared: &Path) -> Vec<Tensor> {
        let path = shared.join(self.golden.as_ref().expect("a golden answer"));
        let mut arrays = npz::read(&std::fs::read(path).unwrap()).unwrap();
        arrays.sort_by_key(|(name, _)| name.trim_start_matches("out").parse::<usize>().unwrap());
        arrays.into_iter().map(|(_, tensor)| tensor).collect()
    }
}

impl Input {
    /// Element i (C order): u(i) = ((i · 2654435761) mod 2^32) / 2^32; floats u - 0.5, uint8 ⌊256u⌋, int8 ⌊256u⌋ - 128,
    /// integers ⌊N·u⌋, bool false; `value` overrides (golden/PROVENANCE.txt).
    pub fn tensor(&self) -> Tensor {
        let count: usize = self.shape.iter().product();
        let u = |i: usize| ((i as u64).wrapping_mul(2_654_435_761) % (1 << 32)) as f64 / (1u64 << 32) as f64;
        let value = |i: usize| -> f64 {
            match &self.value {
                Some(serde_json::Value::String(text)) if text == "arange" => i as f64,
                Some(constant) => constant.as_f64().unwrap(),
                None => match self.dtype.as_str() {
                    "float16" | "float32" | "float64" => u(i) - 0.5,
                    "uint8" => (256.0 * u(i)).floor(),
                    "int8" => (256.0 * u(i)).floor() - 128.0,
                    "bool" => 0.0,
                    _ => (self.bound.unwrap_or(2.0) * u(i)).floor(),
                },
            }
        };
        let dtype = match self.dtype.as_str() {
            "bool" => Dtype::Bool,
            "float16" => Dtype::Fp16,
            "float32" => Dtype::Fp32,
            "float64" => Dtype::Fp64,
            other => Dtype::parse(&other.to_uppercase()).unwrap_or_else(|| panic!("{other}")),
        };
        let data: Vec<u8> = (0..count).flat_map(|i| bytes_of(dtype, value(i))).collect();
        Tensor::new(self.name.as_str(), dtype, self.shape.clone(), data).unwrap()
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the formula yields values of the type")]
fn bytes_of(dtype: Dtype, value: f64) -> Vec<u8> {
    match dtype {
        Dtype::Bool | Dtype::Uint8 => vec![value as u8],
        Dtype::Int8 => vec![(value as i8) as u8],
        Dtype::Int16 => (value as i16).to_le_bytes().to_vec(),
        Dtype::Uint16 => (value as u16).to_le_bytes().to_vec(),
        Dtype::Int32 => (value as i32).to_le_bytes().to_vec(),
        Dtype::Uint32 => (value as u32).to_le_bytes().to_vec(),
        Dtype::Int64 => (value as i64).to_le_bytes().to_vec(),
        Dtype::Uint64 => (value as u64).to_le_bytes().to_vec(),
        Dtype::Fp16 => half::f16::from_f64(value).to_le_bytes().to_vec(),
        Dtype::Fp32 => (value as f32).to_le_bytes().to_vec(),
        Dtype::Fp64 => value.to_le_bytes().to_vec(),
    }
}
