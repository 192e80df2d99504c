//! Is the local answer good enough, and if not, what now?
//!
//! With a certificate in force (see [`super::certificate`]) an answer whose score reaches its λ is certified and stays here,
//! without a call. A model without one falls back to the bundle's threshold, which promises nothing.

pub use super::reason::Reason;
use super::{
    calibration::State,
    score::{Rated, ScoreRule},
};
use crate::{
    job::{Privacy, ProviderId},
    limits,
    time::Span,
};

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
    /// Softmax temperature, > 0; without a certificate in force.
    pub temperature: f32,
    /// Ask upstream below this top probability; `None`: never. Without a certificate in force.
    pub threshold: Option<f32>,
    pub calibration: State,
    /// Providers in the order in which they are asked; empty: never.
    pub providers: Vec<ProviderId>,
    /// There are redaction steps for jobs that leave only redacted.
    pub redacts: bool,
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
    /// What the certificate in force promises, and on how many cases.
    pub promise: Option<Promised>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Promised {
    pub alpha: f64,
    pub delta: f64,
    pub cases: u64,
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
    let certified = matches!((&policy.calibration, evidence.s, evidence.lambda),
        (State::Valid(_), Some(s), Some(lambda)) if s >= lambda);
    let doubt = match seen {
        Observation::Opaque => None,
        Observation::Malformed(_) => Some(Reason::EscBadOutput),
        Observation::Scores(_) => match (evidence.s, evidence.lambda) {
            // A NaN is not below anything, and is no certainty either.
            (Some(s), Some(lambda)) if s < lambda || s.is_nan() => Some(Reason::EscBelowLambda),
            (None, _) => Some(Reason::EscBadOutput),
            _ => None,
        },
    };
    let verdict = match doubt {
        None if certified => Verdict::AnswerLocal(Reason::LocalCertified),
        None => Verdict::AnswerLocal(uncertified(&policy.calibration)),
        Some(reason) if providers.is_empty() => Verdict::AnswerLocal(match (&policy.calibration, reason) {
            (State::Valid(_), Reason::EscBelowLambda) => Reason::LocalPolicyNoEgress,
            (state, _) => uncertified(state),
        }),
        Some(reason) => escalate(reason, privacy.may_leave(policy.redacts), providers, left, whole, asked),
    };
    let verdict = match (seen, verdict) {
        (Observation::Malformed(why), Verdict::AnswerLocal(_)) => Verdict::Fail(why.clone()),
        (Observation::Scores(scores), Verdict::AnswerLocal(_)) if scores.is_empty() => {
            Verdict::Fail("the model gave no scores".to_owned())
        }
        (_, verdict) => verdict,
    };
    Decision { verdict, certified, evidence }
}

const fn uncertified(state: &State) -> Reason {
    match state {
        State::Mismatch => Reason::LocalUncertifiedModelMismatch,
        State::Missing | State::Valid(_) => Reason::LocalUncertifiedNoCalibration,
    }
}

