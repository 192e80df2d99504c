//! The threads of one model.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use picket_core::{
    job::{Failure, JobId, Key, ModelId},
    limits,
    time::Span,
};

use super::{
    served::{PANICKED, Served},
    streams::{Place, Streams},
};
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
    shared: Shared,
    hands: Vec<Arc<Hand>>,
    /// Longer than this no inference takes; what does never ends.
    patience: Duration,
    abandoned: usize,
}

/// What every thread of a pool is made of.
#[derive(Clone)]
struct Shared {
    model: ModelId,
    served: Arc<Served>,
    inbox: Inbox,
    attempts: Arc<dyn Attempts>,
}

/// What one thread has in hand, and since when. A thread that is abandoned loses its hand, and with it the right to report.
#[derive(Default)]
struct Hand(Mutex<Option<(Key, Instant)>>);

impl Hand {
    fn hold(&self) -> MutexGuard<'_, Option<(Key, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
        patience: Duration,
    ) -> std::io::Result<Self> {
        let queue = Arc::new(Queue::new(workers * (1 + limits::PREFETCH_PER_WORKER)));
        let shared = Shared { model, served: served.clone(), inbox: inbox.clone(), attempts: attempts.clone() };
        let mut pool = Self { queue, shared, hands: Vec::with_capacity(workers), patience, abandoned: 0 };
        for worker in 0..workers {
            let hand = pool.hire(worker)?;
            pool.hands.push(hand);
        }
        Ok(pool)
    }

    fn hire(&self, worker: usize) -> std::io::Result<Arc<Hand>> {
        let hand = Arc::new(Hand::default());
        let thread = Worker {
            shared: self.shared.clone(),
            slot: self.shared.model.0 * limits::WORKERS_PER_MODEL + worker,
            queue: self.queue.clone(),
            hand: hand.clone(),
        };
        thread::Builder::new()
            .name(format!("infer-{}-{worker}", self.shared.served.bundle.name))
            .spawn(move || thread.run())?;
        Ok(hand)
    }

    /// Threads that were given up so far. Each may still take a core.
    pub const fn abandoned(&self) -> usize {
        self.abandoned
    }

    /// Gives up threads whose inference does not end, and hires others in their place: no thread can be stopped from
    /// outside. Returns the jobs that they had in hand.
    pub fn replace_stuck(&mut self) -> Vec<Key> {
        let mut stuck = Vec::new();
        for worker in 0..self.hands.len() {
            let taken = self.hands[worker].hold().take_if(|(_, since)| since.elapsed() > self.patience);
            let Some((key, _)) = taken else { continue };
            self.abandoned += 1;
            stuck.push(key);
            match self.hire(worker) {
                Ok(hand) => self.hands[worker] = hand,
                Err(error) => tracing::error!(%error, "no thread takes the place of one that is stuck"),
            }
        }
        stuck
    }

    /// Somebody takes the work that waits. Threads that are busy take some again when they are done, and those that never
    /// are have been replaced by then; so work that waits longer than both has nobody.
    pub fn is_moving(&self) -> bool {
        let patience = self.patience + Duration::from(limits::WORKERS_PATIENCE);
        self.queue.state().waits_since.is_none_or(|since| since.elapsed() <= patience)
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
    /// While work waits: when the last one was taken, or when it began to.
    waits_since: Option<Instant>,
    closed: bool,
}

impl State {
    fn take(&mut self) -> Option<Work> {
        let work = self.waiting.pop_front()?;
        self.waits_since = (!self.waiting.is_empty()).then(Instant::now);
        Some(work)
    }
}

impl Queue {
    fn new(capacity: usize) -> Self {
        let state = State { waiting: VecDeque::with_capacity(capacity), ..State::default() };
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
        if state.waiting.is_empty() {
            state.waits_since = Some(Instant::now());
        }
        state.waiting.push_back(work);
        drop(state);
        self.filled.notify_one();
        Ok(())
    }

    /// Work that is there already.
    fn try_pop(&self) -> Option<Work> {
        self.state().take()
    }

    /// Waits for work; `None` when there will be no more.
    fn pop(&self) -> Option<Work> {
        let wait = |state: &mut State| state.waiting.is_empty() && !state.closed;
        let mut state = self.filled.wait_while(self.state(), wait).unwrap_or_else(PoisonError::into_inner);
        state.take()
    }

    fn close(&self) {
        self.state().closed = true;
        self.filled.notify_all();
    }
}

struct Worker {
    shared: Shared,
    /// Its place in the record of attempts.
    slot: usize,
    queue: Arc<Queue>,
    hand: Arc<Hand>,
}

impl Worker {
    fn run(self) {
        let mut runner: Option<Box<dyn Runner>> = None;
        let mut streams = Streams::default();
        while let Some(Work { key, id, request }) = self.next() {
            *self.hand.hold() = Some((key, Instant::now()));
            self.shared.attempts.begin(self.slot, &id);
            let (mut result, prepare, infer) = self.infer((&mut runner, &mut streams), &id, &request);
            if self.hand.hold().take().is_none() {
                return; // given up meanwhile; somebody else has this place
            }
            if let Err(failure) = &mut result
                && failure.code == PANICKED
            {
                // Its state may be torn: the next job gets a new one.
                runner = None;
                failure.code = "model/failed";
            }
            failpoint::hit("inferred");
            let event = Event::Inferred { key, model: self.shared.model, result, prepare, infer };
            if self.shared.inbox.blocking_send(event).is_err() {
                return;
            }
        }
    }

    /// The next job overwrites the last one in the record of attempts; a thread that has none empties its place.
    fn next(&self) -> Option<Work> {
        failpoint::hit("worker");
        if let Some(work) = self.queue.try_pop() {
            return Some(work);
        }
        self.shared.attempts.end(self.slot);
        self.queue.pop()
    }

    fn infer(
        &self,
        (runner, streams): (&mut Option<Box<dyn Runner>>, &mut Streams),
        id: &JobId,
        request: &Request,
    ) -> (Result<Inferred, Failure>, Span, Span) {
        let runner = match runner {
            Some(runner) => runner,
            none => match self.shared.served.runner() {
                Ok(fresh) => none.insert(fresh),
                Err(failure) => return (Err(failure), Span::ZERO, Span::ZERO),
            },
        };
        failpoint::job(id);
        let place = Place::of(&request.in_stream, request.group.as_deref());
        self.shared.served.infer_in(runner.as_mut(), streams, &request.content, place)
    }
}
