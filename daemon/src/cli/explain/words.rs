//! The sentences: what a factory engineer reads about one answer.

use picket_core::escalation::decide::Reason;
use serde::Serialize;

/// The numbers that the sentences are about, whether they come from the log or from a published result.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Facts {
    pub id: String,
    pub model: String,
    /// Label of the local answer.
    pub local: Option<String>,
    pub confidence: Option<f64>,
    pub s: Option<f64>,
    pub lambda: Option<f64>,
    pub p_wrong: Option<f64>,
    pub gain: Option<f64>,
    /// Drawn by lottery.
    pub audit: bool,
    pub audit_rate: Option<f64>,
    pub promise: Option<Promise>,
    /// What stood in the way of asking, in words; only the log knows.
    pub obstacles: Vec<String>,
}

/// What a certificate promises.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Promise {
    pub n: u64,
    pub alpha: f64,
    pub delta: f64,
    pub round: Option<u64>,
}

/// 0.563 → `56.3 %`.
pub(super) fn percent(share: f64) -> String {
    let text = format!("{:.1}", share * 100.0);
    format!("{} %", text.strip_suffix(".0").unwrap_or(&text))
}

/// Who answered in whose place.
pub(super) fn stood_in(wanted: &str, smaller: &str) -> String {
    format!("The job was for {wanted}; the board was too hot for it, and its smaller sibling {smaller} answered.")
}

const DUPLICATE: &str =
    "Another job that shows the same part (`group-key`) was asked about a short while ago, so nobody was asked again.";

const OPEN: &str = "The window that this job's samples belong to is not full yet, so the model has not run; what came is kept \
                    for it.";

impl Facts {
    /// What the model said, and how sure it was.
    pub fn said(&self) -> String {
        let Some(label) = &self.local else {
            return match self.s {
                Some(s) => format!("The local model's answer has the score {s:.4}."),
                None => "The local model gave no answer that could be rated.".to_owned(),
            };
        };
        let mut text = format!("The local model said \"{label}\"");
        if let Some(confidence) = self.confidence {
            text += &format!(", {} sure by its own word", percent(confidence));
        }
        if let Some(p_wrong) = self.p_wrong {
            let what = if self.promise.is_some() { "on the labelled cases" } else { "as far as that tells" };
            text += &format!("; {what}, such answers are wrong in about {}", percent(p_wrong));
        }
        text + "."
    }

    /// What the score was compared with, and where that comes from.
    pub fn threshold(&self) -> Option<String> {
        let (s, lambda) = (self.s?, self.lambda);
        // A published result has no infinite numbers.
        let Some(lambda) = lambda.filter(|lambda| lambda.is_finite()) else {
            let why = match &self.promise {
                Some(_) => "the certificate covers no answers of this kind, because too few labelled cases had one",
                None => "there is no threshold for this model",
            };
            return Some(format!("Its score is {s:.4}; {why}."));
        };
        let digits = if format!("{s:.4}") == format!("{lambda:.4}") { 8 } else { 4 };
        let side = if s >= lambda { "not below" } else { "below" };
        let compared = format!("Its score {s:.digits$} is {side} the threshold {lambda:.digits$}");
        Some(match &self.promise {
            Some(Promise { n, alpha, delta, round }) => {
                let later = match round {
                    Some(round) if *round > 1 => {
                        format!(" (certificate number {round} of this model, made by lottery)")
                    }
                    _ => String::new(),
                };
                let bad = match round {
                    Some(round) if *round > 1 => "an answer that is not the provider's",
                    _ => "a wrong answer",
                };
                format!(
                    "{compared}, which was measured on {n} labelled cases{later}: with {} confidence, at most {} of all \
                     requests get {bad} from the local model.",
                    percent(1.0 - delta),
                    percent(*alpha)
                )
            }
            None => format!("{compared}, which is the bundle's own and promises nothing."),
        })
    }

