//! Is the local answer good enough, and if not, what now?
//!
//! With a certificate in force (see [`super::certificate`]) an answer whose score reaches its λ is certified and stays here,
//! without a call. A model without one falls back to the bundle's threshold, which promises nothing.

use serde::{Deserialize, Serialize};

pub use super::reason::Reason;
use super::{
    budget::Cost,
    calibration::State,
    gain, rating,
    score::{Rated, ScoreRule},
};
use crate::{
    inquiry::{Inquiry, Lane},
    job::{Privacy, ProviderId},
    limits,
    said::{Measure, Said},
    time::Span,
};

/// What the local model said, as far as the decision needs it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Observation {
    /// One score per class: logits, or the logarithms of probabilities.
    Scores(Vec<f32>),
    /// Outputs that no rule judges (task `tensor`).
    Opaque,
    /// NaN, infinite or empty output: `model/invalid-output` unless a provider helps.
    Malformed(String),
    /// An anomaly score: the higher, the less normal.
    Anomaly(f64),
    /// A number in the unit of the model's value, and the model's own standard deviation of it, where it gives one.
    Value { value: f64, sigma: Option<f64> },
}

/// How a model's doubtful answers are treated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// When an answer is right.
    pub measure: Measure,
    /// Softmax temperature, > 0; without a certificate in force.
    pub temperature: f32,
    /// Ask upstream below this top probability; `None`: never. Without a certificate in force.
    pub threshold: Option<f32>,
    pub calibration: State,
    /// Providers in the order in which they are asked; empty: never.
    pub providers: Vec<ProviderId>,
    /// Answer at once and let a provider correct it later, instead of waiting for it.
    pub at_once: bool,
    /// Somebody hears of a later revision.
    pub amends: bool,
    /// There are redaction steps for jobs that leave only redacted.
    pub redacts: bool,
    /// What of a budget is kept first when not everything can be had.
    pub mode: Mode,
}

/// Which comes first, the promise or the budget?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// Doubtful answers are escalated as long as the budget is not what binds; after that the most valuable.
    #[default]
    PromiseFirst,
    /// Only what is worth its price is escalated, also where there is plenty.
    BudgetFirst,
}

impl Policy {
    /// Nobody is asked, nothing is certified.
    pub const fn alone(temperature: f32, threshold: Option<f32>) -> Self {
        Self {
            measure: Measure::Classes,
            temperature,
            threshold,
            calibration: State::Missing,
            providers: Vec::new(),
            at_once: false,
            amends: false,
            redacts: false,
            mode: Mode::PromiseFirst,
        }
    }
}

/// A provider as it looks at the moment of the decision.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProviderView {
    pub id: ProviderId,
    pub admits: bool,
    pub timeout: Span,
    /// Share of its answers that are right where the local model says what it says here, as far as anybody knows.
    pub accuracy: f64,
    /// What asking it costs at most …
    pub cost: Cost,
    /// … and whether so much is left of the budget.
    pub affordable: bool,
    /// Gain that asking it must bring, for the budget to last.
    pub threshold: f64,
}

/// What surrounds a decision, beside the answer itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Circumstances {
    pub privacy: Privacy,
    /// Those of the policy, in its order.
    pub providers: Vec<ProviderView>,
    /// Time to the job's deadline …
    pub left: Span,
    /// … and between its arrival and its deadline.
    pub whole: Span,
    /// So many of the providers were asked already for this job.
    pub asked: usize,
    /// The lottery has drawn this job, before anybody knew the answer.
    pub audit: bool,
    /// An alarm has rung: the certificate is suspended.
    pub suspect: bool,
    /// So much is left of the budget that it is not what binds.
    pub rich: bool,
}

impl Circumstances {
    /// Nobody can be asked.
    pub const ALONE: Self = Self {
        privacy: Privacy::Never,
        providers: Vec::new(),
        left: Span::ZERO,
        whole: Span::ZERO,
        asked: 0,
        audit: false,
        suspect: false,
        rich: true,
    };
}

