//! Sums of products, for tiles of some pixels × 16 output channels.

#[cfg(target_arch = "x86_64")]
use super::super::cpu::{has_avx2, has_avx512};
use super::codes::Rounding;

/// Output channels of a tile.
pub(in crate::inference::tract) const CHANNELS: usize = 16;
/// The weights of two inputs for each channel.
pub(super) type Step = [i16; 2 * CHANNELS];
/// One factor, or offset, for each channel.
pub(super) type Lane = [f32; CHANNELS];
type Sums = [i32; CHANNELS];

/// Are the two weights of a channel beside each other in a [`Step`]? So the instructions of x86 want them, which
/// multiply and add pairs; others want a channel beside the next one.
pub(super) const PAIRED: bool = cfg!(target_arch = "x86_64");

/// One band of a convolution.
pub(super) struct Band<'a> {
    /// Input, zero points taken off.
    pub(super) x: &'a [i16],
    /// Where each output pixel begins to read.
    pub(super) starts: &'a [usize],
    /// Where its runs of neighbouring inputs begin, from there.
    pub(super) runs: &'a [usize],
    /// Pairs of inputs in a run.
    pub(super) pairs: usize,
    /// For each tile of channels, for each run, for each pair.
    pub(super) steps: &'a [Step],
    /// For each tile of channels: a sum becomes a value by `sum · factor + offset`, in the order of the model's own roundings.
    pub(super) factors: &'a [Lane],
    pub(super) offsets: &'a [Lane],
    pub(super) rounding: Rounding,
    /// Output channels, which is bytes of an output pixel.
    pub(super) channels: usize,
}

/// Computes a band; `out` has its pixels, channels last.
pub(super) fn run(band: &Band<'_>, out: &mut [u8]) {
    #[cfg(target_arch = "x86_64")]
    {
        #[expect(unsafe_code, reason = "the processor has been asked for the instructions")]
        if has_avx512() && std::arch::is_x86_feature_detected!("avx512vnni") {
            return unsafe { x86::vnni(band, out) };
        } else if has_avx512() {
            return unsafe { x86::avx512(band, out) };
        } else if has_avx2() {
            return unsafe { x86::avx2(band, out) };
        }
    }
    portable(band, out);
}

/// Runs `$tile`, a function for a number of pixels at once, over all pixels and tiles of channels.
macro_rules! over_tiles {
    ($band:ident, $out:ident, $tile:ident, $($pixels:literal),+) => {{
        let of_tile = $band.runs.len() * $band.pairs;
        for (block, steps) in $band.steps.chunks_exact(of_tile).enumerate() {
            let mut pixel = 0;
            $(
                while let Some(starts) = $band.starts[pixel..].first_chunk::<$pixels>() {
                    let sums = $tile(&$band, *starts, steps);
                    store(&$band, block, pixel, &sums, $out);
                    pixel += $pixels;
                }
            )+
        }
    }};
}

/// Without instructions of our choice: the compiler's.
fn portable(band: &Band<'_>, out: &mut [u8]) {
    #[inline(always)]
    fn tile<const PIXELS: usize>(band: &Band<'_>, starts: [usize; PIXELS], steps: &[Step]) -> [Sums; PIXELS] {
        let mut sums = [[0; CHANNELS]; PIXELS];
        for (run, steps) in band.runs.iter().zip(steps.chunks_exact(band.pairs)) {
            let xs = starts.map(|start| run_of(band, start + run));
            for (at, step) in steps.iter().enumerate() {
                for (sums, xs) in sums.iter_mut().zip(&xs) {
                    let [x0, x1] = xs[at].map(i32::from);
                    for (channel, sum) in sums.iter_mut().enumerate() {
                        let (w0, w1) = if PAIRED {
                            (step[2 * channel], step[2 * channel + 1])
                        } else {
                            (step[channel], step[CHANNELS + channel])
                        };
                        *sum += x0 * i32::from(w0) + x1 * i32::from(w1);
                    }
                }
            }
        }
        sums
    }
    over_tiles!(band, out, tile, 4, 1);
}

