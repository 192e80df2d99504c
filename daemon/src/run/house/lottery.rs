//! Which jobs get a second opinion: a share of them, drawn by the job's id before anything is known of its answer.

use picket_core::{escalation::lottery, job::JobId};
use sha2::{Digest as _, Sha256};

/// SHA-256 over a secret and the id is the ticket. Nobody outside can tell which jobs are drawn, and a job that
/// comes again is drawn again, or not again.
pub(super) struct Lottery {
    salt: [u8; 32],
    /// Share of the jobs.
    rate: f64,
}

impl Lottery {
    pub const fn new(salt: [u8; 32], rate: f64) -> Self {
        Self { salt, rate }
    }

    pub fn draws(&self, id: &JobId) -> bool {
        if self.rate <= 0.0 {
            return false;
        }
        let hash = Sha256::new().chain_update(self.salt).chain_update(id.as_str()).finalize();
        let number = hash.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        lottery::drawn(lottery::ticket(number), self.rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_are_drawn_and_always_the_same() {
        let lottery = Lottery::new([7; 32], 0.02);
        let drawn: Vec<bool> =
            (0..20_000).map(|n| lottery.draws(&JobId::new(&format!("press-4/{n}")).unwrap())).collect();
        let count = drawn.iter().filter(|drawn| **drawn).count();
        // 400 are expected, with a standard deviation of 20.
        assert!((300..500).contains(&count), "{count} of 20000");
        let again = Lottery::new([7; 32], 0.02);
        assert_eq!(again.draws(&JobId::new("press-4/17").unwrap()), drawn[17]);
        let other = Lottery::new([8; 32], 0.02);
        assert!((0..20_000).any(|n| other.draws(&JobId::new(&format!("press-4/{n}")).unwrap()) != drawn[n]));
    }

    #[test]
    fn nothing_or_everything() {
        let id = JobId::new("a").unwrap();
        assert!(!Lottery::new([7; 32], 0.0).draws(&id) && Lottery::new([7; 32], 1.0).draws(&id));
    }
}
