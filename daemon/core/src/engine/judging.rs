//! From an inference result to an ending: answer, ask upstream, or fail.

use std::sync::Arc;

use super::{
    Engine, FAR, Provider, ProviderRules, Stage,
    learning::Label,
    spending::{Call, Spending},
};
use crate::{
    Action, Answer, Decided, Note, Opinion, Outcome, ProviderFault, Source, Timing,
    escalation::{
        breaker::State,
        budget::Cost,
        decide::{self, Circumstances, Decision, Judged, Observation, ProviderView, Reason, Verdict},
        score::Rated,
    },
    inquiry::{Inquiry, Lane},
    job::{Failure, Key, ModelId, ProviderId},
    limits,
    said::Said,
    time::{Moment, Span},
};

impl Engine {
    /// From now on every decision is told with everything that it depends on ([`Action::Decided`]).
    pub const fn log_decisions(&mut self) {
        self.logs = true;
    }

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
        let Some(job) = self.jobs.get(&key) else { return };
        let Some(model) = job.model else { return };
        let policy = &self.models[model.0].rules().policy;
        let judged = decide::judge(&seen, policy, self.is_suspect(model));
        if asked == 0 {
            self.saw(now, key, model, &judged);
        }
        let Some(around) = self.around(now, key, asked, judged.class()) else { return };
        let policy = &self.models[model.0].rules().policy;
        let decision = decide::conclude(&judged, &seen, policy, &around);
        if self.logs {
            let (seen, policy, around, decision) = (seen.clone(), policy.clone(), around.clone(), decision.clone());
            out.push(Action::Decided(Box::new(Decided { key, model, seen, policy, around, decision })));
        }
        if let (Some(rated), 0) = (decision.rated, asked) {
            self.scored(model, rated.s, out);
        }
        let Some(job) = self.jobs.get_mut(&key) else { return };
        match decision.verdict.clone() {
            Verdict::AnswerLocal(reason) => {
                let reason = match (reason, fault) {
                    (Reason::LocalUncertifiedLink, Some(ProviderFault::TooSlow)) => Reason::LocalUncertifiedDeadline,
                    (Reason::LocalUncertifiedLink, Some(ProviderFault::Withheld)) => Reason::LocalPolicyNoEgress,
                    (reason, _) => reason,
                };
                self.answer(now, key, Source::Local, reason, &decision, out);
            }
            Verdict::Reuse { provider, said } => {
                self.reuse(now, key, provider, said, &decision, out);
            }
            Verdict::Escalate { provider, timeout, reason } => {
                let most =
                    around.providers.iter().find(|view| view.id == provider).map_or(Cost::ZERO, |view| view.cost);
                let Some(allowance) = self.spending.reserve(now, Call::Job(key, provider), most) else {
                    // It was affordable a moment ago; whatever happened, the job has its answer.
                    return self.answer(now, key, Source::Local, Reason::LocalUncertifiedBudget, &decision, out);
                };
                if let (Some(group), None) = (job.group.clone(), &around.known) {
                    job.speaks = true;
                    self.duplicates.asked(group, now);
                }
                let place = around.providers.iter().position(|view| view.id == provider).unwrap_or(0);
                self.providers[provider.0].breaker.admit(now);
                self.providers[provider.0].calls += 1;
                self.providers[provider.0].live_at = Some(now);
                job.stage = Stage::Asking { provider, asked: place + 1, seen, decision: Box::new(decision) };
                out.push(Action::Ask { key, model, provider, timeout, reason, allowance });
                self.set_wake(key, now + timeout);
            }
            Verdict::Fail(why) => self.fail(now, key, Failure::new("model/invalid-output", why), out),
        }
    }

    /// One request more, for the price of the next ones.
    fn saw(&mut self, now: Moment, key: Key, model: ModelId, judged: &Judged) {
        let policy = &self.models[model.0].rules().policy;
        let (Some(job), Some(first)) = (self.jobs.get(&key), policy.providers.first().copied()) else { return };
        let rules = &self.providers[first.0].rules;
        let accuracy = policy.accuracy(0, judged.class()).unwrap_or(rules.accuracy);
        let leaves = job.privacy.may_leave(policy.redacts);
        let gain = if leaves { judged.bid(accuracy, &policy.values) } else { 0.0 };
        let usual = self.spending.usual(first, Spending::most(rules.price, job.bytes));
        self.spending.saw(now, gain, usual);
    }

    /// How things are around a job.
    fn around(&self, now: Moment, key: Key, asked: usize, class: Option<usize>) -> Option<Circumstances> {
        let job = self.jobs.get(&key)?;
        let model = job.model?;
        let policy = &self.models[model.0].rules().policy;
        let (left, prices) = (job.deadline_at.since(now), self.spending.prices(now));
        let view = |(place, id): (usize, &ProviderId)| {
            let provider = &self.providers[id.0];
            let ProviderRules { timeout, price, accuracy } = provider.rules;
            let cost = Spending::most(price, job.bytes);
            ProviderView {
                id: *id,
                admits: provider.breaker.would_admit(now) && provider.calls < limits::PROVIDER_CALLS,
                timeout,
                accuracy: policy.accuracy(place, class).unwrap_or(accuracy),
                cost,
                affordable: self.spending.affords(cost),
                threshold: prices.threshold(self.spending.usual(*id, cost)),
                on_time: provider.latencies.on_time(now, decide::patience(left, job.whole).min(timeout)),
            }
        };
        // A part that this job itself was asked about is no duplicate.
        let known = job.group.as_ref().filter(|_| asked == 0 && !job.speaks);
        Some(Circumstances {
            privacy: job.privacy,
            providers: policy.providers.iter().enumerate().map(view).collect(),
            left,
            whole: job.whole,
            asked,
            audit: job.audit,
            suspect: self.is_suspect(model),
            rich: self.spending.rich(now),
            known: known.and_then(|group| self.duplicates.get(group, now)).cloned(),
        })
    }

    #[expect(clippy::too_many_arguments, reason = "one input's fields")]
    pub(super) fn provider_answered(
        &mut self,
        now: Moment,
        key: Key,
        provider: ProviderId,
        timeout: Span,
        took: Span,
        result: Result<Opinion, ProviderFault>,
        out: &mut Vec<Action>,
    ) {
        self.providers[provider.0].learn(now, provider, timeout, &result, out);
        match &result {
            Ok(_) => self.providers[provider.0].latencies.answered(now, took),
            Err(ProviderFault::TooSlow) => self.providers[provider.0].latencies.gave_up(now, timeout),
            Err(_) => {}
        }
        let Some(job) = self.jobs.get_mut(&key) else { return };
        if !matches!(&job.stage, Stage::Asking { provider: asked, .. } if *asked == provider) {
            return; // answered without it meanwhile
        }
        job.timing.provider = Some(took);
        let Stage::Asking { asked, seen, decision, .. } = std::mem::replace(&mut job.stage, Stage::Running) else {
            return;
        };
        match (result, &decision.verdict) {
            (Ok(opinion), Verdict::Escalate { reason, .. }) => {
                if let (Some(local), Some(rated), Some(model)) = (&decision.said, decision.rated, job.model) {
                    let Rated { s, p_wrong, .. } = rated;
                    let (class, certified, audit) = (local.class(), decision.certified, job.audit);
                    let wrong = !local.agrees(&opinion.said, &self.models[model.0].rules().policy.measure);
                    let label = Label { class, s, p_wrong, certified, audit, reason: *reason, wrong };
                    self.labelled(model, label, out);
                }
                if let Some(group) = self.jobs.get(&key).and_then(|job| job.group.clone()) {
                    self.duplicates.answered(&group, (provider, opinion.said));
                }
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
        let later = match source {
            // What was withheld once is not sent later.
            Source::Local if reason == Reason::LocalPolicyNoEgress => None,
            Source::Local => decision.later.clone().map(|later| Inquiry { answered: reason, ..later }),
            Source::Provider(_) => None,
        };
        if let (Some(group), Source::Local) = (&job.group, source) {
            match &later {
                // Nobody has answered, and somebody will be asked: for the other frames, too.
                Some(Inquiry { lane: Lane::Value, .. }) if !job.speaks => self.duplicates.asked(group.clone(), now),
                None | Some(Inquiry { lane: Lane::Audit, .. }) if job.speaks => self.duplicates.failed(group),
                _ => {}
            }
        }
        let certified = decision.certified;
        let answer = Answer { source, certified, reason, evidence: decision.evidence, timing, later, reused: None };
        self.finish(key, Outcome::Answered(answer), out);
    }

    /// Another frame's answer is this one's.
    fn reuse(
        &mut self,
        now: Moment,
        key: Key,
        provider: ProviderId,
        said: Said,
        decision: &Decision,
        out: &mut Vec<Action>,
    ) {
        let Some(job) = self.jobs.get(&key) else { return };
        let answer = Answer {
            source: Source::Provider(provider),
            certified: false,
            reason: Reason::LocalDuplicate,
            evidence: decision.evidence,
            timing: Timing { total: now.since(job.arrived), ..job.timing },
            later: None,
            reused: Some(said),
        };
        self.finish(key, Outcome::Answered(answer), out);
    }

    pub(super) fn fail(&mut self, now: Moment, key: Key, failure: Failure, out: &mut Vec<Action>) {
        let Some(job) = self.jobs.get(&key) else { return };
        if let Some(group) = job.group.as_ref().filter(|_| job.speaks) {
            self.duplicates.failed(group);
        }
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
    /// For a question that nobody waits for: jobs come first. `eased`: the board is hot.
    pub(super) fn has_time(&self, now: Moment, eased: bool) -> bool {
        let live = self.live_at.is_some_and(|at| now.since(at) < limits::LIVE_TRAFFIC);
        let most = match (eased, live) {
            (true, _) => limits::INQUIRY_CALLS_HOT,
            (false, true) => limits::INQUIRY_CALLS_BESIDE,
            (false, false) => limits::INQUIRY_CALLS,
        };
        self.breaker.would_admit(now) && self.inquiries < most && self.calls < limits::PROVIDER_CALLS
    }

    /// Its breaker lets nothing pass until then.
    pub(super) fn rests_until(&self) -> Option<Moment> {
        self.breaker.opens_at()
    }

    pub(super) fn learn(
        &mut self,
        now: Moment,
        id: ProviderId,
        timeout: Span,
        result: &Result<Opinion, ProviderFault>,
        out: &mut Vec<Action>,
    ) {
        self.calls -= 1;
        let was_admitting = matches!(self.breaker.state(), State::Admitting { .. });
        match *result {
            Ok(_) => {
                if self.breaker.succeeded(now) {
                    out.push(Action::Note(Note::BreakerClosed { provider: id }));
                }
            }
            Err(fault) => {
                out.push(Action::Note(Note::ProviderFailed { provider: id, fault }));
                if fault == ProviderFault::Withheld {
                    return self.breaker.unused(now);
                }
                // A call that a short deadline cut says nothing about the provider, unless everybody waits for this probe.
                let cut_short = fault == ProviderFault::TooSlow && timeout < self.rules.timeout && was_admitting;
                let tripped = match fault {
                    ProviderFault::Limited(rest) => self.breaker.limited(now, rest),
                    ProviderFault::Unsuited => {
                        self.breaker.unused(now);
                        false
                    }
                    _ => !cut_short && self.breaker.failed(now),
                };
                if tripped {
                    out.push(Action::Note(Note::BreakerTripped { provider: id }));
                }
            }
        }
    }
}
