//! `[decision]`: what makes an answer right, or doubtful, by task; and whether the outputs can say it.

use std::sync::Arc;

use picket_core::{
    boxes::{self, Listed},
    said::Measure,
};
use toml::Spanned;

use super::{
    BundleError, Task,
    manifest::{Manifest, RawDecision},
};
use crate::{pipeline::conclude::Conclude, ports::TensorSpec};

/// A checked `[decision]`.
pub struct Decision {
    pub measure: Measure,
    pub unit: Option<String>,
    /// Index of the output that is the sigma of the first.
    pub sigma: Option<usize>,
    pub temperature: f32,
    pub threshold: Option<f32>,
}

impl Decision {
    const fn by(measure: Measure) -> Self {
        Self { measure, unit: None, sigma: None, temperature: 1.0, threshold: None }
    }
}

/// # Errors
/// `bundle/invalid`: a key that the task does not have, or lacks, or outputs that do not fit it.
pub fn read(
    manifest: &Manifest,
    task: Task,
    outputs: &[TensorSpec],
    labels: &[String],
    conclude: &[Arc<dyn Conclude>],
) -> Result<Decision, BundleError> {
    let given = manifest.raw.decision.as_ref();
    if let (Task::Tensor, Some(decision)) = (task, given) {
        return Err(manifest.invalid(decision, "nothing is decided on the outputs of task `tensor`"));
    }
    foreign_keys(manifest, task, given.map(Spanned::get_ref))?;
    let given = given.map(Spanned::get_ref);
    match task {
        Task::Tensor => Ok(Decision::by(Measure::Classes)),
        Task::Classify => classify(manifest, given),
        Task::Anomaly => anomaly(manifest, given, outputs, conclude),
        Task::Regress => regress(manifest, given, outputs),
        Task::Detect => detect(manifest, given, labels),
    }
}

fn foreign_keys(manifest: &Manifest, task: Task, given: Option<&RawDecision>) -> Result<(), BundleError> {
    let Some(RawDecision { temperature, threshold, tolerance, unit, sigma, iou, listed }) = given else {
        return Ok(());
    };
    let keys = [
        ("temperature", temperature.as_ref().map(Spanned::span), [Task::Classify].as_slice()),
        ("threshold", threshold.as_ref().map(Spanned::span), &[Task::Classify, Task::Anomaly]),
        ("tolerance", tolerance.as_ref().map(Spanned::span), &[Task::Regress]),
        ("unit", unit.as_ref().map(Spanned::span), &[Task::Regress]),
        ("sigma", sigma.as_ref().map(Spanned::span), &[Task::Regress]),
        ("iou", iou.as_ref().map(Spanned::span), &[Task::Detect]),
        ("listed", listed.as_ref().map(Spanned::span), &[Task::Detect]),
    ];
    for (key, span, tasks) in keys {
        if span.is_some() && !tasks.contains(&task) {
            let message = format!("task `{}` has no `{key}`", task.name());
            return Err(manifest.error("bundle/invalid", span, message));
        }
    }
    Ok(())
}

fn classify(manifest: &Manifest, given: Option<&RawDecision>) -> Result<Decision, BundleError> {
    let plain = Decision::by(Measure::Classes);
    let Some(decision) = given else { return Ok(plain) };
    if let Some(bad) = decision.temperature.as_ref().filter(|t| !(t.get_ref().is_finite() && *t.get_ref() > 0.0)) {
        return Err(manifest.invalid(bad, format!("`temperature` is {}; it must be more than 0", bad.get_ref())));
    }
    if let Some(bad) = decision.threshold.as_ref().filter(|t| !(0.0..=1.0).contains(t.get_ref())) {
        return Err(manifest.invalid(bad, format!("`threshold` is {}; it is a probability, 0 to 1", bad.get_ref())));
    }
    let value = |number: &Option<Spanned<f32>>| number.as_ref().map(|number| *number.get_ref());
    let temperature = value(&decision.temperature).unwrap_or(1.0);
    Ok(Decision { temperature, threshold: value(&decision.threshold), ..plain })
}

