//! Thresholds as others set them, on the same cases.

use picket_core::escalation::{
    certificate::{Case, upper},
    score::softmax,
};

use crate::rows::Row;

/// Nothing is answered locally.
pub const NEVER: f32 = f32::INFINITY;

/// Scores and wrong cases so far, surest first.
fn walk(cases: &[Case]) -> Vec<(f32, u64)> {
    let mut sorted: Vec<&Case> = cases.iter().collect();
    sorted.sort_unstable_by(|a, b| b.s.total_cmp(&a.s));
    let mut wrong = 0;
    let mut count = |case: &&Case| {
        wrong += u64::from(case.wrong);
        (case.s, wrong)
    };
    sorted.iter().map(&mut count).collect()
}

/// The lowest score whose place fulfils a condition on (cases so far, wrong so far).
fn lowest(cases: &[Case], fulfils: impl Fn(u64, u64) -> bool) -> f32 {
    let walked = walk(cases);
    // Equal scores are answered together.
    let whole = |at: usize| walked.get(at + 1).is_none_or(|next| next.0 < walked[at].0);
    let found = walked.iter().enumerate().rev().find(|(at, (_, wrong))| whole(*at) && fulfils(*at as u64 + 1, *wrong));
    found.map_or(NEVER, |(_, (s, _))| *s)
}

/// What people do who calibrate at all: the lowest threshold with at most a share `r` wrong among the answers, no correction.
pub fn empirical(cases: &[Case], r: f64) -> f32 {
    lowest(cases, |answered, wrong| wrong as f64 <= r * answered as f64)
}

/// The same of all requests.
pub fn empirical_joint(cases: &[Case], alpha: f64) -> f32 {
    let n = cases.len() as f64;
    lowest(cases, |_, wrong| wrong as f64 <= alpha * n)
}

/// Conformal risk control (Angelopoulos et al. 2022, <https://arxiv.org/abs/2208.02814>) of the joint loss: a promise on the
/// average over calibrations.
pub fn crc(cases: &[Case], alpha: f64) -> f32 {
    let n = cases.len() as f64;
    lowest(cases, |_, wrong| wrong as f64 + 1.0 <= alpha * (n + 1.0))
}

/// Selection with guaranteed risk (Geifman & El-Yaniv 2017, <https://arxiv.org/abs/1705.08500>): a binary search whose
/// ⌈log₂ m⌉ looks share δ.
pub fn sgr(cases: &[Case], r: f64, delta: f64) -> f32 {
    let walked = walk(cases);
    let m = walked.len();
    let looks = (m as f64).log2().ceil().max(1.0) as usize;
    let (mut low, mut high, mut best) = (1, m, NEVER);
    for _ in 0..looks {
        let place = (low + high).div_ceil(2);
        let (s, wrong) = walked[place - 1];
        if upper(wrong, place as u64, delta / looks as f64) <= r {
            (best, low) = (s, place);
        } else {
            high = place;
        }
    }
    best
}

/// Groundlight's edge endpoint, and most tutorials: the largest probability, as the network gives it, is at least this.
pub fn fixed(row: &Row, threshold: f32) -> bool {
    softmax(&row.logits, 1.0).into_iter().fold(0.0, f32::max) >= threshold
}

/// Sedna's `ThresholdFilter` at its default, for a classifier: a case is hard when its score is below 0.5.
pub fn sedna_threshold(row: &Row) -> bool {
    fixed(row, 0.5)
}

/// Sedna's `CrossEntropyFilter` at its default: a case is hard when 1 + Σ p ln p / ln K is below 0.5.
pub fn sedna_entropy(row: &Row) -> bool {
    let p = softmax(&row.logits, 1.0);
    let sum: f64 = p.iter().filter(|p| **p > 0.0).map(|p| f64::from(*p) * f64::from(*p).ln()).sum();
    1.0 + sum / (p.len() as f64).ln() >= 0.5
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cases(wrong: &[bool]) -> Vec<Case> {
        let surest_first = wrong.iter().enumerate();
        surest_first.map(|(at, wrong)| Case { s: 1.0 - at as f32 / 1_000.0, class: 0, wrong: *wrong }).collect()
    }

    #[test]
    fn thresholds_stop_where_their_authors_say() {
        // 100 cases, wrong at places 50, 60 and 70.
        let sample = cases(&std::array::from_fn::<bool, 100, _>(|at| [49, 59, 69].contains(&at)));
        let place = |threshold: f32| sample.iter().filter(|case| case.s >= threshold).count();
        assert_eq!(place(empirical_joint(&sample, 0.02)), 69, "the third would be 3 % of 100");
        assert_eq!(place(crc(&sample, 0.02)), 59, "the second counts for a third: 3 > 0.02 · 101");
        assert_eq!(place(empirical(&sample, 0.02)), 59, "1 of 59 is below 2 %, 2 of 60 is not, 3 of 100 is not");
        assert_eq!(sgr(&sample, 0.02, 0.05), NEVER);
        // It looks at the middle first: none wrong in 501 of 1000 is 1.05 %, in 1001 of 2000 is 0.54 %.
        assert_eq!(sgr(&cases(&[false; 1_000]), 0.01, 0.05), NEVER);
        let found = sgr(&cases(&[false; 2_000]), 0.01, 0.05);
        assert!((found - (1.0 - 1.999)).abs() < 0.002, "{found}");
    }
}
