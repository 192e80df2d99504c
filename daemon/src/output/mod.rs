//! Outputs: lines to the outside that move when a model answers. Each has a thread of its own, off the way of a job, and one
//! place for what is to be done: the newest answer takes it.

use std::{
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use picket_core::{
    limits,
    output::{Rule, Seen, Switch, Verdict},
    time::{Doubling, Moment},
};
use serde_json::json;

use crate::{
    gpio::{Fault, Line, Place},
    ports::{Clock, Event, Inbox},
    telemetry::Telemetry,
};

/// One output, checked.
#[derive(Clone, Debug)]
pub struct Plan {
    pub name: Arc<str>,
    /// Whose answers it looks at.
    pub model: Arc<str>,
    pub place: Place,
    pub rule: Rule,
    /// Its level when nothing is to be done, at the start, and at the end.
    pub safe_high: bool,
}

/// All outputs. When it goes, every line goes into its safe state first.
#[derive(Default)]
pub struct Outputs {
    outputs: Vec<Output>,
    /// When the run loop was seen last, in µs of its clock.
    attended: Arc<AtomicU64>,
}

struct Output {
    plan: Plan,
    shared: Arc<Shared>,
    telemetry: Arc<Telemetry>,
    worker: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    slot: Mutex<Slot>,
    changed: Condvar,
}

#[derive(Default)]
struct Slot {
    order: Option<Order>,
    closed: bool,
}

#[derive(Clone, Copy)]
struct Order {
    verdict: Verdict,
    /// Of no use after this.
    until: Option<Instant>,
}

impl Outputs {
    /// Takes the lines. One that cannot be had is told, counted and tried again.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(plans: Vec<Plan>, inbox: &Inbox, clock: Clock, telemetry: &Arc<Telemetry>) -> std::io::Result<Self> {
        let attended = Arc::new(AtomicU64::new(clock.now().as_micros()));
        let start = |plan: Plan| {
            let shared = Arc::new(Shared::default());
            let worker = Worker {
                switch: Switch::new(plan.rule.act),
                plan: plan.clone(),
                shared: shared.clone(),
                line: None,
                retry: Doubling::new(limits::OUTPUT_RETRY, limits::OUTPUT_RETRY_MAX),
                try_at: Instant::now(),
                is_out: false,
                is_unattended: false,
                attended: attended.clone(),
                clock,
                inbox: inbox.clone(),
                telemetry: telemetry.clone(),
            };
            let worker = thread::Builder::new().name("output".to_owned()).spawn(move || worker.live())?;
            Ok(Output { plan, shared, telemetry: telemetry.clone(), worker: Some(worker) })
        };
        plans
            .into_iter()
            .map(start)
            .collect::<Result<_, _>>()
            .map(|outputs| Self { outputs, attended: attended.clone() })
    }

    /// The run loop is there and makes progress.
    pub fn attend(&self, now: Moment) {
        let before = Moment::from_micros(self.attended.swap(now.as_micros(), Ordering::Relaxed));
        if now.since(before) >= limits::OUTPUT_PATIENCE {
            self.outputs.iter().for_each(|output| output.shared.changed.notify_one());
        }
    }

    /// Nobody has to be told anything.
    pub fn is_empty(&self) -> bool {
        self.outputs.is_empty()
    }

    /// An answer of `model`, or of whoever answers in its place. Waits for nobody.
    pub fn hear(&self, models: &[&str], seen: &Seen<'_>) {
        for output in self.outputs.iter().filter(|output| models.contains(&&*output.plan.model)) {
            let verdict = output.plan.rule.judge(seen);
            if verdict == Verdict::Late {
                output.telemetry.output(&output.plan.name, "late");
            }
            let left = output
                .plan
                .rule
                .deadline
                .zip(seen.age)
                .map(|(deadline, age)| Duration::from(deadline.saturating_sub(age)));
            let order = Order { verdict, until: left.map(|left| Instant::now() + left) };
            let mut slot = output.shared.slot.lock().unwrap_or_else(PoisonError::into_inner);
            // For a pulse, what does not count changes nothing; and it must not take the place of what does.
            let is_pulse = matches!(output.plan.rule.act, picket_core::output::Act::Pulse(_));
            if is_pulse && verdict != Verdict::Counts {
                continue;
            }
            if slot.order.replace(order).is_some() {
                output.telemetry.output(&output.plan.name, "replaced");
            }
            output.shared.changed.notify_one();
        }
    }
}

impl Drop for Outputs {
    fn drop(&mut self) {
        for output in &self.outputs {
            output.shared.slot.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
            output.shared.changed.notify_one();
        }
        for output in &mut self.outputs {
            let _ = output.worker.take().map(JoinHandle::join);
        }
    }
}

