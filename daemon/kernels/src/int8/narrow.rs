//! Sums of products, for tiles of some pixels × 16 output channels: inputs and weights of 8 bits, as ARM multiplies them.
//!
//! The inputs keep their zero point; what it adds to a sum is the same for all pixels, and sums begin with its opposite.
//! So a step is 8 or 16 products an instruction, where inputs of 16 bits allow 4.

use super::ends::{CHANNELS, Ends, Sums, over_tiles};

/// Are there instructions for this here? Elsewhere the wide kernels are the faster ones.
pub(super) const NARROW: bool = cfg!(target_arch = "aarch64");

/// Inputs of a step.
pub(super) const INPUTS: usize = 4;
/// For each channel, the weights of the inputs; as bytes of signed integers.
pub(super) type Step = [u8; INPUTS * CHANNELS];

/// One band of a convolution.
pub(super) struct Band<'a> {
    /// Input, as bytes of signed codes.
    pub(super) x: &'a [u8],
    /// Where each output pixel begins to read.
    pub(super) starts: &'a [usize],
    /// Where its runs of neighbouring inputs begin, from there.
    pub(super) runs: &'a [usize],
    /// Steps of a run.
    pub(super) steps_of_run: usize,
    /// For each tile of channels, for each run.
    pub(super) steps: &'a [Step],
    /// For each tile of channels, what sums begin with.
    pub(super) begins: &'a [Sums],
    pub(super) ends: Ends<'a>,
}

/// May these be weights? Two products of them with any codes fit into 16 bits together: 2 · 127 · 128 < 2^15.
pub(super) fn fits(weight: i32) -> bool {
    (-127..=127).contains(&weight)
}

/// Computes a band; `out` has its pixels, channels last.
pub(super) fn run(band: &Band<'_>, out: &mut [u8]) {
    #[cfg(target_arch = "aarch64")]
    {
        #[expect(unsafe_code, reason = "the processor has been asked for the instructions")]
        if std::arch::is_aarch64_feature_detected!("dotprod") {
            unsafe { arm::dot(band, out) };
        } else {
            arm::long(band, out);
        }
    }
    #[cfg(not(target_arch = "aarch64"))]
    portable(band, out);
}

type Inputs = [u8; INPUTS];

#[inline(always)]
fn run_of<'a>(band: &Band<'a>, start: usize) -> &'a [Inputs] {
    band.x[start..][..INPUTS * band.steps_of_run].as_chunks().0
}

#[cfg(not(target_arch = "aarch64"))]
fn portable(band: &Band<'_>, out: &mut [u8]) {
    fn tile<const PIXELS: usize>(
        band: &Band<'_>,
        block: usize,
        starts: [usize; PIXELS],
        steps: &[Step],
    ) -> [Sums; PIXELS] {
        let product = |x: u8, weight: u8| i32::from(x.cast_signed()) * i32::from(weight.cast_signed());
        starts.map(|start| {
            let mut sums = band.begins[block];
            for (run, steps) in band.runs.iter().zip(steps.chunks_exact(band.steps_of_run)) {
                for (x, step) in run_of(band, start + run).iter().zip(steps) {
                    for (sum, weights) in sums.iter_mut().zip(step.as_chunks::<INPUTS>().0) {
                        *sum += x.iter().zip(weights).map(|(x, weight)| product(*x, *weight)).sum::<i32>();
                    }
                }
            }
            sums
        })
    }
    over_tiles!(band, band.steps_of_run, out, tile, 1);
}

#[cfg(target_arch = "aarch64")]
mod arm {
    //! The compiler does not find these instructions by itself.
    #![expect(unsafe_code, reason = "vectors are arrays of the same size, and any bits are integers")]

    use std::{
        arch::{
            aarch64::{
                int8x16_t, int32x4_t, vdupq_n_s8, vdupq_n_s32, vget_low_s8, vmull_high_s8, vmull_s8, vpadalq_s16,
                vpaddq_s32, vreinterpretq_s8_s32,
            },
            asm,
        },
        mem::transmute,
    };

    use super::{Band, Inputs, Step, Sums, over_tiles, run_of};

    /// Vectors of the weights of a step, or of the sums of a tile.
    const PARTS: usize = 4;

    #[inline]
    #[target_feature(enable = "neon")]
    fn splat(x: Inputs) -> int8x16_t {
        vreinterpretq_s8_s32(vdupq_n_s32(i32::from_ne_bytes(x)))
    }

    #[inline]
    fn weights(step: &Step) -> [int8x16_t; PARTS] {
        unsafe { transmute::<Step, _>(*step) }
    }

    /// Adds to each of four sums the products of four weights with the four inputs of one lane.
    macro_rules! sdot {
        ($sum:expr, $weights:expr, $x:expr, $lane:literal) => {
            // std's intrinsics for this are not stable yet (rust-lang/rust#117224).
            unsafe {
                asm!(
                    concat!("sdot {sum:v}.4s, {weights:v}.16b, {x:v}.4b[", $lane, "]"),
                    sum = inout(vreg) $sum,
                    weights = in(vreg) $weights,
                    x = in(vreg) $x,
                    options(pure, nomem, nostack, preserves_flags)
                );
            }
        };
    }

