//! What escalation may cost: what earlier processes have spent, the time by which periods turn, and what is said about it.

use std::collections::BTreeMap;

use picket_core::{
    Input,
    engine::Funds,
    escalation::{
        budget::{Limits, Spent},
        money::Money,
    },
    limits,
    time::{Moment, Stamp},
};
use serde_json::json;

use super::House;
use crate::{
    answer::hex,
    calendar::Calendar,
    ledger::line::Booked,
    ports::{Announcement, Write},
    telemetry::BudgetStatus,
};

/// Where the traffic of the weeks is kept in the store; no model has such a name.
const TRAFFIC: &str = "";

/// The time of day, and what of the budget was said last.
pub(super) struct Funding {
    calendar: Box<dyn Calendar>,
    /// When the engine is told the time again.
    tell_at: Moment,
    save_at: Moment,
    exhausted: bool,
}

impl Funding {
    pub(super) fn new(calendar: Box<dyn Calendar>) -> Self {
        Self { calendar, tell_at: Moment::ZERO, save_at: Moment::ZERO + limits::TRAFFIC_SAVED, exhausted: false }
    }
}

/// Seconds since 1970 by a clock that a time service vouches for.
pub(super) fn trusted(stamp: &Stamp) -> Option<u64> {
    stamp.trusted.then_some(stamp.wall / 1_000_000)
}

impl House {
    /// Before the first job. `learned`: what the store knows of earlier processes.
    pub(super) fn fund(&mut self, funds: Funds, learned: &BTreeMap<String, Vec<u8>>) {
        let profile = learned.get(TRAFFIC).and_then(|state| postcard::from_bytes(state).ok());
        self.hear_core(Input::Funds(Box::new(Funds { profile, ..funds })));
    }

    /// The engine has no clock on its wall.
    pub(super) fn tell_the_time(&mut self, now: Moment) {
        if now < self.funding.tell_at {
            return;
        }
        self.funding.tell_at = now + limits::WALL_CLOCK;
        let unix_s = trusted(&self.funding.calendar.stamp());
        self.engine.step(now, Input::Wall { unix_s }, &mut self.actions);
        if now >= self.funding.save_at {
            self.funding.save_at = now + limits::TRAFFIC_SAVED;
            self.save_traffic();
        }
    }

    /// With the next transaction.
    pub(in crate::run) fn save_traffic(&mut self) {
        if self.engine.budget().limits() == Limits::NONE {
            return;
        }
        match postcard::to_stdvec(&self.engine.traffic()) {
            Ok(state) => self.write(Write::Learned { model: TRAFFIC.into(), state }),
            Err(error) => tracing::error!(%error, "the traffic so far cannot be written"),
        }
    }

    pub(super) fn booked(&self, spent: Spent) -> Booked {
        let Stamp { boot, up, .. } = self.funding.calendar.stamp();
        Booked { spent, boot: hex(&boot), up_us: up }
    }

    /// Who was away has missed it.
    pub(super) const fn repeat_the_budget(&mut self) {
        self.funding.exhausted = false;
    }

    /// Says once when nothing is left of a limit, and once when there is again.
    pub(super) fn watch_the_budget(&mut self) {
        let left = self.engine.budget().left();
        let kinds = [
            ("money", left.money == Some(Money::ZERO)),
            ("bytes", left.bytes == Some(0)),
            ("calls", left.calls == Some(0)),
        ];
        let gone: Vec<&str> = kinds.iter().filter(|(_, gone)| *gone).map(|(kind, _)| *kind).collect();
        if gone.is_empty() != self.funding.exhausted {
            return;
        }
        self.funding.exhausted = !gone.is_empty();
        let event = if gone.is_empty() {
            json!({ "event": "budget-renewed" })
        } else {
            tracing::warn!(?gone, "escalation/budget: nothing is left of it until its period ends");
            json!({ "event": "budget-exhausted", "code": "escalation/budget", "of": gone })
        };
        self.announce(&Announcement::Event(event));
    }

    pub(super) fn budget_status(&self) -> BudgetStatus {
        let budget = self.engine.budget();
        let (spent, limits, left) = (budget.so_far(), budget.limits(), budget.left());
        BudgetStatus {
            money_today: spent.0.as_units(),
            bytes_today: spent.1,
            calls_this_hour: spent.2,
            money_per_day: limits.money_per_day.map(Money::as_units),
            bytes_per_day: limits.bytes_per_day,
            calls_per_hour: limits.calls_per_hour,
            money_left: left.money.map(Money::as_units),
            bytes_left: left.bytes,
            calls_left: left.calls,
        }
    }
}
