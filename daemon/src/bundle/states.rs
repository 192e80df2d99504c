//! `[[state]]` and `[stream]`: what a model carries from call to call, and for how long.

use std::fmt::Write as _;

use picket_core::{limits, time::Span};
use serde::Deserialize;
use toml::Spanned;

use super::{BundleError, manifest::Manifest};
use crate::{
    ports::{Constant, TensorSpec},
    tensor::elements,
};

/// An output that is an input of the next call in the same stream. With any of them, the model's inputs are matched by name.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    pub input: String,
    pub output: String,
    /// Where the model leaves dimensions open.
    pub shape: Option<Vec<usize>>,
    /// What every element is when a stream begins.
    pub init: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawState {
    input: Spanned<String>,
    output: Spanned<String>,
    shape: Option<Spanned<Vec<usize>>>,
    init: Option<Spanned<f64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawStream {
    /// Silence after which a stream begins anew.
    age_ms: Spanned<u64>,
}

/// Lines for the digest of what surrounds the model.
pub fn identity(states: &[State]) -> String {
    states.iter().fold(String::new(), |mut text, State { input, output, shape, init }| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "state {input:?} {output:?} {shape:?} {:016x}", init.to_bits());
        text
    })
}

/// # Errors
/// `bundle/invalid`: a name that is taken, or a value that is none.
pub fn read(
    manifest: &Manifest,
    (inputs, constants): (&[TensorSpec], &[Constant]),
    outputs: &[TensorSpec],
) -> Result<Vec<State>, BundleError> {
    let mut takes: Vec<&str> = inputs.iter().map(|input| &*input.name).collect();
    takes.extend(constants.iter().map(|constant| &*constant.input));
    let mut gives: Vec<&str> = outputs.iter().map(|output| &*output.name).collect();
    let mut states = Vec::with_capacity(manifest.raw.state.len());
    for (count, state) in manifest.raw.state.iter().enumerate() {
        if count >= limits::STATES {
            return Err(manifest.invalid(&state.input, format!("a model has at most {} states", limits::STATES)));
        }
        claim(manifest, &mut takes, &state.input, "input")?;
        claim(manifest, &mut gives, &state.output, "output")?;
        let init = state.init.as_ref().map_or(0.0, |init| *init.get_ref());
        if let Some(bad) = state.init.as_ref().filter(|init| !init.get_ref().is_finite()) {
            return Err(manifest.invalid(bad, "`init` must be finite"));
        }
        states.push(State {
            input: state.input.get_ref().clone(),
            output: state.output.get_ref().clone(),
            shape: shape(manifest, state.shape.as_ref())?,
            init,
        });
    }
    Ok(states)
}

fn claim<'m>(
    manifest: &Manifest,
    names: &mut Vec<&'m str>,
    name: &'m Spanned<String>,
    what: &str,
) -> Result<(), BundleError> {
    if names.contains(&&**name.get_ref()) {
        return Err(manifest.invalid(name, format!("{what} `{}` is there already", name.get_ref())));
    }
    names.push(name.get_ref());
    Ok(())
}

fn shape(manifest: &Manifest, raw: Option<&Spanned<Vec<usize>>>) -> Result<Option<Vec<usize>>, BundleError> {
    match raw {
        Some(bad) if elements(bad.get_ref()).is_none_or(|count| count == 0) => {
            Err(manifest.invalid(bad, "`shape` has dimensions of at least 1"))
        }
        other => Ok(other.map(|shape| shape.get_ref().clone())),
    }
}

/// Silence after which a stream begins anew; `remembers`: there are streams at all.
///
/// # Errors
/// `bundle/invalid`: there are none, or a time that is none.
pub fn age(manifest: &Manifest, remembers: bool) -> Result<Span, BundleError> {
    let Some(RawStream { age_ms }) = &manifest.raw.stream else { return Ok(limits::STREAM_AGE) };
    if !remembers {
        let message = "nothing is kept between jobs: there is neither a [[state]] nor a window per stream";
        return Err(manifest.invalid(age_ms, message));
    }
    let most = limits::STREAM_AGE_MAX.as_micros() / 1000;
    if !(1..=most).contains(age_ms.get_ref()) {
        return Err(manifest.invalid(age_ms, format!("`age_ms` is a number from 1 to {most}")));
    }
    Ok(Span::from_millis(*age_ms.get_ref()))
}
