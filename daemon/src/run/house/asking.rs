//! What goes to a provider, and the line in the ledger without which it does not.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use picket_core::{
    ProviderFault,
    engine::Charge,
    escalation::{budget::Cost, money::Money},
    job::{JobId, Key, Privacy, ProviderId},
    limits,
    time::Span,
};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::House;
use crate::{
    answer::hex,
    inference::served::Served,
    ledger::{
        Ledger, Notice, Pen, Refused,
        line::{Leaving, Settled},
    },
    pipeline::{self, Redaction},
    ports::{Announcement, Ask, Event, Meter, Provider, Question, Request, Upstream},
    tensor::Tensor,
};

/// What the house knows of the way out to providers.
pub(super) struct Egress {
    pub ledger: Option<Ledger>,
    /// Something was withheld, and nothing has left since.
    withholding: bool,
    corrupt: u64,
    dropped_lines: u64,
}

impl Egress {
    pub const fn new(ledger: Option<Ledger>) -> Self {
        Self { ledger, withholding: false, corrupt: 0, dropped_lines: 0 }
    }

    /// For `P/loss`.
    pub fn losses(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = [("corrupt_ledger", self.corrupt), ("ledger_lines", self.dropped_lines)];
        counts.into_iter().filter(|(_, count)| *count > 0)
    }
}

pub(super) type Answered = Result<Upstream, (ProviderFault, String)>;

impl House {
    pub(super) fn ask(&self, key: Key, ask: Ask) {
        let Ask { provider, timeout, .. } = ask;
        let Some(cargo) = self.cargo.get(&key) else { return };
        let (request, id, outputs) = (cargo.request.clone(), cargo.id.clone(), cargo.outputs.clone());
        let Some(draft) = self.draft(&ask, (request, id, outputs)) else { return };
        let (way, inbox) = (self.way(provider, timeout), self.inbox.clone());
        tokio::spawn(async move {
            let start = Instant::now();
            let (charge, result) = way.send(draft, start).await;
            let _ = inbox.send(Event::Upstream { key, provider, timeout, took: since(start), charge, result }).await;
        });
    }

    /// What is to leave about a job; its outputs are those of the local model. `None`: the model is gone.
    pub(super) fn draft(&self, ask: &Ask, (request, id, outputs): (Arc<Request>, JobId, Vec<Tensor>)) -> Option<Draft> {
        let Ask { model, provider, reason, allowance, .. } = ask;
        let slot = self.models.get(model.0)?;
        let (served, _) = slot.state.as_ref().ok()?;
        let privacy = request.privacy.unwrap_or(self.default_privacy);
        let asked = &self.providers[provider.0];
        let line = Leaving {
            job: id.to_string(),
            model: slot.name.to_string(),
            provider: asked.name.to_string(),
            region: asked.region.as_deref().map(str::to_owned),
            reason: reason.code().to_owned(),
            privacy: privacy.name().to_owned(),
            reserved_nanos: allowance.most.money,
            budget: Some(self.booked(allowance.spent)),
            ..Leaving::default()
        };
        let (served, redaction) = (served.clone(), slot.redaction.clone());
        let meter = Arc::new(Meter::new(allowance.most.bytes));
        let attempts = self.board.heat.stage().provider_attempts();
        Some(Draft { served, request, outputs, privacy, redaction, id, line, attempts, meter })
    }

    pub(super) fn way(&self, provider: ProviderId, timeout: Span) -> Way {
        let pen = self.egress.ledger.as_ref().map(Ledger::pen);
        Way { pen, provider: self.providers[provider.0].provider.clone(), timeout }
    }

    /// The answer, or why there is none, which is logged and, where nothing leaves, announced.
    pub(super) fn hear_provider(&mut self, provider: ProviderId, result: Answered) -> Result<Upstream, ProviderFault> {
        let withheld = matches!(result, Err((ProviderFault::Withheld, _)));
        let first = withheld && !self.egress.withholding;
        self.egress.withholding = withheld;
        match result {
            Ok(upstream) => Ok(upstream),
            Err((fault, why)) => {
                let (code, provider) = (fault.code(), &self.provider_names[provider.0]);
                tracing::debug!(%provider, code, why, "provider");
                // Once per outage, as with the store.
                if first {
                    tracing::error!(code, why, "what should have left stays here, until this works again");
                    self.announce(&Announcement::Event(
                        json!({ "event": "egress-withheld", "code": code, "why": why }),
                    ));
                }
                Err(fault)
            }
        }
    }

    pub(super) fn hear_ledger(&mut self, notice: &Notice) {
        let event = match notice {
            Notice::Corrupt { moved_to, why } => {
                self.egress.corrupt += 1;
                json!({ "event": "ledger-corrupt", "code": "ledger/corrupt", "moved_to": moved_to, "why": why })
            }
            Notice::Torn { bytes } => json!({ "event": "ledger-torn", "code": "ledger/torn", "bytes": bytes }),
            Notice::Dropped { file, lines } => {
                self.egress.dropped_lines += lines;
                json!({ "event": "ledger-dropped", "code": "ledger/dropped", "file": file, "lines": lines })
            }
        };
        self.announce(&Announcement::Event(event));
    }
}

/// A request before anybody has looked at what is in it.
pub(super) struct Draft {
    served: Arc<Served>,
    request: Arc<Request>,
    /// Of the local model.
    outputs: Vec<Tensor>,
    privacy: Privacy,
    redaction: Option<Arc<Redaction>>,
    id: JobId,
    line: Leaving,
    attempts: u32,
    meter: Arc<Meter>,
}

