//! Where a model's pixels lie in the job's image.

use crate::tensor::{Dtype, Tensor};

/// `x' = left + x · across` and `y' = top + y · down`: from the coordinates that a model sees to the job's own pixels.
/// Pixel edges count, not centres: an image of width w reaches from 0 to w.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct View {
    pub left: f32,
    pub top: f32,
    pub across: f32,
    pub down: f32,
    /// Width and height of the job's image; `None`: the job brought none.
    pub size: Option<(usize, usize)>,
}

impl View {
    /// What the model sees is what the job brought.
    pub const WHOLE: Self = Self { left: 0.0, top: 0.0, across: 1.0, down: 1.0, size: None };

    /// All of a tensor that a job brought.
    pub fn of(tensor: &Tensor) -> Self {
        let size = match (tensor.dtype(), tensor.shape()) {
            (Dtype::Uint8, [height, width, 3]) => Some((*width, *height)),
            _ => None,
        };
        Self { size, ..Self::WHOLE }
    }

    /// A step has cut off `left` and `top` pixels (negative: it has added some) …
    #[must_use]
    pub fn cut(self, left: f32, top: f32) -> Self {
        Self { left: self.left + left * self.across, top: self.top + top * self.down, ..self }
    }

    /// … or made the image so many times as wide and as high.
    #[must_use]
    pub fn scaled(self, x: f32, y: f32) -> Self {
        Self { across: self.across / x, down: self.down / y, ..self }
    }

    /// A point of what the model sees, in the job's pixels.
    pub fn point(&self, x: f32, y: f32) -> (f32, f32) {
        (self.left + x * self.across, self.top + y * self.down)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_back_the_way_that_the_steps_came() {
        // 40 × 20: cut to 20 × 20 from (10, 0), then made 100 × 50.
        let view = View::WHOLE.cut(10.0, 0.0).scaled(5.0, 2.5);
        assert_eq!((view.point(0.0, 0.0), view.point(100.0, 50.0)), ((10.0, 0.0), (30.0, 20.0)));
        // A border of 8 pixels around the large one.
        assert_eq!(view.cut(-8.0, -8.0).point(8.0, 8.0), (10.0, 0.0));
    }
}
