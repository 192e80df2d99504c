//! What waits for a provider while none can be reached, and in which order it leaves (escalation.md 2.2, "Offline queue").
//!
//! A late answer is worth less: half after each half-life H. The value of item i per byte at time t,
//! `G · 2^(-(t - t_i)/H) / bytes`, falls for all items alike, so their order never changes, and the key can stay as it is:
//!
//! ```text
//! key = log2(G / bytes) + t_i / H
//! ```
//!
//! The largest key leaves first, the smallest goes when there is no room. Audits wait in a lane of their own, first in first
//! out, and are dropped only by chance: dropped by value they would be no sample of anything any more.
//!
//! Only ids and keys are held here; the payloads are the store's.

use std::collections::{BTreeMap, VecDeque};

use crate::limits;

/// How much may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub items: usize,
    pub bytes: u64,
    pub audits: usize,
    pub audit_bytes: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            items: limits::BACKLOG_ITEMS,
            bytes: limits::BACKLOG_BYTES,
            audits: limits::BACKLOG_AUDITS,
            audit_bytes: limits::BACKLOG_BYTES / 4,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Too many items, too many bytes: this one was worth least, or, among audits, was drawn.
    NoRoom,
    /// What it would still bring is not worth its price.
    Expired,
}

impl Why {
    pub const fn code(self) -> &'static str {
        match self {
            Self::NoRoom => "QUEUE_FULL",
            Self::Expired => "QUEUE_EXPIRED",
        }
    }
}

/// An item that will never leave; to be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped<I> {
    pub id: I,
    pub why: Why,
}

/// Keys in the order of their size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rank(pub f64);

impl Eq for Rank {}

impl PartialOrd for Rank {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Rank {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Waiting<I> {
    id: I,
    bytes: u64,
}

/// Items that wait. `I` names one of them; the caller takes care that it means the same after a restart.
#[derive(Clone, Debug)]
pub struct Backlog<I> {
    half_life_s: f64,
    bounds: Bounds,
    /// By key; of equal ones the older leaves first.
    items: BTreeMap<(Rank, std::cmp::Reverse<u64>), Waiting<I>>,
    bytes: u64,
    audits: VecDeque<Waiting<I>>,
    audit_bytes: u64,
    serial: u64,
}

/// What a log2 may be of.
const LEAST: f64 = 1e-12;

/// log2(gain / bytes) + t / H, all times in seconds.
pub(crate) fn key(gain: f64, bytes: u64, t_s: f64, half_life_s: f64) -> f64 {
    let gain = if gain.is_nan() { LEAST } else { gain.clamp(LEAST, 1e12) };
    let t_s = if t_s.is_finite() { t_s.clamp(-1e12, 1e12) } else { 0.0 };
    (gain / bytes.max(1) as f64).log2() + t_s / half_life_s
}

impl<I: Copy> Backlog<I> {
    /// A half-life that is no positive number is an hour.
    pub fn new(half_life_s: f64, bounds: Bounds) -> Self {
        let half_life_s = if half_life_s.is_finite() && half_life_s > 0.0 { half_life_s } else { 3_600.0 };
        Self {
            half_life_s,
            bounds,
            items: BTreeMap::new(),
            bytes: 0,
            audits: VecDeque::new(),
            audit_bytes: 0,
            serial: 0,
        }
    }

    /// The key of an item of this gain that came at `t_s`, in seconds since an epoch that survives restarts: it can be stored
    /// and sorted by. Finite on every input; what brings nothing comes last.
    pub fn key(&self, gain: f64, bytes: u64, t_s: f64) -> f64 {
        key(gain, bytes, t_s, self.half_life_s)
    }

    /// Returns what had to go for it, maybe itself.
    pub fn push(&mut self, id: I, bytes: u64, key: f64) -> Vec<Dropped<I>> {
        let key = if key.is_nan() { f64::NEG_INFINITY } else { key };
        self.serial += 1;
        self.items.insert((Rank(key), std::cmp::Reverse(self.serial)), Waiting { id, bytes });
        self.bytes = self.bytes.saturating_add(bytes);
        let mut dropped = Vec::new();
        while self.items.len() > self.bounds.items || self.bytes > self.bounds.bytes {
            let Some((_, least)) = self.items.pop_first() else { break };
            self.bytes = self.bytes.saturating_sub(least.bytes);
            dropped.push(Dropped { id: least.id, why: Why::NoRoom });
        }
        dropped
    }