    /// With the instructions for dot products, as the Cortex-A55 and A76 and later have them.
    #[target_feature(enable = "neon,dotprod")]
    pub(super) fn dot(band: &Band<'_>, out: &mut [u8]) {
        #[inline]
        #[target_feature(enable = "neon,dotprod")]
        fn tile<const PIXELS: usize>(
            band: &Band<'_>,
            block: usize,
            starts: [usize; PIXELS],
            steps: &[Step],
        ) -> [Sums; PIXELS] {
            let begin: [int32x4_t; PARTS] = unsafe { transmute::<Sums, _>(band.begins[block]) };
            let mut sums = [begin; PIXELS];
            macro_rules! step {
                ($step:expr, $xs:expr, $lane:literal) => {
                    for (part, weights) in weights($step).into_iter().enumerate() {
                        for (sums, x) in sums.iter_mut().zip($xs) {
                            sdot!(sums[part], weights, x, $lane);
                        }
                    }
                };
            }
            for (run, steps) in band.runs.iter().zip(steps.chunks_exact(band.steps_of_run)) {
                let (fours, rest) = steps.as_chunks::<4>();
                let xs = starts.map(|start| run_of(band, start + run).as_chunks::<4>());
                for (at, four) in fours.iter().enumerate() {
                    let lanes = xs.map(|(fours, _)| unsafe { transmute::<[Inputs; 4], int8x16_t>(fours[at]) });
                    step!(&four[0], lanes, 0);
                    step!(&four[1], lanes, 1);
                    step!(&four[2], lanes, 2);
                    step!(&four[3], lanes, 3);
                }
                for (at, one) in rest.iter().enumerate() {
                    let splats = xs.map(|(_, rest)| splat(rest[at]));
                    step!(one, splats, 0);
                }
            }
            sums.map(|sums| unsafe { transmute::<[int32x4_t; PARTS], Sums>(sums) })
        }
        over_tiles!(band, band.steps_of_run, out, tile, 4, 2, 1);
    }

    /// Adds the products of two steps, one half after the other.
    #[inline(always)]
    fn add_pairs(sums: &mut [int32x4_t; 2], first: int8x16_t, second: int8x16_t, x: int8x16_t, z: int8x16_t) {
        let [low, high] = sums;
        // The compiler would move the high halves of the weights down before it multiplies, and run out of registers.
        unsafe {
            asm!(
                "smull {pairs:v}.8h, {first:v}.8b, {x:v}.8b",
                "smull2 {more:v}.8h, {first:v}.16b, {x:v}.16b",
                "smlal {pairs:v}.8h, {second:v}.8b, {z:v}.8b",
                "smlal2 {more:v}.8h, {second:v}.16b, {z:v}.16b",
                "sadalp {low:v}.4s, {pairs:v}.8h",
                "sadalp {high:v}.4s, {more:v}.8h",
                pairs = out(vreg) _,
                more = out(vreg) _,
                first = in(vreg) first,
                second = in(vreg) second,
                x = in(vreg) x,
                z = in(vreg) z,
                low = inout(vreg) *low,
                high = inout(vreg) *high,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
    }

    /// With those that every such processor has: two products together in 16 bits, then two pairs of them in 32.
    pub(super) fn long(band: &Band<'_>, out: &mut [u8]) {
        /// Sums by halves: of the even and of the odd pairs of products.
        type Halves = [[int32x4_t; 2]; PARTS];
        #[inline(always)]
        fn tile<const PIXELS: usize>(
            band: &Band<'_>,
            block: usize,
            starts: [usize; PIXELS],
            steps: &[Step],
        ) -> [Sums; PIXELS] {
            let mut sums: [Halves; PIXELS] = unsafe { [[[vdupq_n_s32(0); 2]; PARTS]; PIXELS] };
            for (run, steps) in band.runs.iter().zip(steps.chunks_exact(band.steps_of_run)) {
                let xs = starts.map(|start| run_of(band, start + run).as_chunks::<2>());
                let (twos, rest) = steps.as_chunks::<2>();
                for (at, [first, second]) in twos.iter().enumerate() {
                    // Not by `map`: the compiler leaves a call of that in the loop.
                    let mut x = [[unsafe { vdupq_n_s8(0) }; 2]; PIXELS];
                    for (x, (twos, _)) in x.iter_mut().zip(&xs) {
                        let [first, second] = twos[at];
                        *x = unsafe { [splat(first), splat(second)] };
                    }
                    let (first, second) = (weights(first), weights(second));
                    for part in 0..PARTS {
                        for (sums, [x, z]) in sums.iter_mut().zip(x) {
                            add_pairs(&mut sums[part], first[part], second[part], x, z);
                        }
                    }
                }
                if let [last] = rest {
                    let last = weights(last);
                    for part in 0..PARTS {
                        for (sums, (_, x)) in sums.iter_mut().zip(xs) {
                            let [low, high] = &mut sums[part];
                            unsafe {
                                let x = splat(x[0]);
                                *low = vpadalq_s16(*low, vmull_s8(vget_low_s8(last[part]), vget_low_s8(x)));
                                *high = vpadalq_s16(*high, vmull_high_s8(last[part], x));
                            }
                        }
                    }
                }
            }
            let begin = band.begins[block];
            sums.map(|sums| {
                let sums = sums.map(|[low, high]| unsafe { vpaddq_s32(low, high) });
                let mut sums = unsafe { transmute::<[int32x4_t; PARTS], Sums>(sums) };
                sums.iter_mut().zip(begin).for_each(|(sum, begin)| *sum += begin);
                sums
            })
        }
        over_tiles!(band, band.steps_of_run, out, tile, 2, 1);
    }
}
