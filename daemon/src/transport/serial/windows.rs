//! From a node's readings to its profile's windows. A reading has the samples of one channel; those of all channels with
//! the same stamp are one block, as `firmware_profiles::uplink::Block` sends them. Blocks that follow one another make
//! windows. No clock is read here: times are the node's own.

use std::collections::{BTreeMap, VecDeque};

use firmware_profiles::{nodes::Profile, wire::Samples};
use picket_core::limits;

/// Why a reading is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadingError {
    /// The profile has no such channel.
    Channel,
    /// No samples, more than one window may take of them, or another number than the block's other channels have.
    Samples,
}

/// A full window.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Window {
    /// The reading that completed it: the number of its job.
    pub seq: u32,
    /// Little-endian `f32`, channel after channel.
    pub values: Vec<u8>,
}

/// What one start of a node has sent and no window has taken.
pub(super) struct Windows {
    profile: &'static Profile,
    /// By their stamps; at most [`limits::NODE_BLOCKS`].
    blocks: BTreeMap<u64, Block>,
    /// The samples of each channel that the next window begins with.
    kept: Vec<VecDeque<f32>>,
    /// Where the next block begins, in µs; `None`: anywhere.
    next_us: Option<u64>,
    /// Stamp of the block that was used last: an earlier reading is a repetition, or too late.
    used_us: Option<u64>,
    /// Gaps so far: blocks that never were complete, or time without samples.
    pub gaps: u32,
}

struct Block {
    channels: Vec<Option<Vec<f32>>>,
    samples: usize,
    /// The last of its readings.
    seq: u32,
}

impl Block {
    fn is_full(&self) -> bool {
        self.channels.iter().all(Option::is_some)
    }
}

impl Windows {
    pub fn new(profile: &'static Profile) -> Self {
        let kept = profile.channels.iter().map(|_| VecDeque::new()).collect();
        Self { profile, blocks: BTreeMap::new(), kept, next_us: None, used_us: None, gaps: 0 }
    }

    /// Takes a reading; one that is there already changes nothing.
    ///
    /// # Errors
    /// It is none of this profile.
    pub fn put(&mut self, seq: u32, channel: u8, t_us: u64, samples: Samples<'_>) -> Result<(), ReadingError> {
        let (index, window) = (usize::from(channel), usize::from(self.profile.window));
        let channel = self.profile.channels.get(index).ok_or(ReadingError::Channel)?;
        let count = samples.len();
        // More than a hop at once would complete two windows, and they would have one number.
        if count == 0 || (count != window && count > usize::from(self.profile.hop).min(window)) {
            return Err(ReadingError::Samples);
        }
        if self.used_us.is_some_and(|used| t_us <= used) {
            return Ok(());
        }
        let channels = self.profile.channels.len();
        let empty = || Block { channels: vec![None; channels], samples: count, seq };
        let block = self.blocks.entry(t_us).or_insert_with(empty);
        if block.samples != count {
            return Err(ReadingError::Samples);
        }
        if let Some(place @ None) = block.channels.get_mut(index) {
            *place = Some(samples.values(channel.full_scale).collect());
            block.seq = seq;
        }
        if self.blocks.len() > limits::NODE_BLOCKS {
            // The oldest is not completed any more: its readings would have come again by now.
            self.blocks.pop_first();
            self.gaps = self.gaps.saturating_add(1);
            self.start_over();
        }
        Ok(())
    }

    /// The next window that is full; at most one for each call.
    pub fn take(&mut self) -> Option<Window> {
        loop {
            // The oldest block comes first, also when a later one is complete before it.
            let (t_us, block) = self.blocks.first_key_value().filter(|(_, block)| block.is_full())?;
            let (t_us, samples, seq) = (*t_us, block.samples, block.seq);
            let channels = self.blocks.remove(&t_us)?.channels;
            self.used_us = Some(t_us);
            if samples == usize::from(self.profile.window) {
                // Whole as it is, whenever it was measured.
                let values = channels.iter().flatten().flatten().flat_map(|value| value.to_le_bytes()).collect();
                return Some(Window { seq, values });
            }
            if let Some(window) = self.append(t_us, seq, samples, channels) {
                return Some(window);
            }
        }
    }

    fn append(&mut self, t_us: u64, seq: u32, samples: usize, channels: Vec<Option<Vec<f32>>>) -> Option<Window> {
        let period_us = 1e6 / f64::from(self.profile.channels.first()?.rate.get());
        let length_us = (period_us * samples as f64) as u64;
        // A chip's own clock is a few per cent off; a sample that is missing is a whole period.
        let tolerance = (length_us / 4).max(period_us as u64);
        match self.next_us {
            Some(next) if t_us > next.saturating_add(tolerance) => {
                self.gaps = self.gaps.saturating_add(1);
                self.start_over();
            }
            // Late: what comes after it was used already.
            Some(next) if t_us.saturating_add(tolerance) < next => return None,
            _ => {}
        }
        self.next_us = Some(t_us.saturating_add(length_us));
        for (kept, values) in self.kept.iter_mut().zip(channels) {
            kept.extend(values.unwrap_or_default());
        }
        let (window, hop) = (usize::from(self.profile.window), usize::from(self.profile.hop));
        if self.kept.iter().any(|kept| kept.len() < window) {
            return None;
        }
        let values = self.kept.iter().flat_map(|kept| kept.iter().take(window)).flat_map(|value| value.to_le_bytes());
        let values = values.collect();
        for kept in &mut self.kept {
            kept.drain(..hop.min(kept.len()));
        }
        Some(Window { seq, values })
    }

