//! The calibration file: what was measured of a model, on whose parts, and what may be promised with it.
//!
//! It is bound to the model's digest and to that of the steps around it: thresholds that were measured with another encoder
//! or another scaling mean nothing.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    certificate::{self, Case, Certificate, Promise, TooFew},
    platt::Platt,
    score::{ScoreRule, ScoreSection},
    shift::Reference,
    sides,
    words::{in_so_many, percent},
};

/// The only format so far.
pub const FORMAT: &str = "esc-cal/1";

/// `calibration.json` of a bundle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    pub format: String,
    /// RFC 3339.
    pub created: String,
    pub task: String,
    /// Of the model file, lower-case hex.
    pub model_sha256: String,
    /// Of the steps before and after the model, and of its labels.
    pub preprocess_sha256: String,
    pub labels: Vec<String>,
    pub score: ScoreSection,
    pub sample: Sample,
    pub promise: PromiseSection,
    /// Classes with a promise of their own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub per_class: BTreeMap<String, ClassSection>,
    pub monitor: Monitor,
    pub sentence: String,
}

/// The labelled cases.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// Cases that count: one of each group.
    pub n: u64,
    /// Labelled inputs that were given.
    pub given: u64,
    /// Of them, those that chose the score; they are none of the `n`.
    #[serde(default, skip_serializing_if = "super::saved::is_zero")]
    pub choosing: u64,
    /// SHA-256 of the file, or of the folder's names and digests.
    pub data_sha256: String,
    /// `human` or `provider`.
    pub label_source: LabelSource,
}

/// Who said what is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LabelSource {
    Human,
    /// The promise is then about agreement with that provider, not about truth.
    Provider,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromiseSection {
    /// `joint`: local *and* wrong.
    pub form: String,
    pub alpha: f64,
    /// Over all certificates that this device will ever issue.
    pub delta: f64,
    pub round: u32,
    /// The part of it that this one may use.
    pub delta_round: f64,
    pub k_max: u64,
    /// Cases that are local and wrong.
    pub wrong: u64,
    pub lambda: f32,
    pub local_share: f64,
    /// What other promises would cost or bring, to choose by. Only the one above is issued.
    pub menu: Vec<MenuEntry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MenuEntry {
    pub alpha: f64,
    pub lambda: f32,
    pub local_share: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassSection {
    pub n: u64,
    pub k_max: u64,
    pub alpha: f64,
    pub lambda: f32,
}

/// What the alarms compare with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Monitor {
    /// How the cases' scores are distributed.
    pub scores: Reference,
    /// From a score to a probability of being wrong.
    pub wrong: Platt,
}

/// A stricter promise for one class.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassPromise {
    pub class: usize,
    pub alpha: f64,
}

/// What a calibration is made of, beside its cases.
#[derive(Clone, Debug)]
pub struct Question {
    pub created: String,
    pub task: String,
    pub model_sha256: String,
    pub preprocess_sha256: String,
    pub labels: Vec<String>,
    pub score: ScoreRule,
    pub promise: Promise,
    /// Counted from 1; see [`certificate::delta_of_round`].
    pub round: u32,
    pub classes: Vec<ClassPromise>,
    pub given: u64,
    /// Labelled inputs that chose the score.
    pub choosing: u64,
    pub data_sha256: String,
    pub label_source: LabelSource,
}

/// Promises that a menu lists.
pub const MENU: [f64; 6] = [0.001, 0.005, 0.01, 0.02, 0.05, 0.1];

impl Calibration {
    /// # Errors
    /// When the cases are too few for the promise, or for that of one class.
    pub fn issue(question: &Question, cases: &[Case]) -> Result<Self, TooFew> {
        let Question { promise, round, classes, labels, .. } = question;
        let delta_round = certificate::delta_of_round(promise.delta, *round);
        if question.score.has_sides() {
            let (promise, per_class) = sides::issue(question, cases, delta_round)?;
            return Ok(Self::of(question, cases, promise, per_class));
        }
        let issued = |alpha, delta| Promise { alpha, delta };
        let pooled = certificate::certify(cases, issued(promise.alpha, delta_round))?;
        let menu = menu(promise.alpha).into_iter().filter_map(|alpha| {
            let Certificate { lambda, .. } = certificate::certify(cases, issued(alpha, delta_round)).ok()?;
            Some(MenuEntry { alpha, lambda, local_share: share_at(cases, lambda) })
        });
        let mut per_class = BTreeMap::new();
        for ClassPromise { class, alpha } in classes {
            let own: Vec<Case> = cases.iter().filter(|case| case.class == *class).copied().collect();
            // Each class is a statement of its own, and they share δ.
            let found = certificate::certify(&own, issued(*alpha, delta_round / classes.len() as f64))?;
            let section = ClassSection { n: found.cases, k_max: found.allowed, alpha: *alpha, lambda: found.lambda };
            per_class.insert(labels.get(*class).cloned().unwrap_or_default(), section);
        }
        let promise = PromiseSection {
            form: "joint".to_owned(),
            alpha: promise.alpha,
            delta: promise.delta,
            round: *round,
            delta_round,
            k_max: pooled.allowed,
            wrong: pooled.wrong,
            lambda: pooled.lambda,
            local_share: pooled.local_share(),
            menu: menu.collect(),
        };
        Ok(Self::of(question, cases, promise, per_class))
    }

