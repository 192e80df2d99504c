//! The one loop: something happened in, something to do out. Every step of a job's life passes through here.
//!
//! Nothing here waits but for the next event. Store writes are collected while the store is busy with those before, so
//! that one sync serves many jobs; what became of them is the next event.

mod heartbeat;
mod house;

use std::{collections::HashSet, future::Future, sync::Arc, time::Duration};

use picket_core::{
    Input,
    engine::{Engine, Funds},
    job::{ModelId, Privacy},
    limits,
};
use tokio::{sync::mpsc, time::Instant};

use self::{
    heartbeat::Heartbeat,
    house::{House, Writers},
};
use crate::{
    board::watch::Watched,
    calendar::Calendar,
    decisions,
    export::Keeper,
    failpoint,
    inference::{pool::Pool, served::Served},
    ledger::Ledger,
    output::Outputs,
    pipeline::Redaction,
    ports::{Announcement, Clock, Event, Provider, Store, Transport},
    telemetry::Telemetry,
    trim,
};

/// A configured model: serving, or refused with the reason that every job for it gets.
pub struct ModelSlot {
    pub name: Arc<str>,
    pub version: String,
    pub state: Result<(Arc<Served>, Pool), picket_core::job::Failure>,
    /// What is taken out of inputs that leave redacted; `None`: they do not leave.
    pub redaction: Option<Arc<Redaction>>,
    /// Who answers in its place while the board is too hot.
    pub smaller: Option<ModelId>,
}

pub struct TransportSlot {
    pub name: &'static str,
    pub transport: Box<dyn Transport>,
}

pub struct ProviderSlot {
    pub name: Arc<str>,
    /// Where in the world it is, as the configuration says.
    pub region: Option<Arc<str>>,
    pub provider: Arc<dyn Provider>,
}

/// Everything that the loop works with, assembled by somebody else.
pub struct Parts {
    pub device: Arc<str>,
    pub engine: Engine,
    pub store: Box<dyn Store>,
    /// Models whose jobs are in memory only, whatever the store is.
    pub volatile: HashSet<Arc<str>>,
    pub models: Vec<ModelSlot>,
    pub transports: Vec<TransportSlot>,
    pub providers: Vec<ProviderSlot>,
    pub telemetry: Arc<Telemetry>,
    pub default_privacy: Privacy,
    /// What escalation may cost.
    pub funds: Funds,
    pub calendar: Box<dyn Calendar>,
    /// Without one nothing leaves this device.
    pub ledger: Option<Ledger>,
    /// `None`: decisions are not written down.
    pub decisions: Option<decisions::Log>,
    /// `None`: cases that a provider labels are not kept.
    pub keeper: Option<Keeper>,
    /// How hot it is here.
    pub board: Watched,
    /// Lines that move when a model answers.
    pub outputs: Outputs,
    pub inbox: mpsc::Sender<Event>,
    pub events: mpsc::Receiver<Event>,
}

/// Longest wait for work under way after a stop was asked for.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);
/// Longest wait for the transports' good-byes.
const CLOSE_LIMIT: Duration = Duration::from_secs(3);

/// How the loop ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Everything under way was finished.
    Finished,
    /// So many jobs are accepted and not finished; a store that outlives the process still has them.
    Parked(u64),
    /// The store cannot keep its promise any more.
    Broken(String),
}

/// Runs until `shutdown` resolves and everything under way is finished, or the drain limit is over.
///
/// # Errors
/// The system gives no thread.
pub async fn run(parts: Parts, clock: Clock, shutdown: impl Future<Output = ()>) -> std::io::Result<Ended> {
    let (mut house, mut events) = House::new(parts, clock)?;
    house.settle();
    house.announce_state("online");
    Heartbeat::ready();
    // It reads files of the kernel: not on this thread, which has jobs to see to.
    tokio::task::spawn_blocking(trim::unmap_unused_program);
    let mut heartbeat = Heartbeat::start();
    let mut burst = Vec::with_capacity(limits::INBOX_BURST);
    let mut drain_until: Option<Instant> = None;
    tokio::pin!(shutdown);
    loop {
        let wake = house.next_deadline().map(Instant::from_std);
        let wake = [wake, drain_until].into_iter().flatten().min();
        tokio::select! {
            biased;
            () = &mut shutdown, if drain_until.is_none() => {
                drain_until = Some(Instant::now() + DRAIN_LIMIT);
                Heartbeat::stopping();
                house.stop_intake();
            }
            () = heartbeat.next() => {
                heartbeat.beat_unless(house.standstill());
            }
            taken = events.recv_many(&mut burst, limits::INBOX_BURST) => {
                if taken == 0 {
                    break; // cannot happen: the house holds a sender itself
                }
                for event in burst.drain(..) {
                    house.hear(event);
                }
            }
            () = sleep_until(wake), if wake.is_some() => house.hear_core(Input::Tick),
        }
        failpoint::hit("run-loop");
        house.settle();
        house.attend_outputs();
        if house.broken().is_some() {
            break;
        }
        if let Some(limit) = drain_until
            && (house.idle() || Instant::now() >= limit)
        {
            break;
        }
    }
    let ended = match house.broken() {
        Some(why) => Ended::Broken(why.to_owned()),
        None if house.idle() => Ended::Finished,
        None => Ended::Parked(house.under_way()),
    };
    // Nobody listens from here on; the store's thread must not wait for a place in the inbox.
    drop(events);
    close(house).await;
    Ok(ended)
}

async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake).await,
        None => std::future::pending().await,
    }
}

/// Transports say good-bye together, within a limit.
async fn close(mut house: House) {
    // Before anything that takes time: nobody moves them any more.
    house.release_outputs();
    house.announce_state("stopped");
    let closing: Vec<_> =
        house.take_transports().into_iter().map(|slot| tokio::spawn(slot.transport.close())).collect();
    let all = async {
        for task in closing {
            let _ = task.await;
        }
    };
    if tokio::time::timeout(CLOSE_LIMIT, all).await.is_err() {
        tracing::warn!("a transport did not close in time");
    }
    // At most one batch is under way. A disk that hangs must not hold the process.
    let Writers { desk, ledger, decisions, keeper } = house.into_writers();
    let write_all = move || {
        desk.close();
        if let Some(keeper) = keeper {
            keeper.close();
        }
        if let Some(decisions) = decisions {
            decisions.close();
        }
        if let Some(ledger) = ledger {
            ledger.close();
        }
    };
    if tokio::time::timeout(CLOSE_LIMIT, tokio::task::spawn_blocking(write_all)).await.is_err() {
        tracing::warn!("store/stalled: the store did not close in time");
    }
}

impl House {
    /// What `P/state` says.
    fn announce_state(&mut self, state: &str) {
        let models = self.model_states();
        let document = serde_json::json!({
            "state": state,
            "version": env!("CARGO_PKG_VERSION"),
            "models": models,
            "since": unix_seconds(),
        });
        self.announce(&Announcement::State(document));
    }
}

/// Wall-clock seconds since 1970, for people; nothing is decided by it.
fn unix_seconds() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs())
}
