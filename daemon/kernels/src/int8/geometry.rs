//! Where a convolution reads, and bands of its input in the form that it reads them in.

use tract_onnx::tract_core::{
    internal::TypedFact,
    ops::{cnn::PoolSpec, nn::DataFormat},
};

use crate::cpu::widened;

/// A convolution over two spatial axes, channels last, of known sizes. Pairs are rows, then columns.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Geometry {
    pub input: [usize; 2],
    pub output: [usize; 2],
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub dilation: [usize; 2],
    /// Padding above and to the left; what is missing below and to the right follows.
    pub before: [usize; 2],
    /// Input channels, all of them.
    pub channels: usize,
}

/// Elements of a widened band, about: in two bytes each they are half of a small second-level cache.
const BAND: usize = 64 * 1024;

impl Geometry {
    /// Of a layer over two axes whose sizes are known, channels first; nothing in it is empty.
    pub fn of(spec: &PoolSpec, x: &TypedFact) -> Option<Self> {
        if spec.data_format != DataFormat::NCHW || spec.rank() != 2 {
            return None;
        }
        let [images, channels, height, width] = <[usize; 4]>::try_from(x.shape.as_concrete()?).ok()?;
        let axes = spec.computed_padding(&[height, width]);
        let geometry = Self {
            input: [height, width],
            output: [axes[0].convoluted, axes[1].convoluted],
            kernel: [spec.kernel_shape[0], spec.kernel_shape[1]],
            stride: [spec.stride(0), spec.stride(1)],
            dilation: [spec.dilation(0), spec.dilation(1)],
            before: [axes[0].pad_before, axes[1].pad_before],
            channels,
        };
        let sizes = [geometry.output, geometry.input, geometry.kernel, geometry.stride, geometry.dilation];
        (channels > 0 && images > 0 && sizes.iter().flatten().all(|size| *size > 0)).then_some(geometry)
    }

    /// Bytes of one input.
    pub(super) const fn input_len(&self) -> usize {
        self.input[0] * self.input[1] * self.channels
    }

    pub(super) const fn pixels(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// Padded input rows, or columns, that `outputs` of them read.
    const fn reach(&self, axis: usize, outputs: usize) -> usize {
        (outputs - 1) * self.stride[axis] + (self.kernel[axis] - 1) * self.dilation[axis] + 1
    }

    /// Output rows of one band, at least one, when a pixel is `depth` elements deep.
    pub(super) fn band_rows(&self, depth: usize) -> usize {
        let row = self.reach(1, self.output[1]) * depth;
        let rows = (BAND / row.max(1)).max(self.reach(0, 1));
        ((rows - self.reach(0, 1)) / self.stride[0] + 1).min(self.output[0])
    }

    /// Elements of a band of so many output rows.
    pub(super) const fn band_len(&self, rows: usize, depth: usize) -> usize {
        self.reach(0, rows) * self.reach(1, self.output[1]) * depth
    }

    /// Where in a band the output pixels of `rows` rows begin to read.
    pub(super) fn starts(&self, rows: usize, depth: usize) -> Vec<usize> {
        let [down, right] = [self.row_stride(depth), self.stride[1] * depth];
        (0..rows).flat_map(|y| (0..self.output[1]).map(move |x| y * down + x * right)).collect()
    }

    /// Where the kernel's elements are, from a pixel's start.
    pub(super) fn taps(&self, depth: usize) -> Vec<usize> {
        let width = self.reach(1, self.output[1]);
        let [down, right] = [self.dilation[0] * width * depth, self.dilation[1] * depth];
        (0..self.kernel[0]).flat_map(|y| (0..self.kernel[1]).map(move |x| y * down + x * right)).collect()
    }

    /// Is the image, as it lies, the only band? So it is where nothing is padded and each row is read to its end.
    pub(super) fn reads_as_it_lies(&self) -> bool {
        let [rows, columns] = [self.reach(0, self.output[0]), self.reach(1, self.output[1])];
        self.before == [0, 0] && rows <= self.input[0] && columns == self.input[1]
    }

    /// Elements from one output row's start to the next one's.
    pub(super) const fn row_stride(&self, depth: usize) -> usize {
        self.stride[0] * self.reach(1, self.output[1]) * depth
    }

    /// Fills a band for the output rows from `first` on. `band` holds nothing but padding, or an earlier band of this
    /// very geometry and depth; what lies beside the image in a row is not written.
    pub(super) fn fill<T: Element>(&self, bytes: Bytes<'_>, first: usize, depth: usize, band: &mut [T]) {
        let width = self.reach(1, self.output[1]);
        let columns = self.input[1].min(width.saturating_sub(self.before[1]));
        for (row, to) in band.chunks_exact_mut(width * depth).enumerate() {
            let from = (first * self.stride[0] + row).checked_sub(self.before[0]).filter(|row| *row < self.input[0]);
            let Some(from) = from else {
                to.fill(T::padding(bytes));
                continue;
            };
            let from = &bytes.bytes[from * self.input[1] * self.channels..][..columns * self.channels];
            let to = &mut to[self.before[1] * depth..][..columns * depth];
            let bytes = Bytes { bytes: from, ..bytes };
            if depth == self.channels {
                T::widen(bytes, to);
            } else {
                let pixels = from.chunks_exact(self.channels).zip(to.chunks_exact_mut(depth));
                pixels.for_each(|(from, to)| T::widen_few(Bytes { bytes: from, ..bytes }, &mut to[..self.channels]));
            }
        }
    }
}

/// Codes as bytes.
#[derive(Clone, Copy)]
pub(super) struct Bytes<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) signed: bool,
    pub(super) zero: i32,
}

