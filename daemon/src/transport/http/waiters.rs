//! Who waits on the line for which answer.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use picket_core::{job::Failure, limits};
use tokio::sync::oneshot;

use crate::ports::Message;

/// What a waiter hears.
#[derive(Debug)]
pub(super) enum Answer {
    /// The stored result or error, to be sent as it is.
    Message(Arc<Message>),
    /// The store could not take the job.
    Bounced(Failure),
}

/// The table of waiting callers, at most [`limits::HTTP_WAITERS`].
#[derive(Clone)]
pub(super) struct Waiters {
    /// Random word of this process.
    boot: u64,
    table: Arc<Mutex<Table>>,
}

#[derive(Default)]
struct Table {
    next: u64,
    lines: HashMap<u64, oneshot::Sender<Answer>>,
    /// No more answers come: the daemon stops.
    dismissed: bool,
}

/// A caller's place in the table; dropping it hangs up.
pub(super) struct Waiter {
    number: u64,
    pub answer: oneshot::Receiver<Answer>,
    waiters: Waiters,
}

impl Default for Waiters {
    fn default() -> Self {
        Self { boot: rand::random(), table: Arc::default() }
    }
}

impl Waiters {
    /// A place in the table, if there is one.
    pub fn admit(&self) -> Option<Waiter> {
        let (line, answer) = oneshot::channel();
        let mut table = self.table();
        if table.dismissed || table.lines.len() >= limits::HTTP_WAITERS {
            return None;
        }
        let number = table.next;
        table.next += 1;
        table.lines.insert(number, line);
        drop(table);
        Some(Waiter { number, answer, waiters: self.clone() })
    }

    /// Hands over an answer; false when nobody waits at this address.
    #[must_use]
    pub fn answer(&self, to: &str, answer: Answer) -> bool {
        let Some(number) = self.number(to) else { return false };
        let line = self.table().lines.remove(&number);
        line.is_some_and(|line| line.send(answer).is_ok())
    }

    /// Lets everybody go who still waits.
    pub fn dismiss(&self) {
        let mut table = self.table();
        table.dismissed = true;
        table.lines.clear();
    }

    fn number(&self, to: &str) -> Option<u64> {
        let (boot, number) = to.split_once('-')?;
        (u64::from_str_radix(boot, 16) == Ok(self.boot)).then(|| number.parse().ok())?
    }

    /// Every change of the table is whole, so that a poisoned lock holds a good one.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter {
    /// Its address for the run loop; no other process and no other request ever has the same.
    pub fn address(&self) -> Arc<str> {
        format!("{:016x}-{}", self.waiters.boot, self.number).into()
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.waiters.table().lines.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounced() -> Answer {
        Answer::Bounced(Failure::new("store/full", "full"))
    }

    #[test]
    fn an_answer_finds_its_waiter_once() {
        let waiters = Waiters::default();
        let mut waiter = waiters.admit().unwrap();
        assert!(waiters.answer(&waiter.address(), bounced()));
        assert!(waiter.answer.try_recv().is_ok());
        assert!(!waiters.answer(&waiter.address(), bounced()));
    }

    #[test]
    fn a_caller_who_hung_up_is_no_longer_there() {
        let waiters = Waiters::default();
        let to = waiters.admit().unwrap().address();
        assert!(!waiters.answer(&to, bounced()));
        assert_eq!(waiters.table().lines.len(), 0);
    }

    #[test]
    fn addresses_of_the_last_run_mean_nobody() {
        let (last, this) = (Waiters::default(), Waiters::default());
        let to = last.admit().unwrap().address();
        let _waiting = this.admit().unwrap();
        assert!(!this.answer(&to, bounced()));
        for odd in ["", "0", "x-0", "P/result/digits"] {
            assert!(!this.answer(odd, bounced()));
        }
    }

    #[test]
    fn the_table_has_an_end() {
        let waiters = Waiters::default();
        let all: Vec<Waiter> = (0..limits::HTTP_WAITERS).map(|_| waiters.admit().unwrap()).collect();
        assert!(waiters.admit().is_none());
        drop(all);
        assert!(waiters.admit().is_some());
        waiters.dismiss();
        assert!(waiters.admit().is_none());
    }
}
