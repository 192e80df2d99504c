//! What kinds of nodes measure, as data: their channels and how many samples make a window. A node's Hello names its
//! profile, and both sides read the same row.

mod hydraulic_rig;
mod motor_current;
mod motor_vibration;

pub use hydraulic_rig::HYDRAULIC_RIG;
pub use motor_current::MOTOR_CURRENT;
pub use motor_vibration::MOTOR_VIBRATION;

use crc::{CRC_32_ISCSI, Crc, Table};

use crate::units::{Hertz, Unit};

/// All profiles. To add one, add its file, its `mod` line, its `pub use` line and its name here.
pub static PROFILES: &[&Profile] = &[&MOTOR_VIBRATION, &HYDRAULIC_RIG, &MOTOR_CURRENT];

/// What a kind of node measures.
#[derive(Debug, PartialEq)]
pub struct Profile {
    /// Its name on the wire and in configurations: `[a-z0-9-]`, at most [`crate::wire::TEXT_MAX`] bytes.
    pub name: &'static str,
    /// Its channels, in the order in which a model takes them.
    pub channels: &'static [Channel],
    /// Samples of each channel in one input of a model.
    pub window: u16,
    /// Samples from the start of one window to the next one's; as many as `window`: no sample is in two of them.
    pub hop: u16,
}

/// One quantity that a node measures.
#[derive(Debug, PartialEq)]
pub struct Channel {
    /// Its name within the profile: `[A-Za-z0-9-]`.
    pub name: &'static str,
    /// What its numbers mean.
    pub unit: Unit,
    /// Samples per second.
    pub rate: Hertz,
    /// Value that would be 32,768 counts; what is beyond it is held there. In `unit`, above zero.
    pub full_scale: f32,
}

impl Profile {
    /// The profile of this name.
    pub fn by_name(name: &str) -> Option<&'static Self> {
        PROFILES.iter().copied().find(|profile| profile.name == name)
    }

    /// A number that changes with everything that gives a sample its meaning: CRC-32C over names, units, rates, scales
    /// and window. Firmware and gateway of different ages find out by it that their tables differ.
    pub fn fingerprint(&self) -> u32 {
        static CRC: Crc<u32, Table<0>> = Crc::<u32, Table<0>>::new(&CRC_32_ISCSI);
        let mut digest = CRC.digest();
        let mut add = |text: &str, numbers: [u32; 2]| {
            digest.update(text.as_bytes());
            for number in numbers {
                digest.update(&number.to_le_bytes());
            }
        };
        add(self.name, [u32::from(self.window), u32::from(self.hop)]);
        for channel in self.channels {
            add(channel.name, [channel.rate.get().to_bits(), channel.full_scale.to_bits()]);
            add(channel.unit.symbol(), [0; 2]);
        }
        digest.finalize()
    }
}
