//! Is the local answer good enough, and if not, what now?
//!
//! The rule here is the first one: temperature-scaled softmax against the bundle's threshold. It promises nothing, so it
//! never says `certified`. A certified rule replaces the body of [`decide`]; its callers stay as they are.

use crate::{
    job::{Privacy, ProviderId},
    limits,
    time::Span,
};

/// Why an answer is what it is; one code in every result, one counter in the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Local answer without a certificate: the model has no calibration (or nothing to escalate to).
    LocalUncertifiedNoCalibration,
    /// Local answer although doubtful: no provider could be reached.
    LocalUncertifiedLink,
    /// Local answer although doubtful: the provider would be, or was, too late.
    LocalUncertifiedDeadline,
    /// Local answer although doubtful: the input may not leave this device.
    LocalPolicyNoEgress,
    /// The local score was below the threshold; a provider answered.
    EscBelowLambda,
    /// The local output was unusable; a provider answered.
    EscBadOutput,
}

impl Reason {
    pub const ALL: [Self; 6] = [
        Self::LocalUncertifiedNoCalibration,
        Self::LocalUncertifiedLink,
        Self::LocalUncertifiedDeadline,
        Self::LocalPolicyNoEgress,
        Self::EscBelowLambda,
        Self::EscBadOutput,
    ];

    pub const fn code(self) -> &'static str {
        match self {
            Self::LocalUncertifiedNoCalibration => "LOCAL_UNCERTIFIED_NO_CALIBRATION",
            Self::LocalUncertifiedLink => "LOCAL_UNCERTIFIED_LINK",
            Self::LocalUncertifiedDeadline => "LOCAL_UNCERTIFIED_DEADLINE",
            Self::LocalPolicyNoEgress => "LOCAL_POLICY_NO_EGRESS",
            Self::EscBelowLambda => "ESC_BELOW_LAMBDA",
            Self::EscBadOutput => "ESC_BAD_OUTPUT",
        }
    }
}

/// What the local model said, as far as the decision needs it.
#[derive(Clone, Debug, PartialEq)]
pub enum Observation {
    /// One score per class: logits, or the logarithms of probabilities.
    Scores(Vec<f32>),
    /// Outputs that no rule judges (task `tensor`).
    Opaque,
    /// NaN, infinite or empty output: `model/invalid-output` unless a provider helps.
    Malformed(String),
}

/// How a model's doubtful answers are treated.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Softmax temperature, > 0.
    pub temperature: f32,
    /// Ask upstream below this top probability; `None`: never.
    pub threshold: Option<f32>,
    /// Providers in the order in which they are asked; empty: never.
    pub providers: Vec<ProviderId>,
}

/// A provider as it looks at the moment of the decision.
#[derive(Clone, Copy, Debug)]
pub struct ProviderView {
    pub id: ProviderId,
    pub admits: bool,
    pub timeout: Span,
}

/// The numbers that led to a decision; part of every result.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Evidence {
    /// Score of the local answer: its temperature-scaled top probability.
    pub s: Option<f32>,
    /// Threshold it was compared with.
    pub lambda: Option<f32>,
    /// Estimated probability that the local answer is wrong.
    pub p_wrong: Option<f32>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// The local answer goes out.
    AnswerLocal(Reason),
    /// Ask this provider and wait at most so long; `reason` is what the result will say if it answers.
    Escalate { provider: ProviderId, timeout: Span, reason: Reason },
    /// There is no usable answer.
    Fail(String),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    pub verdict: Verdict,
    pub certified: bool,
    pub evidence: Evidence,
}

/// Decides on a local output. Pure: the same arguments give the same decision.
///
/// `left` is the time to the job's deadline; `asked` counts the providers that were asked already for this job.
pub fn decide(
    seen: &Observation,
    policy: &Policy,
    privacy: Privacy,
    providers: &[ProviderView],
    left: Span,
    whole: Span,
    asked: usize,
) -> Decision {
    let evidence = evidence(seen, policy);
    let doubt = match seen {
        Observation::Opaque => None,
        Observation::Malformed(_) => Some(Reason::EscBadOutput),
        Observation::Scores(_) => match (evidence.s, policy.threshold) {
            (Some(s), Some(threshold)) if s < threshold => Some(Reason::EscBelowLambda),
            _ => None,
        },
    };
    let verdict = match doubt {
        None => Verdict::AnswerLocal(Reason::LocalUncertifiedNoCalibration),
        Some(reason) => escalate(reason, privacy, providers, left, whole, asked),
    };
    let verdict = match (seen, verdict) {
        (Observation::Malformed(why), Verdict::AnswerLocal(_)) => Verdict::Fail(why.clone()),
        (_, verdict) => verdict,
    };
    Decision { verdict, certified: false, evidence }
}

fn escalate(
    reason: Reason,
    privacy: Privacy,
    providers: &[ProviderView],
    left: Span,
    whole: Span,
    asked: usize,
) -> Verdict {
    if providers.is_empty() {
        return Verdict::AnswerLocal(Reason::LocalUncertifiedNoCalibration);
    }
    if !privacy.may_leave() {
        return Verdict::AnswerLocal(Reason::LocalPolicyNoEgress);
    }
    let margin = limits::ANSWER_MARGIN.min(Span::from_micros(whole.as_micros() / limits::ANSWER_MARGIN_DIVISOR));
    let wait = left.saturating_sub(margin);
    if wait == Span::ZERO {
        return Verdict::AnswerLocal(Reason::LocalUncertifiedDeadline);
    }
    match providers.iter().skip(asked).find(|p| p.admits) {
        Some(p) => Verdict::Escalate { provider: p.id, timeout: wait.min(p.timeout), reason },
        None => Verdict::AnswerLocal(Reason::LocalUncertifiedLink),
    }
}

