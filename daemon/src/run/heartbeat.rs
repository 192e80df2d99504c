//! What the service manager hears: that the daemon is ready, that it makes progress, that it stops.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// Beats as often as `WATCHDOG_USEC` wants; never without it.
pub(super) struct Heartbeat {
    interval: Option<Interval>,
    is_held: bool,
}

impl Heartbeat {
    pub fn start() -> Self {
        let every = sd_notify::watchdog_enabled().map(|limit| (limit / 3).max(Duration::from_millis(10)));
        let interval = every.map(|every| {
            let mut interval = interval(every);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        });
        Self { interval, is_held: false }
    }

    /// The next moment to say something.
    pub async fn next(&mut self) {
        match &mut self.interval {
            Some(interval) => {
                interval.tick().await;
            }
            None => std::future::pending().await,
        }
    }

    /// The watchdog is fed by proven progress only. Whoever does not find it says why, once.
    pub fn beat_unless(&mut self, standstill: Option<String>) {
        let was_held = std::mem::replace(&mut self.is_held, standstill.is_some());
        match standstill {
            None => tell(NotifyState::Watchdog),
            Some(who) if !was_held => {
                tracing::error!(who, "watchdog/starved: no progress; the service manager will start this daemon anew");
            }
            Some(_) => {}
        }
    }

    pub fn ready() {
        tell(NotifyState::Ready);
    }

    pub fn stopping() {
        tell(NotifyState::Stopping);
    }
}

fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::debug!(%error, "the service manager does not listen");
    }
}