fn escalate(
    reason: Reason,
    may_leave: bool,
    providers: &[ProviderView],
    left: Span,
    whole: Span,
    asked: usize,
) -> Verdict {
    if !may_leave {
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
    let Observation::Scores(scores) = seen else { return Evidence::default() };
    if let State::Valid(certified) = &policy.calibration {
        let promised =
            Promised { alpha: certified.promise.alpha, delta: certified.promise.delta, cases: certified.cases };
        let Some(Rated { class, s, p_wrong, .. }) = certified.score.rate(scores) else { return Evidence::default() };
        let lambda = Some(certified.lambda(class));
        return Evidence { s: Some(s), lambda, p_wrong: Some(p_wrong), promise: Some(promised) };
    }
    let rated = ScoreRule::Softmax { temperature: policy.temperature }.rate(scores);
    let (s, p_wrong) = (rated.map(|rated| rated.s), rated.map(|rated| rated.p_wrong));
    Evidence { s, lambda: policy.threshold, p_wrong, promise: None }
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
    use std::sync::Arc;

    use super::*;
    use crate::escalation::{calibration::Certified, certificate::Promise};

    const HOUR: Span = Span::from_millis(3_600_000);

    fn policy(threshold: f32) -> Policy {
        Policy {
            temperature: 1.0,
            calibration: State::Missing,
            threshold: Some(threshold),
            providers: vec![ProviderId(0), ProviderId(1)],
            redacts: false,
        }
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
        let redacts = Policy { redacts: true, ..policy(0.9) };
        for (privacy, leaves) in [(Privacy::Never, false), (Privacy::Redacted, true)] {
            let d = decide(&doubtful(), &redacts, privacy, &[view(0, true)], HOUR, HOUR, 0);
            assert_eq!(matches!(d.verdict, Verdict::Escalate { .. }), leaves, "{privacy:?}");
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

    /// A promise of at most 2 % with λ 0.9, and 0.99 for class 1.
    fn certified() -> Policy {
        let certified = Certified {
            score: ScoreRule::Softmax { temperature: 1.0 },
            lambdas: vec![0.9, 0.99],
            cases: 300,
            promise: Promise { alpha: 0.02, delta: 0.05 },
            digest: "sha256:0".into(),
        };
        Policy { threshold: Some(0.0), calibration: State::Valid(Arc::new(certified)), ..policy(0.0) }
    }

    /// Two classes, the first of this probability.
    fn scores(p: f32) -> Observation {
        Observation::Scores(vec![p.ln(), (1.0 - p).ln()])
    }

    #[test]
    fn what_the_certificate_covers_stays_here() {
        let d = decide(&scores(0.95), &certified(), Privacy::Ok, &[view(0, true)], HOUR, HOUR, 0);
        assert_eq!((d.verdict, d.certified), (Verdict::AnswerLocal(Reason::LocalCertified), true));
        let promised = Promised { alpha: 0.02, delta: 0.05, cases: 300 };
        assert_eq!((d.evidence.lambda, d.evidence.promise), (Some(0.9), Some(promised)));
    }

    #[test]
    fn what_it_does_not_cover_is_asked_or_says_so() {
        // Class 1 has a stricter threshold of its own.
        for seen in [scores(0.89), scores(0.04)] {
            let d = decide(&seen, &certified(), Privacy::Ok, &[view(0, true)], HOUR, HOUR, 0);
            assert!(matches!(d.verdict, Verdict::Escalate { reason: Reason::EscBelowLambda, .. }), "{d:?}");
            let nobody = decide(&seen, &certified(), Privacy::Ok, &[], HOUR, HOUR, 0);
            assert_eq!(nobody.verdict, Verdict::AnswerLocal(Reason::LocalPolicyNoEgress));
            assert!(!d.certified && !nobody.certified);
        }
        let beyond = Observation::Scores(vec![0.0, 0.0, 90.0]);
        let d = decide(&beyond, &certified(), Privacy::Ok, &[], HOUR, HOUR, 0);
        assert!(!d.certified, "a class that was never certified");
    }

    #[test]
    fn a_foreign_calibration_certifies_nothing() {
        let policy = Policy { calibration: State::Mismatch, ..policy(0.9) };
        let d = decide(&scores(0.999), &policy, Privacy::Ok, &[view(0, true)], HOUR, HOUR, 0);
        let verdict = Verdict::AnswerLocal(Reason::LocalUncertifiedModelMismatch);
        assert_eq!((d.verdict, d.certified), (verdict, false));
    }

    #[test]
    fn no_scores_are_no_answer() {
        for policy in [certified(), policy(0.9)] {
            let d = decide(&Observation::Scores(vec![]), &policy, Privacy::Ok, &[view(0, true)], HOUR, HOUR, 0);
            assert!(matches!(d.verdict, Verdict::Escalate { reason: Reason::EscBadOutput, .. }), "{d:?}");
            let d = decide(&Observation::Scores(vec![]), &policy, Privacy::Never, &[view(0, true)], HOUR, HOUR, 0);
            assert!(matches!(d.verdict, Verdict::Fail(_)) && !d.certified, "{d:?}");
        }
    }
}
