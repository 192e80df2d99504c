//! Is everybody still working? Threads that hang, and what the service manager is told.

use picket_core::{Input, job::Failure, limits, time::Span};

use super::House;

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
            let name = &self.models[model.0].name;
            tracing::error!(%name, "model/stuck: an inference does not end; its thread is given up");
            self.telemetry.dropped("thread");
            let failure = Failure::new("model/stuck", "the inference did not end");
            let input = Input::Inferred { key, model, result: Err(failure), prepare: Span::ZERO, infer: Span::ZERO };
            self.follow_ups.push_back(input);
        }
        if abandoned > limits::STUCK_THREADS {
            self.broken = Some(format!("error[model/stuck]: {abandoned} inference threads hang"));
        }
    }

    /// The run loop is here to say so itself; the store has answered lately; every transport moves.
    pub(in crate::run) fn is_healthy(&self) -> bool {
        !self.desk.is_stalled(self.clock.now()) && self.transports.iter().all(|slot| slot.transport.is_moving())
    }
}
