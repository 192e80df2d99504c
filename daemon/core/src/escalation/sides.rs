//! A promise for each side: of the answers of one kind, at most a share α is given locally and wrong. For tasks with two kinds
//! of answers that cost differently when they are wrong.
//!
//! Each side is a certificate ([`super::certificate`]) on its own cases, with δ divided among the sides, so that with
//! confidence 1 - δ all of them hold. A side of which there are too few cases is not covered at all. Together they also
//! promise that at most the largest α of *all* requests is answered locally and wrong.

use std::collections::BTreeMap;

use super::{
    calibration::{Calibration, ClassSection, MenuEntry, PromiseSection, Question},
    certificate::{self, Case, Certificate, Promise, TooFew},
    words::percent,
};

/// The form of such a promise in a calibration file.
pub const FORM: &str = "per-class";

/// What is found for one side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Side {
    pub alpha: f64,
    pub found: Result<Certificate, TooFew>,
}

impl Side {
    /// Infinite where nothing is covered.
    pub const fn lambda(&self) -> f32 {
        match &self.found {
            Ok(certificate) => certificate.lambda,
            Err(_) => f32::INFINITY,
        }
    }
}

/// One certificate for each α, in the order of the classes; δ is that of all together. Answers that could not be rated are of no
/// side.
///
/// # Errors
/// Those of the side with the most cases, when there is none that has enough.
pub fn certify(cases: &[Case], alphas: &[f64], delta: f64) -> Result<Vec<Side>, TooFew> {
    let side = |(class, alpha): (usize, &f64)| {
        let own: Vec<Case> = cases.iter().filter(|case| case.class == class && !case.s.is_nan()).copied().collect();
        let promise = Promise { alpha: *alpha, delta: delta / alphas.len() as f64 };
        Side { alpha: *alpha, found: certificate::certify(&own, promise) }
    };
    let sides: Vec<Side> = alphas.iter().enumerate().map(side).collect();
    if sides.iter().any(|side| side.found.is_ok()) {
        return Ok(sides);
    }
    let most = sides.iter().filter_map(|side| side.found.err()).max_by_key(|few| few.cases);
    Err(most.unwrap_or(TooFew { cases: cases.len() as u64, needed: cases.len() as u64 + 1 }))
}

/// The promise of a calibration with a side for each label, and the sections of those that are covered.
///
/// # Errors
/// When no side has enough cases.
pub fn issue(
    question: &Question,
    cases: &[Case],
    delta_round: f64,
) -> Result<(PromiseSection, BTreeMap<String, ClassSection>), TooFew> {
    let wanted = |class: usize| question.classes.iter().find(|own| own.class == class).map(|own| own.alpha);
    let alphas: Vec<f64> =
        (0..question.labels.len()).map(|class| wanted(class).unwrap_or(question.promise.alpha)).collect();
    let sides = certify(cases, &alphas, delta_round)?;
    let alpha = alphas.iter().copied().fold(question.promise.alpha, f64::max);
    let found = || sides.iter().filter_map(|side| side.found.ok());
    let local = |sides: &[Side]| {
        let covered = |case: &&Case| sides.get(case.class).is_some_and(|side| case.s >= side.lambda());
        cases.iter().filter(covered).count() as f64 / cases.len().max(1) as f64
    };
    let least = |sides: &[Side]| sides.iter().map(Side::lambda).fold(f32::INFINITY, f32::min);
    let menu = super::calibration::menu(question.promise.alpha).into_iter().filter_map(|alpha| {
        let same: Vec<f64> = alphas.iter().map(|_| alpha).collect();
        // The line of the promise itself shows what it is, also where one side is stricter.
        let sides =
            if alpha == question.promise.alpha { sides.clone() } else { certify(cases, &same, delta_round).ok()? };
        Some(MenuEntry { alpha, lambda: least(&sides), local_share: local(&sides) })
    });
    let section = PromiseSection {
        form: FORM.to_owned(),
        alpha,
        delta: question.promise.delta,
        round: question.round,
        delta_round,
        k_max: found().map(|side| side.allowed).sum(),
        wrong: found().map(|side| side.wrong).sum(),
        lambda: least(&sides),
        local_share: local(&sides),
        menu: menu.collect(),
    };
    let per_class = question.labels.iter().zip(&sides).filter_map(|(label, side)| {
        let Certificate { cases: n, allowed: k_max, lambda, .. } = side.found.ok()?;
        Some((label.clone(), ClassSection { n, k_max, alpha: side.alpha, lambda }))
    });
    Ok((section, per_class.collect()))
}

/// The thresholds of a calibration file by class, infinite where there is none.
///
/// # Errors
/// Says what cannot be.
pub fn lambdas(file: &Calibration) -> Result<Vec<f32>, String> {
    let PromiseSection { alpha, delta_round, .. } = file.promise;
    let mut lambdas = vec![f32::INFINITY; file.labels.len()];
    for (label, section) in &file.per_class {
        let class = file.labels.iter().position(|known| known == label);
        let class = class.ok_or_else(|| format!("it promises something of {label:?}, which is no label of it"))?;
        let promise = Promise { alpha: section.alpha, delta: delta_round / file.labels.len() as f64 };
        let sound = section.alpha > 0.0 && section.alpha <= alpha && section.lambda.is_finite();
        if !sound || certificate::allowed_wrong(section.n, promise) != Some(section.k_max) {
            return Err(format!("{} cases of {label:?} do not allow what it promises", section.n));
        }
        lambdas[class] = section.lambda;
    }
    if file.per_class.is_empty() {
        return Err("it covers no label".to_owned());
    }
    Ok(lambdas)
}

/// What an engineer may rely on, and what not.
pub fn in_words(file: &Calibration) -> String {
    let mut covered = Vec::new();
    let mut others = Vec::new();
    for label in &file.labels {
        match file.per_class.get(label) {
            Some(side) => covered.push(format!("{} of the answers '{label}' ({} cases)", percent(side.alpha), side.n)),
            None => others.push(format!(" Answers '{label}' are not covered: there are too few cases of them.")),
        }
    }
    format!(
        "This model was tested on {} labelled cases. With {} confidence, at most {} are given by the local model and wrong, as \
         long as the parts, the sensors and the model stay like the ones tested. Less sure answers are marked 'not \
         certified' and are not covered.{} Nothing is said about one single request.",
        file.sample.n,
        percent(1.0 - file.promise.delta),
        covered.join(" and "),
        others.concat(),
    )
}

#[cfg(test)]
#[path = "sides_tests.rs"]
mod tests;
