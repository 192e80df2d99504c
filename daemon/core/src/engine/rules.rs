//! What the engine is told of models and providers when it begins.

use crate::{
    escalation::{breaker::Breaker, decide::Policy, latency::Latencies, money::Money},
    time::{Moment, Span},
};

/// What happens to a job that finds its model's queue full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// It is refused with `job/shed` (a more important one takes the place of the least important).
    Shed,
    /// It takes the place of the oldest waiting one: right for frames of a live source.
    NewestWins,
}

/// What the engine must know of a model.
#[derive(Clone, Debug)]
pub struct ModelRules {
    pub workers: usize,
    pub queue: usize,
    pub when_full: WhenFull,
    /// For jobs that bring none.
    pub deadline: Span,
    pub policy: Policy,
}

/// What the engine must know of a provider.
#[derive(Clone, Debug)]
pub struct ProviderRules {
    pub timeout: Span,
    /// What a call costs at most.
    pub price: Money,
    /// Share of its answers that are right, as far as anybody knows.
    pub accuracy: f64,
}

/// A provider as the engine keeps it.
pub(super) struct Provider {
    pub rules: ProviderRules,
    pub breaker: Breaker,
    pub calls: usize,
    /// Those of the calls that no job waits for.
    pub inquiries: usize,
    /// When a job asked last.
    pub live_at: Option<Moment>,
    pub latencies: Latencies,
}

impl Provider {
    pub(super) fn new(rules: ProviderRules) -> Self {
        let (breaker, latencies) = (Breaker::default(), Latencies::default());
        Self { rules, breaker, calls: 0, inquiries: 0, live_at: None, latencies }
    }
}
