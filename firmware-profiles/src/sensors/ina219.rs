//! INA219: current through a shunt, and the voltage behind it. Over the crate `ina219`, without the chip's calibration
//! register: dividing by the shunt is exact, and the chip's own product is rounded.

use core::fmt;

use embedded_hal::i2c::I2c;
use ina219::{
    SyncIna219,
    address::Address,
    calibration::UnCalibrated,
    errors::{BusVoltageReadError, InitializationErrorReason, ShuntVoltageReadError},
};

use super::{Sensor, SensorError, SensorKind, VALUES_MAX};
use crate::units::{Ampere, Hertz, Ohm, Unit, Volt};

/// The row.
pub static KIND: SensorKind = SensorKind {
    name: "ina219",
    addresses: &[
        0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x4b, 0x4c, 0x4d, 0x4e, 0x4f,
    ],
    values: &[("current", Unit::Ampere), ("supply", Unit::Volt)],
    // Two conversions of 532 µs, 12 bits each.
    rate_max: Hertz::of(900.0),
    datasheet: "TI SBOS448G",
};

/// The shunt of the usual boards. Another one: [`Ina219::with_shunt`].
pub const USUAL_SHUNT: Ohm = Ohm::of(0.1);
/// Volt per digit of the shunt's register (8.6.3.1).
const VOLT_PER_DIGIT: f32 = 10e-6;

/// The shunt voltage register, in digits of 10 µV, to the current through this shunt.
///
/// # Errors
/// The quotient is no finite number.
pub fn convert(register: i16, shunt: Ohm) -> Result<Ampere, SensorError> {
    Ok(Ampere::new(f32::from(register) * VOLT_PER_DIGIT / shunt.get())?)
}

/// An INA219 as it is after a reset: ±320 mV over the shunt, 32 V on the bus, 12 bits, measuring all the time.
pub struct Ina219<I2C> {
    chip: SyncIna219<I2C, UnCalibrated>,
    shunt: Ohm,
}

impl<I2C> fmt::Debug for Ina219<I2C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ina219").field("shunt", &self.shunt).finish()
    }
}

impl<I2C: I2c> Ina219<I2C> {
    /// The same chip over another shunt.
    #[must_use]
    pub fn with_shunt(self, shunt: Ohm) -> Self {
        Self { shunt, ..self }
    }

    /// The latest current.
    ///
    /// # Errors
    /// The bus fails, or the shunt's voltage is beyond what the chip measures.
    pub fn current(&mut self) -> Result<Ampere, SensorError> {
        let voltage = self.chip.shunt_voltage().map_err(|error| match error {
            ShuntVoltageReadError::I2cError(error) => SensorError::bus(error),
            ShuntVoltageReadError::ShuntVoltageOutOfRange { .. } => SensorError::OutOfRange,
        })?;
        convert(voltage.shunt_voltage_10uv(), self.shunt)
    }

    /// The latest voltage behind the shunt.
    ///
    /// # Errors
    /// The bus fails, or the voltage is beyond what the chip measures.
    pub fn supply(&mut self) -> Result<Volt, SensorError> {
        let voltage = self.chip.bus_voltage().map_err(|error| match error {
            BusVoltageReadError::I2cError(error) => SensorError::bus(error),
            BusVoltageReadError::BusVoltageOutOfRange { .. } => SensorError::OutOfRange,
        })?;
        Ok(Volt::new(f32::from(voltage.voltage_mv()) / 1000.0)?)
    }
}

impl<I2C: I2c> Sensor<I2C> for Ina219<I2C> {
    fn open(bus: I2C, address: u8) -> Result<Self, SensorError> {
        let address = Address::from_byte(address).map_err(|_| SensorError::Address)?;
        match SyncIna219::new(bus, address) {
            Ok(chip) => Ok(Self { chip, shunt: USUAL_SHUNT }),
            Err(error) => Err(match error.reason {
                InitializationErrorReason::I2cError(error) => SensorError::bus(error),
                _ => SensorError::WrongChip,
            }),
        }
    }

    fn read(&mut self, values: &mut [f32; VALUES_MAX]) -> Result<(), SensorError> {
        (values[0], values[1]) = (self.current()?.get(), self.supply()?.get());
        Ok(())
    }
}
