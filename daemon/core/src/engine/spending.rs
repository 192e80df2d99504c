//! What calls cost: the most is reserved before one is made, what it did cost is settled when it ended; and the price that
//! this puts on the next one.

use std::collections::BTreeMap;

use super::Engine;
use crate::{
    Action, Note,
    escalation::{
        budget::{Budget, Cost, Limits, Overrun, Reservation, Spent},
        calibration::Certified,
        decide::Policy,
        gain,
        lottery::{self, Terms},
        money::Money,
        price::{Clock, Pricer, Prices},
        profile::{Profile, SavedProfile},
    },
    inquiry::InquiryId,
    job::{Key, ModelId, ProviderId},
    limits,
    time::{Moment, Span},
};

/// What may be spent, and what is known of it; the engine's [`crate::Input::Funds`].
#[derive(Clone, Debug)]
pub struct Funds {
    pub limits: Limits,
    pub past: Past,
    /// The traffic of the weeks before.
    pub profile: Option<SavedProfile>,
    /// Requests that the owner expects in a day, where no week is known.
    pub requests_per_day: Option<f64>,
    /// Gain and cost of calibration cases, as if each had been a request.
    pub references: Vec<(f64, Cost)>,
    /// The owner's share of requests with a second opinion; `None`: whatever suits traffic and budget.
    pub audit_rate: Option<f64>,
}

impl Funds {
    /// Nothing is limited, and nobody has said anything.
    pub const UNLIMITED: Self = Self {
        limits: Limits::NONE,
        past: Past::None,
        profile: None,
        requests_per_day: None,
        references: Vec::new(),
        audit_rate: None,
    };
}

/// What earlier processes have spent.
#[derive(Clone, Debug)]
pub enum Past {
    /// There was none.
    None,
    /// `away`: since then, by a clock that does not jump; `None` after a reboot.
    Known { spent: Spent, away: Option<Span> },
    /// Nobody knows: so nothing is left of the present period.
    Lost,
}

/// One call to a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    Job(Key, ProviderId),
    Inquiry(InquiryId),
}

/// What a call that ended has cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charge {
    /// It never left.
    Nothing,
    Cost(Cost),
}

/// What a call may cost at most, and all that is spent or reserved with it. To be written down before the call leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowance {
    pub most: Cost,
    pub spent: Spent,
}

/// Bytes beyond the input that a question may need: names, labels, instructions.
const QUESTION_BYTES: u64 = 64 * 1024;
/// Text is longer than what it encodes, and a question may be sent again.
const ENCODED: u64 = 8;
/// Weight of the last call in what calls are known to cost.
const LAST: f64 = 0.1;

/// The money box of one device.
#[derive(Debug)]
pub(super) struct Spending {
    budget: Budget,
    pricer: Pricer,
    limited: bool,
    audit_rate: Option<f64>,
    /// A trusted wall clock said this second then.
    wall: Option<(Moment, u64)>,
    open: BTreeMap<Call, Reservation>,
    /// By provider: what calls cost of what is reserved for them, in money and bytes.
    used: Vec<[f64; 2]>,
}

impl Spending {
    pub(super) fn unlimited() -> Self {
        Self::new(Moment::ZERO, Funds::UNLIMITED, None)
    }

    fn new(now: Moment, funds: Funds, wall: Option<(Moment, u64)>) -> Self {
        let Funds { limits, past, profile, requests_per_day, references, audit_rate } = funds;
        let unix_s = wall.map(|wall| unix_s(wall, now));
        let lost = || Budget::lost(limits, now, unix_s);
        let budget = match past {
            Past::None => Budget::new(limits, now, unix_s),
            Past::Known { spent, away } => Budget::restore(limits, &spent, now, away).unwrap_or_else(|_| lost()),
            Past::Lost => lost(),
        };
        let profile = profile.and_then(|saved| Profile::restore(&saved).ok());
        let profile = profile.unwrap_or_else(|| Profile::new(requests_per_day));
        Self {
            budget,
            pricer: Pricer::new(profile, references),
            limited: limits != Limits::NONE,
            audit_rate,
            wall,
            open: BTreeMap::new(),
            used: Vec::new(),
        }
    }

    /// Before the first job: nothing is reserved then.
    pub(super) fn fund(&mut self, now: Moment, funds: Funds) {
        *self = Self::new(now, funds, self.wall);
    }

    /// `None`: nobody vouches for the wall clock.
    pub(super) fn wall(&mut self, now: Moment, unix_s: Option<u64>) {
        self.wall = unix_s.map(|unix| (now, unix));
        self.roll(now);
    }

    fn clock(&self, now: Moment) -> Clock {
        Clock { now, unix_s: self.wall.map(|wall| unix_s(wall, now)) }
    }

    /// Begins new periods where the old ones are over.
    pub(super) fn roll(&mut self, now: Moment) {
        let rolled = self.budget.roll(now, self.clock(now).unix_s);
        self.pricer.rolled(rolled);
    }

    /// One request, before its price is asked for.
    pub(super) fn saw(&mut self, now: Moment, gain: f64, cost: Cost) {
        if !self.limited && self.audit_rate.is_some() {
            return; // nobody asks for a price, nor for the traffic
        }
        self.roll(now);
        let clock = self.clock(now);
        if self.limited {
            self.pricer.saw(clock, &self.budget, gain, cost);
        } else {
            self.pricer.counted(clock, &self.budget);
        }
    }

    /// What a question of so many bytes may cost at most.
    pub(super) fn most(call: Money, input_bytes: u64) -> Cost {
        Cost { money: call, bytes: input_bytes.saturating_mul(ENCODED).saturating_add(QUESTION_BYTES) }
    }

