//! Is this how a job should end, after what happened to it?

use picket_core::{Answer, Outcome, Source, escalation::decide::Reason, job::Key, limits};

use super::{
    coverage::Seen,
    process::{Said, yields},
    world::World,
};

impl World<'_> {
    /// Is this how the job should end, after what happened to it?
    pub fn judge(&mut self, key: Key, outcome: &Outcome) {
        let (now, probing) = (self.now, self.probing);
        let is_told = self.process().decided.contains(&key) || !matches!(outcome, Outcome::Answered(_));
        assert!(is_told, "{key:?} is answered, and nobody can tell why");
        let known = &self.process().keys[&key];
        let (inferred, model) = (known.inferred, known.spec.model.unwrap());
        let seen = match outcome {
            Outcome::Answered(answer) => match answer.source {
                Source::Local => self.judge_local(key, answer),
                Source::Provider(provider) if answer.reason == Reason::LocalDuplicate => {
                    let part = known.part().filter(|_| known.asked.is_empty());
                    let answer = part.zip(answer.reused.clone()).map(|(part, said)| (part, provider, said.class()));
                    let told = answer.is_some_and(|answer| self.process().told.contains(&answer));
                    assert!(told, "{key:?} has the answer of a part that is not its own");
                    Some(Seen::Reused)
                }
                Source::Provider(provider) => {
                    assert_eq!(known.helped, Some(provider), "{key:?} has no answer of {provider:?}");
                    Some(Seen::ProviderUsed)
                }
            },
            Outcome::Failed(failure, _) => {
                assert!(!probing, "{key:?} fails in a perfect world: {failure}");
                match failure.code {
                    "job/expired" => {
                        assert!(now >= known.deadline_at, "{key:?} expires before its deadline");
                        Some(if inferred { Seen::ExpiredRunning } else { Seen::ExpiredWaiting })
                    }
                    "job/shed" => {
                        assert!(!inferred, "{key:?} is shed while it runs");
                        Some(Seen::Evicted)
                    }
                    "job/poison" => {
                        assert!(known.spec.poison && !inferred, "{key:?} is innocent");
                        assert!(self.store.jobs[&key].attempts >= limits::ATTEMPTS, "{key:?} was hardly tried");
                        Some(Seen::PoisonGivenUp)
                    }
                    "model/invalid-output" => {
                        assert_eq!(known.said, Some(Said::Malformed));
                        Some(Seen::MalformedFailed)
                    }
                    _ => {
                        assert_eq!(known.said, Some(Said::Failed), "{key:?} fails with {failure}");
                        Some(Seen::InferenceFailed)
                    }
                }
            }
        };
        if let Outcome::Answered(Answer { later: Some(_), .. }) = outcome {
            let group = self.process().keys[&key].spec.group.clone();
            self.process().parts.extend(group.map(|group| (model, group)));
        }
        if let Some(Seen::Evicted) = seen {
            self.judge_eviction(key, model);
        }
        if let Some(seen) = seen {
            self.coverage.hit(seen);
        }
    }

    /// Is the local answer the right one to stay with?
    fn judge_local(&mut self, key: Key, answer: &Answer) -> Option<Seen> {
        let known = &self.process().keys[&key];
        assert_eq!(known.said, Some(Said::Usable), "{key:?} has no local answer");
        let part = known.part().filter(|_| known.asked.is_empty());
        let covered = answer.certified.then_some(Seen::Certified);
        if answer.certified {
            assert!(known.asked.is_empty(), "I10: {key:?} is certified, and somebody was asked about it");
            assert_eq!(answer.reason, Reason::LocalCertified);
        }
        assert!(
            !known.withheld || answer.reason != Reason::LocalUncertifiedLink,
            "{key:?} was withheld, and its answer blames the link"
        );
        if answer.reason == Reason::LocalUncertifiedLink {
            self.assert_no_provider_admits(key);
        }
        if answer.reason == Reason::LocalDuplicate {
            let part = part.unwrap_or_else(|| panic!("{key:?} shows no part that others show"));
            assert!(self.process().parts.contains(&part), "{key:?} is alone");
            self.coverage.hit(Seen::SamePart);
        }
        if answer.reason == Reason::LocalUncertifiedBudget {
            self.is_out_of_money();
        }
        covered.or((answer.reason == Reason::LocalPolicyNoEgress).then_some(Seen::KeptLocal))
    }

    fn judge_eviction(&mut self, key: Key, model: usize) {
        let process = self.process.as_ref().expect("the process runs");
        let priority = process.keys[&key].spec.priority;
        assert!(
            process.waiting_for(model) + 1 >= self.plan.models[model].queue,
            "{key:?} has to go, and there is room"
        );
        assert!(yields(&self.plan, model, priority, process.newcomer), "{key:?} has to go for a less important job");
        assert!(
            process.least_waiting(model).is_none_or(|least| priority <= least),
            "{key:?} is not the least important"
        );
    }

    /// A doubtful answer may only stay local for want of a provider when there really is none left to ask.
    fn assert_no_provider_admits(&self, key: Key) {
        let process = self.process.as_ref().expect("the process runs");
        let known = &process.keys[&key];
        let listed = &self.plan.models[known.spec.model.unwrap()].policy.providers;
        let asked = listed.iter().rposition(|provider| known.asked.contains(provider)).map_or(0, |last| last + 1);
        for provider in &listed[asked..] {
            let busy = process.calls[provider.0] >= limits::PROVIDER_CALLS;
            let admits = process.engine.provider_admits(*provider, self.now);
            assert!(busy || !admits, "{key:?} stays local, and {provider:?} could be asked");
        }
    }
}
