//! A detector that notices when a bound on a chance does not hold any more: a Shiryaev–Roberts e-detector (Shin, Ramdas and
//! Rinaldo 2022, "E-detectors", <https://arxiv.org/abs/2203.03532>), mixed over three bets.
//!
//! ```text
//! M ← (M + 1) · (1 + κ · (x - p))        x = 1 when it happened, p = what its chance is at most
//! ```
//!
//! It rings when the mean of M over the bets reaches a limit A. As long as the chance of x is at most p given all that
//! happened before, and κ·p < 1, the mean number of trials between two false alarms is at least A. Nothing is tuned.

use serde::{Deserialize, Serialize};

/// Far above every limit, so that nothing overflows while nobody looks.
const M_MAX: f64 = 1e12;
/// A bet never loses everything: M would not come back from it.
const FACTOR_MIN: f64 = 1e-3;

/// Three bets, and what they have won so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detector {
    m: [f64; 3],
    trials: u64,
    happened: u64,
    expected: f64,
}

/// What a detector has seen since it began.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen {
    /// Mean of M; to be compared with the limit.
    pub value: f64,
    pub trials: u64,
    pub happened: u64,
    /// How often it may have happened at most, on average.
    pub expected: f64,
}

impl Default for Detector {
    fn default() -> Self {
        Self { m: [0.0; 3], trials: 0, happened: 0, expected: 0.0 }
    }
}

impl Detector {
    /// `p` in [0, 1]: what the chance of this trial is at most. What is no number says nothing.
    pub fn observe(&mut self, happened: bool, p: f64, kappas: [f64; 3]) {
        if p.is_nan() {
            return;
        }
        let p = p.clamp(0.0, 1.0);
        let x = f64::from(u8::from(happened));
        for (m, kappa) in self.m.iter_mut().zip(kappas) {
            *m = ((*m + 1.0) * (1.0 + kappa * (x - p)).max(FACTOR_MIN)).min(M_MAX);
        }
        self.trials = self.trials.saturating_add(1);
        self.happened = self.happened.saturating_add(u64::from(happened));
        self.expected += p;
    }

    pub fn seen(&self) -> Seen {
        let value = self.m.iter().sum::<f64>() / self.m.len() as f64;
        Seen { value, trials: self.trials, happened: self.happened, expected: self.expected }
    }

    /// One that was saved. What a damaged file says of M is bounded.
    #[must_use]
    pub fn sound(mut self) -> Self {
        for m in &mut self.m {
            *m = if m.is_finite() { m.clamp(0.0, M_MAX) } else { 0.0 };
        }
        if !self.expected.is_finite() {
            self.expected = 0.0;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    const BETS: [f64; 3] = [0.1 / 0.02, 0.3 / 0.02, 0.6 / 0.02];

    /// Trials until the limit is reached.
    fn run_length(dice: &mut StdRng, chance: f64, limit: f64) -> u64 {
        let mut detector = Detector::default();
        while detector.seen().value < limit {
            detector.observe(dice.random_bool(chance), 0.02, BETS);
        }
        detector.seen().trials
    }

    /// The theorem: on average at least as many trials as the limit says.
    #[test]
    fn false_alarms_are_as_rare_as_the_limit_says() {
        let seed = 17;
        println!("seed {seed}");
        let mut dice = StdRng::seed_from_u64(seed);
        let mean = (0..400).map(|_| run_length(&mut dice, 0.02, 500.0)).sum::<u64>() as f64 / 400.0;
        println!("mean run length at the bound: {mean}");
        assert!(mean >= 500.0, "{mean}");
        assert!(mean <= 5_000.0, "{mean}: so cautious that it is useless");
    }

    /// Medians of escalation.md 2.2 when a promised 2 % becomes 5, 10, 20, 50 %: about 100, 32, 14, 5.
    #[test]
    fn a_broken_promise_is_noticed_as_soon_as_the_design_says() {
        let seed = 18;
        println!("seed {seed}");
        let mut dice = StdRng::seed_from_u64(seed);
        for (chance, about) in [(0.05, 100.0), (0.1, 32.0), (0.2, 14.0), (0.5, 5.0)] {
            let mut lengths: Vec<u64> = (0..501).map(|_| run_length(&mut dice, chance, 500.0)).collect();
            lengths.sort_unstable();
            let median = lengths[250] as f64;
            assert!((median / about - 1.0).abs() <= 0.25, "at {chance}: {median} instead of about {about}");
        }
    }

    #[test]
    fn it_stays_a_number_however_long_nobody_looks() {
        let mut detector = Detector::default();
        for _ in 0..100_000 {
            detector.observe(true, 0.0, BETS);
        }
        detector.observe(true, f64::NAN, BETS);
        assert_eq!((detector.seen().value, detector.seen().trials), (M_MAX, 100_000));
        for _ in 0..100_000 {
            detector.observe(false, 1.0, [0.9; 3]);
        }
        assert!(detector.seen().value >= 0.0 && detector.seen().value < 10.0);
    }
}
