//! Intervals of what was measured.

use picket_core::escalation::certificate::{lower, upper};

/// A share of trials with its exact 95 % interval (Clopper & Pearson 1934).
#[derive(Clone, Copy, Debug, Default)]
pub struct Frequency {
    pub hits: u64,
    pub trials: u64,
}

impl Frequency {
    pub fn count(&mut self, hit: bool) {
        self.hits += u64::from(hit);
        self.trials += 1;
    }

    pub fn share(self) -> f64 {
        self.hits as f64 / self.trials.max(1) as f64
    }

    pub fn low(self) -> f64 {
        lower(self.hits, self.trials, 0.025)
    }

    pub fn high(self) -> f64 {
        upper(self.hits, self.trials, 0.025)
    }

    /// `1.2 % (0.9–1.6)`
    pub fn text(self) -> String {
        format!("{:.1} % ({:.1}–{:.1})", 100.0 * self.share(), 100.0 * self.low(), 100.0 * self.high())
    }
}

/// A mean over seeds with its 95 % interval by Student's t.
#[derive(Clone, Debug, Default)]
pub struct Mean {
    values: Vec<f64>,
}

/// 97.5 % quantiles of Student's t for 1 … 30 degrees of freedom.
const T: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
    2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
];

impl Mean {
    pub fn add(&mut self, value: f64) {
        self.values.push(value);
    }

    pub fn mean(&self) -> f64 {
        self.values.iter().sum::<f64>() / self.values.len().max(1) as f64
    }

    /// Half the width of the interval; NaN of fewer than two.
    pub fn half(&self) -> f64 {
        let n = self.values.len();
        if n < 2 {
            return f64::NAN;
        }
        let mean = self.mean();
        let variance = self.values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1) as f64;
        T.get(n - 2).copied().unwrap_or(1.96) * (variance / n as f64).sqrt()
    }

    pub fn least(&self) -> f64 {
        self.values.iter().copied().fold(f64::INFINITY, f64::min)
    }

    pub fn most(&self) -> f64 {
        self.values.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }

    pub fn median(&self) -> f64 {
        let mut sorted = self.values.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
    }

    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// In percent: `44.0 ± 0.3`
    pub fn percent(&self) -> String {
        format!("{:.1} ± {:.1}", 100.0 * self.mean(), 100.0 * self.half())
    }

    /// `0.981 ± 0.004`
    pub fn text(&self) -> String {
        format!("{:.3} ± {:.3}", self.mean(), self.half())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_those_of_the_textbook() {
        // Clopper–Pearson of 2 in 20 at 95 %: 0.0123 to 0.3170.
        let seen = Frequency { hits: 2, trials: 20 };
        assert!((seen.low() - 0.0123).abs() < 1e-4 && (seen.high() - 0.3170).abs() < 1e-4, "{}", seen.text());
        let mean = Mean { values: vec![1.0, 2.0, 3.0] };
        // 4.303 · 1 / √3
        assert!((mean.mean() - 2.0).abs() < 1e-12 && (mean.half() - 2.4843).abs() < 1e-3);
    }
}
