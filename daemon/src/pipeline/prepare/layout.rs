//! `layout`: an image height × width × channels becomes a batch of one, `NCHW` (one plane after the other) or `NHWC`.

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
};

pub const KIND: PrepareKind = PrepareKind { name: "layout", read: new };

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Layout {
    order: Order,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum Order {
    #[serde(rename = "NCHW")]
    Nchw,
    #[serde(rename = "NHWC")]
    Nhwc,
}

fn new(keys: toml::Table) -> Result<Arc<dyn Prepare>, StepFault> {
    let step: Layout = read(keys)?;
    Ok(Arc::new(step))
}

impl Prepare for Layout {
    fn shape(&self, spec: TensorSpec) -> Result<TensorSpec, String> {
        let [h, w, c] = spec.shape[..] else {
            return Err(format!(
                "input `{}` is {} here; `layout` is for height x width x channels",
                spec.name,
                spec.kind()
            ));
        };
        let shape = match self.order {
            Order::Nchw => vec![Some(1), c, h, w],
            Order::Nhwc => vec![Some(1), h, w, c],
        };
        Ok(TensorSpec { shape, ..spec })
    }

    fn apply(&self, draft: Draft) -> Result<Draft, Failure> {
        let [h, w, c] = draft.shape[..] else {
            return Err(Failure::new("input/shape-mismatch", format!("no image: {:?}", draft.shape)));
        };
        if self.order == Order::Nhwc {
            return Ok(Draft { shape: vec![1, h, w, c], ..draft });
        }
        let values = match &draft.values {
            Values::Unsigned(pixels) => Values::Unsigned(planes(pixels, c)),
            Values::Signed(pixels) => Values::Signed(planes(pixels, c)),
            Values::Floats(pixels) => Values::Floats(planes(pixels, c)),
        };
        Ok(Draft { shape: vec![1, c, h, w], values, ..draft })
    }

    fn identity(&self) -> String {
        format!("layout {:?}", self.order)
    }
}

fn planes<T: Copy>(pixels: &[T], channels: usize) -> Vec<T> {
    let plane = |channel: usize| pixels.iter().skip(channel).step_by(channels.max(1));
    (0..channels).flat_map(plane).copied().collect()
}

#[cfg(test)]
mod tests {
    use crate::{
        pipeline::prepare::{prepare, tests_support::step},
        tensor::{Dtype, Tensor},
    };

    #[test]
    fn pixels_become_planes_or_stay_pixels() {
        let image = Tensor::new("x", Dtype::Uint8, vec![1, 2, 3], vec![1u8, 2, 3, 4, 5, 6]).unwrap();
        let ordered = |order: &str| {
            let step = step(&format!("step = \"layout\"\norder = \"{order}\""));
            prepare(vec![image.clone()], &[step]).unwrap().inputs.remove(0)
        };
        let (planes, pixels) = (ordered("NCHW"), ordered("NHWC"));
        assert_eq!((planes.kind().as_str(), &planes.data()[..]), ("1x3x1x2 UINT8", &[1, 4, 2, 5, 3, 6][..]));
        assert_eq!((pixels.kind().as_str(), &pixels.data()[..]), ("1x1x2x3 UINT8", &[1, 2, 3, 4, 5, 6][..]));
    }
}