/// The numbers that led to a decision; part of every result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Score of the local answer: its temperature-scaled top probability.
    pub s: Option<f32>,
    /// Threshold it was compared with.
    pub lambda: Option<f32>,
    /// Estimated probability that the local answer is wrong.
    pub p_wrong: Option<f32>,
    /// By how much a provider's answer is expected to be right more often than the local one.
    pub gain: Option<f64>,
    /// Drawn by lottery for a second opinion.
    pub audit: bool,
    /// What the certificate promises, and on how many cases; also while it is suspended.
    pub promise: Option<Promised>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Promised {
    pub alpha: f64,
    pub delta: f64,
    pub cases: u64,
    /// Number of the certificate among this model's, counted from 1.
    pub round: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Verdict {
    /// The local answer goes out.
    AnswerLocal(Reason),
    /// Ask this provider and wait at most so long; `reason` is what the result will say if it answers.
    Escalate { provider: ProviderId, timeout: Span, reason: Reason },
    /// There is no usable answer.
    Fail(String),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    pub verdict: Verdict,
    pub certified: bool,
    pub evidence: Evidence,
    /// The local answer …
    pub said: Option<Said>,
    /// … and how sure it is.
    pub rated: Option<Rated>,
    /// To be asked afterwards, if the local answer is the one that goes out.
    pub later: Option<Inquiry>,
}

/// Decides on a local output. Pure: the same arguments give the same decision.
pub fn decide(seen: &Observation, policy: &Policy, around: &Circumstances) -> Decision {
    let (said, rated) = rate(seen, policy).unzip();
    let evidence = evidence(rated, policy, around);
    let covered = matches!((&policy.calibration, evidence.s, evidence.lambda),
        (State::Valid(_), Some(s), Some(lambda)) if s >= lambda);
    let certified = covered && !around.suspect;
    let doubt = match seen {
        Observation::Opaque => None,
        Observation::Malformed(_) => Some(Reason::EscBadOutput),
        _ => match (evidence.s, evidence.lambda) {
            (Some(_), Some(_)) if covered && around.suspect => Some(Reason::EscSuspect),
            // A NaN is not below anything, and is no certainty either.
            (Some(s), Some(lambda)) if s < lambda || s.is_nan() => Some(Reason::EscBelowLambda),
            (None, _) => Some(Reason::EscBadOutput),
            _ => None,
        },
    };
    let verdict = match doubt {
        None if certified => Verdict::AnswerLocal(Reason::LocalCertified),
        None => Verdict::AnswerLocal(uncertified(policy, around)),
        Some(reason) if around.providers.is_empty() => Verdict::AnswerLocal(match (&policy.calibration, reason) {
            (State::Valid(_), Reason::EscBelowLambda) => Reason::LocalPolicyNoEgress,
            _ => uncertified(policy, around),
        }),
        Some(reason) => escalate(reason, policy, around),
    };
    let verdict = match (seen, verdict) {
        (Observation::Malformed(why), Verdict::AnswerLocal(_)) => Verdict::Fail(why.clone()),
        // There is no answer that could go out.
        (seen, Verdict::AnswerLocal(_)) if said.is_none() && *seen != Observation::Opaque => {
            Verdict::Fail(unusable(seen).to_owned())
        }
        (_, verdict) => verdict,
    };
    let local = said.clone().zip(rated);
    let later = local.and_then(|local| later(local, doubt, certified, &verdict, policy, around));
    Decision { verdict, certified, evidence, said, rated, later }
}

const fn uncertified(policy: &Policy, around: &Circumstances) -> Reason {
    match &policy.calibration {
        State::Mismatch => Reason::LocalUncertifiedModelMismatch,
        State::Valid(_) if around.suspect => Reason::LocalUncertifiedSuspect,
        State::Missing | State::Valid(_) => Reason::LocalUncertifiedNoCalibration,
    }
}

fn escalate(reason: Reason, policy: &Policy, around: &Circumstances) -> Verdict {
    if !around.privacy.may_leave(policy.redacts) {
        return Verdict::AnswerLocal(Reason::LocalPolicyNoEgress);
    }
    let margin = Span::from_micros(around.whole.as_micros() / limits::ANSWER_MARGIN_DIVISOR);
    let wait = around.left.saturating_sub(limits::ANSWER_MARGIN.min(margin));
    // An unusable output is no answer that could be corrected later.
    let at_once = policy.at_once && reason != Reason::EscBadOutput;
    if wait == Span::ZERO || at_once {
        return Verdict::AnswerLocal(Reason::LocalUncertifiedDeadline);
    }
    match around.providers.iter().skip(around.asked).find(|p| p.admits) {
        Some(p) => Verdict::Escalate { provider: p.id, timeout: wait.min(p.timeout), reason },
        None => Verdict::AnswerLocal(Reason::LocalUncertifiedLink),
    }
}

/// What is to be asked when the answer has gone out: whatever the lottery has drawn, and what was doubtful and got no
/// provider's answer, if anybody wants to know.
fn later(
    (said, rated): (Said, Rated),
    doubt: Option<Reason>,
    certified: bool,
    verdict: &Verdict,
    policy: &Policy,
    around: &Circumstances,
) -> Option<Inquiry> {
    let allowed = around.privacy.may_leave(policy.redacts) && !around.providers.is_empty();
    let (lane, reason) = match doubt {
        _ if !allowed => return None,
        Some(reason) if policy.amends && reason != Reason::EscBadOutput => (Lane::Value, reason),
        _ if around.audit => (Lane::Audit, Reason::EscAudit),
        _ => return None,
    };
    let answered = match verdict {
        Verdict::AnswerLocal(reason) => *reason,
        Verdict::Escalate { .. } => Reason::LocalUncertifiedDeadline,
        Verdict::Fail(_) => return None,
    };
    Some(Inquiry {
        lane,
        reason,
        answered,
        said,
        s: rated.s,
        p_wrong: rated.p_wrong,
        certified,
        audit: around.audit,
        gain: expected_gain(rated, around).unwrap_or(0.0),
        privacy: around.privacy,
    })
}

/// The first provider's: it is the one that is asked.
fn expected_gain(rated: Rated, around: &Circumstances) -> Option<f64> {
    let first = around.providers.first()?;
    Some(gain::gain(1.0, first.accuracy, f64::from(rated.p_wrong)))
}

/// The local answer, with the probability of being wrong that was fitted to the calibration's cases, where there are any.
fn rate(seen: &Observation, policy: &Policy) -> Option<(Said, Rated)> {
    let (said, mut rated) = rating::rate(seen, &policy.measure, &rule(policy))?;
    if let Some(certified) = policy.calibration.certified() {
        rated.p_wrong = certified.wrong.p_wrong(rated.s) as f32;
    }
    Some((said, rated))
}

const fn unusable(seen: &Observation) -> &'static str {
    match seen {
        Observation::Scores(_) => "the model gave no scores",
        Observation::Anomaly(_) => "the model gave no anomaly score that is a finite number",
        Observation::Value { .. } => "the model gave no finite value, or a sigma that is none",
        Observation::Opaque | Observation::Malformed(_) => "the model gave no usable output",
    }
}

