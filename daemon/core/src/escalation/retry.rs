//! Retries of a provider's questions: a purse that all of them share, so that retries never make a storm worse, and the
//! wait before each.

use crate::{limits, time::Span};

/// What is left for retries. Nothing refills it but success: while a provider is down, only its first tokens are spent.
#[derive(Clone, Debug)]
pub struct Purse {
    tokens: u32,
}

impl Default for Purse {
    fn default() -> Self {
        Self { tokens: limits::RETRY_TOKENS }
    }
}

impl Purse {
    /// Pays for one retry; `false` when there is too little left, and then there is none.
    pub const fn pay(&mut self) -> bool {
        if self.tokens < limits::RETRY_COST {
            return false;
        }
        self.tokens -= limits::RETRY_COST;
        true
    }

    /// A question was answered, after a retry or without one.
    pub fn succeeded(&mut self, retried: bool) {
        let back = if retried { limits::RETRY_COST } else { limits::RETRY_REFILL };
        self.tokens = self.tokens.saturating_add(back).min(limits::RETRY_TOKENS);
    }
}

/// How long to wait before this retry (the first is 1): any part of a time that doubles, as `chance` in [0, 1) says, so
/// that those who failed together do not come back together.
pub fn wait(retry: u32, chance: f64) -> Span {
    let doubled = limits::RETRY_WAIT.as_micros().saturating_mul(1 << retry.saturating_sub(1).min(16));
    Span::from_micros((doubled as f64 * chance.clamp(0.0, 1.0)) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_of_failures_costs_few_retries() {
        let mut purse = Purse::default();
        let questions: u32 = 24 * 3600;
        let retries = (0..questions).flat_map(|_| 1..limits::PROVIDER_ATTEMPTS).filter(|_| purse.pay()).count();
        assert_eq!(retries, 35, "500 tokens at 14 each, of {questions} questions");
    }

    #[test]
    fn success_brings_tokens_back_and_never_more_than_there_were() {
        let mut purse = Purse::default();
        while purse.pay() {}
        purse.succeeded(true);
        assert!(purse.pay() && !purse.pay(), "a retry that helped pays for the next");
        (0..limits::RETRY_COST).for_each(|_| purse.succeeded(false));
        assert!(purse.pay() && !purse.pay(), "{} easy answers pay for one retry", limits::RETRY_COST);
        (0..10_000).for_each(|_| purse.succeeded(true));
        assert_eq!(std::iter::repeat_with(|| purse.pay()).take_while(|paid| *paid).count(), 35);
    }

    #[test]
    fn the_wait_doubles_and_is_spread() {
        assert_eq!(wait(1, 0.0), Span::ZERO);
        assert_eq!(wait(1, 0.5), Span::from_millis(25));
        assert_eq!(wait(2, 0.5), Span::from_millis(50));
        for retry in [0, 3, u32::MAX] {
            assert!(wait(retry, 0.999) < Span::from_millis(3_600_000) && wait(retry, f64::NAN) == Span::ZERO);
        }
    }
}