fn evidence(seen: &Observation, policy: &Policy) -> Evidence {
    let s = match seen {
        Observation::Scores(scores) => top_probability(scores, policy.temperature).map(|(_, p)| p),
        Observation::Opaque | Observation::Malformed(_) => None,
    };
    Evidence { s, lambda: policy.threshold, p_wrong: s.map(|s| 1.0 - s) }
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
mod tests {
    use super::*;

    const HOUR: Span = Span::from_millis(3_600_000);

    fn policy(threshold: f32) -> Policy {
        Policy { temperature: 1.0, threshold: Some(threshold), providers: vec![ProviderId(0), ProviderId(1)] }
    }

    fn view(id: usize, admits: bool) -> ProviderView {
        ProviderView { id: ProviderId(id), admits, timeout: Span::from_millis(2_000) }
    }

    fn doubtful() -> Observation {
        Observation::Scores(vec![0.1, 0.0, 0.0])
    }

    #[test]
    fn softmax_survives_large_scores() {
        let p = softmax(&[1000.0, 0.0], 1.0);
        assert_eq!(p, vec![1.0, 0.0]);
        let (index, p) = top_probability(&[0.0, 2.0, 1.0], 2.0).unwrap();
        assert_eq!(index, 1);
        // e^1 / (e^0 + e^1 + e^0.5)
        assert!((p - 0.506_48).abs() < 1e-4);
    }

    #[test]
    fn a_sure_answer_stays_local_and_is_not_certified() {
        let d =
            decide(&Observation::Scores(vec![9.0, 0.0]), &policy(0.9), Privacy::Ok, &[view(0, true)], HOUR, HOUR, 0);
        assert_eq!(d.verdict, Verdict::AnswerLocal(Reason::LocalUncertifiedNoCalibration));
        assert!(!d.certified);
        assert!(d.evidence.s.unwrap() > 0.99);
    }

    #[test]
    fn a_doubtful_answer_goes_to_the_first_provider_that_admits() {
        let d = decide(&doubtful(), &policy(0.9), Privacy::Ok, &[view(0, false), view(1, true)], HOUR, HOUR, 0);
        assert_eq!(
            d.verdict,
            Verdict::Escalate {
                provider: ProviderId(1),
                timeout: Span::from_millis(2_000),
                reason: Reason::EscBelowLambda
            }
        );
        let d = decide(&doubtful(), &policy(0.9), Privacy::Ok, &[view(0, true), view(1, true)], HOUR, HOUR, 2);
        assert_eq!(d.verdict, Verdict::AnswerLocal(Reason::LocalUncertifiedLink), "each provider is asked once");
    }

    #[test]
    fn privacy_and_deadline_keep_a_doubtful_answer_local() {
        for privacy in [Privacy::Never, Privacy::Redacted] {
            let d = decide(&doubtful(), &policy(0.9), privacy, &[view(0, true)], HOUR, HOUR, 0);
            assert_eq!(d.verdict, Verdict::AnswerLocal(Reason::LocalPolicyNoEgress));
        }
        let left = Span::from_millis(10);
        let d = decide(&doubtful(), &policy(0.9), Privacy::Ok, &[view(0, true)], left, HOUR, 0);
        assert_eq!(d.verdict, Verdict::AnswerLocal(Reason::LocalUncertifiedDeadline));
    }

    #[test]
    fn the_provider_is_given_up_before_the_deadline() {
        let whole = Span::from_millis(1_000);
        let d = decide(&doubtful(), &policy(0.9), Privacy::Ok, &[view(0, true)], Span::from_millis(500), whole, 0);
        let Verdict::Escalate { timeout, .. } = d.verdict else { panic!("{d:?}") };
        assert_eq!(timeout, Span::from_millis(480));
    }

    #[test]
    fn malformed_output_fails_unless_a_provider_helps() {
        let bad = Observation::Malformed("output 0 has a NaN".into());
        let d = decide(&bad, &policy(0.9), Privacy::Ok, &[view(0, true)], HOUR, HOUR, 0);
        assert!(matches!(d.verdict, Verdict::Escalate { reason: Reason::EscBadOutput, .. }));
        let d = decide(&bad, &policy(0.9), Privacy::Never, &[view(0, true)], HOUR, HOUR, 0);
        assert_eq!(d.verdict, Verdict::Fail("output 0 has a NaN".into()));
    }

    #[test]
    fn without_threshold_or_classes_nothing_escalates() {
        let none = Policy { threshold: None, ..policy(0.9) };
        for seen in [doubtful(), Observation::Opaque] {
            let d = decide(&seen, &none, Privacy::Ok, &[view(0, true)], HOUR, HOUR, 0);
            assert_eq!(d.verdict, Verdict::AnswerLocal(Reason::LocalUncertifiedNoCalibration));
        }
    }
}
