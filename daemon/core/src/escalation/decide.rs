//! Is the local answer good enough, and if not, what now?
//!
//! With a certificate in force (see [`super::certificate`]) an answer whose score reaches its λ is certified and stays here,
//! without a call. A model without one falls back to the bundle's threshold, which promises nothing.

use serde::{Deserialize, Serialize};

use super::{
    budget::Cost, calibration::State, detection::Detection, duplicates::Known, gain::Values, judgement::gain_of,
    score::Rated,
};
pub use super::{
    judgement::{Judged, judge},
    reason::Reason,
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
    /// All that was found in an image.
    Boxes(Detection),
    /// The model has not run: the window that this job's samples belong to is not full.
    WindowOpen,
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
    /// What a right answer is worth, by predicted class.
    pub values: Values,
    /// How often each of the providers is right, by predicted class; where nothing is said, its accuracy on the whole.
    pub accuracies: Vec<Vec<Option<f64>>>,
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
            values: Values::EQUAL,
            accuracies: Vec::new(),
        }
    }

    /// What is known of the provider at this place of the list where the local model says `class`.
    pub fn accuracy(&self, place: usize, class: Option<usize>) -> Option<f64> {
        self.accuracies.get(place)?.get(class?).copied().flatten()
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
    /// Chance that it answers in the time that there is.
    pub on_time: f64,
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
    /// What is known of another frame of the same part.
    pub known: Option<Known<(ProviderId, Said)>>,
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
        known: None,
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
    /// By how much a provider's answer is expected to be right more often than the local one …
    pub gain: Option<f64>,
    /// … and how much it must, for the budget to last; 0 without a budget, infinite when it is gone.
    pub price: Option<f64>,
    /// What asking costs at most …
    pub cost: Option<Cost>,
    /// … and the chance of an answer in the time that there was.
    pub on_time: Option<f64>,
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
    /// What a provider has said about another frame of the same part is the answer.
    Reuse { provider: ProviderId, said: Said },
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
    conclude(&judge(seen, policy, around.suspect), seen, policy, around)
}

