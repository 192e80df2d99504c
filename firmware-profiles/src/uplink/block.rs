//! Samples of all channels of a profile until there are enough of them for readings.

use super::{Uplink, WindowError};
use crate::{nodes::Profile, wire::Samples};

/// Collects `SAMPLES` samples of each of a profile's `CHANNELS` channels, and hands them over as one reading for each.
#[derive(Clone, Debug)]
pub struct Block<const CHANNELS: usize, const SAMPLES: usize> {
    profile: &'static Profile,
    counts: [[[u8; 2]; SAMPLES]; CHANNELS],
    /// Samples that are there.
    length: usize,
    first_us: u64,
    /// Channels of a full block that were handed over.
    handed: usize,
    lost: u32,
}

impl<const CHANNELS: usize, const SAMPLES: usize> Block<CHANNELS, SAMPLES> {
    /// An empty block. `CHANNELS` is the profile's number of channels.
    pub const fn new(profile: &'static Profile) -> Self {
        Self { profile, counts: [[[0; 2]; SAMPLES]; CHANNELS], length: 0, first_us: 0, handed: 0, lost: 0 }
    }

    /// Samples that came while a full block waited for the gateway.
    pub const fn lost(&self) -> u32 {
        self.lost
    }

    /// Takes one sample of each channel, measured at `t_us`. A full block takes none: what was measured first goes first,
    /// and the gap is counted.
    pub fn sample(&mut self, t_us: u64, values: &[f32; CHANNELS]) {
        if self.length == SAMPLES {
            self.lost = self.lost.saturating_add(1);
            return;
        }
        if self.length == 0 {
            self.first_us = t_us;
        }
        let rows = self.counts.iter_mut().zip(self.profile.channels).zip(values);
        for ((row, channel), value) in rows {
            if let Some(place) = row.get_mut(self.length) {
                *place = Samples::count(*value, channel.full_scale).to_le_bytes();
            }
        }
        self.length += 1;
    }

    /// Hands a full block over, as far as there is room; call it again until there was.
    ///
    /// # Errors
    /// A block's reading does not fit into the uplink's frames: a mistake of whoever chose the sizes.
    pub fn hand_over<const SLOTS: usize, const BYTES: usize, const HEARD: usize>(
        &mut self,
        uplink: &mut Uplink<SLOTS, BYTES, HEARD>,
    ) -> Result<(), WindowError> {
        while self.length == SAMPLES && uplink.has_room() {
            let Some(row) = self.counts.get(self.handed) else { break };
            uplink.reading(self.handed as u8, self.first_us, Samples::Counts(row.as_flattened()))?;
            self.handed += 1;
            if self.handed == CHANNELS {
                (self.length, self.handed) = (0, 0);
            }
        }
        Ok(())
    }
}
