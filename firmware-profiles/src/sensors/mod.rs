//! Chips that measure, over embedded-hal 1.0: the same code on a microcontroller and, through `linux-embedded-hal`, on the
//! gateway's own bus.
//!
//! Each file has a pure `convert()` from what the chip's registers hold to a quantity, and a thin struct that fetches it.
//! Where a kept driver crate for embedded-hal 1.0 exists, the struct is a wrapping of it; where not, its file says why.

use core::fmt;

use embedded_hal::i2c::{ErrorKind, I2c};

use crate::units::{Hertz, Unit};

/// The most numbers that one sensor has at a time.
pub const VALUES_MAX: usize = 4;

/// What a kind of sensor is: its row in [`SENSORS`].
#[derive(Debug)]
pub struct SensorKind {
    /// The chip's name, in configurations too: `[a-z0-9]`.
    pub name: &'static str,
    /// Addresses on the bus that the chip can be set to; the first is the one of the bare chip.
    pub addresses: &'static [u8],
    /// What it measures at a time, in the order in which it is read; at most [`VALUES_MAX`].
    pub values: &'static [(&'static str, Unit)],
    /// How often it has something new, as it is set up here.
    pub rate_max: Hertz,
    /// Number of the datasheet that formulas and examples are from.
    pub datasheet: &'static str,
}

/// A sensor that is set up on a bus.
pub trait Sensor<I2C>: Sized {
    /// Looks whether the chip is there, and sets it up.
    ///
    /// # Errors
    /// The bus fails, or another chip answers, or none.
    fn open(bus: I2C, address: u8) -> Result<Self, SensorError>;

    /// Reads what the chip measured last into the first places of `values`, as many as its kind has, in their units.
    ///
    /// # Errors
    /// The bus fails, there is no measurement, or it is none that the unit allows.
    fn read(&mut self, values: &mut [f32; VALUES_MAX]) -> Result<(), SensorError>;
}

/// Why there is no measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SensorError {
    /// The bus says so; `NoAcknowledge`: nothing answers at this address.
    Bus(ErrorKind),
    /// There is no kind of sensor of this name.
    UnknownKind,
    /// The chip has no such address.
    Address,
    /// Something answers, and it is another chip.
    WrongChip,
    /// The chip has no measurement yet; ask again.
    NotReady,
    /// The chip's number cannot be a measurement, or it was beyond the range.
    OutOfRange,
}

impl SensorError {
    fn bus<E: embedded_hal::i2c::Error>(error: E) -> Self {
        Self::Bus(error.kind())
    }
}

impl fmt::Display for SensorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bus(kind) => write!(f, "the bus: {kind}"),
            Self::UnknownKind => f.write_str("there is no such kind of sensor"),
            Self::Address => f.write_str("the chip cannot have this address"),
            Self::WrongChip => f.write_str("another chip answers at this address"),
            Self::NotReady => f.write_str("there is no measurement yet"),
            Self::OutOfRange => f.write_str("the measurement is out of range"),
        }
    }
}

impl core::error::Error for SensorError {}

impl From<crate::units::UnitError> for SensorError {
    fn from(_: crate::units::UnitError) -> Self {
        Self::OutOfRange
    }
}

macro_rules! sensors {
    ($($file:ident::$chip:ident),+ $(,)?) => {
        $(pub mod $file;)+

        /// All kinds of sensors.
        pub static SENSORS: &[&SensorKind] = &[$(&$file::KIND),+];

        /// A sensor of a kind that a configuration names.
        #[derive(Debug)]
        pub enum AnySensor<I2C> {
            $(#[doc = stringify!($chip)] $chip($file::$chip<I2C>)),+
        }

        impl<I2C: I2c> AnySensor<I2C> {
            /// Sets up the sensor of this name.
            ///
            /// # Errors
            /// There is no such kind; else as [`Sensor::open`].
            pub fn open(name: &str, bus: I2C, address: u8) -> Result<Self, SensorError> {
                $(if name == $file::KIND.name {
                    return $file::$chip::open(bus, address).map(Self::$chip);
                })+
                Err(SensorError::UnknownKind)
            }

            /// As [`Sensor::read`].
            ///
            /// # Errors
            /// As [`Sensor::read`].
            pub fn read(&mut self, values: &mut [f32; VALUES_MAX]) -> Result<(), SensorError> {
                match self {
                    $(Self::$chip(sensor) => sensor.read(values)),+
                }
            }

            /// Its row in [`SENSORS`].
            pub fn kind(&self) -> &'static SensorKind {
                match self {
                    $(Self::$chip(_) => &$file::KIND),+
                }
            }
        }
    };
}

// The table. To add a sensor, add its file and its name here.
sensors! {
    lis3dh::Lis3dh,
    tmp117::Tmp117,
    ina219::Ina219,
    ads1115::Ads1115,
}
