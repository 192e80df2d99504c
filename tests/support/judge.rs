//! Whether an answer is ONNX Runtime's.

use picket::{bundle::golden::compare, tensor::Tensor};

/// Greatest error, relative to the range of the output's values …
const TOLERANCE: f64 = 1e-4;
/// … of models in half precision …
const HALF_TOLERANCE: f64 = 1e-2;
/// … and of integer outputs, in codes …
const CODES: f64 = 2.0;
/// … and where classes of pixels are the answer, the share of them that may be others'.
const OTHER_PIXELS: f64 = 0.005;

/// ONNX Runtime's own sigmoid is off by up to 1.7e-7 (of two million values), and smaller differences are noise: with and
/// without its optimisations it differs from itself by 1e-2 of the range of scores that are all near 0.
const SIGMOID_NOISE: f64 = 2e-7;

/// How models are judged that are not simply close, by a part of their path. MoveNet has a test of its own (contract/models.rs).
const JUDGED: &[(&str, Judge)] = &[
    ("mlperf-tiny/ad_int8", Judge::Exact),
    ("mlperf-tiny/ic_int8", Judge::Exact),
    ("mlperf-tiny/kws_int8", Judge::Exact),
    ("mlperf-tiny/sww_int8", Judge::Exact),
    ("mlperf-tiny/vww_int8", Judge::Exact),
    ("coral-quant/deeplabv3", Judge::Mask),
    ("coral-quant/movenet", Judge::Runs),
    ("squeezenet-fp16/", Judge::Half),
    // All scores that it gives to noise are below 5e-5.
    ("yunet/", Judge::Scores),
];

#[derive(Clone, Copy, PartialEq)]
pub enum Judge {
    Close,
    Half,
    Scores,
    Exact,
    Mask,
    Runs,
}

impl Judge {
    /// Of a model of `../shared`.
    pub fn of(model: &str) -> Self {
        JUDGED.iter().find(|(part, _)| model.contains(part)).map_or(Self::Close, |(_, judge)| *judge)
    }

    /// How far off the worst output is.
    ///
    /// # Errors
    /// Too far, and where.
    pub fn says(self, want: &[Tensor], got: &[Tensor]) -> Result<String, String> {
        if want.len() != got.len() {
            return Err(format!("{} outputs instead of {}", got.len(), want.len()));
        }
        let mut worst: f64 = 0.0;
        for (want, got) in want.iter().zip(got) {
            let tolerance = match self {
                Judge::Exact => 0.0,
                Judge::Mask | Judge::Runs => f64::INFINITY,
                Judge::Half if want.dtype().is_float() => HALF_TOLERANCE,
                Judge::Scores => TOLERANCE.max(SIGMOID_NOISE / range(want)),
                _ if want.dtype().is_float() => TOLERANCE,
                _ => CODES / range(want),
            };
            compare(want, got, tolerance)?;
            let values = want.to_f64().into_iter().zip(got.to_f64());
            let off = values.clone().map(|(want, got)| (want - got).abs()).fold(0.0, f64::max);
            worst = worst.max(off / range(want));
            let others = values.filter(|(want, got)| want != got).count() as f64 / want.elements() as f64;
            if self == Judge::Mask && others > OTHER_PIXELS {
                return Err(format!("{:.2} % of the pixels are others", others * 100.0));
            }
        }
        Ok(format!("off by {worst:.1e} of the range"))
    }
}

/// The range of an output's values, which is what a tolerance is relative to.
fn range(tensor: &Tensor) -> f64 {
    let values = tensor.to_f64();
    let (least, most) = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(*v), b.max(*v)));
    if most > least { most - least } else { most.abs().max(1.0) }
}