/// Owns a line. However its thread ends, the line is safe then.
struct Worker {
    plan: Plan,
    switch: Switch,
    shared: Arc<Shared>,
    /// With the level that it has.
    line: Option<(Box<dyn Line>, bool)>,
    retry: Doubling,
    try_at: Instant,
    is_out: bool,
    /// That the run loop hangs has been said.
    is_unattended: bool,
    attended: Arc<AtomicU64>,
    clock: Clock,
    inbox: Inbox,
    telemetry: Arc<Telemetry>,
}

impl Drop for Worker {
    fn drop(&mut self) {
        let safe = self.plan.safe_high;
        if let Some((line, high)) = &mut self.line
            && *high != safe
        {
            // Nobody is left who could do more.
            let _ = line.set(safe);
        }
    }
}

impl Worker {
    fn live(mut self) {
        loop {
            if self.line.is_none() && Instant::now() >= self.try_at {
                self.open();
            }
            let Some(order) = self.next_order() else { return };
            if let Some(Order { verdict, until }) = order {
                let is_late = verdict == Verdict::Counts && until.is_some_and(|until| Instant::now() > until);
                if is_late {
                    self.count("late");
                }
                let verdict = if is_late { Verdict::Late } else { verdict };
                if verdict == Verdict::Counts {
                    self.count(if self.line.is_some() { "acted" } else { "missed" });
                }
                self.switch.hear(self.clock.now(), verdict);
            }
            self.bring_into_line();
        }
    }

    /// What is to be done, or that it is time to look. `None`: the end.
    fn next_order(&self) -> Option<Option<Order>> {
        let back =
            self.switch.next_deadline(self.clock.now(), self.attended()).map(|moment| self.clock.instant(moment));
        let again = self.line.is_none().then_some(self.try_at);
        let wake = [back, again].into_iter().flatten().min();
        let mut slot = self.shared.slot.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if slot.closed {
                return None;
            }
            if let Some(order) = slot.order.take() {
                return Some(Some(order));
            }
            let left = wake.map(|wake| wake.saturating_duration_since(Instant::now()));
            slot = match left {
                Some(Duration::ZERO) => return Some(None),
                Some(left) => self.shared.changed.wait_timeout(slot, left).unwrap_or_else(PoisonError::into_inner).0,
                None => self.shared.changed.wait(slot).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// A line that comes late begins in its safe state: whatever was to be done is over.
    fn open(&mut self) {
        match self.plan.place.open_output(self.plan.safe_high) {
            Ok(line) => {
                self.line = Some((line, self.plan.safe_high));
                self.switch = Switch::new(self.plan.rule.act);
                self.retry.reset();
                if std::mem::take(&mut self.is_out) {
                    self.tell("output/back", "the line is there again");
                }
            }
            Err(fault) => self.lost(&fault),
        }
    }

    fn lost(&mut self, fault: &Fault) {
        self.line = None;
        self.try_at = Instant::now() + Duration::from(self.retry.wait());
        let (what, code) = match fault {
            Fault::Busy(_) => ("busy", "output/busy"),
            Fault::NoLine(_) => ("no-line", "output/no-line"),
        };
        self.count(what);
        if !std::mem::replace(&mut self.is_out, true) {
            self.tell(code, &fault.to_string());
        }
    }

    fn bring_into_line(&mut self) {
        let now: Moment = self.clock.now();
        let attended = self.attended();
        let is_unattended = self.switch.is_unattended(now, attended);
        if is_unattended && !self.is_unattended {
            self.count("unattended");
            self.tell("output/unattended", "the run loop hangs: the line is in its safe state");
        }
        self.is_unattended = is_unattended;
        let wanted = self.switch.is_active(now, attended) != self.plan.safe_high;
        let Some((line, high)) = self.line.as_mut().filter(|(_, high)| *high != wanted) else { return };
        match line.set(wanted) {
            Ok(()) => *high = wanted,
            Err(fault) => self.lost(&fault),
        }
    }

    fn attended(&self) -> Moment {
        Moment::from_micros(self.attended.load(Ordering::Relaxed))
    }

    fn count(&self, what: &'static str) {
        self.telemetry.output(&self.plan.name, what);
    }

    fn tell(&self, code: &'static str, message: &str) {
        tracing::warn!(output = &*self.plan.name, code, why = message, "output");
        let event = json!({ "event": "output", "code": code, "output": &*self.plan.name, "message": message });
        // Of a loop that has no time for it, the log has it.
        let _ = self.inbox.try_send(Event::News(event));
    }
}
