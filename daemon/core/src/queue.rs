//! The jobs that wait for one model, and how many its threads have in hand.

use std::{cmp::Reverse, collections::BTreeSet};

use crate::{engine::ModelRules, engine::WhenFull, escalation::decide::Policy, job::Key, limits};

/// Order of service: higher priority first, then first come. Newest-wins models serve the newest of a priority first.
type Place = (Reverse<u8>, u64);

#[derive(Debug)]
pub(crate) struct ModelQueue {
    places: BTreeSet<(Place, Key)>,
    /// Being made durable; they will wait here, so they take a place already.
    pub accepting: usize,
    pub in_hand: usize,
    rules: ModelRules,
}

/// What becomes of a job that finds the queue full.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Room {
    Free,
    /// This one has to go first.
    Evict(Key),
    Full,
}

impl ModelQueue {
    pub fn new(rules: ModelRules) -> Self {
        Self { places: BTreeSet::new(), accepting: 0, in_hand: 0, rules }
    }

    pub fn rules(&self) -> &ModelRules {
        &self.rules
    }

    pub fn policy_mut(&mut self) -> &mut Policy {
        &mut self.rules.policy
    }

    fn place(&self, key: Key, priority: u8) -> (Place, Key) {
        let order = match self.rules.when_full {
            WhenFull::Shed => key.0,
            WhenFull::NewestWins => u64::MAX - key.0,
        };
        ((Reverse(priority), order), key)
    }

    pub fn push(&mut self, key: Key, priority: u8) {
        self.places.insert(self.place(key, priority));
    }

    pub fn remove(&mut self, key: Key, priority: u8) -> bool {
        let place = self.place(key, priority);
        self.places.remove(&place)
    }

    /// Hands over this very job, whoever waits before it.
    pub fn take(&mut self, key: Key, priority: u8) {
        self.remove(key, priority);
        self.in_hand += 1;
    }

    /// The next job for a thread, if one is free (or the prefetch has room).
    pub fn next(&mut self) -> Option<Key> {
        let ahead = match self.rules.when_full {
            WhenFull::Shed => limits::PREFETCH_PER_WORKER,
            WhenFull::NewestWins => 0,
        };
        if self.in_hand >= self.rules.workers * (1 + ahead) {
            return None;
        }
        let (_, key) = self.places.pop_first()?;
        self.in_hand += 1;
        Some(key)
    }

    /// Is there room for a new job of this priority? The last in the order of service goes first: the latest of the
    /// lowest priority, or for newest-wins the oldest of it.
    pub fn room_for(&self, priority: u8) -> Room {
        if self.places.len() + self.accepting < self.rules.queue {
            return Room::Free;
        }
        match self.places.last() {
            Some(((Reverse(lowest), _), key)) if *lowest < priority => Room::Evict(*key),
            Some(((Reverse(lowest), _), key))
                if *lowest == priority && self.rules.when_full == WhenFull::NewestWins =>
            {
                Room::Evict(*key)
            }
            _ => Room::Full,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{escalation::decide::Policy, time::Span};

    fn queue(when_full: WhenFull) -> ModelQueue {
        let policy = Policy::alone(1.0, None);
        ModelQueue::new(ModelRules { workers: 1, queue: 2, when_full, deadline: Span::from_millis(1), policy })
    }

    #[test]
    fn serves_by_priority_then_first_come() {
        let mut q = queue(WhenFull::Shed);
        q.push(Key(1), 0);
        q.push(Key(2), 5);
        q.push(Key(3), 5);
        assert_eq!([q.next(), q.next(), q.next(), q.next()], [Some(Key(2)), Some(Key(3)), Some(Key(1)), None]);
    }

    #[test]
    fn newest_wins_serves_the_newest_and_evicts_the_oldest() {
        let mut q = queue(WhenFull::NewestWins);
        q.push(Key(1), 0);
        q.push(Key(2), 0);
        assert_eq!(q.room_for(0), Room::Evict(Key(1)));
        assert_eq!(q.next(), Some(Key(2)));
        assert_eq!(q.next(), None, "no prefetch: a handed-over frame can no longer be replaced");
    }

    #[test]
    fn a_full_queue_sheds_unless_the_newcomer_is_more_important() {
        let mut q = queue(WhenFull::Shed);
        q.push(Key(1), 3);
        q.push(Key(2), 3);
        assert_eq!(q.room_for(3), Room::Full);
        assert_eq!(q.room_for(4), Room::Evict(Key(2)));
        q.next();
        q.accepting = 1;
        assert_eq!(q.room_for(3), Room::Full, "a job being made durable has its place");
    }
}
