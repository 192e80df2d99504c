//! `spectrum`: magnitudes of the real discrete Fourier transform along one axis, |Σ w[t] x[t] exp(-2πi k t / n)| for k = 0 …
//! n / 2. `taper` is the window function w: `"hann"`, the periodic one, 0.5 - 0.5 cos(2π t / n), or `"none"`. `bins` keeps
//! the first ones; `log` takes ln(max(magnitude, 1e-10)).

use std::{f64::consts::TAU, fmt, sync::Arc};

use picket_core::{job::Failure, limits};
use rustfft::{Fft, FftPlanner, num_complex::Complex32};
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

pub const KIND: PrepareKind = PrepareKind { name: "spectrum", read: new };

/// Below every magnitude that means something in f32.
const FLOOR: f32 = 1e-10;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// Points of the transform: what the axis has.
    points: usize,
    #[serde(default)]
    axis: usize,
    taper: Option<String>,
    bins: Option<usize>,
    #[serde(default)]
    log: bool,
}

struct Spectrum {
    points: usize,
    axis: usize,
    hann: bool,
    bins: usize,
    log: bool,
    taper: Vec<f32>,
    transform: Arc<dyn Fft<f32>>,
}

impl fmt::Debug for Spectrum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.identity())
    }
}

fn new(keys: toml::Table) -> Result<Arc<dyn Prepare>, StepFault> {
    let Keys { points, axis, taper, bins, log } = read(keys)?;
    if !(2..=limits::SPECTRUM_POINTS).contains(&points) {
        return Err(StepFault::invalid(format!("`points` is a number from 2 to {}", limits::SPECTRUM_POINTS)));
    }
    let all = points / 2 + 1;
    let bins = bins.unwrap_or(all);
    if !(1..=all).contains(&bins) {
        return Err(StepFault::invalid(format!("`bins` is {bins}; a spectrum of {points} points has {all}")));
    }
    let hann = match taper.as_deref() {
        None | Some("hann") => true,
        Some("none") => false,
        Some(other) => return Err(StepFault::invalid(format!("`taper` is {other:?}; it is \"hann\" or \"none\""))),
    };
    let weight = |t: usize| if hann { (0.5 - 0.5 * (TAU * t as f64 / points as f64).cos()) as f32 } else { 1.0 };
    let taper = (0..points).map(weight).collect();
    let transform = FftPlanner::<f32>::new().plan_fft_forward(points);
    Ok(Arc::new(Spectrum { points, axis, hann, bins, log, taper, transform }))
}

impl Spectrum {
    /// Along an axis of `points` elements that lie `inner` apart.
    fn transform(&self, values: &[f32], inner: usize) -> Vec<f32> {
        let zero = Complex32::new(0.0, 0.0);
        let mut line = vec![zero; self.points];
        let mut scratch = vec![zero; self.transform.get_inplace_scratch_len()];
        let blocks = values.len() / (self.points * inner).max(1);
        let mut out = vec![0.0; blocks * self.bins * inner];
        for block in 0..blocks {
            for column in 0..inner {
                let from = block * self.points * inner + column;
                for (t, (slot, weight)) in line.iter_mut().zip(&self.taper).enumerate() {
                    *slot = Complex32::new(values[from + t * inner] * weight, 0.0);
                }
                self.transform.process_with_scratch(&mut line, &mut scratch);
                for (k, bin) in line.iter().take(self.bins).enumerate() {
                    let magnitude = bin.norm();
                    let shown = if self.log { magnitude.max(FLOOR).ln() } else { magnitude };
                    out[(block * self.bins + k) * inner + column] = shown;
                }
            }
        }
        out
    }
}

