//! How sure the local answer is, and whether that is enough: the part of a decision that needs nobody else.

use super::{
    decide::{Observation, Policy},
    detection,
    gain::{self, Values},
    rating,
    reason::Reason,
    score::{Rated, ScoreRule},
};
use crate::said::Said;

/// An answer before anybody is asked: how sure it is, and whether that is enough.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The local answer …
    pub said: Option<Said>,
    /// … and how sure it is.
    pub rated: Option<Rated>,
    /// What it was compared with.
    pub lambda: Option<f32>,
    /// The certificate in force covers it.
    pub certified: bool,
    /// Why somebody should be asked.
    pub doubt: Option<Reason>,
}

impl Judged {
    /// The gain that asking somebody would bring who is right with probability `accuracy`; 0 for what is not asked about.
    pub fn bid(&self, accuracy: f64, values: &Values) -> f64 {
        if self.doubt.is_some() { gain_of(self.rated, accuracy, values) } else { 0.0 }
    }

    /// The class by which values and accuracies are kept.
    pub fn class(&self) -> Option<usize> {
        self.rated.map(|rated| rated.class)
    }
}

/// How sure the local answer is. `suspect`: the certificate is suspended.
pub fn judge(seen: &Observation, policy: &Policy, suspect: bool) -> Judged {
    let (said, rated) = rate(seen, policy).unzip();
    let certificate = policy.calibration.certified();
    let lambda = rated
        .and_then(|rated| certificate.map_or(policy.threshold, |certificate| Some(certificate.lambda(rated.class))));
    let s = rated.map(|rated| rated.s);
    let covered = certificate.is_some() && matches!((s, lambda), (Some(s), Some(lambda)) if s >= lambda);
    let doubt = match seen {
        Observation::Opaque | Observation::WindowOpen => None,
        Observation::Malformed(_) => Some(Reason::EscBadOutput),
        _ => match (s, lambda) {
            (Some(_), Some(_)) if covered && suspect => Some(Reason::EscSuspect),
            // A NaN is not below anything, and is no certainty either.
            (Some(s), Some(lambda)) if s < lambda || s.is_nan() => Some(below(seen, rated)),
            (None, _) => Some(Reason::EscBadOutput),
            _ => None,
        },
    };
    Judged { said, rated, lambda, certified: covered && !suspect, doubt }
}

/// Nothing found is doubtful in its own way: there is no box whose score could be too low.
fn below(seen: &Observation, rated: Option<Rated>) -> Reason {
    match (seen, rated) {
        (Observation::Boxes(_), Some(Rated { class: detection::EMPTY, .. })) => Reason::EscEmptyOutput,
        _ => Reason::EscBelowLambda,
    }
}

/// Where there is no local answer that could be right, whatever the provider is right in is gained.
pub(super) fn gain_of(rated: Option<Rated>, accuracy: f64, values: &Values) -> f64 {
    let value = rated.map_or(values.other, |rated| values.of(rated.class));
    gain::gain(value, accuracy, rated.map_or(1.0, |rated| f64::from(rated.p_wrong)))
}

/// The local answer, with the probability of being wrong that was fitted to the calibration's cases, where there are any.
fn rate(seen: &Observation, policy: &Policy) -> Option<(Said, Rated)> {
    let (said, mut rated) = rating::rate(seen, &policy.measure, &rule(policy))?;
    if let Some(certified) = policy.calibration.certified() {
        rated.p_wrong = certified.wrong.p_wrong(rated.s) as f32;
    }
    Some((said, rated))
}

fn rule(policy: &Policy) -> ScoreRule {
    let plain = || rating::rule(&policy.measure, policy.temperature);
    policy.calibration.certified().map_or_else(plain, |certified| certified.score.clone())
}
