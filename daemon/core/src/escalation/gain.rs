//! What an escalation is expected to bring: the provider is not always better. For an answer of class c
//!
//! ```text
//! G = V[c] · (q_c - (1 - p_wrong))        q_c = (right_c + a) / (n_c + a + b)
//! ```
//!
//! with V the value of a right answer, p_wrong the chance that the local one is wrong, and q_c how often the provider is right
//! where the local model says c. Classes of which little is known lean on the provider as a whole (a and b); that one on what
//! the owner expects of it (escalation.md 2.2, "Gain").

use serde::{Deserialize, Serialize};

use super::{certificate, saved::ForeignVersion};

/// Cases that an expectation weighs as much as: a + b.
const PRIOR_CASES: f64 = 10.0;
/// Expected of a provider of which nothing is said: it is asked because it is better than most local answers below the
/// threshold. A choice, not a measurement.
const PRIOR_ACCURACY: f64 = 0.9;

/// V: what a right answer is worth, by predicted class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Values {
    pub classes: Vec<f64>,
    /// Of classes that are not listed.
    pub other: f64,
}

impl Default for Values {
    fn default() -> Self {
        Self::EQUAL
    }
}

impl Values {
    /// Every right answer is worth the same.
    pub const EQUAL: Self = Self { classes: Vec::new(), other: 1.0 };

    /// Finite and not negative; what is neither is worth nothing.
    pub fn of(&self, class: usize) -> f64 {
        let value = self.classes.get(class).copied().unwrap_or(self.other);
        if value.is_finite() { value.max(0.0) } else { 0.0 }
    }
}

/// Expected gain of asking a provider that is right with probability `q`. What is no probability counts as the case that speaks
/// for asking least, `q`, and most, `p_wrong`: an answer that cannot be rated is a bad one.
pub fn gain(value: f64, q: f64, p_wrong: f64) -> f64 {
    let q = if q.is_nan() { 0.0 } else { q.clamp(0.0, 1.0) };
    let p_wrong = if p_wrong.is_nan() { 1.0 } else { p_wrong.clamp(0.0, 1.0) };
    let value = if value.is_finite() { value } else { 0.0 };
    value * (q - (1.0 - p_wrong))
}

/// How often one provider is right, by the class that the local model predicts.
#[derive(Clone, Debug, PartialEq)]
pub struct Accuracy {
    expected: f64,
    /// Right ones and all.
    classes: Vec<(u64, u64)>,
}

/// An [`Accuracy`] for the next process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedAccuracy {
    pub version: u32,
    pub classes: Vec<(u64, u64)>,
}

impl SavedAccuracy {
    pub const VERSION: u32 = 1;
}

impl Accuracy {
    /// `expected`: what the owner expects of it, in (0, 1); `classes`: how many the model knows.
    pub fn new(expected: Option<f64>, classes: usize) -> Self {
        let expected = expected.filter(|q| *q > 0.0 && *q < 1.0).unwrap_or(PRIOR_ACCURACY);
        Self { expected, classes: vec![(0, 0); classes.max(1)] }
    }

    /// # Errors
    /// When another version wrote it. Counts of a model with other classes are dropped.
    pub fn restore(expected: Option<f64>, classes: usize, saved: &SavedAccuracy) -> Result<Self, ForeignVersion> {
        ForeignVersion::check("provider accuracy", saved.version, SavedAccuracy::VERSION)?;
        let mut accuracy = Self::new(expected, classes);
        if saved.classes.len() == accuracy.classes.len() && saved.classes.iter().all(|(right, all)| right <= all) {
            accuracy.classes.clone_from(&saved.classes);
        }
        Ok(accuracy)
    }

    pub fn save(&self) -> SavedAccuracy {
        SavedAccuracy { version: SavedAccuracy::VERSION, classes: self.classes.clone() }
    }

    /// A human has judged the provider's answer where the local model said `class`.
    pub fn judged(&mut self, class: usize, right: bool) {
        if let Some((rights, all)) = self.classes.get_mut(class) {
            *rights = rights.saturating_add(u64::from(right));
            *all = all.saturating_add(1);
        }
    }

