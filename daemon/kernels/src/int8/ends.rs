//! What the kernels share: the tiles that they go over, and the way from sums to codes.

use super::codes::Rounding;

/// Output channels of a tile.
pub const CHANNELS: usize = 16;
/// One factor, or offset, for each channel.
pub(super) type Lane = [f32; CHANNELS];
pub(super) type Sums = [i32; CHANNELS];

/// How sums become codes.
#[derive(Clone, Copy)]
pub(super) struct Ends<'a> {
    /// For each tile of channels: a sum becomes a value by `sum · factor + offset`, in the order of the model's own roundings.
    pub(super) factors: &'a [Lane],
    pub(super) offsets: &'a [Lane],
    pub(super) rounding: Rounding,
    /// Output channels, which is bytes of an output pixel.
    pub(super) channels: usize,
}

impl Ends<'_> {
    /// Rounds the sums of some pixels and puts them into place.
    #[inline(always)]
    #[expect(clippy::cast_precision_loss, reason = "f32 is what the model says")]
    pub(super) fn store<const PIXELS: usize>(&self, block: usize, pixel: usize, sums: &[Sums; PIXELS], out: &mut [u8]) {
        let (factors, offsets) = (&self.factors[block], &self.offsets[block]);
        let width = CHANNELS.min(self.channels - CHANNELS * block);
        for (index, sums) in sums.iter().enumerate() {
            let mut codes = [0; CHANNELS];
            for channel in 0..CHANNELS {
                codes[channel] = self.rounding.byte(sums[channel] as f32 * factors[channel] + offsets[channel]);
            }
            let to = &mut out[(pixel + index) * self.channels + CHANNELS * block..][..width];
            match <&mut [u8; CHANNELS]>::try_from(&mut *to) {
                Ok(to) => *to = codes,
                Err(_) => to.copy_from_slice(&codes[..width]),
            }
        }
    }
}

/// Runs `$tile`, a function for a number of pixels at once, over all pixels and tiles of channels. `$of_run` are the
/// steps of a run.
macro_rules! over_tiles {
    ($band:ident, $of_run:expr, $out:ident, $tile:ident, $($pixels:literal),+) => {{
        let of_tile = $band.runs.len() * $of_run;
        for (block, steps) in $band.steps.chunks_exact(of_tile).enumerate() {
            let mut pixel = 0;
            $(
                while let Some(starts) = $band.starts[pixel..].first_chunk::<$pixels>() {
                    let sums = $tile(&$band, block, *starts, steps);
                    $band.ends.store(block, pixel, &sums, $out);
                    pixel += $pixels;
                }
            )+
        }
    }};
}
pub(super) use over_tiles;
