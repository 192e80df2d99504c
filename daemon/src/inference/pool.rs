//! The threads of one model.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use picket_core::{
    job::{Failure, JobId, Key, ModelId},
    limits,
    time::Span,
};

use super::served::{PANICKED, Served};
use crate::{
    failpoint,
    ports::{Attempts, Event, Inbox, Inferred, Request, Runner},
};

struct Work {
    key: Key,
    id: JobId,
    request: Arc<Request>,
}

/// Runs jobs of one model on its own threads, so that no tokio worker ever waits for an inference.
pub struct Pool {
    queue: Arc<Queue>,
}

impl Pool {
    /// Starts `workers` threads; they end when the pool is dropped.
    ///
    /// # Errors
    /// The operating system gives no thread.
    pub fn start(
        model: ModelId,
        served: &Arc<Served>,
        workers: usize,
        inbox: &Inbox,
        attempts: &Arc<dyn Attempts>,
    ) -> std::io::Result<Self> {
        let pool = Self { queue: Arc::new(Queue::new(workers * (1 + limits::PREFETCH_PER_WORKER))) };
        for worker in 0..workers {
            let thread = Worker {
                model,
                slot: model.0 * limits::WORKERS_PER_MODEL + worker,
                served: served.clone(),
                queue: pool.queue.clone(),
                inbox: inbox.clone(),
                attempts: attempts.clone(),
            };
            thread::Builder::new()
                .name(format!("infer-{}-{worker}", served.bundle.name))
                .spawn(move || thread.run())?;
        }
        Ok(pool)
    }

    /// Hands a job over. The engine never hands over more than fits; if it did, the job fails rather than waits.
    ///
    /// # Errors
    /// There is no room.
    pub fn submit(&self, key: Key, id: JobId, request: Arc<Request>) -> Result<(), Failure> {
        self.queue
            .push(Work { key, id, request })
            .map_err(|_| Failure::new("model/failed", "the inference threads are busy"))
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// A bounded queue that wakes its reader after the lock is free. The channel of std wakes it before: on one core the
/// reader then runs into the lock, and every job costs two more switches.
struct Queue {
    state: Mutex<State>,
    filled: Condvar,
    capacity: usize,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Work>,
    closed: bool,
}

impl Queue {
    fn new(capacity: usize) -> Self {
        let state = State { waiting: VecDeque::with_capacity(capacity), closed: false };
        Self { state: Mutex::new(state), filled: Condvar::new(), capacity }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock; a poisoned one still guards a whole queue.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the work back when there is no room.
    fn push(&self, work: Work) -> Result<(), Work> {
        let mut state = self.state();
        if state.waiting.len() >= self.capacity {
            return Err(work);
        }
        state.waiting.push_back(work);
        drop(state);
        self.filled.notify_one();
        Ok(())
    }

    /// Waits for work; `None` when there will be no more.
    fn pop(&self) -> Option<Work> {
        let wait = |state: &mut State| state.waiting.is_empty() && !state.closed;
        let mut state = self.filled.wait_while(self.state(), wait).unwrap_or_else(PoisonError::into_inner);
        state.waiting.pop_front()
    }

    fn close(&self) {
        self.state().closed = true;
        self.filled.notify_all();
    }
}

struct Worker {
    model: ModelId,
    /// Its place in the record of attempts.
    slot: usize,
    attempts: Arc<dyn Attempts>,
    served: Arc<Served>,
    queue: Arc<Queue>,
    inbox: Inbox,
}

impl Worker {
    fn run(self) {
        let mut runner: Option<Box<dyn Runner>> = None;
        while let Some(Work { key, id, request }) = self.queue.pop() {
            self.attempts.begin(self.slot, &id);
            let (mut result, prepare, infer) = self.infer(&mut runner, &id, &request);
            self.attempts.end(self.slot);
            if let Err(failure) = &mut result
                && failure.code == PANICKED
            {
                // Its state may be torn: the next job gets a new one.
                runner = None;
                failure.code = "model/failed";
            }
            let event = Event::Inferred { key, model: self.model, result, prepare, infer };
            if self.inbox.blocking_send(event).is_err() {
                return;
            }
        }
    }

    fn infer(
        &self,
        runner: &mut Option<Box<dyn Runner>>,
        id: &JobId,
        request: &Request,
    ) -> (Result<Inferred, Failure>, Span, Span) {
        let runner = match runner {
            Some(runner) => runner,
            none => match self.served.runner() {
                Ok(fresh) => none.insert(fresh),
                Err(failure) => return (Err(failure), Span::ZERO, Span::ZERO),
            },
        };
        failpoint::job(id);
        let result = self.served.infer(runner.as_mut(), &request.content);
        failpoint::hit("inferred");
        result
    }
}
