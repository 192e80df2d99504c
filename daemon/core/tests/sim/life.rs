//! Beginning and end of processes and connections.

use picket_core::{
    Input, LinkTerms,
    job::{Epoch, Key},
};
use rand::Rng;

use super::{
    coverage::Seen,
    process::{Known, Process},
    world::{Event, Inside, World},
};

impl World<'_> {
    /// A process begins: first what the store holds, then the transports come up.
    pub fn start(&mut self) {
        self.note(|_| "the process starts".into());
        let mut process = Process::new(&self.plan);
        for (key, kept) in &self.store.jobs {
            let mut known = Known::new(kept.spec.clone(), kept.to, None, self.now);
            known.deadline_at = kept.deadline_at;
            known.admitted = true;
            known.accepted_at = Some(self.now);
            process.keys.insert(*key, Box::new(known));
            process.askers.insert(kept.spec.id.clone(), kept.to.asker());
            process.tally.accepted += 1;
            process.tally.waiting += 1;
            self.coverage.hit(Seen::RecoveredJob);
        }
        for _ in &self.store.rows {
            self.coverage.hit(Seen::RecoveredRow);
        }
        self.process = Some(process);
        self.fund();
        for (model, learned) in self.store.learned.clone() {
            let (now, engine) = (self.now, &mut self.process().engine);
            engine.step(now, Input::Learned { model, learned: Box::new(learned.clone()) }, &mut Vec::new());
            let again = engine.learned(model);
            assert_eq!(again, Some(learned), "what was learned does not survive the process");
        }
        self.tell(self.store.recovered());
        self.tell(self.store.open_inquiries());
        if let Some(transport) = self.plan.http {
            self.tell(Input::LinkUp { transport, epoch: Epoch(0), terms: LinkTerms::default() });
        }
        if self.plan.mqtt.is_some() {
            let delay = self.moment(50);
            self.after(delay, Inside::Connect);
        }
    }

    /// The process dies, with everything that is not in the store.
    pub fn crash(&mut self) {
        self.note(|_| "the process dies".into());
        self.process = None;
        for (at, event) in std::mem::take(&mut self.events) {
            match *event {
                Event::Inside(Inside::Commit(op, _)) if self.rng.random_bool(0.5) => {
                    self.note(|_| format!("still durable: {op:?}"));
                    self.coverage.hit(Seen::CommittedUnheard);
                    let _ = self.store.commit(op);
                }
                Event::Inside(_) => {}
                outside => {
                    self.events.insert(at, Box::new(outside));
                }
            }
        }
        self.readers.bury();
        self.break_link();
        let delay = self.moment(100);
        self.at(self.now + delay, Event::Start);
        self.coverage.hit(Seen::Crash);
    }

    /// The process dies of a job that it runs. Of the jobs that were in hand besides, some were just running, too.
    pub fn die_of(&mut self, key: Key) {
        let in_hand: Vec<Key> = self.process().in_hand().collect();
        for other in in_hand {
            if (other == key || self.rng.random_bool(0.5))
                && let Some(kept) = self.store.jobs.get_mut(&other)
            {
                kept.attempts += 1;
            }
        }
        self.coverage.hit(Seen::Poisoned);
        self.crash();
    }

    fn break_link(&mut self) {
        let arrived = self.rng.random_range(0..=self.broker.flying());
        self.broker.cut(arrived, self.coverage);
    }

    pub fn cut(&mut self) {
        if !self.broker.up {
            return;
        }
        self.coverage.hit(Seen::LinkCut);
        self.break_link();
        let (noticed, gap) = (self.moment(20), self.moment(100));
        if self.chance(0.8) {
            self.after(noticed, Inside::NoticeCut);
        } else {
            self.coverage.hit(Seen::CutUntold);
        }
        self.at(self.now + noticed + gap, Event::Inside(Inside::Connect));
    }

    /// The daemon itself ends a connection on which nothing is confirmed.
    pub fn reset(&mut self, epoch: Epoch) {
        self.coverage.hit(Seen::Reset);
        if !self.broker.is_current(epoch) {
            return; // it is broken already, and the next one is on its way
        }
        self.break_link();
        let (noticed, gap) = (self.moment(20), self.moment(100));
        self.after(noticed, Inside::NoticeCut);
        self.at(self.now + noticed + gap, Event::Inside(Inside::Connect));
    }

    pub fn connect(&mut self) {
        let Some(transport) = self.plan.mqtt else { return };
        if self.broker.up {
            return;
        }
        let again = self.broker.connect();
        let epoch = self.broker.epoch;
        let patience = Some(self.plan.patience);
        self.tell(Input::LinkUp { transport, epoch, terms: LinkTerms { patience, receipts: self.plan.receipts } });
        for _ in 0..again {
            let delay = self.wire();
            self.after(delay, Inside::Receive(epoch));
        }
    }
}
