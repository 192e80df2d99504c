//! Which jobs get a second opinion: a share of them, drawn by the job's id before anything is known of its answer.

use picket_core::{escalation::lottery, job::JobId};
use sha2::{Digest as _, Sha256};

/// SHA-256 over a secret and the id is the ticket. Nobody outside can tell which jobs are drawn, and a job that
/// comes again is drawn again, or not again.
pub(super) struct Lottery {
    salt: [u8; 32],
}

impl Lottery {
    pub const fn new(salt: [u8; 32]) -> Self {
        Self { salt }
    }

    /// `rate`: share of the jobs.
    pub fn draws(&self, id: &JobId, rate: f64) -> bool {
        if rate <= 0.0 {
            return false;
        }
        let hash = Sha256::new().chain_update(self.salt).chain_update(id.as_str()).finalize();
        let number = hash.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        lottery::drawn(lottery::ticket(number), rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_are_drawn_and_always_the_same() {
        let lottery = Lottery::new([7; 32]);
        let drawn: Vec<bool> =
            (0..20_000).map(|n| lottery.draws(&JobId::new(&format!("press-4/{n}")).unwrap(), 0.02)).collect();
        let count = drawn.iter().filter(|drawn| **drawn).count();
        // 400 are expected, with a standard deviation of 20.
        assert!((300..500).contains(&count), "{count} of 20000");
        let again = Lottery::new([7; 32]);
        assert_eq!(again.draws(&JobId::new("press-4/17").unwrap(), 0.02), drawn[17]);
        let other = Lottery::new([8; 32]);
        assert!((0..20_000).any(|n| other.draws(&JobId::new(&format!("press-4/{n}")).unwrap(), 0.02) != drawn[n]));
    }

    #[test]
    fn nothing_or_everything() {
        let id = JobId::new("a").unwrap();
        assert!(!Lottery::new([7; 32]).draws(&id, 0.0) && Lottery::new([7; 32]).draws(&id, 1.0));
    }
}
