//! From an inference result to an ending: answer, ask upstream, or fail.

use std::sync::Arc;

use super::{Engine, FAR, Provider, Stage};
use crate::{
    Action, Answer, Note, Outcome, ProviderFault, Source, Timing,
    escalation::{
        breaker::State,
        decide::{self, Decision, Observation, ProviderView, Reason, Verdict},
    },
    job::{Failure, Key, ProviderId},
    limits,
    time::{Moment, Span},
};

impl Engine {
    pub(super) fn inferred(
        &mut self,
        now: Moment,
        key: Key,
        result: Result<Observation, Failure>,
        prepare: Span,
        infer: Span,
        out: &mut Vec<Action>,
    ) {
        let Some(job) = self.jobs.get_mut(&key) else { return };
        if !matches!(job.stage, Stage::Running) {
            return; // expired meanwhile
        }
        job.timing.prepare = prepare;
        job.timing.infer = infer;
        job.timing.queue = now.since(job.arrived).saturating_sub(prepare).saturating_sub(infer);
        match result {
            Ok(seen) => self.decide(now, key, seen, 0, None, out),
            Err(failure) => self.fail(now, key, failure, out),
        }
    }

    /// `fault` is why the provider asked last did not help.
    pub(super) fn decide(
        &mut self,
        now: Moment,
        key: Key,
        seen: Observation,
        asked: usize,
        fault: Option<ProviderFault>,
        out: &mut Vec<Action>,
    ) {
        let Some(job) = self.jobs.get_mut(&key) else { return };
        let Some(model) = job.model else { return };
        let policy = &self.models[model.0].rules().policy;
        let views: Vec<ProviderView> = policy.providers.iter().map(|id| self.providers[id.0].view(*id, now)).collect();
        let left = job.deadline_at.since(now);
        let decision = decide::decide(&seen, policy, job.privacy, &views, left, job.whole, asked);
        match decision.verdict.clone() {
            Verdict::AnswerLocal(reason) => {
                let reason = match (reason, fault) {
                    (Reason::LocalUncertifiedLink, Some(ProviderFault::TooSlow)) => Reason::LocalUncertifiedDeadline,
                    (Reason::LocalUncertifiedLink, Some(ProviderFault::Withheld)) => Reason::LocalPolicyNoEgress,
                    (reason, _) => reason,
                };
                self.answer(now, key, Source::Local, reason, &decision, out);
            }
            Verdict::Escalate { provider, timeout, reason } => {
                let place = views.iter().position(|view| view.id == provider).unwrap_or(0);
                self.providers[provider.0].breaker.admit(now);
                self.providers[provider.0].calls += 1;
                job.stage = Stage::Asking { provider, asked: place + 1, seen, decision };
                out.push(Action::Ask { key, model, provider, timeout, reason });
                self.set_wake(key, now + timeout);
            }
            Verdict::Fail(why) => self.fail(now, key, Failure::new("model/invalid-output", why), out),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one input's fields")]
    pub(super) fn provider_answered(
        &mut self,
        now: Moment,
        key: Key,
        provider: ProviderId,
        timeout: Span,
        took: Span,
        result: Result<(), ProviderFault>,
        out: &mut Vec<Action>,
    ) {
        self.providers[provider.0].learn(now, provider, timeout, result, out);
        let Some(job) = self.jobs.get_mut(&key) else { return };
        if !matches!(&job.stage, Stage::Asking { provider: asked, .. } if *asked == provider) {
            return; // answered without it meanwhile
        }
        job.timing.provider = Some(took);
        let Stage::Asking { asked, seen, decision, .. } = std::mem::replace(&mut job.stage, Stage::Running) else {
            return;
        };
        match (result, &decision.verdict) {
            (Ok(()), Verdict::Escalate { reason, .. }) => {
                self.answer(now, key, Source::Provider(provider), *reason, &decision, out)
            }
            // What does not leave to one does not leave to another.
            (Err(ProviderFault::Withheld), _) => {
                self.decide(now, key, seen, usize::MAX, Some(ProviderFault::Withheld), out);
            }
            (result, _) => self.decide(now, key, seen, asked, result.err(), out),
        }
    }

    pub(super) fn answer(
        &mut self,
        now: Moment,
        key: Key,
        source: Source,
        reason: Reason,
        decision: &Decision,
        out: &mut Vec<Action>,
    ) {
        let Some(job) = self.jobs.get(&key) else { return };
        let timing = Timing { total: now.since(job.arrived), ..job.timing };
        let answer = Answer { source, certified: decision.certified, reason, evidence: decision.evidence, timing };
        self.finish(key, Outcome::Answered(answer), out);
    }

    pub(super) fn fail(&mut self, now: Moment, key: Key, failure: Failure, out: &mut Vec<Action>) {
        let Some(job) = self.jobs.get(&key) else { return };
        let timing = Timing { total: now.since(job.arrived), ..job.timing };
        self.finish(key, Outcome::Failed(failure, timing), out);
    }

    pub(super) fn finish(&mut self, key: Key, outcome: Outcome, out: &mut Vec<Action>) {
        let Some(job) = self.jobs.get_mut(&key) else { return };
        let outcome = Arc::new(outcome);
        if matches!(job.stage, Stage::Waiting) {
            if let Some(model) = job.model {
                self.models[model.0].remove(key, job.priority);
            }
            self.tally.waiting -= 1;
            self.tally.running += 1;
        }
        job.stage = Stage::Finishing { outcome: outcome.clone() };
        out.push(Action::Finish { key, outcome });
        self.set_wake(key, FAR);
    }
}

impl Provider {
    fn view(&self, id: ProviderId, now: Moment) -> ProviderView {
        let admits = self.breaker.would_admit(now) && self.calls < limits::PROVIDER_CALLS;
        ProviderView { id, admits, timeout: self.rules.timeout }
    }

    fn learn(
        &mut self,
        now: Moment,
        id: ProviderId,
        timeout: Span,
        result: Result<(), ProviderFault>,
        out: &mut Vec<Action>,
    ) {
        self.calls -= 1;
        let was_admitting = matches!(self.breaker.state(), State::Admitting { .. });
        match result {
            Ok(()) => {
                self.breaker.succeeded();
                if !was_admitting {
                    out.push(Action::Note(Note::BreakerClosed { provider: id }));
                }
            }
            Err(fault) => {
                out.push(Action::Note(Note::ProviderFailed { provider: id, fault }));
                if fault == ProviderFault::Withheld {
                    return self.breaker.withdrawn(now);
                }
                // A call that a short deadline cut says nothing about the provider, unless everybody waits for this probe.
                let cut_short = fault == ProviderFault::TooSlow && timeout < self.rules.timeout;
                if !(cut_short && was_admitting) && self.breaker.failed(now) {
                    out.push(Action::Note(Note::BreakerTripped { provider: id }));
                }
            }
        }
    }
}
