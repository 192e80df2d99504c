//! The steps around a model as they are written: `[[prepare]]` before it, `[[conclude]]` behind it.

use std::sync::Arc;

use toml::Spanned;

use super::{BundleError, Task, manifest::Manifest};
use crate::{
    config::section::nearest,
    pipeline::{
        conclude::{CONCLUDE, Conclude, Role},
        keys::StepFault,
        prepare::{PREPARE, Step},
    },
    ports::TensorSpec,
};

/// A step as it is written: `step` says which one, and so which other keys it has.
pub type RawStep = Spanned<toml::Table>;

/// The steps before the model, and what of these inputs comes out of them.
///
/// # Errors
/// `bundle/unsupported-step`, `bundle/unknown-key`, or `bundle/invalid` for a step that does not fit the inputs.
pub fn prepare(manifest: &Manifest, inputs: &[TensorSpec]) -> Result<(Vec<Step>, Vec<TensorSpec>), BundleError> {
    let mut specs = inputs.to_vec();
    let mut steps = Vec::with_capacity(manifest.raw.prepare.len());
    for raw in &manifest.raw.prepare {
        let (name, mut keys) = name(manifest, raw)?;
        let Some(kind) = PREPARE.iter().find(|kind| kind.name == name) else {
            let known: Vec<&str> = PREPARE.iter().map(|kind| kind.name).collect();
            return Err(unsupported(manifest, raw, "prepare", &name, &known));
        };
        let input = input(manifest, raw, &mut keys, inputs)?;
        let step = (kind.read)(keys).map_err(|fault| place(manifest, raw, fault))?;
        let step = Step { input, step };
        if step.step.window().is_some() {
            if steps.iter().any(|step: &Step| step.step.window().is_some()) {
                return Err(manifest.invalid(raw, "there is a window already; a bundle has one"));
            }
            if step.input.is_none() && inputs.len() != 1 {
                return Err(manifest.invalid(raw, "`input` must say which input is cut into windows"));
            }
        }
        for spec in specs.iter_mut().filter(|spec| step.is_for(&spec.name)) {
            *spec = step.step.shape(spec.clone()).map_err(|why| manifest.invalid(raw, why))?;
        }
        steps.push(step);
    }
    Ok((steps, specs))
}

/// # Errors
/// `bundle/unsupported-step`, `bundle/unknown-key`, or `bundle/invalid` for a step that does not fit the outputs.
pub fn conclude(
    manifest: &Manifest,
    task: Task,
    outputs: &[TensorSpec],
    labels: &[String],
) -> Result<Vec<Arc<dyn Conclude>>, BundleError> {
    let step = |raw: &RawStep| {
        let (name, keys) = name(manifest, raw)?;
        let Some(kind) = CONCLUDE.iter().find(|kind| kind.name == name) else {
            let known: Vec<&str> = CONCLUDE.iter().map(|kind| kind.name).collect();
            return Err(unsupported(manifest, raw, "conclude", &name, &known));
        };
        let step = (kind.read)(keys).map_err(|fault| place(manifest, raw, fault))?;
        step.fits(task, outputs, labels).map_err(|why| manifest.invalid(raw, why))?;
        Ok(step)
    };
    let steps: Vec<Arc<dyn Conclude>> = manifest.raw.conclude.iter().map(step).collect::<Result<_, _>>()?;
    if task == Task::Detect {
        // Without the first there would be no box ever, and without the other one in every corner.
        let makes = steps.first().is_some_and(|step| step.role() == Role::MakesBoxes);
        if !makes || steps.iter().skip(1).any(|step| step.role() == Role::MakesBoxes) {
            let message = "the first [[conclude]] step of task `detect`, and no other, makes boxes: `ssd`, `yunet` or `fastestdet`";
            return Err(manifest.invalid(&manifest.raw.task, message));
        }
        if !steps.iter().any(|step| step.role() == Role::Shows) {
            let message = "task `detect` needs a [[conclude]] step `threshold`: from which score on boxes are shown";
            return Err(manifest.invalid(&manifest.raw.task, message));
        }
    }
    Ok(steps)
}

/// Which step it is, and its other keys.
fn name(manifest: &Manifest, raw: &RawStep) -> Result<(String, toml::Table), BundleError> {
    let mut keys = raw.get_ref().clone();
    match keys.remove("step") {
        Some(toml::Value::String(name)) => Ok((name, keys)),
        _ => Err(manifest.invalid(raw, "a step needs a `step`, in quotes: which one it is")),
    }
}

/// The input that a step says it is for.
fn input(
    manifest: &Manifest,
    raw: &RawStep,
    keys: &mut toml::Table,
    inputs: &[TensorSpec],
) -> Result<Option<String>, BundleError> {
    match keys.remove("input") {
        None => Ok(None),
        Some(toml::Value::String(name)) if inputs.iter().any(|input| input.name == name) => Ok(Some(name)),
        Some(other) => Err(manifest.invalid(raw, format!("`input` is {other}, which is the name of no [[input]]"))),
    }
}

fn place(manifest: &Manifest, raw: &RawStep, fault: StepFault) -> BundleError {
    manifest.error(fault.code, Some(raw.span()), fault.message)
}

fn unsupported(manifest: &Manifest, raw: &RawStep, stage: &str, word: &str, known: &[&str]) -> BundleError {
    let meant = nearest(word, known).map_or_else(String::new, |word| format!(" (did you mean `{word}`?)"));
    let message = format!("unknown {stage} step `{word}`{meant}; known: {}", known.join(", "));
    manifest.error("bundle/unsupported-step", Some(raw.span()), message)
}
