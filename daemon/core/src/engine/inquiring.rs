//! Answered jobs about which a provider is still to be asked: in which order, when, and how each ends.
//!
//! ```text
//!             a provider is free               answer            durable
//! Waiting ───────────────────────▶ Asking ──────────────▶ Closing ─────▶ gone, the amendment in the outbox
//!    ▲ │                             │                       ▲
//!    │ │ evicted, too old            │ link trouble          │ no provider is left
//!    │ └────────────────────────────────────────────────────▶┤
//!    └───────────────────────────────┴───────────────────────┘
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{
    Engine, Group,
    learning::Label,
    spending::{Call, Spending},
};
use crate::{
    Action, Note, Opinion, OutboxRow, ProviderFault,
    escalation::{
        backlog::{self, Rank},
        budget::Cost,
    },
    inquiry::{Dropped, Ending, Inquiry, InquiryId, Lane, StoredInquiry},
    job::{JobId, ModelId, ProviderId},
    limits,
    time::{Moment, Span},
};

/// The table of inquiries.
#[derive(Debug, Default)]
pub(super) struct Inquiries {
    open: BTreeMap<InquiryId, Open>,
    /// First come, first asked.
    audits: VecDeque<InquiryId>,
    /// The most valuable is the last.
    by_value: BTreeSet<(Rank, InquiryId)>,
    bytes: u64,
    /// A provider that rests now, or a budget that is gone, is worth another try then.
    pub(super) wake: Option<Moment>,
}

#[derive(Debug)]
struct Open {
    job: JobId,
    model: ModelId,
    inquiry: Inquiry,
    /// Seconds since the start of the process, less than zero for those of an earlier one.
    since_s: f64,
    bytes: u64,
    /// Places of the provider list that have failed with it, for reasons of its own.
    failed: usize,
    stage: Stage,
    /// Whose other frames it stands for, too.
    group: Option<Group>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Waiting,
    Asking { provider: ProviderId, place: usize },
    Closing,
}

impl Open {
    /// Of two inquiries the order never changes, so that it is computed once.
    fn rank(&self) -> Rank {
        // An audit drawn among the doubtful, or a provider that is no better, is worth the least, and not nothing.
        let gain = self.inquiry.gain.max(limits::INQUIRY_GAIN_MIN);
        let half_life = limits::INQUIRY_HALF_LIFE.as_micros() as f64 / 1e6;
        Rank(backlog::key(gain, self.bytes, self.since_s, half_life))
    }

    /// Gain that is left of it by now.
    fn worth(&self, now: Moment) -> f64 {
        let half_life = limits::INQUIRY_HALF_LIFE.as_micros() as f64 / 1e6;
        self.inquiry.gain * (-(seconds(now) - self.since_s).max(0.0) / half_life).exp2()
    }
}

fn seconds(now: Moment) -> f64 {
    now.since(Moment::ZERO).as_micros() as f64 / 1e6
}

impl Inquiries {
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Nothing is at a provider or at the store.
    pub(super) fn settled(&self) -> bool {
        self.open.values().all(|open| open.stage == Stage::Waiting)
    }

    fn waits(&self) -> bool {
        !self.audits.is_empty() || !self.by_value.is_empty()
    }

    fn queue(&mut self, id: InquiryId) {
        let Some(open) = self.open.get_mut(&id) else { return };
        open.stage = Stage::Waiting;
        match open.inquiry.lane {
            // One that comes back was there before the others.
            Lane::Audit => self.audits.push_front(id),
            Lane::Value => {
                self.by_value.insert((open.rank(), id));
            }
        }
    }

    fn unqueue(&mut self, id: InquiryId) {
        let Some(open) = self.open.get(&id) else { return };
        match open.inquiry.lane {
            Lane::Audit => self.audits.retain(|other| *other != id),
            Lane::Value => {
                self.by_value.remove(&(open.rank(), id));
            }
        }
    }

    fn next(&self) -> Option<InquiryId> {
        self.audits.front().copied().or_else(|| self.by_value.last().map(|(_, id)| *id))
    }
}

