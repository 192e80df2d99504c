//! Performs what the engine orders, and objects to what it must not order.

use std::sync::Arc;

use picket_core::{
    Action, Input, Note, Opinion, Outcome, ProviderFault, Refusal,
    engine::Call as Spend,
    escalation::decide::{self, Observation},
    job::{AckTicket, Epoch, Failure, JobId, Key, ModelId, ProviderId, RowId, TransportId},
    limits,
    time::{Moment, Span},
};
use rand::Rng;

use super::{
    coverage::Seen,
    outside::Call,
    plan::{Mood, up_to},
    process::{slots, yields},
    store::{Address, Op},
    world::{Inside, World},
};

impl World<'_> {
    pub fn perform(&mut self, action: Action) {
        match action {
            Action::Accept { key, deadline_at } => self.accept(key, deadline_at),
            Action::Ack { ticket } => self.ack(ticket),
            Action::Infer { key, model } => self.infer(key, model),
            Action::Ask { key, model, provider, timeout, allowance, .. } => {
                self.spends(Spend::Job(key, provider), &allowance);
                self.ask(key, model, provider, timeout);
            }
            Action::Finish { key, outcome } => self.finish(key, outcome),
            Action::Refuse { key, failure } => self.refuse(key, failure),
            Action::Repeat { key, id } => self.repeat(key, &id),
            Action::Bounce { key, .. } => {
                self.coverage.hit(Seen::Bounced);
                let Address::Caller(_, call) = self.process().live(key).to else { panic!("{key:?} is no caller's") };
                self.readers.answer(call, Call::Bounced);
            }
            Action::Deliver { transport, row, epoch } => self.deliver(transport, row, epoch),
            Action::Confirm { row } => {
                let process = self.process();
                assert!(process.must_confirm.remove(&row), "I3: {row:?} goes without a confirmation of now");
                process.forget_row(row);
                self.send_to_store(Op::Confirm { row });
            }
            Action::Bury { row, code } => self.bury(row, code),
            Action::Reset { transport, epoch } => {
                let now = self.now;
                let lane = self.process().lanes.get_mut(&transport).expect("the engine heard of this transport");
                let patience = lane.patience.expect("only an impatient link is reset");
                assert_eq!(lane.epoch, Some(epoch), "a connection that is gone is reset");
                assert!(!std::mem::replace(&mut lane.reset, true), "{epoch:?} is reset twice");
                let late = lane.handed.values().any(|at| now.since(*at) >= patience);
                assert!(late, "{epoch:?} is reset, and no row has waited long");
                self.reset(epoch);
            }
            Action::Forget { key } => {
                let process = self.process();
                let known = process.live(key);
                assert!(!known.in_store, "{key:?} is forgotten while the store works for it");
                known.forgotten = true;
                process.forgotten += 1;
            }
            Action::Inquire { inquiry, model, provider, timeout, reason, allowance } => {
                self.spends(Spend::Inquiry(inquiry), &allowance);
                self.inquire(inquiry, model, provider, timeout, reason);
            }
            Action::Close { inquiry, job, model, was, age: _, ending } => {
                self.close(inquiry, &job, model, &was, &ending)
            }
            Action::Remember { model } => {
                let learned = self.process().engine.learned(model).expect("something was learned");
                self.store.learned.insert(model, learned);
            }
            Action::Decided(decided) => {
                let again = decide::decide(&decided.seen, &decided.policy, &decided.around);
                let told = &decided.decision;
                // NaN is not equal to itself.
                assert!(
                    again == *told || format!("{again:?}") == format!("{told:?}"),
                    "it cannot be replayed: {told:?}"
                );
                self.process().decided.insert(decided.key);
            }
            Action::Note(note) => self.noted(&note),
        }
    }

    pub fn send_to_store(&mut self, op: Op) {
        let longest = if self.probing { Span::ZERO } else { self.plan.store_latency };
        let (durable, reported) = (up_to(&mut self.rng, longest), up_to(&mut self.rng, longest));
        self.after(durable, Inside::Commit(op, reported));
    }

    fn accept(&mut self, key: Key, deadline_at: Moment) {
        let known = self.process().start_storing(key);
        assert!(known.accepted_at.is_none() && known.outcome.is_none(), "{key:?} is past its acceptance");
        known.admitted = true;
        known.deadline_at = deadline_at;
        let (id, asker) = (known.spec.id.clone(), known.to.asker());
        let (spec, to, arrived) = (known.spec.clone(), known.to, known.arrived);
        self.process().askers.insert(id, asker);
        let model = spec.model.expect("only known models are accepted");
        let whole = spec.deadline.unwrap_or(self.plan.models[model].deadline).min(limits::DEADLINE_MAX);
        assert_eq!(deadline_at, arrived + whole, "the deadline of {key:?}");
        self.send_to_store(Op::Accept { key, spec, to, deadline_at });
    }

    fn ack(&mut self, ticket: AckTicket) {
        let found = self.process().keys.iter().find(|(_, known)| known.ticket == Some(ticket));
        let found = found.map(|(key, known)| (*key, known.spec.clone()));
        let (key, spec) = found.unwrap_or_else(|| panic!("I6: {ticket:?} came with no arrival of this process"));
        let accepted = self.store.accepted.get(&spec.id).is_some_and(|(digest, _)| *digest == spec.digest);
        assert!(accepted || self.store.refused.contains(&key), "I1: {key:?} is acked, and nothing of it is durable");
        let left = self.broker.ack(ticket, self.coverage);
        for _ in 0..left {
            let delay = self.wire();
            self.after(delay, Inside::AckArrives(ticket.epoch));
        }
    }

    fn infer(&mut self, key: Key, model: ModelId) {
        let places = slots(&self.plan, model.0);
        self.check_suspects(key);
        let process = self.process();
        let known = process.live(key);
        assert!(known.accepted_at.is_some() && known.outcome.is_none(), "{key:?} is inferred out of turn");
        assert_eq!(known.spec.model, Some(model.0), "{key:?} is inferred by another model");
        known.inferred = true;
        let id = known.spec.id.clone();
        assert!(!process.inferred_ids.contains(&id), "I4: {id} is inferred a second time");
        process.inferred_ids.insert(id);
        process.inferring[model.0] += 1;
        process.peak[model.0] = process.peak[model.0].max(process.inferring[model.0]);
        assert!(process.inferring[model.0] <= places, "more jobs in hand than model {} has places", model.0);
        process.tally.waiting -= 1;
        process.tally.running += 1;
        let infer = if self.probing {
            Span::from_millis(60_000)
        } else {
            let slow = if self.rng.random_bool(0.05) { 10 } else { 1 };
            Span::from_micros(up_to(&mut self.rng, self.plan.infer_latency).as_micros() * slow)
        };
        let result = self.observe();
        if self.process().live(key).spec.poison {
            return self.after(infer, Inside::Die(key));
        }
        self.hears_after(infer, Input::Inferred { key, model, result, prepare: Span::ZERO, infer });
    }

    /// A job that may have killed a process runs alone, or an innocent one could die with it.
    fn check_suspects(&mut self, key: Key) {
        let attempts = |key: &Key| self.store.jobs.get(key).map_or(0, |kept| kept.attempts);
        let process = self.process.as_ref().expect("the process runs");
        let others: Vec<Key> = process.in_hand().collect();
        assert!(attempts(&key) < limits::ATTEMPTS, "{key:?} is poison, and is run again");
        assert!(attempts(&key) == 0 || others.is_empty(), "a suspect, {key:?}, runs beside {others:?}");
        let suspect = others.iter().find(|other| attempts(other) > 0);
        assert_eq!(suspect, None, "{key:?} runs beside a suspect");
        if attempts(&key) > 0 {
            self.coverage.hit(Seen::SuspectAlone);
        }
    }

    fn observe(&mut self) -> Result<Observation, Failure> {
        if self.probing {
            return Ok(Observation::Opaque);
        }
        match self.rng.random_range(0..20) {
            0 => Ok(if self.rng.random_bool(0.5) { Observation::Opaque } else { Observation::WindowOpen }),
            1..=2 => Ok(Observation::Malformed("a NaN".into())),
            3 => Err(Failure::new("sim/broken-input", "it does not decode")),
            4..=11 => Ok(Observation::Scores(vec![0.1, 0.0])),
            _ => Ok(Observation::Scores(vec![9.0, 0.0])),
        }
    }

    fn ask(&mut self, key: Key, model: ModelId, provider: ProviderId, timeout: Span) {
        let listed = self.plan.models[model.0].policy.providers.contains(&provider);
        assert!(listed && timeout <= self.plan.providers[provider.0].timeout && timeout > Span::ZERO);
        let redacts = self.plan.models[model.0].policy.redacts;
        let now = self.now;
        let process = self.process();
        process.calls[provider.0] += 1;
        assert!(process.calls[provider.0] <= limits::PROVIDER_CALLS, "too many calls at {provider:?}");
        assert!(now >= process.rests_until[provider.0], "{provider:?} wanted to be left alone, and is asked");
        let known = process.live(key);
        assert!(known.spec.privacy.may_leave(redacts), "{key:?} must not leave this device");
        assert!(!known.withheld, "{key:?} was withheld, and goes to another provider");
        assert!(known.said.is_some() && known.outcome.is_none(), "{key:?} is asked upstream out of turn");
        assert!(now + timeout <= known.deadline_at, "{key:?} waits for a provider beyond its deadline");
        assert!(!known.asked.contains(&provider), "{key:?} is asked twice at {provider:?}");
        known.asked.push(provider);
        let part = known.part();
        known.asking = Some((provider, now + timeout));
        let second = known.asked.len() > 1;
        process.parts.extend(part);
        self.coverage.hit(if second { Seen::SecondProvider } else { Seen::Escalated });
        let (took, result) = self.provider_answers(self.plan.moods[provider.0], timeout);
        self.hears_after(took, Input::ProviderAnswered { key, provider, timeout, took, result });
    }

    pub fn provider_answers(&mut self, mood: Mood, timeout: Span) -> (Span, Result<Opinion, ProviderFault>) {
        let opinion = self.opinion();
        let rng = &mut self.rng;
        let late = Span::from_micros(timeout.as_micros() + rng.random_range(0..=timeout.as_micros() / 2));
        match mood {
            Mood::Good => (up_to(rng, timeout), Ok(opinion)),
            Mood::Unreachable if rng.random_bool(0.3) => {
                let rest = up_to(rng, Span::from_millis(2_000));
                let faults = [ProviderFault::Refused, ProviderFault::Limited(rest), ProviderFault::Unsuited];
                (up_to(rng, timeout), Err(faults[rng.random_range(0..faults.len())]))
            }
            Mood::Unreachable => (Span::from_micros(300), Err(ProviderFault::Unreachable)),
            Mood::Slow if rng.random_bool(0.5) => (late, Ok(opinion)),
            Mood::Slow => (late, Err(ProviderFault::TooSlow)),
            Mood::Confused if rng.random_bool(0.3) => (up_to(rng, timeout), Err(ProviderFault::Withheld)),
            Mood::Confused => (up_to(rng, timeout), Err(ProviderFault::BadAnswer)),
            Mood::Moody => {
                let moods = [Mood::Good, Mood::Unreachable, Mood::Slow, Mood::Confused];
                let mood = moods[rng.random_range(0..moods.len())];
                self.provider_answers(mood, timeout)
            }
        }
    }

    fn finish(&mut self, key: Key, outcome: Arc<Outcome>) {
        let now = self.now;
        let known = self.process().start_storing(key);
        let accepted_at = known.accepted_at.unwrap_or_else(|| panic!("{key:?} ends, and was never accepted"));
        if let Some(before) = &known.outcome {
            assert_eq!(*before, outcome, "I2: {key:?} ends differently when it is tried again");
        } else {
            assert!(now <= known.deadline_at.max(accepted_at), "{key:?} is still open after its deadline");
            known.outcome = Some(outcome.clone());
            if let Some((provider, until)) = known.asking.take() {
                assert!(now <= until, "{key:?} waits for {provider:?} beyond its patience");
            }
            if !known.inferred {
                let tally = &mut self.process().tally;
                tally.waiting -= 1;
                tally.running += 1;
            }
            self.judge(key, &outcome);
        }
        self.send_to_store(Op::Finish { key, outcome });
    }

    fn refuse(&mut self, key: Key, failure: Arc<Failure>) {
        assert!(!self.probing, "{key:?} is refused in a perfect world: {failure}");
        let known = self.process().start_storing(key);
        assert!(!known.admitted, "{key:?} is refused after it was admitted");
        let (to, model) = (known.to, known.spec.model);
        if let Some(before) = known.refusal.replace(failure.clone()) {
            assert_eq!(before, failure, "{key:?} is refused differently when it is tried again");
            return self.send_to_store(Op::Refuse { key, to });
        }
        match (failure.code, model) {
            ("job/id-reused", _) => self.coverage.hit(Seen::IdReused),
            ("job/shed", Some(model)) => {
                let process = self.process.as_ref().expect("the process runs");
                let full = process.waiting_for(model) >= self.plan.models[model].queue;
                assert!(full, "{key:?} is shed, and there is room");
                let gives_way = |waiting| yields(&self.plan, model, waiting, process.newcomer);
                assert!(!process.least_waiting(model).is_some_and(gives_way), "{key:?} is shed, and is more important");
                self.coverage.hit(Seen::Shed);
            }
            _ => self.coverage.hit(Seen::Unanswerable),
        }
        self.send_to_store(Op::Refuse { key, to });
    }

    fn repeat(&mut self, key: Key, id: &JobId) {
        let known = self.process().start_storing(key);
        assert_eq!(known.spec.id, *id, "another job's result is repeated");
        known.repeated = true;
        let (spec, to) = (known.spec.clone(), known.to);
        self.send_to_store(Op::Repeat { key, spec, to });
    }

    /// As good as confirmed for the store; its reader never gets it.
    fn bury(&mut self, row: RowId, code: &'static str) {
        assert_eq!(code, "mqtt/not-authorised");
        let process = self.process();
        assert_eq!(process.must_bury.take(), Some(row), "I3: a row is given up, and was not forbidden often enough");
        let job = process.jobs.get(&row).cloned();
        process.forget_row(row);
        self.given_up.extend(job);
        self.send_to_store(Op::Confirm { row });
    }

    fn deliver(&mut self, transport: TransportId, id: RowId, epoch: Epoch) {
        let now = self.now;
        let process = self.process();
        assert_eq!(process.rows.get(&id), Some(&transport), "{id:?} is delivered, and is not in the outbox");
        let lane = process.lanes.get_mut(&transport).expect("the engine heard of this transport");
        assert_eq!(lane.epoch, Some(epoch), "{id:?} is delivered on a connection that is gone");
        let mut older = process.rows.range(..id).filter(|(_, of)| **of == transport);
        // A forbidden row, and one that waits for its receipt, lets those behind it pass.
        let passable = |row| lane.handed.contains_key(row) || lane.resting.contains(row);
        assert!(older.all(|(row, _)| passable(row)), "{id:?} leaves before older rows");
        assert!(!lane.reset, "{id:?} is delivered on a connection that was given up");
        assert!(lane.handed.insert(id, now).is_none(), "{id:?} is delivered twice on one connection");
        if lane.resting.remove(&id) && process.awaited.contains(&id) {
            self.coverage.hit(Seen::SentAgainForReceipt);
        }
        let Some((row, job)) = self.store.rows.get(&id).cloned() else {
            assert!(self.store.evicted.contains(&id), "{id:?} is not in the store");
            return; // the engine is about to hear of it
        };
        if let Address::Topic(_) = row.to {
            if !self.broker.is_current(epoch) {
                return; // the link is broken, and the engine will hear of it
            }
            let forbidden = !self.probing && self.plan.forbids.is_some_and(|part| row.value % part == 0);
            if forbidden || self.mishap(self.plan.rejects) {
                let refusal = if forbidden { Refusal::Forbidden } else { Refusal::Busy };
                let delay = self.wire();
                return self.hears_after(delay, Input::Rejected { transport, row: id, epoch, refusal });
            }
        }
        let delay = self.wire();
        self.after(delay, Inside::Reach { transport, id, epoch, row, job });
    }

    fn noted(&mut self, note: &Note) {
        match note {
            Note::Duplicate { id } => {
                let process = self.process();
                process.tally.duplicates += 1;
                if process.is_open(id) {
                    self.coverage.hit(Seen::JoinedActive);
                } else if self.store.rows.values().any(|(_, job)| job.as_ref() == Some(id)) {
                    self.coverage.hit(Seen::StillOnItsWay);
                }
            }
            Note::StaleConfirm { row } => {
                assert_eq!(self.process().must_call_stale.take(), Some(*row), "a good confirmation is called stale");
            }
            Note::BreakerTripped { provider } | Note::BreakerClosed { provider } => {
                let closed = matches!(note, Note::BreakerClosed { .. });
                let now = self.now;
                assert_eq!(self.process().engine.provider_admits(*provider, now), closed, "{note:?} is not so");
                self.coverage.hit(if closed { Seen::BreakerClosed } else { Seen::BreakerTripped });
            }
            Note::Undeliverable { .. } | Note::Evicted { .. } | Note::StoreFailed(_) | Note::ProviderFailed { .. } => {}
            Note::InquiryDropped { .. } => {}
            Note::Overrun { .. } => panic!("no call costs more than it may: {note:?}"),
            Note::Alarm { model, .. } => {
                assert!(self.process().engine.is_suspect(*model), "{note:?}, and the certificate is in force");
                self.coverage.hit(Seen::Alarm);
            }
            Note::Recertified { .. } => {}
        }
    }
}
