//! What goes into the log of decisions.

use std::collections::HashSet;

use picket_core::{
    Action, Note, Outcome, ProviderFault, Source,
    inquiry::{Ending, InquiryId},
    job::{Key, ProviderId},
};

use super::House;
use crate::{
    decisions::{
        Errand, Log,
        record::{Closed, End, Ended, Fault, How, Said, StoodIn},
    },
    ports::Upstream,
};

/// The log, where there is one.
pub(super) struct Decisions {
    pub log: Option<Log>,
    /// Jobs under way about which a provider was asked: their end is not what was decided first.
    asked: HashSet<Key>,
}

impl Decisions {
    pub fn new(log: Option<Log>) -> Self {
        Self { log, asked: HashSet::new() }
    }

    pub fn losses(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.log.iter().flat_map(|log| log.counts().losses())
    }

    fn write(&self, errand: impl FnOnce() -> Option<Errand>) {
        let Some(log) = &self.log else { return };
        if let Some(errand) = errand() {
            log.write(errand);
        }
    }
}

impl House {
    /// Before it is performed. `None`: it was for the log only.
    pub(super) fn log(&mut self, action: Action) -> Option<Action> {
        if self.decisions.log.is_none() {
            return Some(action);
        }
        match action {
            Action::Decided(decided) => {
                let cargo = self.cargo.get(&decided.key);
                let wanted = cargo.filter(|_| decided.around.asked == 0).and_then(|cargo| cargo.instead_of.clone());
                let job = cargo.map(|cargo| cargo.id.clone());
                let id = job.as_ref().map(ToString::to_string);
                self.decisions.write(|| Some(Errand::Decided { job: job?, decided }));
                if let (Some(job), Some(wanted)) = (id, wanted) {
                    let wanted = wanted.to_string();
                    self.decisions.write(|| Some(Errand::StoodIn(StoodIn { job, wanted })));
                }
                return None;
            }
            Action::Ask { key, .. } => {
                self.decisions.asked.insert(key);
            }
            Action::Finish { key, ref outcome } => self.log_end(key, outcome),
            Action::Close { inquiry, ref job, ref was, age, ref ending, .. } => {
                let end = self.end_of(inquiry, ending);
                let (job, reason) = (job.to_string(), was.reason);
                self.decisions.write(|| Some(Errand::Closed(Closed { job, age, reason, end })));
            }
            Action::Note(Note::Alarm { model, evidence }) => {
                self.decisions.write(|| Some(Errand::Alarm { model, evidence }));
            }
            Action::Note(Note::Recertified { model, .. }) => {
                self.decisions.write(|| Some(Errand::Recertified { model }));
            }
            _ => {}
        }
        Some(action)
    }

    pub(super) fn log_fault(&self, key: Key, provider: ProviderId, fault: Option<&ProviderFault>) {
        let Some(fault) = fault else { return };
        self.decisions.write(|| {
            let job = self.cargo.get(&key)?.id.to_string();
            let (provider, code) = (self.provider_names[provider.0].to_string(), fault.code().to_owned());
            Some(Errand::Fault(Fault { job, provider, code }))
        });
    }

    /// Asked or not: a store that failed lets a job finish twice, and the second time says nothing new.
    fn log_end(&mut self, key: Key, outcome: &Outcome) {
        if !self.decisions.asked.remove(&key) {
            return;
        }
        let Some(cargo) = self.cargo.get(&key) else { return };
        let how = match outcome {
            Outcome::Answered(answer) => How::Answered {
                reason: answer.reason,
                certified: answer.certified,
                by: match (answer.source, &cargo.upstream) {
                    (Source::Provider(provider), Some(upstream)) => Some(self.said(provider, upstream)),
                    _ => None,
                },
                later: answer.later.is_some(),
            },
            Outcome::Failed(failure, _) => How::Failed(failure.code.to_owned()),
        };
        let job = cargo.id.to_string();
        self.decisions.write(|| Some(Errand::Ended(Ended { job, how })));
    }

    fn end_of(&self, inquiry: InquiryId, ending: &Ending) -> End {
        let said = self.inquiries.said(inquiry).map(|(provider, upstream)| self.said(provider, upstream));
        match (ending, said) {
            (Ending::Amended { .. }, Some(said)) => End::Amended(said),
            (Ending::Agreed, Some(said)) => End::Agreed(said),
            (Ending::Dropped(why), _) => End::Dropped(why.code().to_owned()),
            // Cannot happen: who amends or agrees has said something.
            (Ending::Amended { .. } | Ending::Agreed, None) => End::Dropped("inquiry_refused".to_owned()),
        }
    }

    fn said(&self, provider: ProviderId, upstream: &Upstream) -> Said {
        Said {
            provider: self.provider_names[provider.0].to_string(),
            model: upstream.model.clone(),
            answer: upstream.said.clone(),
            confidence: upstream.confidence,
        }
    }
}
