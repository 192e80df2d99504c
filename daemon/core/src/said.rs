//! What somebody answers, and when two answers say the same: a class is the same class or another one, a number is near
//! enough or not, boxes have one counterpart each or not.

use serde::{Deserialize, Serialize};

use crate::{
    boxes::{self, Found, Listed},
    escalation::detection::{EMPTY, FOUND},
};

/// An answer, of the local model or of a provider.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Said {
    /// Index among the model's labels.
    Class(usize),
    /// A number, in the unit of the model's value.
    Value(f64),
    /// All boxes of an image; none is an answer, too.
    Boxes(Vec<Found>),
}

/// How the answers of a model are measured; what its task needs beside the outputs themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Measure {
    /// A class is right or wrong.
    #[default]
    Classes,
    /// A score makes a class by this operating threshold: "anomaly" from there on, "normal" below.
    Anomaly { threshold: f64 },
    /// A number is right within a tolerance, in its own unit: finite, and more than 0.
    Value { tolerance: f64 },
    /// Boxes are right when none of a listed class is missed or spurious ([`boxes::same`]): two are the same from this IoU on,
    /// more than 0 and at most 1.
    Boxes { iou: f64, listed: Listed },
}

impl Said {
    /// Do both say the same, as this measure has it? What is of two kinds, or no number, agrees with nothing: nobody is to
    /// believe that it was confirmed.
    pub fn agrees(&self, other: &Self, measure: &Measure) -> bool {
        match (self, other, measure) {
            (Self::Class(a), Self::Class(b), _) => a == b,
            (Self::Value(a), Self::Value(b), Measure::Value { tolerance }) => (a - b).abs() <= *tolerance,
            (Self::Boxes(a), Self::Boxes(b), Measure::Boxes { iou, listed }) => boxes::same(a, b, *iou, listed),
            _ => false,
        }
    }

    /// Index of the class, or of the side, by which thresholds and accuracies are kept; 0 where the task has neither.
    pub const fn class(&self) -> usize {
        match self {
            Self::Class(class) => *class,
            Self::Value(_) => 0,
            Self::Boxes(boxes) if boxes.is_empty() => EMPTY,
            Self::Boxes(_) => FOUND,
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    const WITHIN: Measure = Measure::Value { tolerance: 0.5 };

    #[test]
    fn a_class_is_the_same_or_another_one() {
        assert!(Said::Class(3).agrees(&Said::Class(3), &Measure::Classes));
        assert!(!Said::Class(3).agrees(&Said::Class(2), &Measure::Classes));
        assert_eq!((Said::Class(3).class(), Said::Value(3.0).class()), (3, 0));
    }

    #[test]
    fn a_number_is_near_enough_up_to_the_tolerance_and_not_beyond() {
        let said = Said::Value(2.0);
        for (other, same) in [(2.0, true), (2.5, true), (1.5, true), (2.5001, false), (1.4999, false)] {
            assert_eq!(said.agrees(&Said::Value(other), &WITHIN), same, "{other}");
        }
    }

    #[test]
    fn what_cannot_be_compared_agrees_with_nothing() {
        for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(!Said::Value(odd).agrees(&Said::Value(odd), &WITHIN), "{odd}");
            assert!(!Said::Value(odd).agrees(&Said::Value(0.0), &WITHIN), "{odd}");
        }
        assert!(
            !Said::Value(1.0).agrees(&Said::Class(1), &WITHIN) && !Said::Class(1).agrees(&Said::Value(1.0), &WITHIN)
        );
        assert!(!Said::Value(1.0).agrees(&Said::Value(1.0), &Measure::Classes), "without a tolerance nothing is near");
        let (none, any) = (Said::Boxes(vec![]), Measure::Boxes { iou: 0.5, listed: Listed::ALL });
        assert!(none.agrees(&none, &any) && !none.agrees(&none, &WITHIN) && !none.agrees(&Said::Class(EMPTY), &any));
    }

    #[test]
    fn agreement_does_not_depend_on_who_spoke_first() {
        let seed = 5;
        println!("seed {seed}");
        let mut dice = StdRng::seed_from_u64(seed);
        for _ in 0..10_000 {
            let measure = Measure::Value { tolerance: dice.random_range(1e-6..10.0) };
            let (a, b) = (Said::Value(dice.random_range(-20.0..20.0)), Said::Value(dice.random_range(-20.0..20.0)));
            assert_eq!(a.agrees(&b, &measure), b.agrees(&a, &measure));
            assert!(a.agrees(&a, &measure));
        }
    }
}
