//! Where the ports' tasks, the run loop's side and the table of nodes meet.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use firmware_profiles::wire::{Fault, Frame};
use picket_core::{Input, LinkTerms, job::TransportId, limits, time::Moment};
use serde_json::json;
use tokio::sync::{Notify, mpsc};

use super::nodes::{EPOCH, Heard, Nodes, Out};
use crate::{
    ports::{Clock, Event, Inbox},
    telemetry::Telemetry,
};

pub(super) struct Hub {
    pub id: TransportId,
    pub nodes: Mutex<Nodes>,
    /// Frames to each port.
    pub lines: Vec<mpsc::Sender<Vec<u8>>>,
    /// Paths of the ports, for people.
    pub paths: Vec<String>,
    /// What became of rows. At most a delivery window is unconfirmed, which is the room of this channel.
    pub confirm: mpsc::Sender<Input>,
    pub inbox: Inbox,
    pub clock: Clock,
    pub telemetry: Arc<Telemetry>,
    /// Something may be due earlier than it was.
    pub wake: Notify,
    pub ticks: Ticks,
}

/// When each port's task was last there: what the watchdog wants to know.
pub(super) struct Ticks(Vec<AtomicU64>);

impl Ticks {
    pub fn new(ports: usize, now: Moment) -> Self {
        Self((0..ports).map(|_| AtomicU64::new(now.as_micros())).collect())
    }

    pub fn tick(&self, port: usize, now: Moment) {
        if let Some(last) = self.0.get(port) {
            last.store(now.as_micros(), Ordering::Relaxed);
        }
    }

    /// All of them lately enough.
    pub fn all_since(&self, now: Moment) -> bool {
        let lately =
            |last: &AtomicU64| now.since(Moment::from_micros(last.load(Ordering::Relaxed))) <= limits::SERIAL_PATIENCE;
        self.0.iter().all(lately)
    }
}

impl Hub {
    pub fn nodes(&self) -> MutexGuard<'_, Nodes> {
        // The table is whole between any two of its calls, and none of them panics.
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What came in on a port. Never waits: a job that finds no room stays with its node.
    pub fn hear(&self, port: usize, result: Result<Frame<'_>, Fault>) {
        // A late reading may complete two windows; what would be more waits for the next one.
        let mut places = (0..2).map_while(|_| self.inbox.try_reserve().ok()).collect::<Vec<_>>();
        let heard = Heard { now: self.clock.now(), wall_us: wall_us(), port, room: places.len() };
        let mut out = Vec::new();
        self.nodes().hear(heard, result, &mut out);
        for one in out {
            match one {
                // No more than there is room for, and their places were there before.
                Out::Job(request) => {
                    if let Some(place) = places.pop() {
                        place.send(Event::Job(request));
                    }
                }
                other => self.perform(other),
            }
        }
        self.wake.notify_one();
    }

    /// Lets the table decide, and does what it says.
    pub fn with(&self, decide: impl FnOnce(&mut Nodes, &mut Vec<Out>)) {
        let mut out = Vec::new();
        decide(&mut self.nodes(), &mut out);
        for one in out {
            self.perform(one);
        }
        self.wake.notify_one();
    }

    fn perform(&self, out: Out) {
        let transport = self.id;
        match out {
            // Nothing is lost that way: both sides repeat what has no answer.
            Out::Send { port, bytes } => {
                if self.lines.get(port).is_none_or(|line| line.try_send(bytes).is_err()) {
                    self.telemetry.link_failed("serial/no-room");
                }
            }
            Out::Job(_) => {} // Only a frame brings one.
            Out::Done { row, taken } => {
                let input = if taken {
                    Input::Confirmed { transport, row, epoch: EPOCH }
                } else {
                    Input::Undeliverable { transport, row, epoch: EPOCH }
                };
                if self.confirm.try_send(input).is_err() {
                    tracing::error!(row = row.0, "more rows than a delivery window; this one stays unconfirmed");
                }
            }
            Out::Count(code) => self.telemetry.link_failed(code),
            Out::Twice { node, port, other } => {
                let path = |port: usize| self.paths.get(port).map_or("", String::as_str);
                let (refused, kept) = (path(port), path(other));
                tracing::warn!(%node, refused, kept, "serial/two-nodes-one-id: one of them is refused");
                self.telemetry.link_failed("serial/two-nodes-one-id");
                // Where the inbox is full, the log has said it.
                let _ = self.inbox.try_send(Event::News(json!({
                    "event": "two-nodes-one-id", "code": "serial/two-nodes-one-id",
                    "node": node.to_string(), "refused": refused, "kept": kept,
                })));
            }
        }
    }

    /// Sends again what is due.
    pub async fn keep_time(self: Arc<Self>) {
        loop {
            let due = self.nodes().next_due().map(|due| tokio::time::Instant::from_std(self.clock.instant(due)));
            let sleep = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = sleep => self.with(|nodes, out| nodes.tick(self.clock.now(), out)),
                () = self.wake.notified() => {}
            }
        }
    }

    /// Brings confirmations to the run loop. `deliver` must not wait for the loop's inbox: the loop itself calls it.
    pub async fn report(self: Arc<Self>, mut confirmations: mpsc::Receiver<Input>) {
        let up = Input::LinkUp { transport: self.id, epoch: EPOCH, terms: LinkTerms::default() };
        if self.inbox.send(Event::Core(up)).await.is_err() {
            return;
        }
        while let Some(input) = confirmations.recv().await {
            if self.inbox.send(Event::Core(input)).await.is_err() {
                return;
            }
        }
    }
}

/// What nodes set their clocks by.
fn wall_us() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_port_that_does_not_tick_is_a_standstill() {
        let at = |ms| Moment::from_micros(1_000 * ms);
        let ticks = Ticks::new(2, at(1_000));
        let patience = limits::SERIAL_PATIENCE.as_micros() / 1_000;
        assert!(ticks.all_since(at(1_000 + patience)));
        ticks.tick(0, at(10_000));
        assert!(!ticks.all_since(at(1_001 + patience)), "the other one is silent");
        ticks.tick(1, at(10_000));
        assert!(ticks.all_since(at(10_000 + patience)));
        assert!(Ticks::new(0, at(0)).all_since(at(1 << 40)));
    }
}
