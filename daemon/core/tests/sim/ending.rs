//! One whole schedule, and what must be true when nothing is left to happen.

use std::rc::Rc;

use picket_core::{
    job::{JobId, Privacy},
    time::Span,
};

use super::{
    coverage::Coverage,
    outside::Call,
    plan::{Happening, Spec},
    process::slots,
    store::Address,
    world::{Event, World},
};

pub fn schedule(seed: u64, coverage: &mut Coverage, trace: Option<&mut String>) {
    let mut world = World::new(seed, coverage, trace);
    world.run();
    if world.process().draining {
        // Everything taken is done; what came later waits for the next process.
        world.process().check_at_rest();
        world.crash();
        world.run();
    }
    world.check_at_rest();
    world.probe();
    world.check_at_rest();
}

impl World<'_> {
    fn check_at_rest(&mut self) {
        self.note(|_| "at rest".into());
        self.process().check_at_rest();
        if self.plan.mqtt.is_some() {
            self.broker.check_at_rest();
        }
        assert!(
            !self.readers.calls.contains(&Call::Waiting),
            "a caller never heard anything: {:?}",
            self.readers.calls
        );
        assert!(self.store.inquiries.is_empty(), "questions never ended: {:?}", self.store.inquiries);
        assert!(self.store.jobs.is_empty(), "accepted jobs never ended: {:?}", self.store.jobs);
        let left = self.store.rows.keys().find(|row| !self.confirms_lost.contains(row));
        assert_eq!(left, None, "this row was never confirmed to the store");
        for (id, (digest, to)) in &self.store.accepted {
            let done = self.store.done.get(id).unwrap_or_else(|| panic!("{id} was accepted and has no result"));
            assert_eq!(done.digest, *digest);
            let (read, gone) = self.readers.results.get(id).copied().unwrap_or_default();
            match to {
                Address::Topic(_) => {
                    assert!(read > 0 || self.given_up.contains(id), "the result of {id} never reached its topic");
                }
                Address::Caller(..) => assert!(read + gone > 0, "the result of {id} went nowhere"),
            }
        }
    }

    /// More jobs, now that all is well: one for each model; or, which takes longer, enough to find out whether every place
    /// of every model is still there, and its whole queue.
    fn probe(&mut self) {
        self.probing = true;
        let fill = self.chance(0.25);
        let mut number = 0_u32;
        for model in 0..self.plan.models.len() {
            let fitting = slots(&self.plan, model) + self.plan.models[model].queue;
            for _ in 0..if fill { fitting } else { 1 } {
                number += 1;
                let spec = Rc::new(Spec {
                    id: JobId::new(&format!("probe-{number}")).unwrap(),
                    digest: [255; 32],
                    model: Some(model),
                    deadline: Some(Span::from_millis(u64::MAX)),
                    priority: 0,
                    privacy: Privacy::Never,
                    audit: false,
                    group: None,
                    poison: false,
                });
                let happening =
                    if self.plan.http.is_some() { Happening::Call(spec, None) } else { Happening::Publish(spec) };
                let at = self.now + Span::from_millis(u64::from(number) * 200);
                self.at(at, Event::Outside(happening));
            }
        }
        self.run();
        for model in 0..self.plan.models.len() {
            let (peak, places) = (self.process().peak[model], slots(&self.plan, model));
            assert!(peak == places || !fill, "model {model} has lost places: it used {peak} of {places} at most");
        }
    }
}
