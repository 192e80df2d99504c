//! What second opinions teach: is the certificate still about what comes now, and if not, what can be promised instead?
//!
//! ```text
//!            an alarm rings                 enough fresh cases of the lottery
//! in force ─────────────────▶ suspended ─────────────────────────────────────▶ in force, the next of this model
//! ```

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Engine;
use crate::{
    Action, Note,
    escalation::{
        alarms::{Alarms, SavedAlarms},
        calibration::{Certified, State},
        certificate::Case,
        decide::Reason,
    },
    job::ModelId,
    limits,
};

/// What watches over one model's certificate.
#[derive(Debug)]
pub(super) struct Watch {
    /// Digest of the file that it all began with.
    file: String,
    alarms: Alarms,
    /// Lottery cases since an alarm rang.
    fresh: Vec<Case>,
}

/// What was learned of a model, for the next process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Learned {
    /// Digest of the calibration file; what was learned under another one says nothing of this one.
    file: String,
    alarms: SavedAlarms,
    fresh: Vec<Case>,
    /// The certificate in force, or suspended, where it is not the file's.
    certified: Option<Certified>,
}

/// A second opinion on a local answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Label {
    /// Of the local answer; 0 where there are none.
    pub class: usize,
    pub s: f32,
    pub p_wrong: f32,
    /// The answer went out as certified.
    pub certified: bool,
    /// The lottery has drawn this one.
    pub audit: bool,
    /// Why somebody was asked.
    pub reason: Reason,
    /// A provider says something else.
    pub wrong: bool,
}

impl Watch {
    /// `None`: there is no certificate to watch over.
    pub(super) fn over(state: &State) -> Option<Self> {
        let certified = state.certified()?;
        let alarms = Alarms::new(certified.promise.alpha, certified.scores.clone());
        Some(Self { file: certified.digest.to_string(), alarms, fresh: Vec::new() })
    }

    pub(super) fn suspects(&self) -> bool {
        self.alarms.rung().is_some()
    }
}

impl Engine {
    /// Is this model's certificate suspended?
    pub fn is_suspect(&self, model: ModelId) -> bool {
        self.watches.get(model.0).and_then(Option::as_ref).is_some_and(Watch::suspects)
    }

    /// What the next process has to know. `None`: nothing.
    pub fn learned(&self, model: ModelId) -> Option<Learned> {
        let watch = self.watches.get(model.0)?.as_ref()?;
        let certified = self.models[model.0].rules().policy.calibration.certified()?;
        Some(Learned {
            file: watch.file.clone(),
            alarms: watch.alarms.save(&certified.digest),
            fresh: watch.fresh.clone(),
            certified: (*certified.digest != *watch.file).then(|| certified.clone()),
        })
    }

    /// What an earlier process has learned, unless there is another calibration now.
    pub(super) fn remember(&mut self, model: ModelId, learned: Learned) {
        let Some(Some(watch)) = self.watches.get_mut(model.0) else { return };
        if learned.file != watch.file {
            return;
        }
        let policy = self.models[model.0].policy_mut();
        if let Some(certified) = learned.certified {
            policy.calibration = State::Valid(Arc::new(certified));
        }
        let Some(certified) = policy.calibration.certified() else { return };
        let (alpha, scores) = (certified.promise.alpha, certified.scores.clone());
        // Of another version: the alarms begin anew.
        if let Ok(alarms) = Alarms::restore(alpha, scores, &certified.digest, &learned.alarms) {
            watch.alarms = alarms;
        }
        watch.fresh = learned.fresh;
        watch.fresh.truncate(limits::FRESH_CASES);
    }

    /// A local answer has this score.
    pub(super) fn scored(&mut self, model: ModelId, s: f32, out: &mut Vec<Action>) {
        let Some(Some(watch)) = self.watches.get_mut(model.0) else { return };
        if let Some(evidence) = watch.alarms.scored(s) {
            out.push(Action::Note(Note::Alarm { model, evidence }));
            out.push(Action::Remember { model });
        }
    }

    /// Somebody else has looked at a local answer.
    pub(super) fn labelled(&mut self, model: ModelId, label: Label, out: &mut Vec<Action>) {
        let Some(Some(watch)) = self.watches.get_mut(model.0) else { return };
        let wrong = label.wrong;
        let by_score = matches!(label.reason, Reason::EscBelowLambda | Reason::EscEmptyOutput)
            .then(|| watch.alarms.escalated(wrong, f64::from(label.p_wrong)))
            .flatten();
        let by_audit = label.audit.then(|| watch.alarms.audited(label.certified && wrong)).flatten();
        if let Some(evidence) = by_audit.or(by_score) {
            out.push(Action::Note(Note::Alarm { model, evidence }));
        }
        if label.audit && watch.suspects() && watch.fresh.len() < limits::FRESH_CASES {
            watch.fresh.push(Case { s: label.s, class: label.class, wrong });
        }
        self.certify_again(model, out);
        out.push(Action::Remember { model });
    }

    fn certify_again(&mut self, model: ModelId, out: &mut Vec<Action>) {
        let Some(Some(watch)) = self.watches.get_mut(model.0) else { return };
        let policy = self.models[model.0].policy_mut();
        let Some(certified) = policy.calibration.certified() else { return };
        let needed = certified.cases_for_the_next().max(limits::RECERTIFY_CASES);
        if !watch.suspects() || (watch.fresh.len() as u64) < needed {
            return;
        }
        let Ok(next) = certified.again(&watch.fresh) else { return };
        watch.alarms.reset(next.promise.alpha, next.scores.clone());
        watch.fresh.clear();
        out.push(Action::Note(Note::Recertified { model, round: next.round, cases: next.cases }));
        policy.calibration = State::Valid(Arc::new(next));
    }
}
