//! Convolutions without groups, and matrix products, which are convolutions of one element.

use tract_onnx::tract_core::internal::*;

use super::{
    codes::Codes,
    ends::{CHANNELS, Ends},
    geometry::{Bytes, Element, Geometry},
    narrow::{self, INPUTS, NARROW},
    tile::{self, PAIRED},
};

/// Codes in, channels last, codes out. Further inputs: the two of [`Packed`], and factors and offsets from [`lanes`].
#[derive(Clone, Debug, PartialEq)]
pub struct QuantisedConv {
    pub geometry: Geometry,
    /// Only type and zero point count.
    pub x: Codes,
    pub y: Codes,
    /// One over the output's scale.
    pub recip: f32,
    /// Output channels.
    pub channels: usize,
    /// The output's.
    pub shape: TVec<usize>,
    /// Of [`Packed`].
    pub narrow: bool,
}

impl Eq for QuantisedConv {}

/// The weights of a convolution, as the operator takes them.
pub struct Packed {
    /// For the kernels of [`narrow`], not for those of [`tile`].
    pub narrow: bool,
    /// In the order in which they are read.
    pub weights: Tensor,
    /// For each output channel, what sums begin with.
    pub begins: Tensor,
}

/// Inputs as the kernels read them.
struct Runs {
    /// Elements of an input pixel.
    depth: usize,
    /// Where runs of neighbouring inputs begin, from an output pixel's start.
    runs: Vec<usize>,
    /// Inputs of a run.
    len: usize,
}

impl Runs {
    fn of(geometry: &Geometry, narrow: bool) -> Self {
        // The wide kernels take pairs of one pixel's inputs; the narrow ones read on, and have weights of zero there.
        let depth = if narrow { geometry.channels } else { geometry.channels.next_multiple_of(2) };
        let taps = geometry.taps(depth);
        if geometry.dilation[1] == 1 {
            let columns = geometry.kernel[1];
            return Self { depth, runs: taps.into_iter().step_by(columns).collect(), len: columns * depth };
        }
        Self { depth, runs: taps, len: depth }
    }

    /// Steps of a run, of so many inputs each.
    fn steps(&self, inputs: usize) -> usize {
        self.len.div_ceil(inputs)
    }
}

impl Packed {
    /// `weight(output, input, row, column)` has its zero point taken off.
    ///
    /// # Errors
    /// A weight is none of 9 bits.
    pub fn new(
        geometry: &Geometry,
        x: Codes,
        channels: usize,
        weight: impl Fn(usize, usize, usize, usize) -> i32,
    ) -> TractResult<Self> {
        let [rows, columns] = geometry.kernel;
        let fit = || {
            let mut all = (0..channels).flat_map(|o| elements(rows, columns, geometry.channels).map(move |e| (o, e)));
            all.all(|(output, (row, column, input))| narrow::fits(weight(output, input, row, column)))
        };
        if NARROW && fit() {
            Self::narrow(geometry, x, channels, weight)
        } else {
            Self::wide(geometry, channels, weight)
        }
    }

    pub(super) fn wide(
        geometry: &Geometry,
        channels: usize,
        weight: impl Fn(usize, usize, usize, usize) -> i32,
    ) -> TractResult<Self> {
        let depth = Runs::of(geometry, false).depth;
        let [rows, columns] = geometry.kernel;
        let steps = rows * columns * depth / 2;
        let blocks = channels.div_ceil(CHANNELS);
        let mut packed = vec![0i16; blocks * steps * 2 * CHANNELS];
        for output in 0..channels {
            let (block, channel) = (output / CHANNELS, output % CHANNELS);
            for (row, column, input) in elements(rows, columns, geometry.channels) {
                let at = (row * columns + column) * depth + input;
                let place = if PAIRED { 2 * channel + at % 2 } else { at % 2 * CHANNELS + channel };
                packed[(block * steps + at / 2) * 2 * CHANNELS + place] =
                    i16::try_from(weight(output, input, row, column))?;
            }
        }
        let weights = Tensor::from_shape(&[blocks * steps, 2 * CHANNELS], &packed)?;
        Ok(Self { narrow: false, weights, begins: lanes_of::<i32, CHANNELS>(&vec![0; channels])? })
    }

    /// All weights [`narrow::fits`].
    pub(super) fn narrow(
        geometry: &Geometry,
        x: Codes,
        channels: usize,
        weight: impl Fn(usize, usize, usize, usize) -> i32,
    ) -> TractResult<Self> {
        let runs = Runs::of(geometry, true);
        let [rows, columns] = geometry.kernel;
        let steps = runs.runs.len() * runs.steps(INPUTS);
        let blocks = channels.div_ceil(CHANNELS);
        let mut packed = vec![0i8; blocks * steps * INPUTS * CHANNELS];
        let mut begins = vec![0; channels];
        let zero = Bytes { bytes: &[], signed: x.signed, zero: x.zero }.signed_zero();
        for (output, begin) in begins.iter_mut().enumerate() {
            let (block, channel) = (output / CHANNELS, output % CHANNELS);
            for (row, column, input) in elements(rows, columns, geometry.channels) {
                let at = (row * columns + column) * runs.depth + input;
                let (run, at) = (at / runs.len, at % runs.len);
                let step = block * steps + run * runs.steps(INPUTS) + at / INPUTS;
                let weight = weight(output, input, row, column);
                packed[(step * CHANNELS + channel) * INPUTS + at % INPUTS] = i8::try_from(weight)?;
                *begin -= zero * weight;
            }
        }
        let weights = Tensor::from_shape(&[blocks * steps, INPUTS * CHANNELS], &packed)?;
        Ok(Self { narrow: true, weights, begins: lanes_of::<i32, CHANNELS>(&begins)? })
    }
}

