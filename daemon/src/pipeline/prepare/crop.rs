//! `crop`: `w` × `h` pixels from `x`, `y`, or with `centre = true` from the middle (the odd pixel is left over at the right and
//! below).

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

pub const KIND: PrepareKind = PrepareKind { name: "crop", read: new };

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    x: Option<usize>,
    y: Option<usize>,
    w: usize,
    h: usize,
    #[serde(default)]
    centre: bool,
}

#[derive(Debug)]
struct Crop {
    /// `None`: the middle.
    corner: Option<(usize, usize)>,
    w: usize,
    h: usize,
}

fn new(keys: toml::Table) -> Result<Arc<dyn Prepare>, StepFault> {
    let Keys { x, y, w, h, centre } = read(keys)?;
    let corner = match (x, y, centre) {
        (None, None, true) => None,
        (Some(x), Some(y), false) => Some((x, y)),
        _ => return Err(StepFault::invalid("a crop has `x` and `y`, or `centre = true`")),
    };
    if w == 0 || h == 0 {
        return Err(StepFault::invalid("`w` and `h` are 1 or more"));
    }
    Ok(Arc::new(Crop { corner, w, h }))
}

impl Crop {
    /// Pixels that an image must have.
    fn needed(&self) -> (usize, usize) {
        let (x, y) = self.corner.unwrap_or((0, 0));
        (x.saturating_add(self.w), y.saturating_add(self.h))
    }
}

impl Prepare for Crop {
    fn shape(&self, spec: TensorSpec) -> Result<TensorSpec, String> {
        let [height, width, channels] = spec.shape[..] else {
            return Err(format!(
                "input `{}` is {} here; `crop` is for height x width x channels",
                spec.name,
                spec.kind()
            ));
        };
        let (right, bottom) = self.needed();
        if width.is_some_and(|width| width < right) || height.is_some_and(|height| height < bottom) {
            return Err(format!("a crop to {right} x {bottom} pixels does not fit into {}", spec.kind()));
        }
        Ok(TensorSpec { shape: vec![Some(self.h), Some(self.w), channels], ..spec })
    }

    fn apply(&self, draft: Draft) -> Result<Draft, Failure> {
        let [height, width, channels] = draft.shape[..] else {
            return Err(Failure::new("input/shape-mismatch", format!("no image: {:?}", draft.shape)));
        };
        let (right, bottom) = self.needed();
        if width < right || height < bottom {
            let failure = Failure::new("input/shape-mismatch", "the image is smaller than what is cut out of it");
            return Err(failure.expected(format!("at least {right} x {bottom}"), format!("{width} x {height}")));
        }
        let (x, y) = self.corner.unwrap_or(((width - self.w) / 2, (height - self.h) / 2));
        let cut = Cut { row: width * channels, from: x * channels, take: self.w * channels, top: y, rows: self.h };
        let values = match &draft.values {
            Values::Unsigned(pixels) => Values::Unsigned(cut.of(pixels)),
            Values::Signed(pixels) => Values::Signed(cut.of(pixels)),
            Values::Floats(pixels) => Values::Floats(cut.of(pixels)),
        };
        let view = draft.view.cut(x as f32, y as f32);
        Ok(Draft { shape: vec![self.h, self.w, channels], values, view, ..draft })
    }

    fn identity(&self) -> String {
        let place = self.corner.map_or_else(|| "centre".to_owned(), |(x, y)| format!("{x} {y}"));
        format!("crop {place} {} {}", self.w, self.h)
    }
}

/// Elements of a row, the first one and how many are taken of it; rows.
struct Cut {
    row: usize,
    from: usize,
    take: usize,
    top: usize,
    rows: usize,
}

impl Cut {
    fn of<T: Copy>(&self, elements: &[T]) -> Vec<T> {
        let rows = elements.chunks_exact(self.row.max(1)).skip(self.top).take(self.rows);
        rows.flat_map(|row| &row[self.from..self.from + self.take]).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        pipeline::prepare::{prepare, tests_support::step},
        tensor::{Dtype, Tensor},
    };

    /// 4 × 3 pixels, whose red is 10 · row + column.
    fn image() -> Tensor {
        let pixels: Vec<u8> = (0..12u8).flat_map(|i| [i / 4 * 10 + i % 4, 0, 0]).collect();
        Tensor::new("x", Dtype::Uint8, vec![3, 4, 3], pixels).unwrap()
    }

    #[test]
    fn cuts_out_a_place_or_the_middle() {
        let reds = |keys: &str| {
            let cut = prepare(vec![image()], &[step(&format!("step = \"crop\"\n{keys}"))]).unwrap();
            (cut.inputs[0].data().iter().step_by(3).copied().collect::<Vec<u8>>(), cut.view.point(0.0, 0.0))
        };
        assert_eq!(reds("x = 2\ny = 0\nw = 2\nh = 2"), (vec![2, 3, 12, 13], (2.0, 0.0)));
        assert_eq!(reds("centre = true\nw = 2\nh = 1"), (vec![11, 12], (1.0, 1.0)));
    }

    #[test]
    fn an_image_that_is_too_small_is_no_input() {
        let failure = prepare(vec![image()], &[step("step = \"crop\"\nx = 3\ny = 0\nw = 2\nh = 2")]).unwrap_err();
        assert_eq!((failure.code, failure.want.as_deref()), ("input/shape-mismatch", Some("at least 5 x 2")));
    }
}