impl Engine {
    /// Takes up what an earlier process left.
    pub(super) fn inquiries_recovered(&mut self, now: Moment, stored: Vec<StoredInquiry>, out: &mut Vec<Action>) {
        for StoredInquiry { id, job, model, inquiry, age, bytes } in stored {
            let since_s = seconds(now) - age.as_micros() as f64 / 1e6;
            let known = model.is_ok();
            let model = model.unwrap_or(ModelId(usize::MAX));
            self.open_inquiry(
                now,
                id,
                Open { job, model, inquiry, since_s, bytes, failed: 0, stage: Stage::Waiting, group: None },
                out,
            );
            if !known {
                self.close_inquiry(now, id, Ending::Dropped(Dropped::Orphaned), out);
            }
        }
    }

    /// The answer has gone out, and the store keeps the question.
    pub(super) fn inquire(
        &mut self,
        now: Moment,
        id: InquiryId,
        (job, model, bytes, group): (JobId, ModelId, u64, Option<Group>),
        inquiry: Inquiry,
        out: &mut Vec<Action>,
    ) {
        let since_s = seconds(now);
        let open = Open { job, model, inquiry, since_s, bytes, failed: 0, stage: Stage::Waiting, group };
        self.open_inquiry(now, id, open, out);
    }

    fn open_inquiry(&mut self, now: Moment, id: InquiryId, open: Open, out: &mut Vec<Action>) {
        let lane = open.inquiry.lane;
        let table = &mut self.inquiries;
        table.bytes += open.bytes;
        table.open.insert(id, open);
        match lane {
            Lane::Audit => table.audits.push_back(id),
            Lane::Value => table.queue(id),
        }
        if self.inquiries.audits.len() > limits::AUDITS {
            // By its number, which knows nothing of its worth: dropping by value would bias what is learned.
            let lot = id.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
            let victim = self.inquiries.audits[lot as usize % self.inquiries.audits.len()];
            self.close_inquiry(now, victim, Ending::Dropped(Dropped::Evicted), out);
        }
        while self.inquiries.len() > limits::INQUIRIES || self.inquiries.bytes > limits::INQUIRY_BYTES {
            if !self.give_up_an_inquiry(now, out) {
                break;
            }
        }
    }

    /// The least valuable goes. `false`: there is none that could.
    pub(super) fn give_up_an_inquiry(&mut self, now: Moment, out: &mut Vec<Action>) -> bool {
        let Some((_, least)) = self.inquiries.by_value.first().copied() else { return false };
        self.close_inquiry(now, least, Ending::Dropped(Dropped::Evicted), out);
        true
    }

    fn close_inquiry(&mut self, now: Moment, id: InquiryId, ending: Ending, out: &mut Vec<Action>) {
        self.inquiries.unqueue(id);
        let Some(open) = self.inquiries.open.get_mut(&id) else { return };
        open.stage = Stage::Closing;
        // Counts no more: it is as good as gone.
        self.inquiries.bytes = self.inquiries.bytes.saturating_sub(std::mem::take(&mut open.bytes));
        match ending {
            Ending::Dropped(why) => {
                if let Some(group) = &open.group {
                    self.duplicates.failed(group);
                }
                self.tally.inquiries_dropped[why as usize] += 1;
                out.push(Action::Note(Note::InquiryDropped { why }));
            }
            Ending::Amended { .. } => self.tally.amended += 1,
            Ending::Agreed => self.tally.agreed += 1,
        }
        let (job, model, inquiry) = (open.job.clone(), open.model, open.inquiry.clone());
        let age = Span::from_micros(((seconds(now) - open.since_s).max(0.0) * 1e6) as u64);
        out.push(Action::Close { inquiry: id, job, model, was: inquiry, age, ending });
    }

    pub(super) fn inquiry_closed(&mut self, id: InquiryId, rows: &[OutboxRow]) {
        self.inquiries.open.remove(&id);
        for row in rows {
            self.add_row(row);
        }
    }

