//! What escalation may cost, and that it never costs more.
//!
//! Before a call leaves, the *most* that it can cost is reserved; afterwards what it did cost is settled. At every moment, with
//! any number of calls under way, spent + reserved stays within every limit. Money and bytes are limited per UTC day, calls
//! per hour; [`super::period`] says when a period is over, whatever the wall clock does.
//!
//! A reservation that is open when its period ends counts in both: the provider may book it on either day.

use serde::{Deserialize, Serialize};

use super::{
    money::Money,
    period::{Period, Position, SavedPeriod, Turn},
    saved::ForeignVersion,
};
use crate::time::{Moment, Span};

pub const DAY: Span = Span::from_millis(86_400_000);
pub const HOUR: Span = Span::from_millis(3_600_000);

/// `None`: unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    pub money_per_day: Option<Money>,
    pub bytes_per_day: Option<u64>,
    pub calls_per_hour: Option<u64>,
}

/// Of one call. Every call also counts as one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    pub money: Money,
    /// Sent; what comes back is not counted.
    pub bytes: u64,
}

impl Limits {
    pub const NONE: Self = Self { money_per_day: None, bytes_per_day: None, calls_per_hour: None };
}

impl Cost {
    pub const ZERO: Self = Self { money: Money::ZERO, bytes: 0 };
}

/// The right to one call of at most this cost. It is settled or cancelled, once; one that is forgotten stays reserved until
/// the process ends, which errs on the safe side.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a reservation that is dropped is never given back"]
pub struct Reservation {
    cost: Cost,
}

impl Reservation {
    pub const fn cost(&self) -> Cost {
        self.cost
    }
}

/// A call cost more than the most that was reserved for it: the provider's price in the configuration is too low.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "somebody should hear of it"]
pub struct Overrun {
    /// Beyond the reservation. It is charged.
    pub beyond: Cost,
}

/// What may still be reserved; `None`: unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    pub money: Option<Money>,
    pub bytes: Option<u64>,
    pub calls: Option<u64>,
}

/// What began when [`Budget::roll`] was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rolled {
    pub day: Turn,
    pub hour: Turn,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    money: Money,
    bytes: u64,
    calls: u64,
}

/// The budget of one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    limits: Limits,
    day: Period,
    hour: Period,
    spent: Sum,
    reserved: Sum,
    /// Reservations ever made.
    count: u64,
}

/// A [`Budget`] for the next process. What was reserved when it was made counts as spent: nobody will ever know whether those
/// calls were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    pub version: u32,
    /// Reservations that it knows of. Of two, the one with more knows more.
    pub count: u64,
    pub money: Money,
    pub bytes: u64,
    pub calls: u64,
    pub day: SavedPeriod,
    pub hour: SavedPeriod,
}

impl Spent {
    pub const VERSION: u32 = 1;
}

impl Budget {
    /// Nothing is spent. `unix_s` is given only where something outside (NTP) vouches for the wall clock.
    pub fn new(limits: Limits, now: Moment, unix_s: Option<u64>) -> Self {
        let [day, hour] = [DAY, HOUR].map(|length| Period::begin(length, now, unix_s));
        Self { limits, day, hour, spent: Sum::default(), reserved: Sum::default(), count: 0 }
    }

    /// What was spent in this period nobody knows any more: so nothing is left of it.
    pub fn lost(limits: Limits, now: Moment, unix_s: Option<u64>) -> Self {
        let Limits { money_per_day, bytes_per_day, calls_per_hour } = limits;
        let spent = Sum {
            money: money_per_day.unwrap_or_default(),
            bytes: bytes_per_day.unwrap_or_default(),
            calls: calls_per_hour.unwrap_or_default(),
        };
        Self { spent, ..Self::new(limits, now, unix_s) }
    }

    /// `away`: time since [`Budget::spent`] by a clock that does not jump, which there is within one boot only; after a reboot
    /// `None`. The limits may be others than before.
    ///
    /// # Errors
    /// When another version wrote it. A careful caller then spends nothing until the owner has decided.
    pub fn restore(limits: Limits, spent: &Spent, now: Moment, away: Option<Span>) -> Result<Self, ForeignVersion> {
        ForeignVersion::check("budget", spent.version, Spent::VERSION)?;
        let Spent { money, bytes, calls, .. } = *spent;
        Ok(Self {
            limits,
            day: Period::resume(DAY, &spent.day, now, away),
            hour: Period::resume(HOUR, &spent.hour, now, away),
            spent: Sum { money, bytes, calls },
            reserved: Sum::default(),
            count: spent.count,
        })
    }

