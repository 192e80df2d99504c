//! Cases that a provider has labelled, for whoever trains the next local model.

use std::sync::Arc;

use picket_core::{
    Action, Answer, Outcome, Source,
    escalation::{decide::Reason, rating},
    inquiry::{Ending, Inquiry, InquiryId},
    job::{Key, ModelId, Privacy, ProviderId},
    said::Said,
};

use super::House;
use crate::{
    answer::boxes,
    export::Row,
    ports::{Request, Upstream},
};

/// What was known of a local answer when the label came.
struct Known {
    id: String,
    model: ModelId,
    said: Option<Said>,
    s: Option<f32>,
    p_wrong: Option<f32>,
    audit: bool,
    reason: Reason,
}

impl House {
    /// Before it is performed.
    pub(super) fn keep(&self, action: &Action) {
        if self.keeper.is_none() {
            return;
        }
        match action {
            Action::Finish { key, outcome } => {
                if let Outcome::Answered(answer) = &**outcome
                    && let Source::Provider(provider) = answer.source
                {
                    self.keep_answered(*key, answer, provider);
                }
            }
            Action::Close { inquiry, job, model, was, ending: Ending::Amended { .. } | Ending::Agreed, .. } => {
                self.keep_closed(*inquiry, job.to_string(), *model, was);
            }
            _ => {}
        }
    }

    fn keep_answered(&self, key: Key, answer: &Answer, provider: ProviderId) {
        let Some(cargo) = self.cargo.get(&key) else { return };
        let (Some(model), Some(upstream)) = (cargo.model, &cargo.upstream) else { return };
        let Some((_, served)) = self.served(Some(model)) else { return };
        let measure = served.bundle.measure;
        let local = cargo.seen.as_ref().and_then(|seen| rating::rate(seen, &measure, &rating::rule(&measure, 1.0)));
        let known = Known {
            id: cargo.id.to_string(),
            model,
            said: local.map(|(said, _)| said),
            s: answer.evidence.s,
            p_wrong: answer.evidence.p_wrong,
            audit: answer.evidence.audit,
            reason: answer.reason,
        };
        self.keep_case(known, &cargo.request, provider, upstream);
    }

    fn keep_closed(&self, inquiry: InquiryId, id: String, model: ModelId, was: &Inquiry) {
        let Some((provider, upstream)) = self.inquiries.said(inquiry) else { return };
        let Some(request) = self.inquiries.request(inquiry) else { return };
        let known = Known {
            id,
            model,
            said: Some(was.said.clone()),
            s: Some(was.s),
            p_wrong: Some(was.p_wrong),
            audit: was.audit,
            reason: was.reason,
        };
        self.keep_case(known, request, provider, upstream);
    }

    fn keep_case(&self, known: Known, request: &Arc<Request>, provider: ProviderId, upstream: &Upstream) {
        let (Some(keeper), Some((model, served))) = (&self.keeper, self.served(Some(known.model))) else { return };
        let bundle = &served.bundle;
        let text = |said: &Said| match said {
            Said::Class(class) => bundle.labels.get(*class).cloned().unwrap_or_else(|| class.to_string()),
            Said::Value(value) => value.to_string(),
            Said::Boxes(found) => boxes::json(found, &bundle.labels),
        };
        let row = Row {
            id: known.id,
            model: model.to_owned(),
            model_version: bundle.version.clone(),
            model_sha256: bundle.sha256.clone(),
            calibration: bundle.calibration.state.certified().map(|certified| certified.digest.clone()),
            s: known.s,
            p_wrong: known.p_wrong,
            local: known.said.as_ref().map(text),
            label: text(&upstream.said),
            agree: known.said.is_some_and(|said| said.agrees(&upstream.said, &bundle.measure)),
            provider: self.provider_names[provider.0].to_string(),
            provider_model: upstream.model.clone(),
            reason: known.reason.code().to_owned(),
            // The lottery's share changes slowly; this is the present one.
            pi: match known.reason {
                Reason::EscAudit => self.engine.audit_rate(self.clock.now(), known.model),
                _ => 1.0,
            },
            audit: known.audit,
            redacted: request.privacy.unwrap_or(self.default_privacy) == Privacy::Redacted,
            group: request.group.as_deref().map(str::to_owned),
            ..Row::default()
        };
        keeper.keep(row, request.clone());
    }
}
