//! The threads of one model.

use std::{
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
};

use picket_core::{
    job::{Failure, Key, ModelId},
    limits,
    time::Span,
};

use super::served::{PANICKED, Served};
use crate::ports::{Event, Inbox, Request, Runner};

struct Work {
    key: Key,
    request: Arc<Request>,
}

/// Runs jobs of one model on its own threads, so that no tokio worker ever waits for an inference.
pub struct Pool {
    work: mpsc::SyncSender<Work>,
}

impl Pool {
    /// Starts `workers` threads; they end when the pool is dropped.
    ///
    /// # Errors
    /// The operating system gives no thread.
    pub fn start(model: ModelId, served: &Arc<Served>, workers: usize, inbox: &Inbox) -> std::io::Result<Self> {
        let (work, queue) = mpsc::sync_channel(workers * (1 + limits::PREFETCH_PER_WORKER));
        let queue = Arc::new(Mutex::new(queue));
        for worker in 0..workers {
            let thread = Worker { model, served: served.clone(), queue: queue.clone(), inbox: inbox.clone() };
            thread::Builder::new()
                .name(format!("infer-{}-{worker}", served.bundle.name))
                .spawn(move || thread.run())?;
        }
        Ok(Self { work })
    }

    /// Hands a job over. The engine never hands over more than fits; if it did, the job fails rather than waits.
    ///
    /// # Errors
    /// There is no room, or no thread any more.
    pub fn submit(&self, key: Key, request: Arc<Request>) -> Result<(), Failure> {
        self.work
            .try_send(Work { key, request })
            .map_err(|_| Failure::new("model/failed", "the inference threads are gone"))
    }
}

struct Worker {
    model: ModelId,
    served: Arc<Served>,
    queue: Arc<Mutex<mpsc::Receiver<Work>>>,
    inbox: Inbox,
}

impl Worker {
    fn run(self) {
        let mut runner: Option<Box<dyn Runner>> = None;
        loop {
            let next = self.queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(Work { key, request }) = next else { return };
            let (mut result, prepare, infer) = self.infer(&mut runner, &request);
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
        request: &Request,
    ) -> (Result<crate::ports::Inferred, Failure>, Span, Span) {
        let runner = match runner {
            Some(runner) => runner,
            none => match self.served.runner() {
                Ok(fresh) => none.insert(fresh),
                Err(failure) => return (Err(failure), Span::ZERO, Span::ZERO),
            },
        };
        self.served.infer(runner.as_mut(), &request.content)
    }
}
