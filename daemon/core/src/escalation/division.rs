//! Which labelled cases choose the score, and which the certificate is made of. None does both: a threshold that is certified
//! on the cases that its score was chosen on promises too much.
//!
//! What chooses is lost for the certificate, and a certificate of few cases keeps few answers here. So cases are set aside
//! only where enough are left.

use std::collections::BTreeSet;

use super::certificate::{Promise, allowed_wrong};

/// One group in so many chooses.
const ONE_IN: usize = 3;
/// A score has six numbers at most; beyond this, more cases serve the certificate better.
const CHOOSING_MAX: usize = 2_000;
/// So many wrong cases the certificate must be able to allow after the division. With fewer, each case that is taken away
/// costs more local answers than a better score brings: on the digits of tests/escalation/RESULTS.md, from 300 cases to
/// 1000 (1 and 12 allowed at 2 %) the local share grows by a quarter, and the logistic score lowers the AUGRC by 2 %.
const ALLOWED_MIN: u64 = 10;

/// How the groups of the labelled cases are divided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Division {
    /// These groups choose the score, all others make the certificate.
    Apart(BTreeSet<u64>),
    /// All make the certificate, and the score is not chosen. With so many groups they would be divided.
    Together { needed: u64 },
}

impl Division {
    /// Does this group choose the score?
    pub fn chooses(&self, group: u64) -> bool {
        matches!(self, Self::Apart(choosing) if choosing.contains(&group))
    }
}

/// `groups`: names of what is independent, drawn by lottery (a hash): the lowest ones choose.
pub fn divide(groups: &BTreeSet<u64>, promise: Promise) -> Division {
    let rest = |n: usize| n - choosing(n);
    let enough = |n: usize| allowed_wrong(rest(n) as u64, promise).is_some_and(|allowed| allowed >= ALLOWED_MIN);
    if enough(groups.len()) {
        return Division::Apart(groups.iter().take(choosing(groups.len())).copied().collect());
    }
    // The allowed number grows with the cases.
    let mut needed = groups.len().max(1);
    while !enough(needed) && needed < usize::MAX / 4 {
        needed *= 2;
    }
    let (mut few, mut many) = (needed / 2, needed);
    while few + 1 < many {
        let middle = few.midpoint(many);
        if enough(middle) { many = middle } else { few = middle }
    }
    Division::Together { needed: many as u64 }
}

fn choosing(groups: usize) -> usize {
    (groups / ONE_IN).min(CHOOSING_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROMISE: Promise = Promise { alpha: 0.02, delta: 0.05 };

    fn groups(n: u64) -> BTreeSet<u64> {
        // Any numbers, in no order of the cases.
        (0..n).map(|group| group.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect()
    }

    #[test]
    fn a_third_chooses_and_the_rest_certifies() {
        let groups = groups(3_000);
        let division = divide(&groups, PROMISE);
        assert_eq!(groups.iter().filter(|group| division.chooses(**group)).count(), 1_000);
        let Division::Apart(many) = divide(&self::groups(20_000), PROMISE) else { panic!("enough of them") };
        assert_eq!(many.len(), CHOOSING_MAX);
        assert!(!division.chooses(1), "not one of them");
    }

    #[test]
    fn few_cases_stay_together_and_it_is_said_how_many_would_do() {
        for alpha in [0.005, 0.02, 0.1] {
            let promise = Promise { alpha, delta: 0.05 };
            let Division::Together { needed } = divide(&groups(100), promise) else { panic!("too few at {alpha}") };
            assert_eq!(divide(&groups(needed - 1), promise), Division::Together { needed }, "alpha {alpha}");
            let Division::Apart(choosing) = divide(&groups(needed), promise) else { panic!("enough at {alpha}") };
            let left = needed - choosing.len() as u64;
            assert_eq!(allowed_wrong(left, promise), Some(ALLOWED_MIN), "alpha {alpha}");
        }
        assert!(matches!(divide(&BTreeSet::new(), PROMISE), Division::Together { .. }));
    }
}
