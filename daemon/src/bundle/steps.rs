//! The steps around a model: `[[prepare]]` before it, `[[conclude]]` behind it.

use serde::{Deserialize, de::DeserializeOwned};
use toml::Spanned;

use super::{BundleError, manifest::Manifest};
use crate::{
    config::section::{in_plain_words, is_unknown_key, nearest},
    ports::TensorSpec,
};

/// What is done to an input before the model gets it, in f32.
#[derive(Clone, Debug, PartialEq)]
pub enum PrepareStep {
    /// `x · factor`
    Scale { factor: f32 },
    /// `(x - mean[c]) / std[c]`, where `c` is the index along `axis`.
    Normalize { axis: usize, mean: Vec<f32>, std: Vec<f32> },
}

/// How an output is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConcludeStep {
    /// The scores are logits. Without it they are probabilities.
    Softmax,
    /// The answer is the class with the highest score.
    Argmax,
}

/// A step as it is written: `step` says which one, and so which other keys it has.
pub type RawStep = Spanned<toml::Table>;

const PREPARE: [&str; 2] = ["scale", "normalize"];
const CONCLUDE: [&str; 2] = ["softmax", "argmax"];

/// # Errors
/// `bundle/unsupported-step`, `bundle/unknown-key`, or `bundle/invalid` for a step that does not fit the inputs.
pub fn prepare(manifest: &Manifest, inputs: &[TensorSpec]) -> Result<Vec<PrepareStep>, BundleError> {
    let step = |raw: &RawStep| match name(manifest, raw)? {
        "scale" => scale(manifest, raw),
        "normalize" => normalize(manifest, raw, inputs),
        other => Err(unsupported(manifest, raw, "prepare", other, &PREPARE)),
    };
    manifest.raw.prepare.iter().map(step).collect()
}

/// # Errors
/// `bundle/unsupported-step` or `bundle/unknown-key`.
pub fn conclude(manifest: &Manifest) -> Result<Vec<ConcludeStep>, BundleError> {
    let step = |raw: &RawStep| {
        let found = match name(manifest, raw)? {
            "softmax" => ConcludeStep::Softmax,
            "argmax" => ConcludeStep::Argmax,
            other => return Err(unsupported(manifest, raw, "conclude", other, &CONCLUDE)),
        };
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct NoKeys {
            #[serde(rename = "step")]
            _step: String,
        }
        keys::<NoKeys>(manifest, raw).map(|_| found)
    };
    manifest.raw.conclude.iter().map(step).collect()
}

fn scale(manifest: &Manifest, raw: &RawStep) -> Result<PrepareStep, BundleError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Scale {
        #[serde(rename = "step")]
        _step: String,
        factor: f32,
    }
    let Scale { factor, .. } = keys(manifest, raw)?;
    if !factor.is_finite() {
        return Err(manifest.invalid(raw, "`factor` must be finite"));
    }
    Ok(PrepareStep::Scale { factor })
}

fn normalize(manifest: &Manifest, raw: &RawStep, inputs: &[TensorSpec]) -> Result<PrepareStep, BundleError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Normalize {
        #[serde(rename = "step")]
        _step: String,
        axis: usize,
        mean: Vec<f32>,
        std: Vec<f32>,
    }
    let Normalize { axis, mean, std, .. } = keys(manifest, raw)?;
    if mean.len() != std.len() {
        let message = format!("`mean` has {} values, `std` has {}", mean.len(), std.len());
        return Err(manifest.invalid(raw, message));
    }
    if mean.iter().chain(&std).any(|value| !value.is_finite()) || std.contains(&0.0) {
        return Err(manifest.invalid(raw, "`mean` and `std` must be finite, and `std` not 0"));
    }
    if let Some(input) = inputs.iter().find(|input| input.shape.get(axis) != Some(&Some(mean.len()))) {
        let message = format!(
            "`mean` has {} values along axis {axis}, but input `{}` is {}",
            mean.len(),
            input.name,
            input.kind()
        );
        return Err(manifest.invalid(raw, message));
    }
    Ok(PrepareStep::Normalize { axis, mean, std })
}

fn name<'r>(manifest: &Manifest, raw: &'r RawStep) -> Result<&'r str, BundleError> {
    let name = raw.get_ref().get("step").and_then(toml::Value::as_str);
    name.ok_or_else(|| manifest.invalid(raw, "a step needs a `step`, in quotes: which one it is"))
}

/// The keys of one step, and no others.
fn keys<T: DeserializeOwned>(manifest: &Manifest, raw: &RawStep) -> Result<T, BundleError> {
    raw.get_ref().clone().try_into().map_err(|error: toml::de::Error| {
        let code = if is_unknown_key(error.message()) { "bundle/unknown-key" } else { "bundle/invalid" };
        manifest.error(code, Some(raw.span()), in_plain_words(error.message()))
    })
}

fn unsupported(manifest: &Manifest, raw: &RawStep, stage: &str, word: &str, known: &[&str]) -> BundleError {
    let meant = nearest(word, known).map_or_else(String::new, |word| format!(" (did you mean `{word}`?)"));
    let message = format!(
        "unknown {stage} step `{word}`{meant}; known: {}; steps for images, windows and boxes are not there yet",
        known.join(", ")
    );
    manifest.error("bundle/unsupported-step", Some(raw.span()), message)
}
