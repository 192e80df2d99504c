//! Physical quantities as types, so that a reading cannot be taken for another one. The unit is in the type's docs, and
//! every constructor refuses what cannot be measured.

use serde::{Deserialize, Serialize};

/// A value that its unit cannot have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitError {
    /// NaN or infinite.
    NotFinite,
    /// Below absolute zero, a negative pressure, and the like.
    OutOfRange,
}

/// Checks a number against the range that its unit allows.
const fn checked(value: f32, (least, most): (f32, f32)) -> Result<f32, UnitError> {
    if !value.is_finite() {
        Err(UnitError::NotFinite)
    } else if value < least || value > most {
        Err(UnitError::OutOfRange)
    } else {
        Ok(value)
    }
}

macro_rules! unit {
    ($(#[$doc:meta])* $name:ident, $least:expr, $most:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
        #[serde(try_from = "f32", into = "f32")]
        pub struct $name(f32);

        impl $name {
            const RANGE: (f32, f32) = ($least, $most);

            /// # Errors
            /// The value is not finite, or outside of what the unit allows.
            pub const fn new(value: f32) -> Result<Self, UnitError> {
                match checked(value, Self::RANGE) {
                    Ok(value) => Ok(Self(value)),
                    Err(error) => Err(error),
                }
            }

            /// A value that stands in the program: what the unit does not allow does not compile.
            ///
            /// # Panics
            /// On such a value, where it is not a constant.
            pub const fn of(value: f32) -> Self {
                match Self::new(value) {
                    Ok(value) => value,
                    Err(_) => panic!("the value is outside of what its unit allows"),
                }
            }

            /// The bare number, in this type's unit.
            pub const fn get(self) -> f32 {
                self.0
            }
        }

        impl TryFrom<f32> for $name {
            type Error = UnitError;
            fn try_from(value: f32) -> Result<Self, UnitError> {
                Self::new(value)
            }
        }

        impl From<$name> for f32 {
            fn from(value: $name) -> Self {
                value.0
            }
        }
    };
}

impl core::fmt::Display for UnitError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::NotFinite => "the value is not a finite number",
            Self::OutOfRange => "the value is outside of what its unit allows",
        })
    }
}

unit!(
    /// Temperature in °C; not below absolute zero.
    Celsius, -273.15, f32::MAX
);
unit!(
    /// Acceleration in multiples of standard gravity (9.80665 m/s²).
    StandardGravity, f32::MIN, f32::MAX
);
unit!(
    /// Electric current in ampere.
    Ampere, f32::MIN, f32::MAX
);
unit!(
    /// Electric potential in volt.
    Volt, f32::MIN, f32::MAX
);
unit!(
    /// Absolute pressure in bar; not negative.
    Bar, 0.0, f32::MAX
);
unit!(
    /// Vibration velocity in mm/s (root mean square); not negative.
    MillimetrePerSecond, 0.0, f32::MAX
);
unit!(
    /// Rate in hertz; above zero.
    Hertz, f32::MIN_POSITIVE, f32::MAX
);
unit!(
    /// A share or probability from 0 to 1.
    Ratio, 0.0, 1.0
);

unit!(
    /// Percentage; not negative. An efficiency may come out above 100 where it is computed of noisy numbers.
    Percent, 0.0, f32::MAX
);
unit!(
    /// Power in kilowatt; negative where it flows back.
    Kilowatt, f32::MIN, f32::MAX
);
unit!(
    /// Electric resistance in ohm; above zero.
    Ohm, f32::MIN_POSITIVE, f32::MAX
);

/// What the numbers of a channel mean, where the type cannot say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// [`Celsius`]
    Celsius,
    /// [`StandardGravity`]
    StandardGravity,
    /// [`Ampere`]
    Ampere,
    /// [`Volt`]
    Volt,
    /// [`Bar`]
    Bar,
    /// [`MillimetrePerSecond`]
    MillimetrePerSecond,
    /// [`Percent`]
    Percent,
    /// [`Kilowatt`]
    Kilowatt,
}

impl Unit {
    /// As it is written behind a number.
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::Celsius => "°C",
            Self::StandardGravity => "g",
            Self::Ampere => "A",
            Self::Volt => "V",
            Self::Bar => "bar",
            Self::MillimetrePerSecond => "mm/s",
            Self::Percent => "%",
            Self::Kilowatt => "kW",
        }
    }

    /// Whether a number can be a measurement in this unit.
    ///
    /// # Errors
    /// It cannot.
    pub const fn check(self, value: f32) -> Result<(), UnitError> {
        let range = match self {
            Self::Celsius => Celsius::RANGE,
            Self::StandardGravity => StandardGravity::RANGE,
            Self::Ampere => Ampere::RANGE,
            Self::Volt => Volt::RANGE,
            Self::Bar => Bar::RANGE,
            Self::MillimetrePerSecond => MillimetrePerSecond::RANGE,
            Self::Percent => Percent::RANGE,
            Self::Kilowatt => Kilowatt::RANGE,
        };
        match checked(value, range) {
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_cannot_be_measured() {
        assert_eq!(Celsius::new(f32::NAN), Err(UnitError::NotFinite));
        assert_eq!(Celsius::new(-300.0), Err(UnitError::OutOfRange));
        assert_eq!(Ratio::new(1.01), Err(UnitError::OutOfRange));
        assert_eq!(Hertz::new(0.0), Err(UnitError::OutOfRange));
        assert_eq!(Bar::new(1.5).map(Bar::get), Ok(1.5));
    }

    #[test]
    fn a_value_from_the_wire_is_checked_too() {
        let mut buffer = [0u8; 8];
        let bytes = postcard::to_slice(&f32::INFINITY, &mut buffer).unwrap();
        assert!(postcard::from_bytes::<Ampere>(bytes).is_err());
        let bytes = postcard::to_slice(&Ampere::new(2.0).unwrap(), &mut buffer).unwrap();
        assert_eq!(postcard::from_bytes::<Ampere>(bytes), Ampere::new(2.0).map_err(|_| unreachable!()));
    }
}
