//! How long to wait before the next attempt to connect: full jitter under a growing ceiling.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(250);
const CEILING: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Backoff {
    ceiling: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { ceiling: FIRST }
    }
}

impl Backoff {
    /// `chance` is in [0, 1). Not below a tenth of the ceiling: a broker that refuses at once must not be hammered.
    pub fn next(&mut self, chance: f64) -> Duration {
        let wait = self.ceiling.mul_f64(0.1 + 0.9 * chance);
        self.ceiling = (self.ceiling * 2).min(CEILING);
        wait
    }

    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_its_ceiling_and_starts_over() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.next(0.999_999).as_millis(), 249);
        assert!(backoff.next(0.0) >= Duration::from_millis(50));
        for _ in 0..20 {
            assert!(backoff.next(0.5) <= CEILING);
        }
        backoff.reset();
        assert!(backoff.next(0.999) <= FIRST);
    }
}