    fn start_over(&mut self) {
        self.next_us = None;
        for kept in &mut self.kept {
            kept.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use firmware_profiles::nodes::{HYDRAULIC_RIG, MOTOR_VIBRATION};

    use super::*;

    /// 32 samples of each of three axes at 400 Hz: sample `n` of axis `a` is `1000 a + n`.
    struct Motor {
        windows: Windows,
        seq: u32,
    }

    const BLOCK: u64 = 32;
    const BLOCK_US: u64 = 80_000;

    impl Motor {
        fn new() -> Self {
            Self { windows: Windows::new(&MOTOR_VIBRATION), seq: 0 }
        }

        fn put(&mut self, block: u64, channel: u8) {
            self.seq += 1;
            let value = |n| 1_000.0 * f32::from(channel) + (block * BLOCK + n) as f32;
            let bytes: Vec<u8> = (0..BLOCK).flat_map(|n| value(n).to_le_bytes()).collect();
            let samples = Samples::floats(&bytes).unwrap();
            self.windows.put(self.seq, channel, 5_000 + block * BLOCK_US, samples).unwrap();
        }

        fn block(&mut self, block: u64) {
            (0..3).for_each(|channel| self.put(block, channel));
        }

        fn first_of_each_axis(&mut self) -> Option<[f32; 3]> {
            let window = self.windows.take()?;
            assert_eq!(window.values.len(), 3 * 512 * 4);
            Some([0, 1, 2].map(|axis: usize| f32::from_le_bytes(*window.values[axis * 2_048..].first_chunk().unwrap())))
        }
    }

    #[test]
    fn blocks_make_windows_that_overlap_by_the_profile_s_hop() {
        let mut motor = Motor::new();
        let mut windows = Vec::new();
        for block in 0..32 {
            motor.block(block);
            windows.extend(motor.first_of_each_axis());
        }
        assert_eq!(windows, [[0.0, 1_000.0, 2_000.0], [256.0, 1_256.0, 2_256.0], [512.0, 1_512.0, 2_512.0]]);
        assert_eq!(motor.windows.gaps, 0);
    }

    #[test]
    fn repeated_and_reordered_readings_change_nothing() {
        let mut motor = Motor::new();
        let mut windows = Vec::new();
        for pair in 0..16 {
            // The later block is there first, and one axis of the earlier one is long in coming.
            motor.block(2 * pair + 1);
            motor.put(2 * pair, 2);
            motor.put(2 * pair, 0);
            motor.put(2 * pair, 0);
            windows.extend(motor.first_of_each_axis());
            motor.put(2 * pair, 1);
            windows.extend(motor.first_of_each_axis());
            motor.block(2 * pair);
        }
        assert_eq!(windows, [[0.0, 1_000.0, 2_000.0], [256.0, 1_256.0, 2_256.0], [512.0, 1_512.0, 2_512.0]]);
    }

    #[test]
    fn a_window_has_no_gap_in_it() {
        let mut motor = Motor::new();
        let mut windows = Vec::new();
        for block in (0..8).chain(10..40) {
            motor.block(block);
            windows.extend(motor.first_of_each_axis());
        }
        assert_eq!(motor.windows.gaps, 1);
        assert_eq!(windows[0][0], 320.0, "from the first block behind the gap");
    }

    #[test]
    fn memory_is_bounded_whatever_comes() {
        let mut motor = Motor::new();
        for block in 0..10_000 {
            motor.put(block * 7, 1);
            assert_eq!(motor.first_of_each_axis(), None);
        }
        assert!(motor.windows.blocks.len() <= limits::NODE_BLOCKS);
        assert!(motor.windows.gaps > 9_000);
    }

    #[test]
    fn a_block_of_a_whole_window_is_one_whenever_it_was_measured() {
        let mut windows = Windows::new(&HYDRAULIC_RIG);
        for cycle in 0..3_u32 {
            for channel in 0..8 {
                let counts: Vec<u8> = (0..60).flat_map(|_| 16_384_i16.to_le_bytes()).collect();
                let samples = Samples::counts(&counts).unwrap();
                windows.put(cycle * 10 + u32::from(channel), channel, u64::from(cycle) * 1_000_000, samples).unwrap();
            }
            let window = windows.take().unwrap();
            assert_eq!((window.seq, window.values.len()), (cycle * 10 + 7, 8 * 60 * 4));
            assert_eq!(f32::from_le_bytes(*window.values.first_chunk().unwrap()), 64.0);
            assert_eq!(windows.take(), None);
        }
        let samples = Samples::counts(&[0; 2 * 61]).unwrap();
        assert_eq!(windows.put(99, 0, 9, samples), Err(ReadingError::Samples));
        assert_eq!(windows.put(99, 8, 9, Samples::counts(&[0; 120]).unwrap()), Err(ReadingError::Channel));
    }
}
