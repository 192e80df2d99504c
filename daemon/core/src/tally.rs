//! Counters, and the identity that they must keep (I5).

/// Everything that was ever accepted is in exactly one of the other places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub accepted: u64,
    /// Ended with an answer.
    pub done: u64,
    /// Ended with an error other than expiry.
    pub dead: u64,
    /// Ended because the deadline passed.
    pub expired: u64,
    /// Waits for an inference thread.
    pub waiting: u64,
    /// Is being inferred, asked upstream, or written as finished.
    pub running: u64,
    /// Never accepted: a durable error went out instead.
    pub refused: u64,
    /// Arrived again; not run again.
    pub duplicates: u64,
    /// Rows that nobody took.
    pub undeliverable: u64,
    /// Rows that the full store gave up (`on_full = "drop-oldest"`).
    pub evicted: u64,
    /// Rows that were given up because their receiver forbids them.
    pub buried: u64,
    /// Answers that a provider corrected afterwards.
    pub amended: u64,
    /// Answers that a provider confirmed afterwards.
    pub agreed: u64,
    /// Questions that were given up, by [`Dropped`](crate::inquiry::Dropped).
    pub inquiries_dropped: [u64; crate::inquiry::Dropped::ALL.len()],
}

impl Tally {
    /// I5: accepted = done + dead + expired + waiting + running.
    pub const fn balances(&self) -> bool {
        self.accepted == self.done + self.dead + self.expired + self.waiting + self.running
    }
}
