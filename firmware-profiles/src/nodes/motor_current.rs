//! What a motor draws from a supply of direct current: current and voltage, ten times a second.
//!
//! Slow on purpose: it shows load, stall and wear of a drive over its working cycle, not its commutation.

use super::{Channel, Profile};
use crate::units::{Hertz, Unit};

/// Current and supply voltage.
pub static MOTOR_CURRENT: Profile = Profile {
    name: "motor-current",
    channels: &[
        Channel { name: "current", unit: Unit::Ampere, rate: Hertz::of(10.0), full_scale: 32.0 },
        Channel { name: "supply", unit: Unit::Volt, rate: Hertz::of(10.0), full_scale: 32.0 },
    ],
    window: 100,
    hop: 50,
};