    /// Why the answer is what it is. Every code has its sentence.
    pub fn because(&self, reason: Reason) -> String {
        let sure = matches!((self.s, self.lambda), (Some(s), Some(lambda)) if s >= lambda);
        match reason {
            Reason::LocalCertified => {
                "The certificate covers this answer, so it went out as it is and nobody was asked.".to_owned()
            }
            Reason::LocalUncertifiedNoCalibration if self.lambda.is_some() && !sure => {
                "The answer was doubtful and went out all the same: nobody is configured to be asked, and without a \
                 calibration in force nothing is promised."
                    .to_owned()
            }
            Reason::LocalUncertifiedNoCalibration => {
                "The answer went out as it is. No calibration of this model is in force, so nothing is promised; `picket \
                 calibrate` measures what could be."
                    .to_owned()
            }
            Reason::LocalUncertifiedModelMismatch => {
                "The answer went out without a promise: the calibration was made for another model, or for other steps or \
                 labels around it. `picket calibrate` makes the right one."
                    .to_owned()
            }
            Reason::LocalUncertifiedSuspect => {
                "The answer went out without a promise: an alarm has suspended the certificate, because what comes now no \
                 longer looks like what was tested."
                    .to_owned()
            }
            Reason::LocalUncertifiedBudget => self.hindered(
                "The answer was doubtful, but asking would have cost more than the budget still allows, so the local answer \
                 went out, not certified.",
            ),
            Reason::LocalNoGain => self.hindered(
                "The answer was doubtful, but nobody who could be asked is expected to do better, so the local answer went \
                 out, not certified.",
            ),
            Reason::LocalDuplicate => DUPLICATE.to_owned(),
            Reason::LocalWindowOpen => OPEN.to_owned(),
            Reason::LocalUncertifiedLink => self.hindered(
                "The answer was doubtful, but nobody could be reached, so the local answer went out, not certified.",
            ),
            Reason::LocalUncertifiedDeadline => self.hindered(
                "The answer was doubtful, but nobody's word would have come in time, so the local answer went out, not \
                 certified.",
            ),
            Reason::LocalPolicyNoEgress => self.hindered(
                "The answer was doubtful, but this job must not leave the device, so the local answer went out, not \
                 certified.",
            ),
            Reason::EscBelowLambda => {
                "The score was below the threshold, so the local answer was not trusted and somebody was asked.".to_owned()
            }
            Reason::EscEmptyOutput => {
                "The local model found nothing, and the labelled empty cases do not bear that, so somebody was asked.".to_owned()
            }
            Reason::EscSuspect => {
                "The score would have been enough, but an alarm has suspended the certificate, so somebody was asked."
                    .to_owned()
            }
            Reason::EscAudit => {
                "The lottery had drawn this job for a second opinion before anybody knew the answer; the answer itself did \
                 not wait for it."
                    .to_owned()
            }
            Reason::EscBadOutput => {
                "The local model's output was unusable (no number, or not one score per class), so somebody was asked."
                    .to_owned()
            }
        }
    }

    fn hindered(&self, sentence: &str) -> String {
        let mut text = sentence.to_owned();
        if !self.obstacles.is_empty() {
            text += &format!(" ({}.)", self.obstacles.join("; "));
        }
        text
    }

    /// What asking was expected to bring.
    pub fn worth(&self) -> Option<String> {
        let gain = self.gain?;
        Some(if gain > 0.0 {
            format!("A provider's answer was expected to be right more often, by {}.", percent(gain))
        } else {
            "A provider's answer was not expected to be right more often.".to_owned()
        })
    }

    pub fn lottery(&self) -> String {
        let rate = match self.audit_rate {
            Some(rate) => format!(" ({} of all jobs are)", percent(rate)),
            None => String::new(),
        };
        match self.audit {
            true => format!(
                "The lottery had drawn this job for a second opinion{rate}: it measures what the promise is worth."
            ),
            false => format!("The lottery had not drawn this job{rate}."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(s: f64) -> Facts {
        Facts {
            local: Some("8".to_owned()),
            confidence: Some(0.563),
            s: Some(s),
            lambda: Some(0.7144),
            p_wrong: Some(0.21),
            promise: Some(Promise { n: 297, alpha: 0.02, delta: 0.05, round: Some(1) }),
            ..Facts::default()
        }
    }

    #[test]
    fn the_numbers_are_in_the_sentences() {
        let doubtful = facts(0.5632);
        assert_eq!(
            doubtful.said(),
            "The local model said \"8\", 56.3 % sure by its own word; on the labelled cases, such answers are wrong in about \
             21 %."
        );
        assert_eq!(
            doubtful.threshold().unwrap(),
            "Its score 0.5632 is below the threshold 0.7144, which was measured on 297 labelled cases: with 95 % confidence, \
             at most 2 % of all requests get a wrong answer from the local model."
        );
        assert!(facts(0.9).threshold().unwrap().starts_with("Its score 0.9000 is not below the threshold 0.7144"));
        // What looks the same gets as many digits as it takes.
        assert!(facts(0.714_399).threshold().unwrap().contains("0.71439900 is below the threshold 0.71440000"));
        for lambda in [None, Some(f64::INFINITY)] {
            let told = Facts { lambda, ..facts(0.9) }.threshold().unwrap();
            assert!(told.contains("covers no answers of this kind"), "{told}");
            let told = Facts { lambda, promise: None, ..facts(0.9) }.threshold().unwrap();
            assert!(told.ends_with("there is no threshold for this model."), "{told}");
        }
        let plain = Facts { promise: None, ..facts(0.9) };
        assert!(plain.threshold().unwrap().ends_with("which is the bundle's own and promises nothing."));
    }

    #[test]
    fn every_reason_has_a_sentence_of_its_own() {
        let mut sentences = std::collections::BTreeSet::new();
        for reason in Reason::ALL {
            let sentence = facts(0.5).because(reason);
            assert!(sentence.ends_with('.') && !sentence.contains("  "), "{sentence}");
            assert!(sentences.insert(sentence), "{reason:?} says what another one says");
        }
        let sure = facts(0.9).because(Reason::LocalUncertifiedNoCalibration);
        assert_ne!(sure, facts(0.5).because(Reason::LocalUncertifiedNoCalibration));
    }

    #[test]
    fn what_stood_in_the_way_is_told() {
        let facts = Facts { obstacles: vec!["hq did not help: provider/timeout".to_owned()], ..facts(0.5) };
        assert!(facts.because(Reason::LocalUncertifiedLink).ends_with("(hq did not help: provider/timeout.)"));
    }
}