impl Bytes<'_> {
    /// The zero point as a signed code.
    pub(super) const fn signed_zero(self) -> i32 {
        if self.signed { self.zero } else { self.zero - SIGN as i32 }
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the byte of a code")]
    const fn zero_byte(self) -> u8 {
        self.signed_zero() as u8
    }
}

/// What codes are widened to.
pub(super) trait Element: Copy {
    /// What the model's padding is, a code that means zero.
    fn padding(of: Bytes<'_>) -> Self;
    /// As many as there are bytes.
    fn widen(from: Bytes<'_>, to: &mut [Self]);
    /// The same without the way to the widest instructions.
    fn widen_few(from: Bytes<'_>, to: &mut [Self]);
}

macro_rules! element {
    ($type:ty, $widen:ident, $body:ident, $unsigned:expr, $signed:expr) => {
        #[inline(always)]
        fn $body(from: Bytes<'_>, to: &mut [$type]) {
            let zero = from.zero;
            if from.signed {
                to.iter_mut().zip(from.bytes).for_each(|(to, from)| *to = $signed(from.cast_signed(), zero));
            } else {
                to.iter_mut().zip(from.bytes).for_each(|(to, from)| *to = $unsigned(*from, zero));
            }
        }
        widened!(fn $widen(from: Bytes<'_>, to: &mut [$type]) = $body);

        /// The zero point taken off.
        impl Element for $type {
            fn padding(_: Bytes<'_>) -> Self {
                Self::default()
            }

            fn widen(from: Bytes<'_>, to: &mut [Self]) {
                $widen(from, to);
            }

            fn widen_few(from: Bytes<'_>, to: &mut [Self]) {
                $body(from, to);
            }
        }
    };
}
#[expect(clippy::cast_possible_truncation, reason = "a zero point is a code")]
const fn short(zero: i32) -> i16 {
    zero as i16
}
element!(i16, widen_i16, widen_i16_body, |x: u8, zero| i16::from(x) - short(zero), |x: i8, zero| i16::from(x)
    - short(zero));
element!(f32, widen_f32, widen_f32_body, |x: u8, zero| f32::from(i16::from(x) - short(zero)), |x: i8, zero| f32::from(
    i16::from(x) - short(zero)
));

/// What turns the byte of an unsigned code into that of the signed code that is 128 less.
const SIGN: u8 = 0x80;

/// Bytes of signed codes, the zero point left in.
impl Element for u8 {
    fn padding(of: Bytes<'_>) -> Self {
        of.zero_byte()
    }

    fn widen(from: Bytes<'_>, to: &mut [Self]) {
        if from.signed {
            to.copy_from_slice(from.bytes);
        } else {
            to.iter_mut().zip(from.bytes).for_each(|(to, from)| *to = from ^ SIGN);
        }
    }

    fn widen_few(from: Bytes<'_>, to: &mut [Self]) {
        Self::widen(from, to);
    }
}