    pub(super) fn opined(
        &mut self,
        now: Moment,
        id: InquiryId,
        result: Result<Opinion, ProviderFault>,
        out: &mut Vec<Action>,
    ) {
        let Some(open) = self.inquiries.open.get_mut(&id) else { return };
        let Stage::Asking { place, provider } = open.stage else { return };
        match result {
            Ok(Opinion { said }) => {
                let model = open.model;
                if let Some(group) = &open.group {
                    self.duplicates.answered(group, (provider, said.clone()));
                }
                let Inquiry { s, p_wrong, certified, audit, reason, .. } = open.inquiry;
                let local = &open.inquiry.said;
                let wrong = !local.agrees(&said, &self.models[model.0].rules().policy.measure);
                let label = Label { class: local.class(), s, p_wrong, certified, audit, reason, wrong };
                let ending = if wrong { Ending::Amended { said } } else { Ending::Agreed };
                self.close_inquiry(now, id, ending, out);
                self.labelled(model, label, out);
            }
            // No fault of the question's: the breaker says when to try again.
            Err(fault) if !fault.blames_the_question() => {
                if expired(open, now) {
                    self.close_inquiry(now, id, Ending::Dropped(Dropped::Expired), out);
                } else {
                    self.inquiries.queue(id);
                }
            }
            Err(_) => {
                open.failed = place + 1;
                if open.failed < self.models[open.model.0].rules().policy.providers.len() {
                    self.inquiries.queue(id);
                } else {
                    self.close_inquiry(now, id, Ending::Dropped(Dropped::Refused), out);
                }
            }
        }
    }

    /// Asks while a provider is free: jobs that wait for an answer come first.
    pub(super) fn ask_about_inquiries(&mut self, now: Moment, out: &mut Vec<Action>) {
        let cheaper = self.ask_while_somebody_has_time(now, out);
        let waits = self.inquiries.waits() && !self.draining;
        let rests = self.providers.iter().filter_map(|provider| provider.rests_until());
        self.inquiries.wake = rests.chain(cheaper).filter(|until| waits && *until > now).min();
    }

    /// When the most valuable one may be affordable, if it is the budget that it waits for.
    fn ask_while_somebody_has_time(&mut self, now: Moment, out: &mut Vec<Action>) -> Option<Moment> {
        self.spending.roll(now);
        while let Some(id) = self.inquiries.next().filter(|_| !self.draining) {
            let open = self.inquiries.open.get(&id)?;
            if expired(open, now) {
                self.close_inquiry(now, id, Ending::Dropped(Dropped::Expired), out);
                continue;
            }
            let (model, failed, reason, bytes) = (open.model, open.failed, open.inquiry.reason, open.bytes);
            let worth = (open.inquiry.lane == Lane::Value).then(|| open.worth(now));
            let listed = self.models[model.0].rules().policy.providers.iter().copied().enumerate().skip(failed);
            let Some((place, provider)) = listed.clone().find(|(_, id)| self.providers[id.0].has_time(now, self.eased))
            else {
                if listed.len() == 0 {
                    self.close_inquiry(now, id, Ending::Dropped(Dropped::Refused), out);
                    continue;
                }
                return None;
            };
            let most = Spending::most(self.providers[provider.0].rules.price, bytes);
            if !self.is_worth_its_price(now, worth, provider, most) {
                // A price falls slowly, while nobody asks, too.
                return Some(self.spending.rolls_at().min(now + limits::PRICE_AGAIN));
            }
            let Some(allowance) = self.spending.reserve(now, Call::Inquiry(id), most) else {
                return Some(self.spending.rolls_at());
            };
            self.inquiries.unqueue(id);
            if let Some(open) = self.inquiries.open.get_mut(&id) {
                open.stage = Stage::Asking { provider, place };
            }
            let asked = &mut self.providers[provider.0];
            asked.breaker.admit(now);
            asked.calls += 1;
            asked.inquiries += 1;
            let timeout = asked.rules.timeout;
            out.push(Action::Inquire { inquiry: id, model, provider, timeout, reason, allowance });
        }
        None
    }

    /// `worth`: what its answer brings by now; `None`: it measures, whatever it brings.
    fn is_worth_its_price(&self, now: Moment, worth: Option<f64>, provider: ProviderId, most: Cost) -> bool {
        let Some(worth) = worth else { return true };
        if self.spending.rich(now) {
            return true;
        }
        worth >= self.spending.prices(now).threshold(self.spending.usual(provider, most))
    }
}

fn expired(open: &Open, now: Moment) -> bool {
    seconds(now) - open.since_s > Span::as_micros(limits::INQUIRY_AGE) as f64 / 1e6
}
