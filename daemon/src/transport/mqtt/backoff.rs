//! How long to wait before the next attempt to connect: full jitter under a growing ceiling.

use std::time::Duration;

#[derive(Debug)]
pub(super) struct Backoff {
    first: Duration,
    most: Duration,
    /// A connection that stood for so long ends the row of failures.
    healthy: Duration,
    ceiling: Duration,
}

impl Backoff {
    /// For a broker that is away, or refuses us.
    pub const fn ordinary() -> Self {
        Self::new(Duration::from_millis(250), Duration::from_secs(60), Duration::from_secs(60))
    }

    /// For another client with our id: whoever comes back first drives the other out, so neither may hurry. It
    /// takes twice the longest wait to be healthy, so that somebody who waits just as long has come and gone.
    pub const fn contested() -> Self {
        Self::new(Duration::from_secs(1), Duration::from_secs(300), Duration::from_secs(600))
    }

    const fn new(first: Duration, most: Duration, healthy: Duration) -> Self {
        Self { first, most, healthy, ceiling: first }
    }

    /// `chance` is in [0, 1). Not below a tenth of the ceiling: a broker that refuses at once must not be hammered.
    pub fn next(&mut self, chance: f64) -> Duration {
        let wait = self.ceiling.mul_f64(0.1 + 0.9 * chance);
        self.ceiling = (self.ceiling * 2).min(self.most);
        wait
    }

    /// A connection stood for so long: does that end the row of failures?
    pub fn stood(&mut self, span: Duration) {
        if span >= self.healthy {
            self.reset();
        }
    }

    pub const fn reset(&mut self) {
        self.ceiling = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_its_ceiling_and_starts_over() {
        let mut backoff = Backoff::ordinary();
        assert_eq!(backoff.next(0.999_999).as_millis(), 249);
        assert!(backoff.next(0.0) >= Duration::from_millis(50));
        for _ in 0..20 {
            assert!(backoff.next(0.5) <= Duration::from_secs(60));
        }
        backoff.reset();
        assert!(backoff.next(0.999) <= Duration::from_millis(250));
    }

    #[test]
    fn a_contested_client_id_is_left_alone_for_up_to_five_minutes() {
        let mut backoff = Backoff::contested();
        let waits: Vec<u64> = (0..10).map(|_| backoff.next(1.0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]);
        backoff.stood(Duration::from_secs(300));
        assert_eq!(backoff.next(1.0).as_secs(), 300, "the other one may only be waiting");
        backoff.stood(Duration::from_secs(600));
        assert_eq!(backoff.next(1.0).as_secs(), 1);
    }
}