    fn of(
        question: &Question,
        cases: &[Case],
        promise: PromiseSection,
        per_class: BTreeMap<String, ClassSection>,
    ) -> Self {
        let mut calibration = Self {
            format: FORMAT.to_owned(),
            created: question.created.clone(),
            task: question.task.clone(),
            model_sha256: question.model_sha256.clone(),
            preprocess_sha256: question.preprocess_sha256.clone(),
            labels: question.labels.clone(),
            score: ScoreSection::from(&question.score),
            sample: Sample {
                n: cases.len() as u64,
                given: question.given,
                choosing: question.choosing,
                data_sha256: question.data_sha256.clone(),
                label_source: question.label_source,
            },
            promise,
            per_class,
            monitor: Monitor { scores: Reference::of(cases.iter().map(|case| case.s)), wrong: Platt::fit(cases) },
            sentence: String::new(),
        };
        calibration.sentence = calibration.in_words();
        calibration
    }

    /// What an engineer may rely on, and what not.
    pub fn in_words(&self) -> String {
        if self.promise.form == sides::FORM {
            return sides::in_words(self);
        }
        let PromiseSection { alpha, delta, .. } = self.promise;
        let bad = match self.sample.label_source {
            LabelSource::Human => "a wrong answer from the local model",
            LabelSource::Provider => "an answer from the local model that differs from the provider's",
        };
        format!(
            "This model was tested on {} labelled cases. With {} confidence, at most {} requests in {} get {bad}, as long as \
             the parts, the sensors and the model stay like the ones tested. Answers with a score below {:.4} are marked \
             'not certified' and are not covered. Nothing is said about one single request.",
            self.sample.n,
            percent(1.0 - delta),
            in_so_many(alpha).0,
            in_so_many(alpha).1,
            self.promise.lambda,
        )
    }

    /// Is this the calibration of that model, with those steps and labels around it?
    pub fn fits(&self, model_sha256: &str, preprocess_sha256: &str) -> bool {
        self.model_sha256 == model_sha256 && self.preprocess_sha256 == preprocess_sha256
    }

    /// What the decision needs of it. `digest` names the file.
    ///
    /// # Errors
    /// Says which number makes no sense. A calibration that was written by [`Calibration::issue`] is always usable.
    pub fn certified(&self, digest: &str) -> Result<Certified, String> {
        if self.format != FORMAT {
            return Err(format!("its format is {:?}, and not {FORMAT:?}", self.format));
        }
        let PromiseSection { form, alpha, delta, delta_round, k_max, lambda, round, .. } = &self.promise;
        let score = self.score.rule().ok_or_else(|| format!("its score {:?} is not known", self.score.kind))?;
        if form != if score.has_sides() { sides::FORM } else { "joint" } {
            return Err(format!("a promise of the form {form:?} is not known for the score {:?}", self.score.kind));
        }
        let open = |x: f64| x > 0.0 && x < 1.0;
        if !open(*alpha) || !open(*delta) {
            return Err("alpha and delta lie between 0 and 1".to_owned());
        }
        if (certificate::delta_of_round(*delta, *round) - delta_round).abs() > 1e-9 {
            return Err(format!("delta_round is not that of round {round}"));
        }
        let allowed = if score.has_sides() {
            Some(self.per_class.values().map(|side| side.k_max).sum())
        } else {
            certificate::allowed_wrong(self.sample.n, Promise { alpha: *alpha, delta: *delta_round })
        };
        if allowed != Some(*k_max) || self.promise.wrong > *k_max {
            return Err(format!("{} cases do not allow what it promises", self.sample.n));
        }
        if !lambda.is_finite() {
            return Err("lambda is no number".to_owned());
        }
        if !self.monitor.scores.is_sound() {
            return Err("its distribution of scores is none".to_owned());
        }
        let lambdas = if score.has_sides() { sides::lambdas(self)? } else { self.pooled_lambdas()? };
        Ok(Certified {
            score,
            lambdas,
            cases: self.sample.n,
            promise: Promise { alpha: *alpha, delta: *delta },
            round: *round,
            wrong: self.monitor.wrong,
            scores: self.monitor.scores.clone(),
            label_source: self.sample.label_source,
            digest: digest.into(),
        })
    }
}

