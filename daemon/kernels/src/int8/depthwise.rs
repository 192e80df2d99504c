//! Convolutions of each channel by itself.
//!
//! The sums are of f32, which holds them exactly ([`super::MOST_TERMS`]) and which every processor multiplies and adds
//! faster than it does single integers of 16 bits into 32.

use tract_onnx::tract_core::internal::*;

use super::{
    super::cpu::widened,
    codes::{Codes, Rounding},
    geometry::{Bytes, Geometry},
};

/// Channels that are computed together.
pub const LANES: usize = 8;
type Lane = [f32; LANES];

/// Is a fused multiply-add an instruction in the code that is made for every processor of the target?
const FUSED: bool = cfg!(target_arch = "aarch64");

/// Codes in, channels last, codes out, as many channels. Further inputs: [`QuantisedDepthwise::weights`], and factors
/// and offsets from [`super::conv::lanes`].
#[derive(Clone, Debug, PartialEq)]
pub struct QuantisedDepthwise {
    pub geometry: Geometry,
    /// Only type and zero point count.
    pub x: Codes,
    pub y: Codes,
    /// One over the output's scale.
    pub recip: f32,
    /// The output's.
    pub shape: TVec<usize>,
}

impl Eq for QuantisedDepthwise {}

impl QuantisedDepthwise {
    /// Weights in the order in which they are read. `weight(channel, row, column)` has its zero point taken off.
    #[expect(clippy::cast_precision_loss, reason = "weights have 9 bits")]
    pub fn weights(geometry: &Geometry, weight: impl Fn(usize, usize, usize) -> i32) -> TractResult<Tensor> {
        let [rows, columns] = geometry.kernel;
        let blocks = geometry.channels.div_ceil(LANES);
        let mut packed = vec![0f32; blocks * rows * columns * LANES];
        for channel in 0..geometry.channels {
            for tap in 0..rows * columns {
                let at = (channel / LANES * rows * columns + tap) * LANES + channel % LANES;
                packed[at] = weight(channel, tap / columns, tap % columns) as f32;
            }
        }
        Tensor::from_shape(&[blocks * rows * columns, LANES], &packed)
    }
}

impl Op for QuantisedDepthwise {
    fn name(&self) -> StaticName {
        "QuantisedDepthwise".into()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        Ok(vec![format!("{:?}", self.geometry)])
    }

    op_as_typed_op!();
}

impl EvalOp for QuantisedDepthwise {
    op_out_of_plan!();

    fn eval(&self, _context: &EvalContext<'_>, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let (x, weights, factors, offsets) = args_4!(inputs);
        self.x.check(x.datum_type())?;
        let channels = self.geometry.channels;
        let depth = channels.next_multiple_of(LANES);
        let rows = self.geometry.band_rows(depth);
        let starts = self.geometry.starts(rows, depth);
        let taps = self.geometry.taps(depth);
        let mut wide = vec![0f32; self.geometry.band_len(rows, depth)];
        let mut y = Tensor::zero_dt(self.y.datum_type(), &self.shape)?;
        let images = x.as_bytes().chunks_exact(self.geometry.input_len());
        let outputs = y.as_bytes_mut().chunks_exact_mut(self.geometry.pixels() * channels);
        for (image, output) in images.zip(outputs) {
            let bytes = Bytes { bytes: image, signed: self.x.signed, zero: self.x.zero };
            for (index, output) in output.chunks_mut(rows * self.geometry.output[1] * channels).enumerate() {
                self.geometry.fill(bytes, index * rows, depth, &mut wide);
                let band = Band {
                    x: &wide,
                    starts: &starts[..output.len() / channels],
                    taps: &taps,
                    weights: weights.try_as_plain_ram()?.as_slice::<f32>()?.as_chunks().0,
                    factors: factors.try_as_plain_ram()?.as_slice::<f32>()?.as_chunks().0,
                    offsets: offsets.try_as_plain_ram()?.as_slice::<f32>()?.as_chunks().0,
                    rounding: self.y.rounding(self.recip),
                    channels,
                };
                run(&band, output);
            }
        }
        Ok(tvec!(y.into_tvalue()))
    }
}

impl TypedOp for QuantisedDepthwise {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        ensure!(inputs.len() == 4, "four inputs");
        Ok(tvec!(self.y.datum_type().fact(&self.shape)))
    }

    as_op!();
}

struct Band<'a> {
    x: &'a [f32],
    starts: &'a [usize],
    taps: &'a [usize],
    /// For each lane of channels, for each tap.
    weights: &'a [Lane],
    factors: &'a [Lane],
    offsets: &'a [Lane],
    rounding: Rounding,
    channels: usize,
}

widened!(fn run(band: &Band<'_>, out: &mut [u8]) = body);

#[inline(always)]
fn body(band: &Band<'_>, out: &mut [u8]) {
    for (block, weights) in band.weights.chunks_exact(band.taps.len()).enumerate() {
        let mut pixel = 0;
        while let Some(starts) = band.starts[pixel..].first_chunk::<4>() {
            some(band, block, weights, pixel, starts, out);
            pixel += 4;
        }
        for (index, start) in band.starts[pixel..].iter().enumerate() {
            some(band, block, weights, pixel + index, &[*start], out);
        }
    }
}

/// Some pixels of one lane of channels.
#[inline(always)]
fn some<const PIXELS: usize>(
    band: &Band<'_>,
    block: usize,
    weights: &[Lane],
    pixel: usize,
    starts: &[usize; PIXELS],
    out: &mut [u8],
) {
    let mut sums = [[0f32; LANES]; PIXELS];
    for (tap, weights) in band.taps.iter().zip(weights) {
        for (sums, start) in sums.iter_mut().zip(starts) {
            let Some(x) = band.x[start + tap + block * LANES..].first_chunk::<LANES>() else { return };
            for lane in 0..LANES {
                // Exact either way.
                sums[lane] = if FUSED {
                    x[lane].mul_add(weights[lane], sums[lane])
                } else {
                    sums[lane] + x[lane] * weights[lane]
                };
            }
        }
    }
    let (factors, offsets) = (&band.factors[block], &band.offsets[block]);
    let width = LANES.min(band.channels - LANES * block);
    for (index, sums) in sums.iter().enumerate() {
        let mut codes = [0; LANES];
        for lane in 0..LANES {
            codes[lane] = band.rounding.byte(sums[lane] * factors[lane] + offsets[lane]);
        }
        let to = &mut out[(pixel + index) * band.channels + LANES * block..][..width];
        match <&mut [u8; LANES]>::try_from(&mut *to) {
            Ok(to) => *to = codes,
            Err(_) => to.copy_from_slice(&codes[..width]),
        }
    }
}
