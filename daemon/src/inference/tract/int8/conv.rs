//! Convolutions without groups, and matrix products, which are convolutions of one element.

use tract_onnx::tract_core::internal::*;

use super::{
    codes::Codes,
    geometry::{Bytes, Geometry},
    tile::{self, Band, CHANNELS, PAIRED},
};

/// Codes in, channels last, codes out. Further inputs: [`QuantisedConv::weights`], and factors and offsets from
/// [`lanes`].
#[derive(Clone, Debug, PartialEq)]
pub(in crate::inference::tract) struct QuantisedConv {
    pub(in crate::inference::tract) geometry: Geometry,
    /// Only type and zero point count.
    pub(in crate::inference::tract) x: Codes,
    pub(in crate::inference::tract) y: Codes,
    /// One over the output's scale.
    pub(in crate::inference::tract) recip: f32,
    /// Output channels.
    pub(in crate::inference::tract) channels: usize,
    /// The output's.
    pub(in crate::inference::tract) shape: TVec<usize>,
}

impl Eq for QuantisedConv {}

impl QuantisedConv {
    /// Pairs of inputs are taken at once.
    fn depth(geometry: &Geometry) -> usize {
        geometry.channels.next_multiple_of(2)
    }

    /// Where runs of neighbouring inputs begin, from a pixel's start, and how many pairs they are.
    fn runs(geometry: &Geometry) -> (Vec<usize>, usize) {
        let (depth, taps) = (Self::depth(geometry), geometry.taps(Self::depth(geometry)));
        if geometry.dilation[1] == 1 {
            let columns = geometry.kernel[1];
            return (taps.into_iter().step_by(columns).collect(), columns * depth / 2);
        }
        (taps, depth / 2)
    }

    /// Weights in the order in which they are read. `weight(output, input, row, column)` has its zero point taken off.
    ///
    /// # Errors
    /// A weight is none of 9 bits.
    pub(in crate::inference::tract) fn weights(
        geometry: &Geometry,
        channels: usize,
        weight: impl Fn(usize, usize, usize, usize) -> i32,
    ) -> TractResult<Tensor> {
        let depth = Self::depth(geometry);
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
        Tensor::from_shape(&[blocks * steps, 2 * CHANNELS], &packed)
    }
}

fn elements(rows: usize, columns: usize, inputs: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..rows)
        .flat_map(move |row| (0..columns).flat_map(move |column| (0..inputs).map(move |input| (row, column, input))))
}

/// One float for each output channel, filled up to whole lanes of `N`.
pub(in crate::inference::tract) fn lanes<const N: usize>(values: &[f32]) -> TractResult<Tensor> {
    let mut filled = values.to_vec();
    filled.resize(values.len().next_multiple_of(N), 0.0);
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
        let (x, weights, factors, offsets) = args_4!(inputs);
        self.x.check(x.datum_type())?;
        let depth = Self::depth(&self.geometry);
        let rows = self.geometry.band_rows(depth);
        let starts = self.geometry.starts(rows, depth);
        let (runs, pairs) = Self::runs(&self.geometry);
        let mut wide = vec![0i16; self.geometry.band_len(rows, depth)];
        let mut y = Tensor::zero_dt(self.y.datum_type(), &self.shape)?;
        let images = x.as_bytes().chunks_exact(self.geometry.input_len());
        let outputs = y.as_bytes_mut().chunks_exact_mut(self.geometry.pixels() * self.channels);
        for (image, output) in images.zip(outputs) {
            let bytes = Bytes { bytes: image, signed: self.x.signed, zero: self.x.zero };
            let bands = output.chunks_mut(rows * self.geometry.output[1] * self.channels);
            for (index, output) in bands.enumerate() {
                self.geometry.fill(bytes, index * rows, depth, &mut wide);
                let band = Band {
                    x: &wide,
                    starts: &starts[..output.len() / self.channels],
                    runs: &runs,
                    pairs,
                    steps: weights.try_as_plain_ram()?.as_slice::<i16>()?.as_chunks().0,
                    factors: factors.try_as_plain_ram()?.as_slice::<f32>()?.as_chunks().0,
                    offsets: offsets.try_as_plain_ram()?.as_slice::<f32>()?.as_chunks().0,
                    rounding: self.y.rounding(self.recip),
                    channels: self.channels,
                };
                tile::run(&band, output);
            }
        }
        Ok(tvec!(y.into_tvalue()))
    }
}

impl TypedOp for QuantisedConv {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        ensure!(inputs.len() == 4, "four inputs");
        Ok(tvec!(self.y.datum_type().fact(&self.shape)))
    }

    as_op!();
}
