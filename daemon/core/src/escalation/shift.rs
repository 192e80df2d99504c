//! Do the scores still look like those of the calibration? The population stability index of the last 500 scores,
//!
//! ```text
//! PSI = Σ (f_i - e_i) · ln(f_i / e_i)        e_i, f_i: share of bin i in the calibration and in the window
//! ```
//!
//! When nothing has changed, PSI / (1/w + 1/n) is about χ² distributed with bins - 1 degrees of freedom, w = 500 scores in the
//! window, n in the calibration (both vary). A fixed limit of 0.12 would therefore ring for every third small calibration; so
//! the limit is the larger of 0.12 and 40 × (1/w + 1/n). `alarms_tests.rs` measures how often that rings falsely.
//!
//! Many classifiers are absolutely sure of much: scores that are all 1.0 lie in one bin, whatever share of them that is. So the
//! bins are made of the cases, and not of nine deciles, which cannot say how many cases lie *on* one of them.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::limits;

/// Bins at most.
const BINS: usize = 10;
/// Below this limit a shift is too small to matter, however sure it is.
const PSI_MIN: f64 = 0.12;
/// Quantile of χ² at which it rings: exceeded with a chance of about 10⁻⁵ by one window, with nine degrees of freedom.
const CHI: f64 = 40.0;
/// Cases that a bin is taken to have at least, in parts of one: an empty one has no logarithm.
const HALF: f64 = 0.5;

/// How the scores were distributed in the calibration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    /// Upper edges, ascending, of all bins but the last. A score on an edge belongs to the bin below.
    edges: Vec<f32>,
    /// Cases in each bin; one more than edges.
    cases: Vec<u64>,
}

impl Reference {
    /// Of all scores of a calibration, in ten bins or, where many are the same, fewer. NaN lies below everything.
    pub fn of(scores: impl IntoIterator<Item = f32>) -> Self {
        let mut scores: Vec<f32> = scores.into_iter().map(known).collect();
        scores.sort_unstable_by(f32::total_cmp);
        let mut edges: Vec<f32> = Vec::new();
        for tenth in 1..BINS {
            let rank = (scores.len() * tenth).div_ceil(BINS);
            let Some(edge) = scores.get(rank.saturating_sub(1)).copied() else { continue };
            // The last bin is what is above the last edge: there has to be something.
            if edges.last().is_none_or(|last| edge > *last) && scores.last().is_some_and(|top| edge < *top) {
                edges.push(edge);
            }
        }
        let mut cases = vec![0; edges.len() + 1];
        for score in scores {
            if let Some(count) = cases.get_mut(bin(&edges, score)) {
                *count += 1;
            }
        }
        Self { edges, cases }
    }

    /// Of the nine deciles that a calibration file has; `n`: its cases. `None` where they cannot say what lies between them: equal
    /// ones, one that is no number, or one at the very top of the scale.
    pub fn from_deciles(deciles: &[f32; BINS - 1], n: u64) -> Option<Self> {
        let apart = deciles.is_sorted_by(|a, b| a < b);
        if !apart || deciles.iter().any(|edge| !edge.is_finite() || *edge >= 1.0) {
            return None;
        }
        // What does not divide by ten is left out.
        Some(Self { edges: deciles.to_vec(), cases: vec![n / BINS as u64; BINS] })
    }

    /// So many scores that are distributed like these, even within each bin.
    pub fn spread(&self, count: usize) -> Vec<f32> {
        let all = self.cases().max(1) as f64;
        let mut scores = Vec::with_capacity(count);
        let mut before = 0.0;
        for (bin, cases) in self.cases.iter().enumerate() {
            let lower = bin.checked_sub(1).and_then(|below| self.edges.get(below)).copied().unwrap_or(0.0);
            let upper = self.edges.get(bin).copied().unwrap_or(1.0_f32.max(lower));
            let share = *cases as f64 / all;
            let from = (before * count as f64).round() as usize;
            let until = ((before + share) * count as f64).round() as usize;
            let here = until.saturating_sub(from);
            scores.extend((0..here).map(|at| lower + (upper - lower) * (at as f32 + 0.5) / here as f32));
            before += share;
        }
        scores
    }

    /// All scores were the same.
    pub const fn is_one_value(&self) -> bool {
        self.edges.is_empty()
    }

    fn cases(&self) -> u64 {
        self.cases.iter().sum()
    }

    /// PSI from which on it rings; infinite where there is nothing to compare with.
    pub fn limit(&self) -> f64 {
        let window = limits::SCORE_WINDOW as f64;
        (CHI * (1.0 / window + 1.0 / self.cases() as f64)).max(PSI_MIN)
    }

    /// A file may say anything.
    pub(super) fn is_sound(&self) -> bool {
        self.cases.len() == self.edges.len() + 1
            && self.cases.len() <= BINS
            && self.edges.is_sorted_by(|a, b| a < b)
            && self.cases.iter().all(|cases| *cases <= u64::from(u32::MAX))
    }
}

fn known(score: f32) -> f32 {
    if score.is_nan() { f32::NEG_INFINITY } else { score }
}

fn bin(edges: &[f32], score: f32) -> usize {
    edges.partition_point(|edge| *edge < score)
}

/// The last scores, by their bins.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    reference: Reference,
    last: VecDeque<u8>,
    counts: Vec<u64>,
}