#[inline(always)]
fn run_of<'a>(band: &Band<'a>, start: usize) -> &'a [[i16; 2]] {
    band.x[start..][..2 * band.pairs].as_chunks().0
}

/// Rounds the sums of some pixels and puts them into place.
#[inline(always)]
#[expect(clippy::cast_precision_loss, reason = "f32 is what the model says")]
fn store<const PIXELS: usize>(band: &Band<'_>, block: usize, pixel: usize, sums: &[Sums; PIXELS], out: &mut [u8]) {
    let (factors, offsets) = (&band.factors[block], &band.offsets[block]);
    let width = CHANNELS.min(band.channels - CHANNELS * block);
    for (index, sums) in sums.iter().enumerate() {
        let mut codes = [0; CHANNELS];
        for channel in 0..CHANNELS {
            codes[channel] = band.rounding.byte(sums[channel] as f32 * factors[channel] + offsets[channel]);
        }
        let to = &mut out[(pixel + index) * band.channels + CHANNELS * block..][..width];
        match <&mut [u8; CHANNELS]>::try_from(&mut *to) {
            Ok(to) => *to = codes,
            Err(_) => to.copy_from_slice(&codes[..width]),
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    //! The compiler does not find these instructions by itself.

    use std::arch::x86_64::{
        __m256i, __m512i, _mm256_add_epi32, _mm256_madd_epi16, _mm256_set1_epi32, _mm256_setzero_si256,
        _mm512_add_epi32, _mm512_dpwssd_epi32, _mm512_madd_epi16, _mm512_set1_epi32, _mm512_setzero_si512,
    };

    use super::{Band, CHANNELS, Step, Sums, run_of, store};

    /// `$add` takes sums, weights and the two inputs, and gives the sums with their products added.
    macro_rules! kernel {
        ($name:ident, $features:literal, $vector:ty, $parts:literal, $zero:ident, $splat:ident, $add:expr) => {
            #[target_feature(enable = $features)]
            pub(super) fn $name(band: &Band<'_>, out: &mut [u8]) {
                #[inline]
                #[target_feature(enable = $features)]
                #[expect(unsafe_code, reason = "vectors are arrays of the same size, and any bits are integers")]
                fn tile<const PIXELS: usize>(
                    band: &Band<'_>,
                    starts: [usize; PIXELS],
                    steps: &[Step],
                ) -> [Sums; PIXELS] {
                    const { assert!($parts * size_of::<$vector>() == 4 * CHANNELS) };
                    let mut sums = [[$zero(); $parts]; PIXELS];
                    for (run, steps) in band.runs.iter().zip(steps.chunks_exact(band.pairs)) {
                        let xs = starts.map(|start| run_of(band, start + run));
                        for (at, step) in steps.iter().enumerate() {
                            let weights: [$vector; $parts] = unsafe { std::mem::transmute::<Step, _>(*step) };
                            for (sums, xs) in sums.iter_mut().zip(&xs) {
                                let [x0, x1] = xs[at];
                                let x = $splat(i32::from(x0) & 0xffff | i32::from(x1) << 16);
                                for part in 0..$parts {
                                    sums[part] = $add(sums[part], weights[part], x);
                                }
                            }
                        }
                    }
                    sums.map(|sums| unsafe { std::mem::transmute::<[$vector; $parts], Sums>(sums) })
                }
                over_tiles!(band, out, tile, 8, 4, 2, 1);
            }
        };
    }

    kernel!(
        vnni,
        "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma",
        __m512i,
        1,
        _mm512_setzero_si512,
        _mm512_set1_epi32,
        _mm512_dpwssd_epi32
    );
    kernel!(
        avx512,
        "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma",
        __m512i,
        1,
        _mm512_setzero_si512,
        _mm512_set1_epi32,
        |sums, weights, x| _mm512_add_epi32(sums, _mm512_madd_epi16(weights, x))
    );
    kernel!(
        avx2,
        "avx2,fma",
        __m256i,
        2,
        _mm256_setzero_si256,
        _mm256_set1_epi32,
        |sums, weights, x| _mm256_add_epi32(sums, _mm256_madd_epi16(weights, x))
    );
}