    /// q of a class; of one that the model does not know that of the whole provider. In (0, 1).
    pub fn of(&self, class: usize) -> f64 {
        smooth(self.classes.get(class).copied().unwrap_or_default(), self.overall())
    }

    /// q over all classes.
    pub fn overall(&self) -> f64 {
        smooth(self.sum(), self.expected)
    }

    /// What q of this class is at least, with confidence 1 - δ: below the local model's own accuracy the provider has decayed.
    pub fn at_least(&self, class: usize, delta: f64) -> f64 {
        let (right, all) = self.classes.get(class).copied().unwrap_or_default();
        certificate::lower(right, all, delta)
    }

    /// The provider was exchanged: nothing is known of the new one.
    pub fn reset(&mut self) {
        self.classes.fill((0, 0));
    }

    fn sum(&self) -> (u64, u64) {
        let add = |(a, b): (u64, u64), (c, d): &(u64, u64)| (a.saturating_add(*c), b.saturating_add(*d));
        self.classes.iter().fold((0, 0), add)
    }
}

fn smooth((right, all): (u64, u64), expected: f64) -> f64 {
    (right as f64 + PRIOR_CASES * expected) / (all as f64 + PRIOR_CASES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_that_is_worse_on_a_class_gains_nothing_there() {
        let mut provider = Accuracy::new(Some(0.8), 2);
        for case in 0..200 {
            provider.judged(0, case % 20 != 0);
            provider.judged(1, case % 2 == 0);
        }
        assert!((provider.of(0) - 0.9396).abs() < 1e-3 && (provider.of(1) - 0.5107).abs() < 1e-3);
        assert!(gain(1.0, provider.of(0), 0.3) > 0.0);
        assert!(gain(1.0, provider.of(1), 0.3) < 0.0, "the local answer is right seven times in ten");
        assert_eq!(provider.of(7), provider.overall());
        assert!(
            provider.at_least(0, 0.05) > 0.9 && provider.at_least(1, 0.05) < 0.5 && provider.at_least(7, 0.05) == 0.0
        );
        provider.reset();
        assert_eq!(provider, Accuracy::new(Some(0.8), 2));
    }

    #[test]
    fn what_is_not_known_is_what_is_expected() {
        assert_eq!(Accuracy::new(Some(0.8), 2).of(1), 0.8);
        for nonsense in [None, Some(0.0), Some(1.5), Some(f64::NAN)] {
            assert_eq!(Accuracy::new(nonsense, 2).of(0), PRIOR_ACCURACY);
        }
    }

    #[test]
    fn a_class_leans_on_the_whole_provider() {
        let mut provider = Accuracy::new(Some(0.5), 3);
        (0..1_000).for_each(|_| provider.judged(0, true));
        assert!(provider.of(1) > 0.98, "{}", provider.of(1));
    }

    #[test]
    fn values_weigh_the_classes() {
        let values = Values { classes: vec![10.0, f64::NAN, -1.0], other: 2.0 };
        assert_eq!([0, 1, 2, 3].map(|class| values.of(class)), [10.0, 0.0, 0.0, 2.0]);
        assert!((gain(values.of(0), 0.9, 0.2) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn every_input_has_a_gain() {
        let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 0.0, 0.5, 2.0];
        for (value, q, p) in odd.into_iter().flat_map(|a| odd.into_iter().flat_map(move |b| odd.map(|c| (a, b, c)))) {
            assert!(gain(value, q, p).is_finite(), "{value}, {q}, {p}");
        }
        assert_eq!(gain(1.0, 0.9, f64::NAN), 0.9, "an answer without a rating is a bad one");
    }

    #[test]
    fn counts_survive_a_restart_and_not_another_model() {
        let mut provider = Accuracy::new(Some(0.8), 2);
        provider.judged(1, false);
        let written = serde_json::to_string(&provider.save()).unwrap();
        let saved: SavedAccuracy = serde_json::from_str(&written).unwrap();
        assert_eq!(Accuracy::restore(Some(0.8), 2, &saved), Ok(provider));
        assert_eq!(Accuracy::restore(Some(0.8), 3, &saved), Ok(Accuracy::new(Some(0.8), 3)));
        assert!(Accuracy::restore(None, 2, &SavedAccuracy { version: 9, ..saved }).is_err());
    }
}
