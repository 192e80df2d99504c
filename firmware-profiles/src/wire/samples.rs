//! Numbers in a frame: a slice of the frame's own bytes, so that nothing is copied and nothing allocated.

use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// Samples as they stand in the frame: whole numbers of little-endian bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Samples<'a> {
    /// `i16`: a share of the channel's full scale, where 32,768 would be all of it. Half the bytes of the other one.
    Counts(&'a [u8]),
    /// `f32`, in the channel's unit.
    Floats(&'a [u8]),
}

/// Bytes that are no whole number of samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SamplesError;

impl fmt::Display for SamplesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the bytes are no whole number of samples")
    }
}

/// Counts of a channel's full scale.
const FULL_SCALE: f32 = 32_768.0;

impl<'a> Samples<'a> {
    /// # Errors
    /// The bytes are no whole number of `i16`.
    pub const fn counts(bytes: &'a [u8]) -> Result<Self, SamplesError> {
        if bytes.len().is_multiple_of(2) { Ok(Self::Counts(bytes)) } else { Err(SamplesError) }
    }

    /// # Errors
    /// The bytes are no whole number of `f32`.
    pub const fn floats(bytes: &'a [u8]) -> Result<Self, SamplesError> {
        if bytes.len().is_multiple_of(4) { Ok(Self::Floats(bytes)) } else { Err(SamplesError) }
    }

    /// How many samples there are.
    pub const fn len(&self) -> usize {
        match self {
            Self::Counts(bytes) => bytes.len() / 2,
            Self::Floats(bytes) => bytes.len() / 4,
        }
    }

    /// There are none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The samples in the channel's unit. `full_scale` is the channel's, and matters to counts only.
    pub fn values(&self, full_scale: f32) -> Values<'a> {
        Values { samples: *self, next: 0, per_count: full_scale / FULL_SCALE }
    }

    /// What a value is as a count of the full scale: rounded half away from zero, held within the type. NaN is 0.
    pub fn count(value: f32, full_scale: f32) -> i16 {
        let counts = value / full_scale * FULL_SCALE;
        // `as` cuts towards zero and holds within the type; `round` is not in `core`.
        (counts + if counts < 0.0 { -0.5 } else { 0.5 }) as i16
    }
}

/// See [`Samples::values`].
#[derive(Clone, Debug)]
pub struct Values<'a> {
    samples: Samples<'a>,
    next: usize,
    per_count: f32,
}

impl Iterator for Values<'_> {
    type Item = f32;

    fn next(&mut self) -> Option<f32> {
        let at = self.next;
        let value = match self.samples {
            Samples::Counts(bytes) => {
                f32::from(i16::from_le_bytes(*bytes.get(at * 2..)?.first_chunk()?)) * self.per_count
            }
            Samples::Floats(bytes) => f32::from_le_bytes(*bytes.get(at * 4..)?.first_chunk()?),
        };
        self.next += 1;
        Some(value)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.samples.len() - self.next;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Values<'_> {}

/// How they stand on the wire: the kind, the number of bytes, the bytes.
#[derive(Serialize, Deserialize)]
enum Raw<'a> {
    Counts(&'a [u8]),
    Floats(&'a [u8]),
}

impl Serialize for Samples<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Counts(bytes) => Raw::Counts(bytes),
            Self::Floats(bytes) => Raw::Floats(bytes),
        }
        .serialize(serializer)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Samples<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Raw::deserialize(deserializer)? {
            Raw::Counts(bytes) => Self::counts(bytes),
            Raw::Floats(bytes) => Self::floats(bytes),
        }
        .map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_the_nearest_and_stays_within_its_type() {
        assert_eq!(Samples::count(1.0, 2.0), 16_384);
        assert_eq!(Samples::count(-1.0, 2.0), -16_384);
        assert_eq!(Samples::count(0.6, FULL_SCALE), 1);
        assert_eq!(Samples::count(-0.6, FULL_SCALE), -1);
        assert_eq!(Samples::count(5.0, 2.0), i16::MAX);
        assert_eq!(Samples::count(f32::NEG_INFINITY, 2.0), i16::MIN);
        assert_eq!(Samples::count(f32::NAN, 2.0), 0);
    }

    #[test]
    fn half_a_sample_is_none() {
        assert_eq!(Samples::counts(&[1, 2, 3]), Err(SamplesError));
        assert_eq!(Samples::floats(&[1, 2]), Err(SamplesError));
        let samples = Samples::counts(&[0x00, 0x40, 0x00, 0xc0]).unwrap();
        assert!(samples.values(4.0).eq([2.0, -2.0]));
        assert_eq!(samples.values(4.0).len(), 2);
    }
}
