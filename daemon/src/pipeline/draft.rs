//! An input on its way through the prepare steps.

use super::view::View;
use crate::tensor::{Dtype, SizeMismatch, Tensor};

/// Elements of a draft, in C order.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Pixels as they come, or an input that is quantised already.
    Unsigned(Vec<u8>),
    Signed(Vec<i8>),
    /// Everything that is reckoned with.
    Floats(Vec<f32>),
}

/// A tensor between two steps, and how its pixels lie in the job's image.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    pub name: String,
    pub shape: Vec<usize>,
    pub values: Values,
    pub view: View,
}

impl Draft {
    /// Bytes stay bytes, everything else becomes f32.
    pub fn new(tensor: Tensor) -> Self {
        let shape = tensor.shape().to_vec();
        let values = match tensor.dtype() {
            Dtype::Uint8 => Values::Unsigned(tensor.data().to_vec()),
            Dtype::Int8 => Values::Signed(tensor.data().iter().map(|byte| byte.cast_signed()).collect()),
            _ => Values::Floats(tensor.to_f32()),
        };
        Self { view: View::of(&tensor), name: tensor.name, shape, values }
    }

    /// Reckons with the elements as f32; from now on that is what they are.
    pub fn reckon(&mut self, each: impl FnOnce(&mut [f32])) {
        let mut floats = match std::mem::replace(&mut self.values, Values::Floats(Vec::new())) {
            Values::Unsigned(bytes) => bytes.into_iter().map(f32::from).collect(),
            Values::Signed(bytes) => bytes.into_iter().map(f32::from).collect(),
            Values::Floats(floats) => floats,
        };
        each(&mut floats);
        self.values = Values::Floats(floats);
    }

    /// # Errors
    /// The elements do not make up the shape: a step is wrong.
    pub fn into_tensor(self) -> Result<Tensor, SizeMismatch> {
        match self.values {
            Values::Unsigned(bytes) => Tensor::new(self.name, Dtype::Uint8, self.shape, bytes),
            Values::Signed(bytes) => {
                let bytes: Vec<u8> = bytes.into_iter().map(i8::cast_unsigned).collect();
                Tensor::new(self.name, Dtype::Int8, self.shape, bytes)
            }
            Values::Floats(floats) => Tensor::from_f32(self.name, self.shape, &floats),
        }
    }
}