fn elements(rows: usize, columns: usize, inputs: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..rows)
        .flat_map(move |row| (0..columns).flat_map(move |column| (0..inputs).map(move |input| (row, column, input))))
}

/// One float for each output channel, filled up to whole lanes of `N`.
pub fn lanes<const N: usize>(values: &[f32]) -> TractResult<Tensor> {
    lanes_of::<f32, N>(values)
}

fn lanes_of<T: Datum + Copy + Default, const N: usize>(values: &[T]) -> TractResult<Tensor> {
    let mut filled = values.to_vec();
    filled.resize(values.len().next_multiple_of(N), T::default());
    Tensor::from_shape(&[filled.len() / N, N], &filled)
}

impl Op for QuantisedConv {
    fn name(&self) -> StaticName {
        "QuantisedConv".into()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        Ok(vec![format!("{:?} to {} channels", self.geometry, self.channels)])
    }

    op_as_typed_op!();
}

impl EvalOp for QuantisedConv {
    op_out_of_plan!();

    fn eval(&self, _context: &EvalContext<'_>, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let (x, weights, begins, factors, offsets) = args_5!(inputs);
        self.x.check(x.datum_type())?;
        let mut y = Tensor::zero_dt(self.y.datum_type(), &self.shape)?;
        let x = Bytes { bytes: x.as_bytes(), signed: self.x.signed, zero: self.x.zero };
        let runs = Runs::of(&self.geometry, self.narrow);
        let ends = Ends {
            factors: factors.try_as_plain_ram()?.as_slice::<f32>()?.as_chunks().0,
            offsets: offsets.try_as_plain_ram()?.as_slice::<f32>()?.as_chunks().0,
            rounding: self.y.rounding(self.recip),
            channels: self.channels,
        };
        let (weights, begins) = (weights.try_as_plain_ram()?, begins.try_as_plain_ram()?);
        if self.narrow {
            let steps_of_run = runs.steps(INPUTS);
            let steps = weights.as_bytes().as_chunks().0;
            let begins = begins.as_slice::<i32>()?.as_chunks().0;
            let run = |x: &[u8], starts: &[usize], out: &mut [u8]| {
                let runs = &runs.runs;
                narrow::run(&narrow::Band { x, starts, runs, steps_of_run, steps, begins, ends }, out);
            };
            // A run's last step must not read beyond the image.
            let whole = self.x.signed && runs.len.is_multiple_of(INPUTS) && self.geometry.reads_as_it_lies();
            if whole { self.as_it_lies(x, &runs, &mut y, run) } else { self.by_bands(x, &runs, INPUTS, &mut y, run) }
        } else {
            let pairs = runs.steps(2);
            let steps = weights.as_slice::<i16>()?.as_chunks().0;
            self.by_bands(x, &runs, 0, &mut y, |x: &[i16], starts, out| {
                let runs = &runs.runs;
                tile::run(&tile::Band { x, starts, runs, pairs, steps, ends }, out);
            });
        }
        Ok(tvec!(y.into_tvalue()))
    }
}

impl QuantisedConv {
    /// Runs `run(input, where pixels start, output)` band by band, with `beyond` more inputs behind each band.
    fn by_bands<T: Element>(
        &self,
        x: Bytes<'_>,
        runs: &Runs,
        beyond: usize,
        y: &mut Tensor,
        run: impl Fn(&[T], &[usize], &mut [u8]),
    ) {
        let geometry = &self.geometry;
        let rows = geometry.band_rows(runs.depth);
        let starts = geometry.starts(rows, runs.depth);
        let len = geometry.band_len(rows, runs.depth);
        let mut band = vec![T::padding(x); len + beyond];
        let images = x.bytes.chunks_exact(geometry.input_len());
        let outputs = y.as_bytes_mut().chunks_exact_mut(geometry.pixels() * self.channels);
        for (bytes, output) in images.zip(outputs) {
            for (index, output) in output.chunks_mut(rows * geometry.output[1] * self.channels).enumerate() {
                geometry.fill(Bytes { bytes, ..x }, index * rows, runs.depth, &mut band[..len]);
                run(&band, &starts[..output.len() / self.channels], output);
            }
        }
    }

    /// The same where the image is the only band.
    fn as_it_lies(&self, x: Bytes<'_>, runs: &Runs, y: &mut Tensor, run: impl Fn(&[u8], &[usize], &mut [u8])) {
        let starts = self.geometry.starts(self.geometry.output[0], runs.depth);
        let images = x.bytes.chunks_exact(self.geometry.input_len());
        let outputs = y.as_bytes_mut().chunks_exact_mut(self.geometry.pixels() * self.channels);
        images.zip(outputs).for_each(|(bytes, output)| run(bytes, &starts, output));
    }
}

impl TypedOp for QuantisedConv {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        ensure!(inputs.len() == 5, "five inputs");
        Ok(tvec!(self.y.datum_type().fact(&self.shape)))
    }

    as_op!();
}
