//! What the store reports back: durable, repeated, or failed.

use std::sync::Arc;

use super::{EXPIRED, Engine, FAR, Job, Joined, Stage};
use crate::{
    Action, Answer, Note, OutboxRow, Outcome, StoreFault, Timing,
    inquiry::InquiryId,
    job::{Failure, Key},
    limits,
    time::Moment,
};

impl Engine {
    pub(super) fn accepted(&mut self, now: Moment, key: Key, out: &mut Vec<Action>) {
        let Some(job) = self.jobs.get_mut(&key) else { return };
        let (Stage::Accepting, Some(model)) = (&job.stage, job.model) else { return };
        out.extend(job.acks.drain(..).map(|ticket| Action::Ack { ticket }));
        job.stage = Stage::Waiting;
        job.timing.queue = now.since(job.arrived);
        let (priority, deadline_at) = (job.priority, job.deadline_at);
        let queue = &mut self.models[model.0];
        queue.accepting -= 1;
        queue.push(key, priority);
        self.tally.accepted += 1;
        self.tally.waiting += 1;
        self.set_wake(key, deadline_at);
    }

    pub(super) fn finished(
        &mut self,
        now: Moment,
        key: Key,
        rows: &[OutboxRow],
        inquiry: Option<InquiryId>,
        out: &mut Vec<Action>,
    ) {
        let Some(job) = self.remove(key) else { return };
        out.extend(job.acks.iter().map(|ticket| Action::Ack { ticket: *ticket }));
        match &job.stage {
            Stage::Finishing { outcome } => {
                self.tally.running -= 1;
                match &**outcome {
                    Outcome::Answered(_) => self.tally.done += 1,
                    Outcome::Failed(failure, _) if failure.code == EXPIRED => self.tally.expired += 1,
                    Outcome::Failed(..) => self.tally.dead += 1,
                }
                self.seen.finish(&job.id, job.digest, 0);
                if let (Some(id), Outcome::Answered(Answer { later: Some(later), .. }), Some(model)) =
                    (inquiry, &**outcome, job.model)
                {
                    self.inquire(now, id, (job.id.clone(), model, job.bytes, job.group.clone()), later.clone(), out);
                }
            }
            _ => self.tally.refused += 1,
        }
        for row in rows {
            self.add_row(row);
        }
        for Joined { key: repeat, may_bounce } in job.repeats {
            out.push(Action::Repeat { key: repeat, id: job.id.clone() });
            let waiting = Job {
                id: job.id.clone(),
                digest: job.digest,
                model: job.model,
                privacy: job.privacy,
                audit: false,
                group: None,
                speaks: false,
                bytes: 0,
                priority: job.priority,
                arrived: job.arrived,
                deadline_at: job.deadline_at,
                whole: job.whole,
                stage: Stage::Repeating,
                wake: FAR,
                acks: Vec::new(),
                repeats: Vec::new(),
                may_bounce,
                timing: Timing::default(),
            };
            self.insert(repeat, waiting);
        }
        out.push(Action::Forget { key });
    }

    pub(super) fn repeated(&mut self, key: Key, rows: &[OutboxRow], out: &mut Vec<Action>) {
        let Some(job) = self.remove(key) else { return };
        out.extend(job.acks.into_iter().map(|ticket| Action::Ack { ticket }));
        for row in rows {
            self.add_row(row);
        }
        out.push(Action::Forget { key });
    }

    pub(super) fn nothing_to_repeat(&mut self, key: Key, out: &mut Vec<Action>) {
        let Some(job) = self.jobs.get_mut(&key) else { return };
        let message = format!("job id {} was answered before, and its result is no longer kept", job.id);
        let failure = Arc::new(Failure::new("job/id-reused", message));
        job.stage = Stage::Refusing { failure: failure.clone() };
        out.push(Action::Refuse { key, failure });
        self.set_wake(key, FAR);
    }

