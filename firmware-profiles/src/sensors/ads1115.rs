//! ADS1115: four voltages against ground, 16 bits. Over the crate `ads1x1x`.

use core::fmt;

use ads1x1x::{Ads1x1x, DataRate16Bit, Error, FullScaleRange, TargetAddr, channel, ic, mode};
use embedded_hal::i2c::I2c;

use super::{Sensor, SensorError, SensorKind, VALUES_MAX};
use crate::units::{Hertz, Unit, Volt};

/// The row.
pub static KIND: SensorKind = SensorKind {
    name: "ads1115",
    addresses: &[0x48, 0x49, 0x4a, 0x4b],
    values: &[("a0", Unit::Volt), ("a1", Unit::Volt), ("a2", Unit::Volt), ("a3", Unit::Volt)],
    // 860 conversions a second for four channels.
    rate_max: Hertz::of(200.0),
    datasheet: "TI SBAS444D",
};

/// What stands for the register's highest number and one more: what a supply of 3.3 V can bring is within it.
pub const FULL_SCALE: Volt = Volt::of(4.096);
/// A conversion takes 1.2 ms; a status is asked for in 25 µs at least (400 kHz). More often than this is a dead chip.
const TRIES: usize = 1_000;

/// The conversion register at this full scale.
///
/// # Errors
/// None for any register's content and any full scale of the chip.
pub fn convert(register: i16, full_scale: Volt) -> Result<Volt, SensorError> {
    Ok(Volt::new(f32::from(register) / 32_768.0 * full_scale.get())?)
}

/// An ADS1115 at ±4.096 V and 860 conversions a second, one after the other.
pub struct Ads1115<I2C> {
    chip: Ads1x1x<I2C, ic::Ads1115, ic::Resolution16Bit, mode::OneShot>,
}

impl<I2C> fmt::Debug for Ads1115<I2C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ads1115")
    }
}

impl<I2C: I2c> Ads1115<I2C> {
    /// Measures all four, which takes 5 ms and more.
    ///
    /// # Errors
    /// The bus fails, or the chip does not finish.
    pub fn voltages(&mut self) -> Result<[Volt; 4], SensorError> {
        Ok([
            finished(|| self.chip.read(channel::SingleA0))?,
            finished(|| self.chip.read(channel::SingleA1))?,
            finished(|| self.chip.read(channel::SingleA2))?,
            finished(|| self.chip.read(channel::SingleA3))?,
        ])
    }
}

fn finished<E: embedded_hal::i2c::Error>(
    mut ask: impl FnMut() -> nb::Result<i16, Error<E>>,
) -> Result<Volt, SensorError> {
    for _ in 0..TRIES {
        match ask() {
            Ok(register) => return convert(register, FULL_SCALE),
            Err(nb::Error::WouldBlock) => {}
            Err(nb::Error::Other(error)) => return Err(failed(error)),
        }
    }
    Err(SensorError::NotReady)
}

impl<I2C: I2c> Sensor<I2C> for Ads1115<I2C> {
    fn open(bus: I2C, address: u8) -> Result<Self, SensorError> {
        let address = match address {
            0x48 => TargetAddr::Gnd,
            0x49 => TargetAddr::Vdd,
            0x4a => TargetAddr::Sda,
            0x4b => TargetAddr::Scl,
            _ => return Err(SensorError::Address),
        };
        let mut chip = Ads1x1x::new_ads1115(bus, address);
        chip.set_full_scale_range(FullScaleRange::Within4_096V).map_err(failed)?;
        chip.set_data_rate(DataRate16Bit::Sps860).map_err(failed)?;
        Ok(Self { chip })
    }

    fn read(&mut self, values: &mut [f32; VALUES_MAX]) -> Result<(), SensorError> {
        *values = self.voltages()?.map(Volt::get);
        Ok(())
    }
}

fn failed<E: embedded_hal::i2c::Error>(error: Error<E>) -> SensorError {
    match error {
        Error::I2C(error) => SensorError::bus(error),
        Error::InvalidInputData => SensorError::OutOfRange,
    }
}
