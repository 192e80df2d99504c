//! `to-bgr`: blue first, as OpenCV has it. `to-gray`: one channel, L = (19595 R + 38470 G + 7471 B + 32768) / 65536, rounded down:
//! ITU-R BT.601 in whole numbers, as Pillow has it (Convert.c).

use std::sync::Arc;

use picket_core::job::Failure;
use serde::Deserialize;

use super::{Prepare, PrepareKind};
use crate::{
    pipeline::{
        draft::{Draft, Values},
        keys::{StepFault, read},
    },
    ports::TensorSpec,
    tensor::Dtype,
};

pub const TO_BGR: PrepareKind = PrepareKind { name: "to-bgr", read: to_bgr };
pub const TO_GRAY: PrepareKind = PrepareKind { name: "to-gray", read: to_gray };

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NoKeys {}

fn to_bgr(keys: toml::Table) -> Result<Arc<dyn Prepare>, StepFault> {
    read::<NoKeys>(keys)?;
    Ok(Arc::new(Colour::Bgr))
}

fn to_gray(keys: toml::Table) -> Result<Arc<dyn Prepare>, StepFault> {
    read::<NoKeys>(keys)?;
    Ok(Arc::new(Colour::Gray))
}

#[derive(Debug)]
enum Colour {
    Bgr,
    Gray,
}

impl Prepare for Colour {
    fn shape(&self, spec: TensorSpec) -> Result<TensorSpec, String> {
        let [h, w, Some(3)] = spec.shape[..] else {
            return Err(format!("input `{}` is {} here, which has no red, green and blue", spec.name, spec.kind()));
        };
        match self {
            Self::Bgr => Ok(spec),
            Self::Gray if spec.dtype == Dtype::Uint8 => Ok(TensorSpec { shape: vec![h, w, Some(1)], ..spec }),
            Self::Gray => Err(format!("`to-gray` is for bytes; input `{}` is {} here", spec.name, spec.kind())),
        }
    }

    fn apply(&self, mut draft: Draft) -> Result<Draft, Failure> {
        let [h, w, 3] = draft.shape[..] else {
            return Err(Failure::new("input/shape-mismatch", format!("no red, green and blue: {:?}", draft.shape)));
        };
        match (self, &mut draft.values) {
            (Self::Bgr, Values::Unsigned(pixels)) => swap(pixels),
            (Self::Bgr, Values::Signed(pixels)) => swap(pixels),
            (Self::Bgr, Values::Floats(pixels)) => swap(pixels),
            (Self::Gray, Values::Unsigned(pixels)) => {
                let grey = pixels.as_chunks::<3>().0.iter().map(luma).collect();
                return Ok(Draft { shape: vec![h, w, 1], values: Values::Unsigned(grey), ..draft });
            }
            (Self::Gray, _) => return Err(Failure::new("input/dtype-mismatch", "`to-gray` is for bytes")),
        }
        Ok(draft)
    }

    fn identity(&self) -> String {
        match self {
            Self::Bgr => "to-bgr".to_owned(),
            Self::Gray => "to-gray".to_owned(),
        }
    }
}

fn swap<T>(pixels: &mut [T]) {
    pixels.as_chunks_mut::<3>().0.iter_mut().for_each(|pixel| pixel.swap(0, 2));
}

fn luma([red, green, blue]: &[u8; 3]) -> u8 {
    let sum = u32::from(*red) * 19_595 + u32::from(*green) * 38_470 + u32::from(*blue) * 7_471 + 0x8000;
    (sum >> 16) as u8
}

#[cfg(test)]
mod tests {
    use crate::{
        pipeline::prepare::{prepare, tests_support::step},
        tensor::{Dtype, Tensor},
    };

    #[test]
    fn colours_change_places_or_become_one() {
        let image = Tensor::new("x", Dtype::Uint8, vec![1, 2, 3], vec![255u8, 0, 0, 10, 20, 30]).unwrap();
        let done = |name: &str| {
            let step = step(&format!("step = \"{name}\""));
            prepare(vec![image.clone()], &[step]).unwrap().inputs.remove(0)
        };
        assert_eq!(done("to-bgr").data()[..], [0, 0, 255, 30, 20, 10]);
        // What Pillow's convert("L") gives.
        let grey = done("to-gray");
        assert_eq!((grey.shape(), &grey.data()[..]), (&[1, 2, 1][..], &[76, 18][..]));
    }
}