    /// `chance` in [0, 1) decides which audit goes where there is no room; each one, this one too, is as likely as any other.
    /// An audit that alone is too large goes itself.
    pub fn push_audit(&mut self, id: I, bytes: u64, chance: f64) -> Vec<Dropped<I>> {
        if bytes > self.bounds.audit_bytes {
            return vec![Dropped { id, why: Why::NoRoom }];
        }
        self.audits.push_back(Waiting { id, bytes });
        self.audit_bytes = self.audit_bytes.saturating_add(bytes);
        let chance = if chance.is_nan() { 0.0 } else { chance.clamp(0.0, 1.0) };
        let mut dropped = Vec::new();
        while self.audits.len() > self.bounds.audits || self.audit_bytes > self.bounds.audit_bytes {
            let at = ((chance * self.audits.len() as f64) as usize).min(self.audits.len().saturating_sub(1));
            let Some(drawn) = self.audits.remove(at) else { break };
            self.audit_bytes = self.audit_bytes.saturating_sub(drawn.bytes);
            dropped.push(Dropped { id: drawn.id, why: Why::NoRoom });
        }
        dropped
    }

    /// The most valuable one, and its bytes. It is gone: what cannot be sent is pushed again with its key.
    pub fn pop(&mut self) -> Option<(I, u64)> {
        let (_, Waiting { id, bytes }) = self.items.pop_last()?;
        self.bytes = self.bytes.saturating_sub(bytes);
        Some((id, bytes))
    }

    /// The oldest audit, and its bytes.
    pub fn pop_audit(&mut self) -> Option<(I, u64)> {
        let Waiting { id, bytes } = self.audits.pop_front()?;
        self.audit_bytes = self.audit_bytes.saturating_sub(bytes);
        Some((id, bytes))
    }

    /// Drops what brings less per byte at `t_s` than `price` (gain per byte) asks for. Audits have no price.
    pub fn expire(&mut self, t_s: f64, price: f64) -> Vec<Dropped<I>> {
        let least = self.key(price, 1, t_s);
        let mut dropped = Vec::new();
        // A price of nothing, or none at all, expires nothing.
        while price > 0.0
            && let Some(entry) = self.items.first_entry()
            && entry.key().0.0 < least
        {
            let Waiting { id, bytes } = entry.remove();
            self.bytes = self.bytes.saturating_sub(bytes);
            dropped.push(Dropped { id, why: Why::Expired });
        }
        dropped
    }

    /// Items and audits.
    pub fn len(&self) -> (usize, usize) {
        (self.items.len(), self.audits.len())
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty() && self.audits.is_empty()
    }

    /// Bytes of items and of audits.
    pub const fn bytes(&self) -> (u64, u64) {
        (self.bytes, self.audit_bytes)
    }
}

/// After an outage the backlog must not starve what happens now: while live calls wait, they get at least this share of the
/// calls and of the bytes. A link that nobody else needs is the backlog's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LiveShare {
    /// What the backlog may use for each call, or byte, of live traffic.
    per_live: f64,
    calls: f64,
    bytes: f64,
}

impl LiveShare {
    /// `share` in (0, 1]; what is none is 0.8.
    pub fn new(share: f64) -> Self {
        let share = if share > 0.0 && share <= 1.0 { share } else { 0.8 };
        Self { per_live: (1.0 - share) / share, calls: 0.0, bytes: 0.0 }
    }

    /// May the backlog send its next item?
    pub fn backlog_may(&self, live_waits: bool) -> bool {
        !live_waits || (self.calls > 1.0 - 1e-6 && self.bytes > 0.0)
    }

    pub fn live_sent(&mut self, bytes: u64) {
        // Credit is not saved up for long: else an hour of live traffic would be followed by a flood.
        self.calls = (self.calls + self.per_live).min(limits::BACKLOG_CREDIT_CALLS);
        self.bytes = (self.bytes + self.per_live * bytes as f64).min(limits::BACKLOG_CREDIT_BYTES);
    }

    /// `live_waits` as it was when [`LiveShare::backlog_may`] was asked: a link that was free costs no credit.
    pub fn backlog_sent(&mut self, bytes: u64, live_waits: bool) {
        if live_waits {
            self.calls -= 1.0;
            // One large item may overdraw it; the next one waits for longer.
            self.bytes -= bytes as f64;
        }
    }
}

#[cfg(test)]
#[path = "backlog_tests.rs"]
mod tests;
