//! The hydraulic test rig of the model `hydraulic-pump`: one 60 s load cycle of its eight 1 Hz sensors.
//!
//! Channels and their order are the model's (`models/train/train_hydraulic.py`); names, units and rates are those of the
//! data set's documentation (Helwig, Pignanelli, Schütze: Condition monitoring of hydraulic systems, UCI 447).

use super::{Channel, Profile};
use crate::units::{Hertz, Unit};

const fn at_1_hz(name: &'static str, unit: Unit, full_scale: f32) -> Channel {
    Channel { name, unit, rate: Hertz::of(1.0), full_scale }
}

/// Temperatures, vibration, cooling efficiency and power, efficiency factor.
pub static HYDRAULIC_RIG: Profile = Profile {
    name: "hydraulic-rig",
    channels: &[
        at_1_hz("TS1", Unit::Celsius, 128.0),
        at_1_hz("TS2", Unit::Celsius, 128.0),
        at_1_hz("TS3", Unit::Celsius, 128.0),
        at_1_hz("TS4", Unit::Celsius, 128.0),
        at_1_hz("VS1", Unit::MillimetrePerSecond, 4.0),
        at_1_hz("CE", Unit::Percent, 128.0),
        at_1_hz("CP", Unit::Kilowatt, 4.0),
        at_1_hz("SE", Unit::Percent, 128.0),
    ],
    window: 60,
    hop: 60,
};
