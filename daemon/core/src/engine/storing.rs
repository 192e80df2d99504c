//! What the store reports back: durable, repeated, or failed.

use std::sync::Arc;

use super::{EXPIRED, Engine, FAR, Job, Stage};
use crate::{
    Action, Note, OutboxRow, Outcome, StoreFault, Timing,
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

    pub(super) fn finished(&mut self, key: Key, rows: &[OutboxRow], out: &mut Vec<Action>) {
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
            }
            _ => self.tally.refused += 1,
        }
        for row in rows {
            self.add_row(row);
        }
        for repeat in job.repeats {
            out.push(Action::Repeat { key: repeat, id: job.id.clone() });
            let waiting = Job {
                id: job.id.clone(),
                digest: job.digest,
                model: job.model,
                privacy: job.privacy,
                priority: job.priority,
                arrived: job.arrived,
                deadline_at: job.deadline_at,
                whole: job.whole,
                stage: Stage::Repeating,
                wake: FAR,
                acks: Vec::new(),
                repeats: Vec::new(),
                may_bounce: true,
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
        let Some(job) = self.jobs.get(&key) else { return };
        let promised = matches!(job.stage, Stage::Finishing { .. });
        // The same job may have come with a ticket meanwhile; an ack that is owed keeps it, whoever came first.
        if job.may_bounce && job.acks.is_empty() && !promised {
            let failure = Failure::new(why.code(), "the store has no room for this job now; try again later");
            let repeats = self.withdraw(key).map(|job| job.repeats).unwrap_or_default();
            for caller in std::iter::once(key).chain(repeats) {
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
