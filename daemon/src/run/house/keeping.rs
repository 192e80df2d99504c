//! Cases that a provider has labelled, for whoever trains the next local model.

use std::sync::Arc;

use picket_core::{
    Action, Answer, Outcome, Source,
    escalation::decide::{Reason, top_probability},
    inquiry::{Ending, Inquiry, InquiryId},
    job::{Key, ModelId, Privacy, ProviderId},
};

use super::House;
use crate::{
    export::Row,
    ports::{Request, Upstream},
};

/// What was known of a local answer when the label came.
struct Known {
    id: String,
    model: ModelId,
    class: Option<usize>,
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
        let best = cargo.scores.as_deref().and_then(|scores| top_probability(scores, 1.0));
        let known = Known {
            id: cargo.id.to_string(),
            model,
            class: best.map(|(class, _)| class),
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
            class: Some(was.class),
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
        let label = |class: usize| bundle.labels.get(class).cloned().unwrap_or_else(|| class.to_string());
        let row = Row {
            id: known.id,
            model: model.to_owned(),
            model_version: bundle.version.clone(),
            model_sha256: bundle.sha256.clone(),
            calibration: bundle.calibration.state.certified().map(|certified| certified.digest.clone()),
            s: known.s,
            p_wrong: known.p_wrong,
            local: known.class.map(label),
            label: label(upstream.index),
            agree: known.class == Some(upstream.index),
            provider: self.provider_names[provider.0].to_string(),
            provider_model: upstream.model.clone(),
            reason: known.reason.code().to_owned(),
            pi: if known.reason == Reason::EscAudit { keeper.audit_rate } else { 1.0 },
            audit: known.audit,
            redacted: request.privacy.unwrap_or(self.default_privacy) == Privacy::Redacted,
            group: request.group.as_deref().map(str::to_owned),
            ..Row::default()
        };
        keeper.keep(row, request.clone());
    }
}