impl Prepare for Spectrum {
    fn shape(&self, mut spec: TensorSpec) -> Result<TensorSpec, String> {
        if spec.shape.get(self.axis) != Some(&Some(self.points)) {
            let (name, kind) = (&spec.name, spec.kind());
            return Err(format!("axis {} of `{name}`, which is {kind}, has not {} points", self.axis, self.points));
        }
        spec.shape[self.axis] = Some(self.bins);
        Ok(TensorSpec { dtype: Dtype::Fp32, ..spec })
    }

    fn apply(&self, mut draft: Draft) -> Result<Draft, Failure> {
        if draft.shape.get(self.axis) != Some(&self.points) {
            let message = format!("axis {} of {:?} has not {} points", self.axis, draft.shape, self.points);
            return Err(Failure::new("input/shape-mismatch", message));
        }
        let inner: usize = draft.shape[self.axis + 1..].iter().product();
        let mut values = Vec::new();
        draft.reckon(|floats| values = self.transform(floats, inner));
        draft.shape[self.axis] = self.bins;
        Ok(Draft { values: Values::Floats(values), ..draft })
    }

    fn identity(&self) -> String {
        let Self { points, axis, hann, bins, log, .. } = self;
        format!("spectrum {points} {axis} {hann} {bins} {log}")
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use crate::{
        pipeline::prepare::{prepare, tests_support::step},
        tensor::Tensor,
    };

    fn run(keys: &str, shape: Vec<usize>, values: &[f32]) -> (Vec<usize>, Vec<f32>) {
        let tensor = Tensor::from_f32("x", shape, values).unwrap();
        let out = prepare(vec![tensor], &[step(&format!("step = \"spectrum\"\n{keys}"))]).unwrap().inputs;
        (out[0].shape().to_vec(), out[0].to_f32())
    }

    /// By the definition, in f64.
    fn defined(x: &[f32], hann: bool) -> Vec<f64> {
        let n = x.len() as f64;
        let weighted = |t: usize| {
            let weight = if hann { 0.5 - 0.5 * (TAU * t as f64 / n).cos() } else { 1.0 };
            f64::from(x[t]) * weight
        };
        let bin = |k: usize| {
            let part = |f: fn(f64) -> f64| (0..x.len()).map(|t| weighted(t) * f(TAU * (k * t) as f64 / n)).sum::<f64>();
            part(f64::cos).hypot(part(f64::sin))
        };
        (0..=x.len() / 2).map(bin).collect()
    }

    #[test]
    fn it_is_the_definition_for_even_and_odd_lengths_and_each_taper() {
        for points in [8, 9, 60] {
            let x: Vec<f32> = (0..points).map(|t| ((t * t * 7 + 3) % 11) as f32 - 5.0).collect();
            for (taper, hann) in [("hann", true), ("none", false)] {
                let (shape, got) = run(&format!("points = {points}\ntaper = \"{taper}\""), vec![points], &x);
                assert_eq!(shape, [points / 2 + 1]);
                for (got, want) in got.iter().zip(defined(&x, hann)) {
                    assert!((f64::from(*got) - want).abs() < 1e-4, "{points} {taper}: {got} {want}");
                }
            }
        }
    }

    #[test]
    fn channels_stay_apart_and_only_the_first_bins_are_kept() {
        let (left, right) = ([1.0, 2.0, 3.0, 5.0], [0.0, -1.0, 4.0, 0.5]);
        let both: Vec<f32> = left.into_iter().zip(right).flat_map(|(l, r)| [l, r]).collect();
        let keys = "points = 4\ntaper = \"none\"\nbins = 2\nlog = true";
        let (shape, got) = run(keys, vec![4, 2], &both);
        assert_eq!(shape, [2, 2]);
        for (channel, values) in [left, right].iter().enumerate() {
            for (k, want) in defined(values, false).iter().take(2).enumerate() {
                assert!((f64::from(got[k * 2 + channel]) - want.ln()).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn silence_has_a_logarithm() {
        let (_, got) = run("points = 4\nlog = true", vec![4], &[0.0; 4]);
        assert!(got.iter().all(|value| value.is_finite()), "{got:?}");
    }
}
