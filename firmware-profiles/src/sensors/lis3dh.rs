//! LIS3DH: acceleration in three axes. Over the crate `lis3dh`.

use core::fmt;

use embedded_hal::i2c::{Error as _, I2c};
use lis3dh::{
    Configuration, DataRate, Error, Lis3dhI2C, Mode, Range, SlaveAddr,
    accelerometer::RawAccelerometer,
};

use super::{Sensor, SensorError, SensorKind, VALUES_MAX};
use crate::units::{Hertz, StandardGravity, Unit};

/// The row.
pub static KIND: SensorKind = SensorKind {
    name: "lis3dh",
    addresses: &[0x18, 0x19],
    values: &[("x", Unit::StandardGravity), ("y", Unit::StandardGravity), ("z", Unit::StandardGravity)],
    rate_max: Hertz::of(400.0),
    datasheet: "ST DocID17530 rev 2",
};

/// g per digit at ±16 g in high resolution (table 4, "So").
const G_PER_DIGIT: f32 = 0.012;
/// High resolution has 12 bits, at the upper end of the register.
const UNUSED_BITS: u32 = 4;

/// A register of one axis, at ±16 g in high resolution.
///
/// # Errors
/// None for any register's content: the unit allows all of it.
pub fn convert(register: i16) -> Result<StandardGravity, SensorError> {
    Ok(StandardGravity::new(f32::from(register >> UNUSED_BITS) * G_PER_DIGIT)?)
}

/// A LIS3DH at 400 Hz and ±16 g, with 12 bits.
pub struct Lis3dh<I2C> {
    chip: lis3dh::Lis3dh<Lis3dhI2C<I2C>>,
}

impl<I2C> fmt::Debug for Lis3dh<I2C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lis3dh")
    }
}

impl<I2C: I2c> Lis3dh<I2C> {
    /// Whether there is a measurement that was not read yet.
    ///
    /// # Errors
    /// The bus fails.
    pub fn is_ready(&mut self) -> Result<bool, SensorError> {
        self.chip.is_data_ready().map_err(failed)
    }

    /// The latest acceleration: x, y, z.
    ///
    /// # Errors
    /// The bus fails.
    pub fn acceleration(&mut self) -> Result<[StandardGravity; 3], SensorError> {
        // Not `accel_norm`, which asks the chip for its settings four times before each measurement.
        let raw = self.chip.accel_raw().map_err(|error| match error.cause() {
            Some(Error::Bus(error)) => SensorError::Bus(error.kind()),
            _ => SensorError::NotReady,
        })?;
        Ok([convert(raw.x)?, convert(raw.y)?, convert(raw.z)?])
    }
}

impl<I2C: I2c> Sensor<I2C> for Lis3dh<I2C> {
    fn open(bus: I2C, address: u8) -> Result<Self, SensorError> {
        let address = match address {
            0x18 => SlaveAddr::Default,
            0x19 => SlaveAddr::Alternate,
            _ => return Err(SensorError::Address),
        };
        let mut settings = Configuration::default();
        (settings.mode, settings.datarate) = (Mode::HighResolution, DataRate::Hz_400);
        let mut chip = lis3dh::Lis3dh::new_i2c_with_config(bus, address, settings).map_err(failed)?;
        chip.set_range(Range::G16).map_err(failed)?;
        Ok(Self { chip })
    }

    fn read(&mut self, values: &mut [f32; VALUES_MAX]) -> Result<(), SensorError> {
        let [x, y, z] = self.acceleration()?.map(StandardGravity::get);
        (values[0], values[1], values[2]) = (x, y, z);
        Ok(())
    }
}

fn failed<E: embedded_hal::i2c::Error, P>(error: Error<E, P>) -> SensorError {
    match error {
        Error::Bus(error) => SensorError::bus(error),
        Error::WrongAddress => SensorError::WrongChip,
        _ => SensorError::NotReady,
    }
}
