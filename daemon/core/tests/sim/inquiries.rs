//! Questions about answered jobs: what may be asked, and that every one of them comes to an end.

use std::collections::BTreeSet;

use picket_core::{
    Input, Opinion,
    escalation::decide::Reason,
    inquiry::{Dropped, Ending, Inquiry, InquiryId},
    job::{JobId, ModelId, ProviderId},
    limits,
    said::Said,
    time::Span,
};

use super::{coverage::Seen, plan::Mood, store::Op, world::World};

/// What one life of the daemon has in hand.
#[derive(Debug, Default)]
pub struct Asked {
    pub asking: BTreeSet<InquiryId>,
    pub closing: BTreeSet<InquiryId>,
}

impl World<'_> {
    pub fn inquire(&mut self, id: InquiryId, model: ModelId, provider: ProviderId, timeout: Span, reason: Reason) {
        let (spec, was) =
            self.store.inquiries.get(&id).unwrap_or_else(|| panic!("{id:?} is asked, and is not durable"));
        let redacts = self.plan.models[model.0].policy.redacts;
        assert!(spec.privacy.may_leave(redacts), "{id:?} must not leave this device");
        assert_eq!((spec.model, was.reason), (Some(model.0), reason), "{id:?} is asked as something else");
        assert!(self.plan.models[model.0].policy.providers.contains(&provider), "{provider:?} is none of the model's");
        let now = self.now;
        let process = self.process();
        assert!(!process.draining, "{id:?} is asked while the daemon stops");
        assert!(
            process.asked.asking.insert(id) && !process.asked.closing.contains(&id),
            "{id:?} is asked twice at once"
        );
        assert!(now >= process.rests_until[provider.0], "{provider:?} wanted to be left alone, and is asked");
        process.calls[provider.0] += 1;
        assert!(process.calls[provider.0] <= limits::PROVIDER_CALLS, "too many calls at {provider:?}");
        let mood = if self.is_calm() { Mood::Good } else { self.plan.moods[provider.0] };
        let (took, result) = self.provider_answers(mood, timeout);
        self.coverage.hit(Seen::Inquired);
        self.hears_after(took, Input::Opined { inquiry: id, provider, timeout, result });
    }

    pub fn close(&mut self, id: InquiryId, job: &JobId, model: ModelId, was: &Inquiry, ending: &Ending) {
        let (spec, known) = self.store.inquiries.get(&id).unwrap_or_else(|| panic!("{id:?} ends, and is not durable"));
        assert_eq!((&spec.id, spec.model, known), (job, Some(model.0), was), "{id:?} ends as something else");
        let measure = self.plan.models[model.0].policy.measure;
        let process = self.process();
        assert!(!process.asked.asking.contains(&id), "{id:?} ends, and its provider has not answered");
        assert!(process.asked.closing.insert(id), "{id:?} ends twice");
        let tally = &mut process.tally;
        let seen = match ending {
            Ending::Amended { said } => {
                assert!(!said.agrees(&was.said, &measure), "{id:?} is amended by the same answer");
                tally.amended += 1;
                Seen::Amended
            }
            Ending::Agreed => {
                tally.agreed += 1;
                Seen::Agreed
            }
            Ending::Dropped(why) => {
                tally.inquiries_dropped[*why as usize] += 1;
                assert_ne!(*why, Dropped::Orphaned, "no model is ever gone here");
                Seen::InquiryDropped
            }
        };
        self.coverage.hit(seen);
        self.send_to_store(Op::Close { inquiry: id, amended: matches!(ending, Ending::Amended { .. }) });
    }

    /// Two classes: half of the providers' answers are the local one.
    pub fn opinion(&mut self) -> Opinion {
        Opinion { said: Said::Class(usize::from(self.chance_of(0.5))) }
    }
}