/// What follows from a judgement, as things are around it.
pub fn conclude(judged: &Judged, seen: &Observation, policy: &Policy, around: &Circumstances) -> Decision {
    let Judged { said, rated, certified, doubt, .. } = judged.clone();
    let evidence = evidence(judged, policy, around);
    let verdict = match doubt {
        // The lottery wants this frame, too; and without a usable answer of our own there is nothing to stay with.
        Some(reason) if around.known.is_some() && !around.audit && reason != Reason::EscBadOutput => duplicate(around),
        None if certified => Verdict::AnswerLocal(Reason::LocalCertified),
        None if *seen == Observation::WindowOpen => Verdict::AnswerLocal(Reason::LocalWindowOpen),
        None => Verdict::AnswerLocal(uncertified(policy, around)),
        Some(reason) if around.providers.is_empty() => Verdict::AnswerLocal(match (&policy.calibration, reason) {
            (State::Valid(_), Reason::EscBelowLambda | Reason::EscEmptyOutput) => Reason::LocalPolicyNoEgress,
            _ => uncertified(policy, around),
        }),
        Some(reason) => escalate(reason, rated, policy, around),
    };
    let verdict = match (seen, verdict) {
        (Observation::Malformed(why), Verdict::AnswerLocal(_)) => Verdict::Fail(why.clone()),
        // There is no answer that could go out.
        (seen, Verdict::AnswerLocal(_))
            if said.is_none() && !matches!(seen, Observation::Opaque | Observation::WindowOpen) =>
        {
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

fn duplicate(around: &Circumstances) -> Verdict {
    match around.known.clone() {
        Some(Known::Answered((provider, said))) => Verdict::Reuse { provider, said },
        _ => Verdict::AnswerLocal(Reason::LocalDuplicate),
    }
}

fn escalate(reason: Reason, rated: Option<Rated>, policy: &Policy, around: &Circumstances) -> Verdict {
    if !around.privacy.may_leave(policy.redacts) {
        return Verdict::AnswerLocal(Reason::LocalPolicyNoEgress);
    }
    let wait = patience(around.left, around.whole);
    // An unusable output is no answer that could be corrected later.
    let at_once = policy.at_once && reason != Reason::EscBadOutput;
    if wait == Span::ZERO || at_once {
        return Verdict::AnswerLocal(Reason::LocalUncertifiedDeadline);
    }
    let mut why_not = Reason::LocalUncertifiedLink;
    for provider in around.providers.iter().skip(around.asked).filter(|provider| provider.admits) {
        let gain = gain_of(rated, provider.accuracy, &policy.values);
        if provider.on_time < ON_TIME && reason != Reason::EscBadOutput {
            why_not = Reason::LocalUncertifiedDeadline;
        } else if !worth_it(gain, provider, policy, around) {
            why_not = if gain > 0.0 { Reason::LocalUncertifiedBudget } else { Reason::LocalNoGain };
        } else if provider.affordable {
            return Verdict::Escalate { provider: provider.id, timeout: wait.min(provider.timeout), reason };
        } else {
            why_not = Reason::LocalUncertifiedBudget;
        }
    }
    Verdict::AnswerLocal(why_not)
}

/// A provider that is likelier late than not is not waited for.
const ON_TIME: f64 = 0.5;

/// How long a provider may take, so that the local answer still goes out in time. Both spans as in [`Circumstances`].
pub fn patience(left: Span, whole: Span) -> Span {
    let margin = Span::from_micros(whole.as_micros() / limits::ANSWER_MARGIN_DIVISOR);
    left.saturating_sub(limits::ANSWER_MARGIN.min(margin))
}

/// With plenty left the promise is served in full: then nothing has a price.
fn worth_it(gain: f64, provider: &ProviderView, policy: &Policy, around: &Circumstances) -> bool {
    match policy.mode {
        Mode::PromiseFirst => around.rich || gain >= provider.threshold,
        Mode::BudgetFirst => gain > 0.0 && gain >= provider.threshold,
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
    // What is not worth its price now will not be later: its worth only falls.
    let too_dear = matches!(
        verdict,
        Verdict::AnswerLocal(Reason::LocalUncertifiedBudget | Reason::LocalNoGain | Reason::LocalDuplicate)
    );
    let (lane, reason) = match doubt {
        _ if !allowed => return None,
        Some(reason) if policy.amends && reason != Reason::EscBadOutput && !too_dear => (Lane::Value, reason),
        _ if around.audit => (Lane::Audit, Reason::EscAudit),
        _ => return None,
    };
    let answered = match verdict {
        Verdict::AnswerLocal(reason) => *reason,
        Verdict::Escalate { .. } => Reason::LocalUncertifiedDeadline,
        Verdict::Reuse { .. } | Verdict::Fail(_) => return None,
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
        gain: around.providers.first().map_or(0.0, |first| gain_of(Some(rated), first.accuracy, &policy.values)),
        privacy: around.privacy,
    })
}

const fn unusable(seen: &Observation) -> &'static str {
    match seen {
        Observation::Scores(_) => "the model gave no scores",
        Observation::Anomaly(_) => "the model gave no anomaly score that is a finite number",
        Observation::Value { .. } => "the model gave no finite value, or a sigma that is none",
        Observation::Boxes(_) => "the model gave boxes that are none, or too many",
        Observation::Opaque | Observation::Malformed(_) | Observation::WindowOpen => "the model gave no usable output",
    }
}

/// Gain, price and cost are those of the first provider: it is the one that is asked.
fn evidence(judged: &Judged, policy: &Policy, around: &Circumstances) -> Evidence {
    let first = around.providers.first();
    let Some(rated) = judged.rated else { return Evidence { audit: around.audit, ..Evidence::default() } };
    let promise = policy.calibration.certified().map(|certified| Promised {
        alpha: certified.promise.alpha,
        delta: certified.promise.delta,
        cases: certified.cases,
        round: certified.round,
    });
    Evidence {
        s: Some(rated.s),
        lambda: judged.lambda,
        p_wrong: Some(rated.p_wrong),
        gain: first.map(|first| gain_of(Some(rated), first.accuracy, &policy.values)),
        price: first.map(|first| first.threshold),
        cost: first.map(|first| first.cost),
        on_time: first.map(|first| first.on_time),
        audit: around.audit,
        promise,
    }
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
