//! From a transport into the table: known, unanswerable, too many, or welcome.

use std::sync::Arc;

use super::{Engine, FAR, Job, Joined, Stage, expired, shed};
use crate::{
    Action, Note, OutboxRow, Timing,
    job::{Arrival, Digest, Failure, JobId, StoredJob},
    limits,
    queue::Room,
    seen::Progress,
    time::{Moment, Span},
};

impl Engine {
    pub(super) fn recovered(
        &mut self,
        now: Moment,
        jobs: Vec<StoredJob>,
        rows: &[OutboxRow],
        seen: Vec<(JobId, Digest)>,
        out: &mut Vec<Action>,
    ) {
        for (id, digest) in seen {
            self.seen.finish(&id, digest, 0);
        }
        for row in rows {
            self.add_row(row);
        }
        for stored in jobs {
            self.seen.activate(stored.id.clone(), stored.digest, stored.asker, stored.key);
            let key = stored.key;
            let job = Job {
                id: stored.id,
                digest: stored.digest,
                model: stored.model.as_ref().ok().copied(),
                privacy: stored.privacy,
                audit: stored.audit,
                // Forgotten with the process: at worst a part is asked about once more.
                group: None,
                speaks: false,
                bytes: stored.bytes,
                priority: stored.priority,
                arrived: now,
                deadline_at: stored.deadline_at,
                whole: stored.deadline_at.since(now),
                stage: Stage::Waiting,
                wake: stored.deadline_at,
                acks: Vec::new(),
                repeats: Vec::new(),
                may_bounce: false,
                timing: Timing::default(),
            };
            self.tally.accepted += 1;
            self.tally.waiting += 1;
            self.insert(key, job);
            match stored.model {
                Ok(model) => self.models[model.0].push(key, stored.priority),
                Err(failure) => {
                    self.fail(now, key, failure, out);
                    continue;
                }
            }
            if stored.attempts >= limits::ATTEMPTS {
                self.fail(now, key, poison(stored.attempts), out);
            } else if stored.attempts > 0 {
                self.suspects.push_back(key);
            }
        }
    }

    pub(super) fn arrived(&mut self, now: Moment, arrival: Arrival, out: &mut Vec<Action>) {
        if self.draining {
            // Not acknowledged: the broker keeps it for the next run. A waiting caller hears it at once.
            if arrival.ticket.is_none() {
                out.push(Action::Bounce {
                    key: arrival.key,
                    failure: Failure::new("job/shutting-down", "this Picket is stopping"),
                });
            }
            out.push(Action::Forget { key: arrival.key });
            return;
        }
        if let Err(failure) = &arrival.model {
            let failure = failure.clone();
            return self.refuse(now, arrival, failure, out);
        }
        match self.seen.get(&arrival.id) {
            Some(known) if known.digest != arrival.digest => {
                let failure =
                    Failure::new("job/id-reused", format!("job id {} came before with other content", arrival.id));
                self.refuse(now, arrival, failure, out);
            }
            Some(known) if arrival.again && matches!(known.progress, Progress::Done { .. }) => {
                self.admit(now, arrival, out)
            }
            Some(known) => {
                let wants_its_own = arrival.answer_repeats || known.asker != Some(arrival.asker);
                self.duplicate(now, arrival, known.progress, wants_its_own, out);
            }
            None => self.admit(now, arrival, out),
        }
    }

    pub(super) fn admit(&mut self, now: Moment, arrival: Arrival, out: &mut Vec<Action>) {
        let Ok(model) = arrival.model else { return };
        let queue = &mut self.models[model.0];
        let whole = arrival.deadline.unwrap_or(queue.rules().deadline).min(limits::DEADLINE_MAX);
        if whole == Span::ZERO {
            return self.refuse(now, arrival, expired(), out);
        }
        match queue.room_for(arrival.priority) {
            Room::Free => {}
            Room::Evict(victim) => self.fail(now, victim, shed(), out),
            Room::Full => return self.refuse(now, arrival, shed(), out),
        }
        self.models[model.0].accepting += 1;
        self.seen.activate(arrival.id.clone(), arrival.digest, arrival.asker, arrival.key);
        let deadline_at = now + whole;
        let key = arrival.key;
        out.push(Action::Accept { key, deadline_at });
        let mut job = new_job(now, arrival, Stage::Accepting);
        (job.deadline_at, job.whole) = (deadline_at, whole);
        self.insert(key, job);
    }

    pub(super) fn duplicate(
        &mut self,
        now: Moment,
        arrival: Arrival,
        progress: Progress,
        wants_its_own: bool,
        out: &mut Vec<Action>,
    ) {
        self.tally.duplicates += 1;
        out.push(Action::Note(Note::Duplicate { id: arrival.id.clone() }));
        match progress {
            Progress::Active(original) => {
                let Some(job) = self.jobs.get_mut(&original) else { return };
                match (arrival.ticket, &job.stage) {
                    (Some(ticket), Stage::Accepting) => job.acks.push(ticket),
                    (Some(ticket), _) => out.push(Action::Ack { ticket }),
                    (None, _) => {}
                }
                if wants_its_own {
                    job.repeats.push(Joined { key: arrival.key, may_bounce: arrival.ticket.is_none() });
                } else {
                    out.push(Action::Forget { key: arrival.key });
                }
            }
            // Its result is still on the way: nothing to add.
            Progress::Done { unconfirmed: 1.. } if !wants_its_own => {
                out.extend(arrival.ticket.map(|ticket| Action::Ack { ticket }));
                out.push(Action::Forget { key: arrival.key });
            }
            Progress::Done { .. } => {
                out.push(Action::Repeat { key: arrival.key, id: arrival.id.clone() });
                let key = arrival.key;
                let job = new_job(now, arrival, Stage::Repeating);
                self.insert(key, job);
            }
        }
    }

    pub(super) fn refuse(&mut self, now: Moment, arrival: Arrival, failure: Failure, out: &mut Vec<Action>) {
        let failure = Arc::new(failure);
        out.push(Action::Refuse { key: arrival.key, failure: failure.clone() });
        let key = arrival.key;
        let job = new_job(now, arrival, Stage::Refusing { failure });
        self.insert(key, job);
    }
}

fn poison(attempts: u32) -> Failure {
    Failure::new("job/poison", format!("the daemon died {attempts} times while it ran this job"))
}

pub(super) fn new_job(now: Moment, arrival: Arrival, stage: Stage) -> Job {
    let model = arrival.model.ok();
    Job {
        id: arrival.id,
        digest: arrival.digest,
        model,
        privacy: arrival.privacy,
        audit: arrival.audit,
        group: model.zip(arrival.group),
        speaks: false,
        bytes: arrival.bytes,
        priority: arrival.priority,
        arrived: now,
        deadline_at: FAR,
        whole: Span::ZERO,
        stage,
        wake: FAR,
        acks: arrival.ticket.into_iter().collect(),
        repeats: Vec::new(),
        may_bounce: arrival.ticket.is_none(),
        timing: Timing::default(),
    }
}
