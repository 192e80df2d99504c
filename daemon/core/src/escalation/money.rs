//! Amounts of money, in whatever currency the owner pays: whole billionths, so that sums are exact and the same everywhere.

use std::{fmt, iter::Sum, ops::Add};

use serde::{Deserialize, Serialize};

/// Billionths of one unit of money. One input token of a small vision model costs about 150 of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Money(u64);

const UNIT: f64 = 1e9;

impl Money {
    pub const ZERO: Self = Self(0);

    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Rounded up: what is reserved must never be less than what is paid. `None`: negative, no number, or more than counts.
    pub fn from_units(units: f64) -> Option<Self> {
        let nanos = (units * UNIT).ceil();
        // Above 2^53 a float has no exact billionths any more; that is nine million units.
        (0.0..=9e15).contains(&nanos).then_some(Self(nanos as u64))
    }

    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    pub fn as_units(self) -> f64 {
        self.0 as f64 / UNIT
    }

    #[must_use]
    pub const fn times(self, count: u64) -> Self {
        Self(self.0.saturating_mul(count))
    }

    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Add for Money {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sum for Money {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, Add::add)
    }
}

/// What one of very many costs, a token for one: finer than [`Money`], so that only the sum is rounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Price {
    /// Millionths of a millionth of a unit.
    picos: u64,
}

const PICOS: f64 = 1e12;
const PICOS_PER_NANO: u128 = 1_000;

impl Price {
    /// Rounded up where it is finer than counts. `None`: negative, no number, or more than counts.
    pub fn from_units(units: f64) -> Option<Self> {
        let (exact, near) = (units * PICOS, (units * PICOS).round());
        // Most decimals are none in binary: 0.15e-6 must not become a hair more than 150,000 of them.
        let picos = if (exact - near).abs() <= near * 1e-12 { near } else { exact.ceil() };
        (0.0..=9e15).contains(&picos).then_some(Self { picos: picos as u64 })
    }

    /// What this many of each cost together, rounded up once.
    pub fn total(lines: &[(Self, u64)]) -> Money {
        let picos = lines.iter().map(|(price, count)| u128::from(price.picos) * u128::from(*count));
        let nanos = picos.fold(0, u128::saturating_add).div_ceil(PICOS_PER_NANO);
        Money(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// In units, with as many places as it needs.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_units())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_rounded_up_and_add_exactly() {
        let token = Money::from_units(0.15e-6).unwrap();
        assert_eq!(token.as_nanos(), 150);
        assert_eq!(Money::from_units(1e-10), Some(Money::from_nanos(1)), "a reservation is never too small");
        assert_eq!((0..10).map(|_| Money::from_units(0.1).unwrap()).sum::<Money>(), Money::from_units(1.0).unwrap());
        for no in [-0.1, f64::NAN, f64::INFINITY, 1e12] {
            assert_eq!(Money::from_units(no), None, "{no}");
        }
        assert_eq!(Money::from_units(0.1).unwrap().to_string(), "0.1");
    }

    #[test]
    fn only_the_sum_of_tokens_is_rounded() {
        let (input, output) = (Price::from_units(0.0375e-6).unwrap(), Price::from_units(0.15e-6).unwrap());
        assert_eq!(Price::total(&[(input, 1)]), Money::from_nanos(38), "37.5");
        assert_eq!(Price::total(&[(input, 1_000), (output, 3)]), Money::from_nanos(37_950), "not 38,450");
        assert_eq!(Price::total(&[(input, 1), (input, 1)]), Money::from_nanos(75));
        assert_eq!(Price::total(&[]), Money::ZERO);
        assert_eq!(Price::total(&[(Price::from_units(1.0).unwrap(), u64::MAX); 2]), Money::from_nanos(u64::MAX));
        assert_eq!(Price::from_units(1e-14), Some(Price { picos: 1 }), "never less than what is paid");
        for no in [-0.1, f64::NAN, f64::INFINITY, 1e12] {
            assert_eq!(Price::from_units(no), None, "{no}");
        }
    }
}
