//! How fast a provider is asked: the rest that it wanted, and the purse of retries, shared by all questions to it.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use picket_core::{
    ProviderFault,
    escalation::retry::{self, Purse},
    time::Span,
};
use rand::Rng;
use tokio::time::{Instant, sleep_until};

use super::fault::Fault;

#[derive(Default)]
pub(super) struct Pace(Mutex<State>);

#[derive(Default)]
struct State {
    purse: Purse,
    rests_until: Option<Instant>,
}

impl Pace {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn succeeded(&self, retried: bool) {
        self.state().purse.succeeded(retried);
    }

    /// The provider wants to be left alone for so long.
    pub fn rest(&self, span: Span) {
        let until = Instant::now() + Duration::from(span);
        let mut state = self.state();
        state.rests_until = state.rests_until.max(Some(until));
    }

    /// Time from now until the provider may be asked.
    fn left(&self) -> Duration {
        self.state().rests_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()))
    }

    /// Waits until the provider may be asked, if that is before the deadline.
    ///
    /// # Errors
    /// It is not: nothing is sent.
    pub async fn wait_for_rest(&self, deadline: Instant) -> Result<(), Fault> {
        // Another question may prolong the rest meanwhile.
        loop {
            let left = self.left();
            if left.is_zero() {
                return Ok(());
            }
            if Instant::now() + left >= deadline {
                let rest = Span::from_micros(u64::try_from(left.as_micros()).unwrap_or(u64::MAX));
                let text = format!("it wants no question for another {} ms", rest.as_millis_f64());
                return Err((ProviderFault::Limited(rest), text));
            }
            sleep_until(Instant::now() + left + jitter(1)).await;
        }
    }

    /// Waits before a retry; `false` when there is to be none: the purse is empty, or it would be too late.
    pub async fn wait_for_retry(&self, retry: u32, deadline: Instant) -> bool {
        let at = Instant::now() + self.left().max(jitter(retry));
        if at >= deadline || !self.state().purse.pay() {
            return false;
        }
        sleep_until(at).await;
        true
    }
}

fn jitter(retry: u32) -> Duration {
    retry::wait(retry, rand::rng().random::<f64>()).into()
}
