//! What the house says about itself: state, events, losses, status.

use picket_core::{Input, Note, inquiry::Dropped, job::ProviderId, time::Moment};
use serde_json::{Value, json};

use super::House;
use crate::{
    ports::{Announcement, Losses, Write},
    run::{ModelSlot, TransportSlot},
    telemetry::{LinkStatus, ModelStatus, ProviderStatus, Status},
};

impl House {
    pub(in crate::run) fn announce(&mut self, what: &Announcement) {
        for slot in &mut self.transports {
            slot.transport.announce(what.clone());
        }
    }

    pub(super) fn note(&mut self, note: &Note) {
        let event = match note {
            Note::BreakerTripped { provider } => {
                json!({ "event": "provider-tripped", "provider": *self.provider_names[provider.0] })
            }
            Note::BreakerClosed { provider } => {
                json!({ "event": "provider-recovered", "provider": *self.provider_names[provider.0] })
            }
            Note::Evicted { rows } => json!({ "event": "store-evicted", "code": "store/evicted", "rows": rows }),
            Note::Alarm { model, evidence } => {
                let (alarm, model) = (evidence.kind.name(), &*self.models[model.0].name);
                tracing::warn!(model, alarm, ?evidence, "escalation/drift: the certificate is suspended");
                json!({
                    "event": "drift-alarm", "code": "escalation/drift", "model": model, "alarm": alarm,
                    "value": evidence.value, "limit": evidence.limit, "trials": evidence.trials, "wrong": evidence.wrong,
                    "allowed": evidence.allowed,
                })
            }
            Note::Recertified { model, round, cases } => {
                let model = &*self.models[model.0].name;
                tracing::info!(model, round, cases, "there is a new certificate");
                json!({ "event": "recertified", "model": model, "round": round, "cases": cases })
            }
            Note::Overrun { provider, beyond } => {
                let provider = &*self.provider_names[provider.0];
                tracing::warn!(
                    provider,
                    ?beyond,
                    "escalation/overrun: a call cost more than its `cost` says; that is too low"
                );
                json!({
                    "event": "budget-overrun", "code": "escalation/overrun", "provider": provider,
                    "money": beyond.money.as_units(), "bytes": beyond.bytes,
                })
            }
            // Once per outage: every job that waits for room fails again several times a second.
            Note::StoreFailed(why) if !std::mem::replace(&mut self.store_failing, true) => {
                tracing::warn!(code = why.code(), "the store refused; nothing is acknowledged until it works again");
                json!({ "event": "store-failed", "code": why.code() })
            }
            _ => return,
        };
        self.announce(&Announcement::Event(event));
    }

    pub(super) fn note_link(&mut self, input: &Input) {
        let (transport, up) = match input {
            Input::LinkUp { transport, .. } => (transport, true),
            Input::LinkDown { transport } => (transport, false),
            _ => return,
        };
        if std::mem::replace(&mut self.links_up[transport.0], up) != up {
            let name = self.transports[transport.0].name;
            let event = json!({ "event": if up { "link-up" } else { "link-down" }, "transport": name });
            self.announce(&Announcement::Event(event));
            if up {
                self.repeat_the_budget();
            }
        }
    }

    pub(super) fn announce_losses(&mut self) {
        let losses = self.losses();
        if losses != self.announced_losses {
            self.announce(&Announcement::Loss(json!(losses)));
            self.announced_losses.clone_from(&losses);
            if losses != self.losses_before {
                self.write(Write::Losses(losses));
            }
        }
    }

    /// Somebody can send jobs; or nobody is meant to, and sources make them.
    fn is_reachable(&self) -> bool {
        let up = |(own, up): (&TransportSlot, &bool)| *up && !own.transport.passes_on();
        let links = || self.transports.iter().zip(&self.links_up);
        links().any(up) || links().all(|(own, up)| *up && own.transport.passes_on())
    }

    /// Of this process and those before it.
    fn losses(&self) -> Losses {
        let tally = self.engine.tally();
        let mut losses = self.losses_before.clone();
        let counts = [
            ("expired", tally.expired),
            ("undeliverable", tally.undeliverable),
            ("evicted", tally.evicted),
            ("buried", tally.buried),
            // Each may have taken jobs along that waited at the broker.
            ("session_lost", self.telemetry.sessions_lost()),
        ];
        let dropped = Dropped::ALL.map(|why| (why.code(), tally.inquiries_dropped[why as usize]));
        let counts = counts.into_iter().chain(dropped);
        for (reason, count) in counts {
            if count > 0 {
                *losses.entry(reason.to_owned()).or_default() += count;
            }
        }
        let kept = self.keeper.iter().flat_map(|keeper| keeper.counts().losses());
        for (reason, count) in self.egress.losses().chain(self.decisions.losses()).chain(kept) {
            *losses.entry(reason.to_owned()).or_default() += count;
        }
        losses
    }

    pub(in crate::run) fn model_states(&self) -> Value {
        let state = |slot: &ModelSlot| match &slot.state {
            Ok((served, _)) => json!({ "version": slot.version, "serving": true, "proven": served.proven }),
            Err(failure) => json!({ "version": slot.version, "serving": false, "error": failure.code }),
        };
        self.models.iter().map(|slot| (slot.name.to_string(), state(slot))).collect::<serde_json::Map<_, _>>().into()
    }

    pub(super) fn status(&self) -> Status {
        let now = self.clock.now();
        let model = |slot: &ModelSlot| ModelStatus {
            name: slot.name.to_string(),
            version: slot.version.clone(),
            proven: slot.state.as_ref().is_ok_and(|(served, _)| served.proven),
            refused: slot.state.as_ref().err().map(ToString::to_string),
        };
        let links = self.transports.iter().zip(&self.links_up);
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            device: self.device.to_string(),
            uptime_s: now.since(Moment::ZERO).as_micros() as f64 / 1e6,
            ready: self.models.iter().any(|slot| slot.state.is_ok()) && self.is_reachable(),
            jobs: self.engine.tally().into(),
            outbox_rows: self.engine.outbox_rows(),
            inquiries: self.engine.open_inquiries(),
            budget: self.budget_status(),
            store_bytes: self.store_bytes,
            board: self.board_status(),
            rss_kib: crate::telemetry::peak_rss_kib(None).unwrap_or(0),
            models: self.models.iter().map(model).collect(),
            links: links.map(|(slot, up)| LinkStatus { transport: slot.name.to_owned(), up: *up }).collect(),
            providers: (0..self.providers.len())
                .map(|index| ProviderStatus {
                    name: self.provider_names[index].to_string(),
                    admits: self.engine.provider_admits(ProviderId(index), now),
                })
                .collect(),
        }
    }
}