fn anomaly(
    manifest: &Manifest,
    given: Option<&RawDecision>,
    outputs: &[TensorSpec],
    conclude: &[Arc<dyn Conclude>],
) -> Result<Decision, BundleError> {
    let Some(threshold) = given.and_then(|decision| decision.threshold.as_ref()) else {
        let message = "task `anomaly` needs `threshold` in [decision]: scores from there on are anomalies";
        return Err(manifest.invalid(&manifest.raw.task, message));
    };
    if !threshold.get_ref().is_finite() {
        return Err(manifest.invalid(threshold, "`threshold` must be finite"));
    }
    let made = conclude.iter().rev().find_map(|step| step.scores());
    if made.or_else(|| outputs.first().and_then(values)) != Some(1) {
        return Err(
            manifest.invalid(&manifest.raw.task, wanted(outputs, "task `anomaly` needs a first output of one score"))
        );
    }
    Ok(Decision::by(Measure::Anomaly { threshold: f64::from(*threshold.get_ref()) }))
}

fn regress(manifest: &Manifest, given: Option<&RawDecision>, outputs: &[TensorSpec]) -> Result<Decision, BundleError> {
    let Some((decision, tolerance)) = given.and_then(|decision| Some((decision, decision.tolerance.as_ref()?))) else {
        let message = "task `regress` needs `tolerance` in [decision]: a number that is off by more is wrong";
        return Err(manifest.invalid(&manifest.raw.task, message));
    };
    if !(tolerance.get_ref().is_finite() && *tolerance.get_ref() > 0.0) {
        return Err(manifest.invalid(tolerance, "`tolerance` must be finite, and more than 0"));
    }
    let first = outputs.first().and_then(values);
    if !matches!(first, Some(1 | 2)) {
        let message = wanted(outputs, "task `regress` needs a first output of one number, or of two: value and sigma");
        return Err(manifest.invalid(&manifest.raw.task, message));
    }
    let sigma = match &decision.sigma {
        None => None,
        Some(named) if first == Some(2) => {
            return Err(manifest.invalid(named, "the first output has a sigma already: its second element"));
        }
        Some(named) => {
            let place =
                outputs.iter().skip(1).position(|output| output.name == *named.get_ref() && values(output) == Some(1));
            let message = "`sigma` names another output than the first, of one number";
            Some(1 + place.ok_or_else(|| manifest.invalid(named, message))?)
        }
    };
    let unit = decision.unit.as_ref().map(|unit| unit.get_ref().clone());
    Ok(Decision { unit, sigma, ..Decision::by(Measure::Value { tolerance: *tolerance.get_ref() }) })
}

/// Two boxes are the same from this intersection over union on, unless the bundle says otherwise.
const IOU: f64 = 0.5;

fn detect(manifest: &Manifest, given: Option<&RawDecision>, labels: &[String]) -> Result<Decision, BundleError> {
    let iou = given.and_then(|decision| decision.iou.as_ref());
    if let Some(bad) = iou.filter(|iou| !boxes::is_threshold(*iou.get_ref())) {
        return Err(manifest.invalid(bad, format!("`iou` is {}; it is more than 0, and at most 1", bad.get_ref())));
    }
    let listed = match given.and_then(|decision| decision.listed.as_ref()) {
        None => Listed::ALL,
        Some(names) => {
            let index = |name: &Spanned<String>| {
                let at = labels.iter().position(|label| label == name.get_ref());
                at.ok_or_else(|| manifest.invalid(name, format!("`{}` is none of the labels", name.get_ref())))
            };
            Listed::of(names.get_ref().iter().map(index).collect::<Result<Vec<_>, _>>()?)
        }
    };
    Ok(Decision::by(Measure::Boxes { iou: iou.map_or(IOU, |iou| *iou.get_ref()), listed }))
}

/// Elements of an output; a first dimension that the job decides is a batch, and a job is one case. `None`: nobody knows.
fn values(output: &TensorSpec) -> Option<usize> {
    let free = output.shape.iter().skip(1).any(Option::is_none);
    (!free).then(|| output.shape.iter().copied().flatten().product())
}

fn wanted(outputs: &[TensorSpec], what: &str) -> String {
    let first = outputs.first().map_or_else(String::new, |output| format!("; `{}` is {}", output.name, output.kind()));
    format!("{what}{first}")
}