fn rule(policy: &Policy) -> ScoreRule {
    let plain = || rating::rule(&policy.measure, policy.temperature);
    policy.calibration.certified().map_or_else(plain, |certified| certified.score.clone())
}

fn evidence(rated: Option<Rated>, policy: &Policy, around: &Circumstances) -> Evidence {
    let Some(rated) = rated else { return Evidence { audit: around.audit, ..Evidence::default() } };
    let certified = policy.calibration.certified();
    let promise = certified.map(|certified| Promised {
        alpha: certified.promise.alpha,
        delta: certified.promise.delta,
        cases: certified.cases,
        round: certified.round,
    });
    Evidence {
        s: Some(rated.s),
        lambda: certified.map_or(policy.threshold, |certified| Some(certified.lambda(rated.class))),
        p_wrong: Some(rated.p_wrong),
        gain: expected_gain(rated, around),
        audit: around.audit,
        promise,
    }
}

/// Softmax of `scores / temperature`: exp(z/T) / Σ exp(z/T) (Guo et al. 2017, "On Calibration of Modern Neural Networks").
/// The maximum is subtracted first, so that nothing overflows.
pub fn softmax(scores: &[f32], temperature: f32) -> Vec<f32> {
    let top = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f32> = scores.iter().map(|z| ((z - top) / temperature).exp()).collect();
    let sum: f32 = powers.iter().sum();
    powers.into_iter().map(|p| p / sum).collect()
}

/// Index and probability of the most probable class; `None` without scores. The first wins a tie.
pub fn top_probability(scores: &[f32], temperature: f32) -> Option<(usize, f32)> {
    let probabilities = softmax(scores, temperature);
    let mut best: Option<(usize, f32)> = None;
    for (index, p) in probabilities.into_iter().enumerate() {
        if best.is_none_or(|(_, q)| p > q) {
            best = Some((index, p));
        }
    }
    best
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
