//! What calls cost, over every crash: never more than the limits, as long as their periods last.

use std::collections::BTreeMap;

use picket_core::{
    Input, Opinion, ProviderFault,
    engine::{Allowance, Call, Charge, Funds, Past},
    escalation::{
        budget::{Cost, HOUR, Limits, Spent},
        money::Money,
    },
    job::ProviderId,
    time::Moment,
};
use rand::{Rng, rngs::StdRng, seq::IndexedRandom};

use super::{coverage::Seen, world::World};

/// Of the device: outlives processes.
#[derive(Default)]
pub struct Book {
    /// As the ledger's last line says.
    newest: Option<(Moment, Spent)>,
    /// Most that each open call may cost.
    open: BTreeMap<Call, Cost>,
    paid: Cost,
    calls: u64,
}

/// Rarely generous, sometimes none.
pub fn limits(rng: &mut StdRng) -> Limits {
    if rng.random_bool(0.5) {
        return Limits::NONE;
    }
    Limits {
        money_per_day: [None, Some(Money::ZERO), Some(Money::from_nanos(40)), Some(Money::from_nanos(10_000))]
            .choose(rng)
            .copied()
            .flatten(),
        bytes_per_day: [None, None, Some(500_000), Some(5_000_000)].choose(rng).copied().flatten(),
        calls_per_hour: [None, Some(1), Some(5), Some(500)].choose(rng).copied().flatten(),
    }
}

impl World<'_> {
    /// A process begins: what may it still spend?
    pub fn fund(&mut self) {
        let reboot = self.chance(0.3);
        let now = self.now;
        let away = |at| (!reboot).then(|| now.since(at));
        let past = self.book.newest.map_or(Past::None, |(at, spent)| Past::Known { spent, away: away(at) });
        // Whatever was under way: nobody will ever say what it cost.
        self.book.open.clear();
        let funds = Funds { limits: self.plan.limits, past, ..Funds::UNLIMITED };
        self.process().engine.step(now, Input::Funds(Box::new(funds)), &mut Vec::new());
    }

    pub fn spends(&mut self, call: Call, allowance: &Allowance) {
        let Allowance { most, spent } = allowance;
        let (now, limits) = (self.now, self.plan.limits);
        let book = &mut self.book;
        assert!(book.newest.is_none_or(|(_, known)| known.count < spent.count), "{call:?} forgets other calls");
        book.newest = Some((now, *spent));
        assert_eq!(book.open.insert(call, *most), None, "{call:?} is made twice");
        book.paid = Cost { money: book.paid.money + most.money, bytes: book.paid.bytes + most.bytes };
        book.calls += 1;
        assert!(limits.money_per_day.is_none_or(|limit| spent.money <= limit), "overspent: {spent:?}");
        assert!(limits.bytes_per_day.is_none_or(|limit| spent.bytes <= limit), "overspent: {spent:?}");
        assert!(limits.calls_per_hour.is_none_or(|limit| spent.calls <= limit), "overspent: {spent:?}");
        // The first periods of the device: all that it ever spent counts.
        if now.since(Moment::ZERO) < HOUR {
            let paid = book.paid;
            assert!(limits.money_per_day.is_none_or(|limit| paid.money <= limit), "overspent: {paid:?}");
            assert!(limits.bytes_per_day.is_none_or(|limit| paid.bytes <= limit), "overspent: {paid:?}");
            assert!(limits.calls_per_hour.is_none_or(|limit| book.calls <= limit), "{} calls", book.calls);
        }
    }

    /// A call ended: what it did cost is known before what came of it.
    pub fn settle(&mut self, call: Call, provider: ProviderId, result: &Result<Opinion, ProviderFault>) {
        let Some(most) = self.book.open.remove(&call) else { return };
        let charge = match result {
            Err(ProviderFault::Withheld | ProviderFault::Unsuited) => Charge::Nothing,
            Err(_) if self.chance_of(0.5) => Charge::Cost(most),
            _ => {
                let part = self.rng.random_range(0..=4);
                Charge::Cost(Cost {
                    money: Money::from_nanos(most.money.as_nanos() * part / 4),
                    bytes: most.bytes * part / 4,
                })
            }
        };
        let book = &mut self.book;
        let cost = if let Charge::Cost(cost) = charge { cost } else { Cost::ZERO };
        book.paid = Cost {
            money: book.paid.money.saturating_sub(most.money) + cost.money,
            bytes: book.paid.bytes - most.bytes + cost.bytes,
        };
        book.calls -= u64::from(charge == Charge::Nothing);
        self.tell(Input::Settled { call, provider, charge });
    }

    /// Somebody admits and is not asked: then it must be the money, or the worth.
    pub fn is_out_of_money(&mut self) {
        assert_ne!(self.plan.limits, Limits::NONE, "nothing is limited");
        self.coverage.hit(Seen::OutOfBudget);
    }
}
