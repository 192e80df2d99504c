//! `quantize`: round(x / scale) + zero_point, halves to the even number, kept within the type: QuantizeLinear of ONNX. Bytes, of which
//! there are 256, are looked up and never become f32.

use std::sync::Arc;

use picket_core::job::Failure;
use serde::Deserialize;

use super::{Prepare, PrepareKind};
use crate::{
    pipeline::{
        draft::{Draft, Values},
        keys::{StepFault, bits, read},
    },
    ports::TensorSpec,
    tensor::Dtype,
};

pub const KIND: PrepareKind = PrepareKind { name: "quantize", read: new };

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Quantize {
    scale: f32,
    #[serde(default)]
    zero_point: i16,
    dtype: To,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum To {
    #[serde(rename = "UINT8")]
    Uint8,
    #[serde(rename = "INT8")]
    Int8,
}

impl To {
    const fn range(self) -> (i16, i16) {
        match self {
            Self::Uint8 => (0, 255),
            Self::Int8 => (-128, 127),
        }
    }
}

fn new(keys: toml::Table) -> Result<Arc<dyn Prepare>, StepFault> {
    let step: Quantize = read(keys)?;
    if !(step.scale.is_finite() && step.scale > 0.0) {
        return Err(StepFault::invalid("`scale` must be finite, and more than 0"));
    }
    let (low, high) = step.dtype.range();
    if !(low..=high).contains(&step.zero_point) {
        return Err(StepFault::invalid(format!(
            "`zero_point` is {}; it lies between {low} and {high}",
            step.zero_point
        )));
    }
    Ok(Arc::new(step))
}

impl Quantize {
    fn one(&self, value: f32) -> i16 {
        let (low, high) = self.dtype.range();
        let whole = (value / self.scale).round_ties_even() + f32::from(self.zero_point);
        whole.clamp(f32::from(low), f32::from(high)) as i16
    }

    fn all<'a, T: Copy + Into<f32> + 'a>(&self, values: impl Iterator<Item = &'a T>) -> Values {
        let codes = values.map(|value| self.one((*value).into()));
        match self.dtype {
            To::Uint8 => Values::Unsigned(codes.map(|code| code as u8).collect()),
            To::Int8 => Values::Signed(codes.map(|code| code as i8).collect()),
        }
    }

    fn looked_up(&self, values: &[u8]) -> Values {
        let all: Vec<u8> = (0..=255).collect();
        match self.all(all.iter()) {
            Values::Unsigned(table) => {
                Values::Unsigned(values.iter().map(|value| table[usize::from(*value)]).collect())
            }
            Values::Signed(table) => Values::Signed(values.iter().map(|value| table[usize::from(*value)]).collect()),
            other @ Values::Floats(_) => other,
        }
    }
}

impl Prepare for Quantize {
    fn shape(&self, spec: TensorSpec) -> Result<TensorSpec, String> {
        let dtype = match self.dtype {
            To::Uint8 => Dtype::Uint8,
            To::Int8 => Dtype::Int8,
        };
        Ok(TensorSpec { dtype, ..spec })
    }

    fn apply(&self, draft: Draft) -> Result<Draft, Failure> {
        let values = match &draft.values {
            Values::Unsigned(values) => self.looked_up(values),
            Values::Signed(values) => self.all(values.iter()),
            Values::Floats(values) => self.all(values.iter()),
        };
        Ok(Draft { values, ..draft })
    }

    fn identity(&self) -> String {
        format!("quantize {} {} {:?}", bits(&[self.scale]), self.zero_point, self.dtype)
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        pipeline::prepare::{prepare, tests_support::step},
        tensor::{Dtype, Tensor},
    };

    fn quantized(tensor: Tensor, keys: &str) -> Tensor {
        prepare(vec![tensor], &[step(&format!("step = \"quantize\"\n{keys}"))]).unwrap().inputs.remove(0)
    }

    #[test]
    fn rounds_halves_to_even_and_stays_within_the_type() {
        let floats = Tensor::from_f32("x", vec![6], &[0.25, 0.75, -0.25, 1.0, 900.0, -900.0]).unwrap();
        let codes = quantized(floats, "scale = 0.5\nzero_point = 3\ndtype = \"INT8\"");
        let signed: Vec<i8> = codes.data().iter().map(|byte| byte.cast_signed()).collect();
        assert_eq!((codes.dtype(), signed), (Dtype::Int8, vec![3, 5, 3, 5, 127, -128]));
    }

    #[test]
    fn bytes_are_shifted_as_they_are() {
        let pixels = Tensor::new("x", Dtype::Uint8, vec![3], vec![0u8, 127, 255]).unwrap();
        let codes = quantized(pixels, "scale = 1.0\nzero_point = -128\ndtype = \"INT8\"");
        assert_eq!((codes.dtype(), &codes.data()[..]), (Dtype::Int8, &[128, 255, 127][..]));
    }
}