    /// To be written in the same transaction as the intent to call, before the call leaves.
    pub fn spent(&self, now: Moment) -> Spent {
        Spent {
            version: Spent::VERSION,
            count: self.count,
            money: self.spent.money + self.reserved.money,
            bytes: self.spent.bytes.saturating_add(self.reserved.bytes),
            calls: self.spent.calls.saturating_add(self.reserved.calls),
            day: self.day.save(now),
            hour: self.hour.save(now),
        }
    }

    /// Begins new periods where the old ones are over. To be called before [`Budget::reserve`], at the latest when
    /// [`Budget::rolls_at`] has come; `unix_s` as in [`Budget::new`].
    pub fn roll(&mut self, now: Moment, unix_s: Option<u64>) -> Rolled {
        let rolled = Rolled { day: self.day.roll(now, unix_s), hour: self.hour.roll(now, unix_s) };
        if rolled.day == Turn::Fresh {
            (self.spent.money, self.spent.bytes) = (Money::ZERO, 0);
        }
        if rolled.hour == Turn::Fresh {
            self.spent.calls = 0;
        }
        rolled
    }

    /// The next moment at which [`Budget::roll`] does something.
    pub fn rolls_at(&self) -> Moment {
        self.day.ends().min(self.hour.ends())
    }

    /// `None`: it does not fit into what is left.
    pub fn reserve(&mut self, cost: Cost) -> Option<Reservation> {
        if !self.can_reserve(cost) {
            return None;
        }
        self.reserved.money = self.reserved.money + cost.money;
        self.reserved.bytes = self.reserved.bytes.saturating_add(cost.bytes);
        self.reserved.calls = self.reserved.calls.saturating_add(1);
        self.count = self.count.saturating_add(1);
        Some(Reservation { cost })
    }

    pub fn can_reserve(&self, cost: Cost) -> bool {
        let Left { money, bytes, calls } = self.left();
        money.is_none_or(|left| cost.money <= left)
            && bytes.is_none_or(|left| cost.bytes <= left)
            && calls.is_none_or(|left| left >= 1)
    }

    /// The call was made, and cost this. Where nobody knows, it cost what was reserved.
    pub fn settle(&mut self, reservation: Reservation, actual: Cost) -> Option<Overrun> {
        let Cost { money, bytes } = self.release(reservation);
        self.spent.money = self.spent.money + actual.money;
        self.spent.bytes = self.spent.bytes.saturating_add(actual.bytes);
        self.spent.calls = self.spent.calls.saturating_add(1);
        let beyond = Cost { money: actual.money.saturating_sub(money), bytes: actual.bytes.saturating_sub(bytes) };
        (beyond != Cost::ZERO).then_some(Overrun { beyond })
    }

    /// The call never left.
    pub fn cancel(&mut self, reservation: Reservation) {
        self.release(reservation);
    }

    pub fn left(&self) -> Left {
        let Self { limits, spent, reserved, .. } = self;
        let left = |limit: u64, spent: u64, reserved: u64| limit.saturating_sub(spent).saturating_sub(reserved);
        Left {
            money: limits.money_per_day.map(|limit| limit.saturating_sub(spent.money).saturating_sub(reserved.money)),
            bytes: limits.bytes_per_day.map(|limit| left(limit, spent.bytes, reserved.bytes)),
            calls: limits.calls_per_hour.map(|limit| left(limit, spent.calls, reserved.calls)),
        }
    }

    /// What the present periods have cost, without what is only reserved.
    pub const fn so_far(&self) -> (Money, u64, u64) {
        (self.spent.money, self.spent.bytes, self.spent.calls)
    }

    pub const fn limits(&self) -> Limits {
        self.limits
    }

    /// Of money and bytes.
    pub fn day(&self, now: Moment) -> Position {
        self.day.position(now)
    }

    /// Of calls.
    pub fn hour(&self, now: Moment) -> Position {
        self.hour.position(now)
    }

    fn release(&mut self, reservation: Reservation) -> Cost {
        let Reservation { cost } = reservation;
        self.reserved.money = self.reserved.money.saturating_sub(cost.money);
        self.reserved.bytes = self.reserved.bytes.saturating_sub(cost.bytes);
        self.reserved.calls = self.reserved.calls.saturating_sub(1);
        cost
    }
}

#[cfg(test)]
#[path = "budget_tests.rs"]
mod tests;