    /// What it usually turns out to cost.
    pub(super) fn usual(&self, provider: ProviderId, most: Cost) -> Cost {
        let [money, bytes] = self.used.get(provider.0).copied().unwrap_or([1.0; 2]);
        let part = |of: u64, share: f64| (of as f64 * share) as u64;
        Cost { money: Money::from_nanos(part(most.money.as_nanos(), money)), bytes: part(most.bytes, bytes) }
    }

    /// Prices at this moment, for as many questions as one likes.
    pub(super) fn prices(&self, now: Moment) -> Prices {
        if !self.limited {
            return Prices::default();
        }
        self.pricer.prices(self.clock(now), &self.budget, self.audit_rate(now, false))
    }

    pub(super) fn affords(&self, most: Cost) -> bool {
        self.budget.can_reserve(most)
    }

    pub(super) fn rich(&self, now: Moment) -> bool {
        !self.limited || self.pricer.rich(self.clock(now), &self.budget)
    }

    /// `None`: so much is not left.
    pub(super) fn reserve(&mut self, now: Moment, call: Call, most: Cost) -> Option<Box<Allowance>> {
        self.roll(now);
        let reservation = self.budget.reserve(most)?;
        // One that nobody has settled stays reserved.
        self.open.insert(call, reservation);
        Some(Box::new(Allowance { most, spent: self.budget.spent(now) }))
    }

    pub(super) fn settle(&mut self, call: Call, provider: ProviderId, charge: Charge) -> Option<Overrun> {
        let reservation = self.open.remove(&call)?;
        let most = reservation.cost();
        let Charge::Cost(cost) = charge else {
            self.budget.cancel(reservation);
            return None;
        };
        if self.used.len() <= provider.0 {
            self.used.resize(provider.0 + 1, [1.0; 2]);
        }
        if let Some([money, bytes]) = self.used.get_mut(provider.0) {
            learn(money, cost.money.as_units(), most.money.as_units());
            learn(bytes, cost.bytes as f64, most.bytes as f64);
        }
        self.budget.settle(reservation, cost)
    }

    /// When more may be left than now.
    pub(super) fn rolls_at(&self) -> Moment {
        self.budget.rolls_at()
    }

    /// Share of the requests that is to be drawn for a second opinion.
    pub(super) fn audit_rate(&self, now: Moment, suspect: bool) -> f64 {
        // Without a limit, the owner's own number does not depend on the traffic.
        let depends = self.limited || self.audit_rate.is_none();
        lottery::rate(&Terms {
            configured: self.audit_rate,
            requests_per_day: if depends { self.pricer.per_day(self.clock(now), &self.budget) } else { 0.0 },
            calls_per_day: self.limited.then(|| self.pricer.calls_per_day(&self.budget)).flatten(),
            suspect,
        })
    }

    pub(super) const fn budget(&self) -> &Budget {
        &self.budget
    }

    pub(super) const fn profile(&self) -> &Profile {
        self.pricer.profile()
    }
}

impl Engine {
    pub(super) fn settled(&mut self, call: Call, provider: ProviderId, charge: Charge, out: &mut Vec<Action>) {
        if let Some(overrun) = self.spending.settle(call, provider, charge) {
            out.push(Action::Note(Note::Overrun { provider, beyond: overrun.beyond }));
        }
    }

    /// What escalation has cost and still may.
    pub const fn budget(&self) -> &Budget {
        self.spending.budget()
    }

    /// The traffic so far, for the next process.
    pub fn traffic(&self) -> SavedProfile {
        self.spending.profile().save()
    }

    /// Share of this model's jobs that are to be drawn for a second opinion.
    pub fn audit_rate(&self, now: Moment, model: ModelId) -> f64 {
        self.spending.audit_rate(now, self.is_suspect(model))
    }

    /// Gain and cost of the calibrations' cases, as if each had been a request: what prices begin with.
    pub fn references(&self) -> Vec<(f64, Cost)> {
        let first = |policy: &Policy| policy.providers.first().map(|id| &self.providers[id.0].rules);
        let policies: Vec<&Policy> = self.models.iter().map(|queue| &queue.rules().policy).collect();
        let priced = |policy: &Policy| Some((policy.calibration.certified().cloned()?, first(policy)?.clone()));
        let known: Vec<_> = policies.into_iter().filter_map(priced).collect();
        let each = limits::PRICE_SAMPLES / known.len().max(1);
        let gains = known.iter().flat_map(|(certified, rules)| {
            let cost = Spending::most(rules.price, 0);
            gains(certified, rules.accuracy, each).into_iter().map(move |gain| (gain, cost))
        });
        gains.collect()
    }
}

/// What asking a provider of this accuracy would have gained in each of so many cases like those of the calibration; 0 for
/// the certified ones.
pub(super) fn gains(certified: &Certified, accuracy: f64, cases: usize) -> Vec<f64> {
    let least = certified.lambdas.iter().copied().fold(f32::INFINITY, f32::min);
    let gain = |s: f32| if s >= least { 0.0 } else { gain::gain(1.0, accuracy, certified.wrong.p_wrong(s)) };
    certified.scores.spread(cases).into_iter().map(gain).collect()
}

fn learn(share: &mut f64, cost: f64, most: f64) {
    if most > 0.0 {
        *share += LAST * ((cost / most).min(1.0) - *share);
    }
}

const fn unix_s((at, unix): (Moment, u64), now: Moment) -> u64 {
    unix.saturating_add(now.since(at).as_micros() / 1_000_000)
}