impl Calibration {
    fn pooled_lambdas(&self) -> Result<Vec<f32>, String> {
        let mut lambdas = vec![self.promise.lambda; self.labels.len().max(1)];
        for (label, section) in &self.per_class {
            let class = self.labels.iter().position(|known| known == label);
            let class = class.ok_or_else(|| format!("it promises something of {label:?}, which is no label of it"))?;
            // A promise for one class comes on top of that for all: it may only make the threshold higher.
            lambdas[class] = lambdas[class].max(section.lambda);
        }
        Ok(lambdas)
    }
}

/// A certificate in force.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Certified {
    pub score: ScoreRule,
    /// By predicted class.
    pub lambdas: Vec<f32>,
    pub cases: u64,
    pub promise: Promise,
    /// Counted from 1, of this model's certificates.
    pub round: u32,
    /// What the alarms compare with.
    pub wrong: Platt,
    pub scores: Reference,
    pub label_source: LabelSource,
    /// Of the calibration file; what was certified since has `+` and its round behind it.
    pub digest: String,
}

impl Certified {
    /// The next certificate of this model, on cases that the lottery has drawn and a provider has labelled.
    ///
    /// # Errors
    /// When they are too few for the promise.
    pub fn again(&self, cases: &[Case]) -> Result<Self, TooFew> {
        let round = self.round.saturating_add(1);
        let delta = certificate::delta_of_round(self.promise.delta, round);
        let lambdas = if self.score.has_sides() {
            let sides = sides::certify(cases, &vec![self.promise.alpha; self.lambdas.len()], delta)?;
            sides.iter().map(sides::Side::lambda).collect()
        } else {
            let found = certificate::certify(cases, Promise { alpha: self.promise.alpha, delta })?;
            vec![found.lambda; self.lambdas.len()]
        };
        let file = self.digest.split('+').next().unwrap_or_default();
        Ok(Self {
            score: self.score.clone(),
            lambdas,
            cases: cases.len() as u64,
            promise: self.promise,
            round,
            wrong: Platt::fit(cases),
            scores: Reference::of(cases.iter().map(|case| case.s)),
            label_source: LabelSource::Provider,
            digest: format!("{file}+{round}"),
        })
    }

    /// So many cases the next certificate needs at least.
    pub fn cases_for_the_next(&self) -> u64 {
        let delta = certificate::delta_of_round(self.promise.delta, self.round.saturating_add(1));
        certificate::cases_needed(Promise { alpha: self.promise.alpha, delta })
    }

    /// The threshold for answers of this class; without one nothing is covered.
    pub fn lambda(&self, class: usize) -> f32 {
        self.lambdas.get(class).copied().unwrap_or(f32::INFINITY)
    }
}

/// What is known of a model's calibration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum State {
    /// It has none, or is not a task that can have one.
    #[default]
    Missing,
    /// It was made for another model, or for other steps around it.
    Mismatch,
    Valid(Arc<Certified>),
}

impl State {
    /// The certificate in force.
    pub fn certified(&self) -> Option<&Certified> {
        match self {
            Self::Valid(certified) => Some(certified),
            Self::Missing | Self::Mismatch => None,
        }
    }
}

/// The promises that a menu lists beside its own.
pub(super) fn menu(own: f64) -> Vec<f64> {
    let mut alphas: Vec<f64> = MENU.into_iter().chain([own]).collect();
    alphas.sort_unstable_by(f64::total_cmp);
    alphas.dedup();
    alphas
}

fn share_at(cases: &[Case], lambda: f32) -> f64 {
    cases.iter().filter(|case| case.s >= lambda).count() as f64 / cases.len().max(1) as f64
}

#[cfg(test)]
#[path = "calibration_tests.rs"]
mod tests;
