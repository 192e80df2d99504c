//! Is everybody still working? Threads that hang, and what the service manager is told.

use picket_core::{Input, job::Failure, limits, time::Span};

use super::{House, ModelSlot};

impl House {
    /// Gives up inference threads that hang. Their jobs fail; with too many of them the process has to start anew.
    pub(super) fn look_after_threads(&mut self) {
        if self.next_check.is_some_and(|at| at <= self.clock.now()) {
            self.next_check = None;
            self.replace_stuck_threads();
        }
    }

    /// While anything runs, threads are looked after from time to time.
    pub(super) fn plan_next_check(&mut self) {
        if self.next_check.is_none() && self.engine.tally().running > 0 {
            self.next_check = Some(self.clock.now() + limits::STUCK_CHECK);
        }
    }

    fn replace_stuck_threads(&mut self) {
        let mut abandoned = 0;
        let mut stuck = Vec::new();
        for (index, slot) in self.models.iter_mut().enumerate() {
            let Ok((_, pool)) = &mut slot.state else { continue };
            stuck.extend(pool.replace_stuck().into_iter().map(|key| (picket_core::job::ModelId(index), key)));
            abandoned += pool.abandoned();
        }
        for (model, key) in stuck {
            let (job, name) = (self.cargo.get(&key).map(|cargo| cargo.id.as_str()), &self.models[model.0].name);
            tracing::error!(job, model = %name, "model/stuck: an inference does not end; its thread is given up");
            self.telemetry.dropped("thread");
            let failure = Failure::new("model/stuck", "the inference did not end");
            let input = Input::Inferred { key, model, result: Err(failure), prepare: Span::ZERO, infer: Span::ZERO };
            self.follow_ups.push_back(input);
        }
        if abandoned > limits::STUCK_THREADS {
            self.broken = Some(format!("error[model/stuck]: {abandoned} inference threads hang"));
        }
    }

    /// Who makes no progress. The run loop is here to say so itself; the store has answered lately; every transport moves (a
    /// broker's link, the tasks of serial lines); every model's threads take the jobs that wait for them.
    pub(in crate::run) fn standstill(&self) -> Option<String> {
        if self.desk.is_stalled(self.clock.now()) {
            return Some("the store".to_owned());
        }
        if let Some(slot) = self.transports.iter().find(|slot| !slot.transport.is_moving()) {
            return Some(format!("transport {}", slot.name));
        }
        let hangs = |slot: &&ModelSlot| slot.state.as_ref().is_ok_and(|(_, pool)| !pool.is_moving());
        self.models.iter().find(hangs).map(|slot| format!("the threads of model {}", slot.name))
    }
}