/// A [`Window`] for the next process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedWindow {
    /// Bins of the last scores, oldest first.
    pub last: Vec<u8>,
}

impl Window {
    /// A reference that makes no sense compares nothing.
    pub fn new(reference: Reference) -> Self {
        let reference = if reference.is_sound() { reference } else { Reference { edges: Vec::new(), cases: vec![0] } };
        let counts = vec![0; reference.cases.len()];
        Self { reference, last: VecDeque::with_capacity(limits::SCORE_WINDOW), counts }
    }

    pub fn restore(reference: Reference, saved: &SavedWindow) -> Self {
        let mut window = Self::new(reference);
        let bins = window.counts.len();
        saved.last.iter().filter(|bin| usize::from(**bin) < bins).for_each(|bin| window.push(*bin));
        window
    }

    pub fn save(&self) -> SavedWindow {
        SavedWindow { last: self.last.iter().copied().collect() }
    }

    pub fn observe(&mut self, score: f32) {
        let bin = bin(&self.reference.edges, known(score));
        self.push(u8::try_from(bin).unwrap_or(u8::MAX));
    }

    pub const fn reference(&self) -> &Reference {
        &self.reference
    }

    pub fn len(&self) -> usize {
        self.last.len()
    }

    pub fn is_empty(&self) -> bool {
        self.last.is_empty()
    }

    /// `None` until the window is full.
    pub fn psi(&self) -> Option<f64> {
        if self.last.len() < limits::SCORE_WINDOW {
            return None;
        }
        let share = |count: &u64, all: f64| (*count as f64).max(HALF) / all.max(1.0);
        let (window, all) = (self.last.len() as f64, self.reference.cases() as f64);
        let pairs = self.counts.iter().zip(&self.reference.cases);
        Some(
            pairs
                .map(|(seen, cases)| (share(seen, window), share(cases, all)))
                .map(|(f, e)| (f - e) * (f / e).ln())
                .sum(),
        )
    }

    fn push(&mut self, bin: u8) {
        if self.last.len() >= limits::SCORE_WINDOW
            && let Some(oldest) = self.last.pop_front()
            && let Some(count) = self.counts.get_mut(usize::from(oldest))
        {
            *count = count.saturating_sub(1);
        }
        if let Some(count) = self.counts.get_mut(usize::from(bin)) {
            *count += 1;
            self.last.push_back(bin);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn even(n: usize) -> impl Iterator<Item = f32> {
        (0..n).map(move |at| at as f32 / n as f32)
    }

    fn filled(reference: Reference, scores: impl Iterator<Item = f32>) -> Window {
        let mut window = Window::new(reference);
        scores.for_each(|score| window.observe(score));
        window
    }

    #[test]
    fn the_same_scores_are_the_same_and_others_are_not() {
        let reference = Reference::of(even(1_000));
        assert_eq!(filled(reference.clone(), even(499)).psi(), None);
        assert!(filled(reference.clone(), even(500)).psi().unwrap() < 1e-3);
        // Half of the scores move from the upper half into the lowest tenth.
        let moved = filled(reference.clone(), even(500).map(|s| if s > 0.5 { 0.05 } else { s }));
        assert!(moved.psi().unwrap() > 1.0);
        assert!((reference.limit() - 0.12).abs() < 1e-9 && Reference::of(even(300)).limit() > 0.2);
    }

    /// 60 % of the scores are exactly 1.
    #[test]
    fn absolute_certainty_is_one_bin() {
        let sure = |n| even(n).map(|s| if s >= 0.4 { 1.0 } else { s });
        let reference = Reference::of(sure(1_000));
        assert!(filled(reference.clone(), sure(500)).psi().unwrap() < 1e-3);
        let less = even(500).map(|s| if s >= 0.7 { 1.0 } else { s * 0.5 });
        assert!(filled(reference, less).psi().unwrap() > 0.12);
        let constant = Reference::of(vec![1.0; 300]);
        assert_eq!(filled(constant, std::iter::repeat_n(1.0, 500)).psi(), Some(0.0));
    }

    #[test]
    fn deciles_say_the_same_where_they_say_enough() {
        let deciles = std::array::from_fn(|at| ((at + 1) * 100 - 1) as f32 / 1_000.0);
        let reference = Reference::from_deciles(&deciles, 1_000).unwrap();
        assert_eq!(reference, Reference::of(even(1_000)));
        let mut sure = deciles;
        sure[8] = 1.0;
        assert_eq!(Reference::from_deciles(&sure, 1_000), None, "how many cases are at 1.0?");
        sure[7] = 1.0;
        assert_eq!(Reference::from_deciles(&sure, 1_000), None);
    }

    #[test]
    fn nothing_and_nonsense_ring_never() {
        let nothing = filled(Reference::of([]), even(500));
        assert!(nothing.reference().limit().is_infinite() && nothing.psi().unwrap().is_finite());
        let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, f32::MAX].into_iter().cycle().take(1_000);
        assert!(filled(Reference::of(odd.clone()), odd).psi().unwrap() < 0.12);
        let damaged = Reference { edges: vec![0.5, 0.1], cases: vec![1] };
        assert!(filled(damaged, even(500)).reference().limit().is_infinite());
    }

    #[test]
    fn a_window_survives_a_restart() {
        let reference = Reference::of(even(1_000));
        let window = filled(reference.clone(), even(1_700));
        assert_eq!(Window::restore(reference, &window.save()), window);
    }
}
