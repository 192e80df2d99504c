//! Windows that slide over single planes, in f32, channels first: depthwise convolutions and largest-value pools.
//!
//! tract walks the output point by point. Here a plane is copied once, with its padding, split by the stride's phases, so
//! that each element of the window reads one contiguous run for all output points at once, rows and all; what lies
//! between the rows is computed too, and dropped.

mod ops;

#[cfg(test)]
mod tests;

pub use self::ops::{DepthwisePlanes, MaxPlanes};
use crate::{cpu::widened, int8::Geometry};

/// Output points that are computed together.
const LANES: usize = 32;
type Lane = [f32; LANES];

/// Where everything lies in the copy of a plane.
struct Layout {
    /// Rows and columns of one phase.
    phase: [usize; 2],
    /// Phases that the window reads, each once.
    phases: Vec<[usize; 2]>,
    /// For each element of the window, where it reads for the first output point.
    taps: Vec<usize>,
    /// Computed points: output rows, and what lies between them.
    points: usize,
}

impl Layout {
    fn new(geometry: &Geometry) -> Self {
        let reach = |axis: usize| (geometry.kernel[axis] - 1) * geometry.dilation[axis] / geometry.stride[axis];
        let phase = [geometry.output[0] + reach(0), geometry.output[1] + reach(1)];
        let mut phases: Vec<[usize; 2]> = Vec::new();
        let mut taps = Vec::new();
        for row in (0..geometry.kernel[0]).map(|at| at * geometry.dilation[0]) {
            for column in (0..geometry.kernel[1]).map(|at| at * geometry.dilation[1]) {
                let [down, right] = geometry.stride;
                let of = [row % down, column % right];
                let index = phases.iter().position(|phase| *phase == of).unwrap_or_else(|| {
                    phases.push(of);
                    phases.len() - 1
                });
                taps.push(index * phase[0] * phase[1] + row / down * phase[1] + column / right);
            }
        }
        let points = (geometry.output[0] - 1) * phase[1] + geometry.output[1];
        Self { phase, phases, taps, points }
    }

    /// Elements of the copy, with room for the lanes of the last points.
    fn len(&self) -> usize {
        self.phases.len() * self.phase[0] * self.phase[1] + LANES
    }

    /// Copies a plane. What is padding is not written.
    fn fill(&self, geometry: &Geometry, plane: &[f32], copy: &mut [f32]) {
        let [height, width] = geometry.input;
        let [down, right] = geometry.stride;
        let phases = copy.chunks_exact_mut(self.phase[0] * self.phase[1]);
        for ([phase_row, phase_column], phase) in self.phases.iter().zip(phases) {
            for (row, to) in phase.chunks_exact_mut(self.phase[1]).enumerate() {
                let Some(row) = (row * down + phase_row).checked_sub(geometry.before[0]).filter(|row| *row < height)
                else {
                    continue;
                };
                let from = &plane[row * width..][..width];
                // The first column that lies in the image.
                let first = geometry.before[1].saturating_sub(*phase_column).div_ceil(right);
                let Some(from) = from.get(first * right + phase_column - geometry.before[1]..) else { continue };
                let Some(to) = to.get_mut(first..) else { continue };
                match right {
                    1 => {
                        let count = from.len().min(to.len());
                        to[..count].copy_from_slice(&from[..count]);
                    }
                    2 => {
                        let (pairs, rest) = from.as_chunks::<2>();
                        to.iter_mut().zip(pairs).for_each(|(to, pair)| *to = pair[0]);
                        if let (Some(to), Some(last)) = (to.get_mut(pairs.len()), rest.first()) {
                            *to = *last;
                        }
                    }
                    _ => to.iter_mut().zip(from.iter().step_by(right)).for_each(|(to, from)| *to = *from),
                }
            }
        }
    }
}

/// One plane's work.
struct Plane<'a> {
    copy: &'a [f32],
    taps: &'a [usize],
    /// One for each tap, and what the sum begins with; `None` for the largest value.
    weights: Option<(&'a [f32], f32)>,
    /// Bounds of what comes out.
    low: f32,
    high: f32,
    /// Columns of a row of computed points, and of the output.
    columns: [usize; 2],
    points: usize,
}

widened!(fn slide(plane: &Plane<'_>, computed: &mut [f32], out: &mut [f32]) = body);

#[inline(always)]
fn body(plane: &Plane<'_>, computed: &mut [f32], out: &mut [f32]) {
    let lanes = computed.as_chunks_mut::<LANES>().0;
    let places = (0..plane.points).step_by(LANES);
    match plane.weights {
        Some((weights, begin)) => {
            for (place, to) in places.zip(lanes) {
                let mut sums = [begin; LANES];
                for (tap, weight) in plane.taps.iter().zip(weights) {
                    let Some(x) = plane.copy[place + tap..].first_chunk::<LANES>() else { return };
                    each(&mut sums, x, |sum, x| sum + x * weight);
                }
                *to = sums;
            }
        }
        None => {
            for (place, to) in places.zip(lanes) {
                let mut most = [f32::NEG_INFINITY; LANES];
                for tap in plane.taps {
                    let Some(x) = plane.copy[place + tap..].first_chunk::<LANES>() else { return };
                    each(&mut most, x, |most, x| if x > most { x } else { most });
                }
                *to = most;
            }
        }
    }
    let rows = computed.chunks(plane.columns[0]).zip(out.chunks_exact_mut(plane.columns[1]));
    for (from, to) in rows {
        for (to, value) in to.iter_mut().zip(from) {
            // Comparisons that leave what is not a number as it is.
            let value = if *value < plane.low { plane.low } else { *value };
            *to = if value > plane.high { plane.high } else { value };
        }
    }
}

#[inline(always)]
fn each(lane: &mut Lane, x: &Lane, combine: impl Fn(f32, f32) -> f32) {
    for at in 0..LANES {
        lane[at] = combine(lane[at], x[at]);
    }
}
