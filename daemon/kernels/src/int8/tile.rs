//! Sums of products, for tiles of some pixels × 16 output channels: inputs and weights of 16 bits.

use super::ends::{CHANNELS, Ends, Sums, over_tiles};
#[cfg(target_arch = "x86_64")]
use crate::cpu::{has_avx2, has_avx512};

/// The weights of two inputs for each channel.
pub(super) type Step = [i16; 2 * CHANNELS];

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
    pub(super) ends: Ends<'a>,
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
    #[cfg(target_arch = "aarch64")]
    arm::long(band, out);
    #[cfg(not(target_arch = "aarch64"))]
    portable(band, out);
}

/// Without instructions of our choice: the compiler's.
#[cfg(not(target_arch = "aarch64"))]
fn portable(band: &Band<'_>, out: &mut [u8]) {
    #[inline(always)]
    fn tile<const PIXELS: usize>(
        band: &Band<'_>,
        _block: usize,
        starts: [usize; PIXELS],
        steps: &[Step],
    ) -> [Sums; PIXELS] {
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
    over_tiles!(band, band.pairs, out, tile, 4, 1);
}

#[inline(always)]
fn run_of<'a>(band: &Band<'a>, start: usize) -> &'a [[i16; 2]] {
    band.x[start..][..2 * band.pairs].as_chunks().0
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    //! The compiler does not find these instructions by itself.

    use std::arch::x86_64::{
        __m256i, __m512i, _mm256_add_epi32, _mm256_madd_epi16, _mm256_set1_epi32, _mm256_setzero_si256,
        _mm512_add_epi32, _mm512_dpwssd_epi32, _mm512_madd_epi16, _mm512_set1_epi32, _mm512_setzero_si512,
    };

    use super::{Band, CHANNELS, Step, Sums, over_tiles, run_of};

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
                    _block: usize,
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
                over_tiles!(band, band.pairs, out, tile, 8, 4, 2, 1);
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

#[cfg(target_arch = "aarch64")]
mod arm {
    //! Left to itself, the compiler widens before it multiplies.
    #![expect(unsafe_code, reason = "vectors are arrays of the same size, and any bits are integers")]

    use std::{
        arch::{
            aarch64::{int16x8_t, int32x4_t, vdupq_n_s32, vreinterpretq_s16_s32},
            asm,
        },
        mem::transmute,
    };

    use super::{Band, Step, Sums, over_tiles, run_of};

    /// Adds the products of two inputs with the weights that each has for 8 channels.
    #[inline(always)]
    fn add(sums: &mut [int32x4_t; 2], weights: [int16x8_t; 2], x: int16x8_t) {
        let [low, high] = sums;
        unsafe {
            asm!(
                "smlal {low:v}.4s, {first:v}.4h, {x:v}.h[0]",
                "smlal2 {high:v}.4s, {first:v}.8h, {x:v}.h[0]",
                "smlal {low:v}.4s, {second:v}.4h, {x:v}.h[1]",
                "smlal2 {high:v}.4s, {second:v}.8h, {x:v}.h[1]",
                low = inout(vreg) *low,
                high = inout(vreg) *high,
                first = in(vreg) weights[0],
                second = in(vreg) weights[1],
                x = in(vreg_low16) x,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
    }

    pub(super) fn long(band: &Band<'_>, out: &mut [u8]) {
        #[inline(always)]
        fn tile<const PIXELS: usize>(
            band: &Band<'_>,
            _block: usize,
            starts: [usize; PIXELS],
            steps: &[Step],
        ) -> [Sums; PIXELS] {
            let mut sums = [[[unsafe { vdupq_n_s32(0) }; 2]; 2]; PIXELS];
            for (run, steps) in band.runs.iter().zip(steps.chunks_exact(band.pairs)) {
                let xs = starts.map(|start| run_of(band, start + run));
                for (at, step) in steps.iter().enumerate() {
                    let [low, high, second_low, second_high] = unsafe { transmute::<Step, [int16x8_t; 4]>(*step) };
                    for (sums, xs) in sums.iter_mut().zip(&xs) {
                        let [x0, x1] = xs[at];
                        let x =
                            unsafe { vreinterpretq_s16_s32(vdupq_n_s32(i32::from(x0) & 0xffff | i32::from(x1) << 16)) };
                        add(&mut sums[0], [low, second_low], x);
                        add(&mut sums[1], [high, second_high], x);
                    }
                }
            }
            sums.map(|sums| unsafe { transmute::<[[int32x4_t; 2]; 2], Sums>(sums) })
        }
        over_tiles!(band, band.pairs, out, tile, 4, 2, 1);
    }
}