impl Draft {
    /// The tensors that may leave, and the line that says so. Decodes once more: escalations are rare, and keeping every
    /// input decoded would cost memory.
    ///
    /// # Errors
    /// Why nothing of it may leave.
    fn prepare(self) -> Result<(Question, Leaving), String> {
        let Self { served, request, outputs, privacy, redaction, mut id, mut line, attempts, meter } = self;
        let inputs =
            pipeline::decode(&request.content, &served.signature.inputs).map_err(|failure| failure.to_string())?;
        // The engine has decided; this is the last place where a mistake there would still be harmless.
        let inputs = match (privacy, redaction) {
            (Privacy::Ok, _) => inputs,
            (Privacy::Redacted, Some(redaction)) => {
                line.redaction = redaction.describe();
                id = pseudonym();
                line.pseudonym = Some(id.to_string());
                redaction.apply(inputs, &outputs).map_err(|failure| failure.to_string())?
            }
            (Privacy::Redacted, None) => return Err("privacy/unredactable: there are no redaction steps".to_owned()),
            (Privacy::Never, _) => return Err("privacy/never: this job stays here".to_owned()),
        };
        let mut digest = Sha256::new();
        for tensor in &inputs {
            digest.update(tensor.data());
            line.bytes += tensor.data().len() as u64;
        }
        line.sha256 = hex(&digest.finalize());
        line.tensors = inputs.iter().take(limits::LEDGER_TENSORS).map(entry).collect();
        if inputs.len() > limits::LEDGER_TENSORS {
            line.tensors.push(format!("and {} more", inputs.len() - limits::LEDGER_TENSORS));
        }
        let (labels, measure) = (served.bundle.labels.clone(), served.bundle.measure);
        Ok((Question { id, inputs, labels, measure, timeout: Span::ZERO, attempts, meter }, line))
    }
}

/// A name as long as a job id at most, shape and type.
fn entry(tensor: &Tensor) -> String {
    let name: String = tensor.name.chars().take(limits::JOB_ID_BYTES).collect();
    format!("{name} {}", tensor.kind())
}

/// A new one for every request: two requests of one job look like two jobs.
fn pseudonym() -> JobId {
    JobId::from_digest(&rand::random())
}

/// How a request gets out.
pub(super) struct Way {
    pen: Option<Pen>,
    provider: Arc<dyn Provider>,
    timeout: Span,
}

impl Way {
    /// Line, then request, then outcome; all of it within the timeout.
    pub(super) async fn send(self, draft: Draft, start: Instant) -> (Charge, Answered) {
        let withheld = |why: String| (Charge::Nothing, Err((ProviderFault::Withheld, why)));
        let Some(pen) = &self.pen else { return withheld("ledger/unwritable: there is no ledger".to_owned()) };
        let (question, line) = match tokio::task::spawn_blocking(move || draft.prepare()).await {
            Ok(Ok(prepared)) => prepared,
            Ok(Err(why)) => return withheld(why),
            Err(_) => return withheld("privacy/unredactable: preparing it failed".to_owned()),
        };
        let reserved = line.reserved_nanos;
        let of = match self.record(pen, line, start).await {
            Ok(of) => of,
            Err(why) => return withheld(why.to_string()),
        };
        let left = self.timeout.saturating_sub(since(start));
        if left == Span::ZERO {
            pen.settle(not_sent(of));
            return withheld("ledger/busy: the time was over before it could leave".to_owned());
        }
        let meter = question.meter.clone();
        let result = self.provider.ask(Question { timeout: left, ..question }).await;
        let charge = charge(&result, &meter, reserved);
        let outcome = result.as_ref().map_or_else(|(fault, _)| fault.code(), |_| "answered").to_owned();
        pen.settle(match charge {
            Charge::Nothing => Settled { of, outcome, cost_nanos: Money::ZERO, sent: Some(0) },
            Charge::Cost(Cost { money, bytes }) => Settled { of, outcome, cost_nanos: money, sent: Some(bytes) },
        });
        (charge, result)
    }

    async fn record(&self, pen: &Pen, line: Leaving, start: Instant) -> Result<u64, Refused> {
        let mut recorded = pen.record(line)?;
        let left = Duration::from(self.timeout.saturating_sub(since(start)));
        if let Ok(answer) = tokio::time::timeout(left, &mut recorded).await {
            return answer.unwrap_or_else(|_| Err(Refused::closed()));
        }
        // The line may still get there; then it must not look as if something had left.
        let pen = pen.clone();
        tokio::spawn(async move {
            if let Ok(Ok(of)) = recorded.await {
                pen.settle(not_sent(of));
            }
        });
        Err(Refused::new("ledger/busy", "the disk did not answer in time"))
    }
}

/// What a call that ended has cost, as far as anybody knows.
fn charge(result: &Answered, meter: &Meter, reserved: Money) -> Charge {
    let bytes = meter.sent();
    match result {
        Ok(upstream) => Charge::Cost(Cost { money: upstream.cost.unwrap_or(reserved), bytes }),
        Err(_) if bytes == 0 => Charge::Nothing,
        // It went wrong while somebody worked on it, or may have: what was put aside may be gone.
        Err(_) if meter.may_cost() => Charge::Cost(Cost { money: reserved, bytes }),
        Err(_) => Charge::Cost(Cost { money: Money::ZERO, bytes }),
    }
}

fn not_sent(of: u64) -> Settled {
    let outcome = ProviderFault::Withheld.code().to_owned();
    Settled { of, outcome, cost_nanos: Default::default(), sent: None }
}

fn since(start: Instant) -> Span {
    Span::from_micros(u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX))
}

#[cfg(test)]
#[path = "asking_tests.rs"]
mod tests;