    /// Nothing is acknowledged until the store works again: the operation is tried again after a while.
    pub(super) fn store_failed(&mut self, now: Moment, key: Key, why: StoreFault, out: &mut Vec<Action>) {
        out.push(Action::Note(Note::StoreFailed(why)));
        if why == StoreFault::Full {
            // A job is worth more than a question about one that is answered.
            self.give_up_an_inquiry(now, out);
        }
        let Some(job) = self.jobs.get(&key) else { return };
        let promised = matches!(job.stage, Stage::Finishing { .. });
        // The same job may have come with a ticket meanwhile; an ack that is owed keeps it, whoever came first.
        if job.may_bounce && job.acks.is_empty() && !promised {
            let failure = Failure::new(why.code(), "the store has no room for this job now; try again later");
            let repeats = self.withdraw(key).map(|job| job.repeats).unwrap_or_default();
            for caller in std::iter::once(key).chain(repeats.into_iter().map(|joined| joined.key)) {
                out.push(Action::Bounce { key: caller, failure: failure.clone() });
                out.push(Action::Forget { key: caller });
            }
        } else {
            self.set_wake(key, now + limits::STORE_RETRY);
        }
    }

    /// Forgets a job that was never accepted.
    fn withdraw(&mut self, key: Key) -> Option<Job> {
        let job = self.remove(key)?;
        if let (Stage::Accepting, Some(model)) = (&job.stage, job.model) {
            self.models[model.0].accepting -= 1;
            self.seen.withdraw(&job.id);
        }
        Some(job)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Input, StoreFault,
        engine::{ModelRules, WhenFull},
        escalation::decide::Policy,
        job::{AckTicket, Arrival, Epoch, JobId, ModelId, Privacy, TransportId},
        time::Span,
    };

    const TICKET: AckTicket = AckTicket { transport: TransportId(0), epoch: Epoch(1), serial: 0 };

    /// An engine in which the same job has arrived so often, with these tickets; the first one is being accepted.
    fn arrived(tickets: &[Option<AckTicket>]) -> Engine {
        let policy = Policy::alone(1.0, None);
        let rules =
            ModelRules { workers: 1, queue: 2, when_full: WhenFull::Shed, deadline: Span::from_millis(50), policy };
        let mut engine = Engine::new(vec![rules], vec![]);
        for (key, ticket) in (0..).zip(tickets) {
            let arrival = Arrival {
                key: Key(key),
                id: JobId::new("job").unwrap(),
                digest: [0; 32],
                model: Ok(ModelId(0)),
                deadline: None,
                priority: 0,
                privacy: Privacy::Ok,
                ticket: *ticket,
                audit: false,
                group: None,
                bytes: 0,
                answer_repeats: ticket.is_none(),
                again: false,
                asker: 0,
            };
            engine.step(Moment::ZERO, Input::Arrived(arrival), &mut Vec::new());
        }
        engine
    }

    fn store_failed(engine: &mut Engine) -> Vec<Action> {
        let mut out = Vec::new();
        engine.step(Moment::ZERO, Input::StoreFailed { key: Key(0), why: StoreFault::Full }, &mut out);
        out
    }

    #[test]
    fn a_bounce_reaches_everybody_who_waits_for_the_job() {
        let mut engine = arrived(&[None, None]);
        let out = store_failed(&mut engine);
        for caller in [Key(0), Key(1)] {
            assert!(out.iter().any(|action| matches!(action, Action::Bounce { key, .. } if *key == caller)), "{out:?}");
            assert!(out.iter().any(|action| matches!(action, Action::Forget { key } if *key == caller)), "{out:?}");
        }
        assert!(engine.idle());
    }

    #[test]
    fn an_ack_that_is_owed_keeps_a_callers_job() {
        let mut engine = arrived(&[None, Some(TICKET)]);
        let out = store_failed(&mut engine);
        assert!(!out.iter().any(|action| matches!(action, Action::Bounce { .. })), "{out:?}");
        let mut out = Vec::new();
        engine.step(Moment::ZERO + limits::STORE_RETRY, Input::Tick, &mut out);
        assert!(matches!(out[..], [Action::Accept { key: Key(0), .. }]), "{out:?}");
        engine.step(Moment::ZERO + limits::STORE_RETRY, Input::Accepted { key: Key(0) }, &mut out);
        assert!(out.iter().any(|action| matches!(action, Action::Ack { ticket } if *ticket == TICKET)), "{out:?}");
    }
}
