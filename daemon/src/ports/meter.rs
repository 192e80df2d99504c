//! What may leave about one question, and what did: the allowance that was put aside for it, kept where the bytes go out.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Of one question, over all its attempts.
#[derive(Debug)]
pub struct Meter {
    /// Bytes of bodies, together.
    most: u64,
    sent: AtomicU64,
    worked_on: AtomicBool,
}

impl Meter {
    pub const fn new(most: u64) -> Self {
        Self { most, sent: AtomicU64::new(0), worked_on: AtomicBool::new(false) }
    }

    /// A body of so many bytes is about to leave. `false`: that is more than was put aside, and it must not.
    #[must_use]
    pub fn leaves(&self, bytes: u64) -> bool {
        let add = |sent: u64| sent.checked_add(bytes).filter(|sent| *sent <= self.most);
        self.sent.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
    }

    /// It did not leave after all: there was no connection.
    pub fn stayed(&self, bytes: u64) {
        let _ = self.sent.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |sent| Some(sent.saturating_sub(bytes)));
    }

    /// The other end may have worked on it, and may want money for that.
    pub fn worked_on(&self) {
        self.worked_on.store(true, Ordering::Relaxed);
    }

    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    pub fn may_cost(&self) -> bool {
        self.worked_on.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_leaves_than_was_put_aside() {
        let meter = Meter::new(100);
        assert!(meter.leaves(60) && !meter.leaves(41) && meter.leaves(40) && !meter.leaves(1));
        meter.stayed(40);
        assert_eq!(meter.sent(), 60);
        assert!(!meter.leaves(u64::MAX) && meter.leaves(40));
        assert!(!meter.may_cost());
        meter.worked_on();
        assert!(meter.may_cost());
    }
}
