//! Quantities with a unit, as people write them in a configuration.

use std::fmt;

use serde::{Deserialize, Deserializer, de};

const UNITS: [(&str, u64); 4] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

/// `256MiB` in bytes. Without a unit it is bytes already.
///
/// # Errors
/// Says what is wrong with the number or the unit.
pub fn bytes(text: &str) -> Result<u64, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = (&text[..split], text[split..].trim_start());
    if number.is_empty() {
        return Err(format!("`{text}` is no size; write a whole number and a unit, such as `256MiB`"));
    }
    let factor = match UNITS.iter().find(|(name, _)| *name == unit) {
        Some((_, factor)) => *factor,
        None if unit.is_empty() => 1,
        None => {
            let known = UNITS.map(|(name, _)| name).join(", ");
            return Err(format!("unknown unit `{unit}` in `{text}`; the units are {known}"));
        }
    };
    let whole = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    whole.ok_or_else(|| format!("`{text}` is more than any size can be"))
}

/// A number of bytes: `"256MiB"` or `268435456` in TOML.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SizeVisitor)
    }
}

struct SizeVisitor;

impl de::Visitor<'_> for SizeVisitor {
    type Value = Size;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a size such as \"256MiB\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
        bytes(text).map(Size).map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Size, E> {
        Ok(Size(number))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Size, E> {
        u64::try_from(number).map(Size).map_err(|_| E::custom(format!("a size of {number} bytes cannot be")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_units() {
        assert_eq!(bytes("256MiB"), Ok(256 << 20));
        assert_eq!(bytes("1 GiB"), Ok(1 << 30));
        assert_eq!(bytes("4KiB"), Ok(4096));
        assert_eq!(bytes("7B"), Ok(7));
        assert_eq!(bytes("7"), Ok(7));
    }

    #[test]
    fn a_wrong_size_says_what_is_wrong_with_it() {
        assert_eq!(bytes("256MB").unwrap_err(), "unknown unit `MB` in `256MB`; the units are B, KiB, MiB, GiB");
        assert_eq!(bytes("1.5GiB").unwrap_err(), "unknown unit `.5GiB` in `1.5GiB`; the units are B, KiB, MiB, GiB");
        assert!(bytes("MiB").unwrap_err().contains("whole number"));
        assert!(bytes("").unwrap_err().contains("whole number"));
        assert!(bytes("-1MiB").unwrap_err().contains("whole number"));
        assert!(bytes("18446744073709551615GiB").unwrap_err().contains("more than any size"));
    }
}
