//! TMP117: temperature to ±0.1 °C. Our own: two registers and one multiplication. The crate `tmp117` (3.0.0) brings five
//! others for that, among them an asynchronous HAL and procedural macros for registers that are not used here.

use embedded_hal::i2c::I2c;

use super::{Sensor, SensorError, SensorKind, VALUES_MAX};
use crate::units::{Celsius, Hertz, Unit};

/// The row.
pub static KIND: SensorKind = SensorKind {
    name: "tmp117",
    addresses: &[0x48, 0x49, 0x4a, 0x4b],
    values: &[("temperature", Unit::Celsius)],
    rate_max: Hertz::of(1.0),
    datasheet: "TI SNOSD82D",
};

const TEMPERATURE: u8 = 0x00;
const DEVICE_ID: u8 = 0x0f;
/// The lower twelve bits; above them stands the revision.
const TMP117: u16 = 0x117;
/// °C per digit: 7.8125 m°C (7.6.2).
const CELSIUS_PER_DIGIT: f32 = 0.007_812_5;
/// What the register holds until the first conversion is done: -256 °C.
const NOTHING_YET: i16 = i16::MIN;

/// The temperature register.
///
/// # Errors
/// [`SensorError::NotReady`] for what stands there before the first conversion.
pub fn convert(register: i16) -> Result<Celsius, SensorError> {
    if register == NOTHING_YET {
        return Err(SensorError::NotReady);
    }
    Ok(Celsius::new(f32::from(register) * CELSIUS_PER_DIGIT)?)
}

/// A TMP117 as it is after power-up: a conversion every second, the mean of eight.
#[derive(Debug)]
pub struct Tmp117<I2C> {
    bus: I2C,
    address: u8,
}

impl<I2C: I2c> Tmp117<I2C> {
    /// The latest temperature.
    ///
    /// # Errors
    /// The bus fails, or the first conversion is not done.
    pub fn temperature(&mut self) -> Result<Celsius, SensorError> {
        convert(self.register(TEMPERATURE)?.cast_signed())
    }

    fn register(&mut self, register: u8) -> Result<u16, SensorError> {
        let mut bytes = [0; 2];
        self.bus.write_read(self.address, &[register], &mut bytes).map_err(SensorError::bus)?;
        Ok(u16::from_be_bytes(bytes))
    }
}

impl<I2C: I2c> Sensor<I2C> for Tmp117<I2C> {
    fn open(bus: I2C, address: u8) -> Result<Self, SensorError> {
        if !KIND.addresses.contains(&address) {
            return Err(SensorError::Address);
        }
        let mut sensor = Self { bus, address };
        match sensor.register(DEVICE_ID)? & 0x0fff {
            TMP117 => Ok(sensor),
            _ => Err(SensorError::WrongChip),
        }
    }

    fn read(&mut self, values: &mut [f32; VALUES_MAX]) -> Result<(), SensorError> {
        values[0] = self.temperature()?.get();
        Ok(())
    }
}
