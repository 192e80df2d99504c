//! What an answer moves.

use picket_core::{Answer, Outcome, Source, escalation::rating, limits, output::Seen, said::Said};

use super::{House, cargo::Cargo};
use crate::output::Outputs;

impl House {
    pub(super) fn move_outputs(&self, cargo: &Cargo, outcome: &Outcome) {
        let models = [Some(&cargo.request.model), cargo.instead_of.as_ref()];
        let models: Vec<&str> = models.into_iter().flatten().map(|model| &**model).collect();
        let age = (!cargo.recovered).then(|| self.clock.now().since(cargo.arrived_at));
        match outcome {
            Outcome::Failed(..) => {
                self.outputs.hear(&models, &Seen { said: None, confidence: None, certified: false, age });
            }
            Outcome::Answered(answer) => {
                let (said, confidence) = self.what_was_said(cargo, answer);
                let seen = Seen { said: said.as_ref(), confidence, certified: answer.certified, age };
                self.outputs.hear(&models, &seen);
            }
        }
    }

    /// All lines go into their safe state.
    pub fn release_outputs(&mut self) {
        self.outputs = Outputs::default();
    }

    /// The loop turns: what it has set may stay.
    pub fn attend_outputs(&mut self) {
        let now = self.clock.now();
        if self.next_attention.is_none_or(|due| now < due) {
            return;
        }
        // Where somebody hangs, too: asked again later, and not at once.
        self.next_attention = Some(now + limits::OUTPUT_ATTEND);
        if self.standstill().is_none() {
            self.outputs.attend(now);
        }
    }

    fn what_was_said(&self, cargo: &Cargo, answer: &Answer) -> (Option<Said>, Option<f32>) {
        if let Source::Provider(_) = answer.source {
            let upstream = cargo.upstream.as_ref();
            let said = upstream.map(|upstream| upstream.said.clone()).or_else(|| answer.reused.clone());
            return (said, upstream.and_then(|upstream| upstream.confidence));
        }
        let Some(((_, served), seen)) = self.served(cargo.model).zip(cargo.seen.as_ref()) else { return (None, None) };
        let bundle = &served.bundle;
        let rated = rating::rate(seen, &bundle.measure, &rating::rule(&bundle.measure, bundle.temperature));
        rated.map_or((None, None), |(said, rated)| (Some(said), Some(rated.confidence)))
    }
}
