//! `[[state]]`, `[[constant]]` and `[stream]`: inputs of the model that no job brings.

use std::fmt::Write as _;

use picket_core::{limits, time::Span};
use serde::Deserialize;
use toml::Spanned;

use super::{BundleError, manifest::Manifest};
use crate::{ports::TensorSpec, tensor::elements};

/// Inputs of the model that the bundle binds. With any of them, all are matched by their names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bound {
    pub states: Vec<State>,
    pub constants: Vec<Constant>,
}

/// An output that is an input of the next call in the same stream; neither a job's nor its answer's.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    pub input: String,
    pub output: String,
    /// Where the model leaves dimensions open.
    pub shape: Option<Vec<usize>>,
    /// What every element is when a stream begins.
    pub init: f64,
}

/// An input that is the same in every call.
#[derive(Clone, Debug, PartialEq)]
pub struct Constant {
    pub input: String,
    /// In C order; one stands for all elements.
    pub values: Vec<f64>,
    pub shape: Option<Vec<usize>>,
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
pub struct RawConstant {
    input: Spanned<String>,
    value: Spanned<toml::Value>,
    shape: Option<Spanned<Vec<usize>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawStream {
    /// Silence after which a stream begins anew.
    age_ms: Spanned<u64>,
}

impl Bound {
    pub const fn is_empty(&self) -> bool {
        self.states.is_empty() && self.constants.is_empty()
    }

    /// Lines for the digest of what surrounds the model.
    pub fn identity(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        for State { input, output, shape, init } in &self.states {
            let _ = writeln!(text, "state {input:?} {output:?} {shape:?} {:016x}", init.to_bits());
        }
        for Constant { input, values, shape } in &self.constants {
            let bits: Vec<String> = values.iter().map(|value| format!("{:016x}", value.to_bits())).collect();
            let _ = writeln!(text, "constant {input:?} {} {shape:?}", bits.join(","));
        }
        text
    }
}

/// # Errors
/// `bundle/invalid`: a name that is taken, or a value that is none.
pub fn read(manifest: &Manifest, inputs: &[TensorSpec], outputs: &[TensorSpec]) -> Result<Bound, BundleError> {
    let raw = &manifest.raw;
    let mut names: Vec<&str> = inputs.iter().map(|input| &*input.name).collect();
    let mut gives: Vec<&str> = outputs.iter().map(|output| &*output.name).collect();
    if let Some(state) = raw.state.get(limits::BOUND_INPUTS) {
        return Err(manifest.invalid(&state.input, format!("at most {} states", limits::BOUND_INPUTS)));
    }
    if let Some(constant) = raw.constant.get(limits::BOUND_INPUTS) {
        return Err(manifest.invalid(&constant.input, format!("at most {} constants", limits::BOUND_INPUTS)));
    }
    let mut bound = Bound::default();
    for state in &raw.state {
        claim(manifest, &mut names, &state.input, "input")?;
        claim(manifest, &mut gives, &state.output, "output")?;
        let init = state.init.as_ref().map_or(0.0, |init| *init.get_ref());
        if let Some(bad) = state.init.as_ref().filter(|init| !init.get_ref().is_finite()) {
            return Err(manifest.invalid(bad, "`init` must be finite"));
        }
        bound.states.push(State {
            input: state.input.get_ref().clone(),
            output: state.output.get_ref().clone(),
            shape: shape(manifest, state.shape.as_ref())?,
            init,
        });
    }
    for constant in &raw.constant {
        claim(manifest, &mut names, &constant.input, "input")?;
        let values = numbers(constant.value.get_ref())
            .ok_or_else(|| manifest.invalid(&constant.value, "`value` is a number, or a list of them"))?;
        let shape = shape(manifest, constant.shape.as_ref())?;
        if let (Some(shape), Some(place)) = (&shape, &constant.shape)
            && values.len() != 1
            && elements(shape) != Some(values.len())
        {
            return Err(manifest.invalid(place, format!("`value` has {} numbers", values.len())));
        }
        bound.constants.push(Constant { input: constant.input.get_ref().clone(), values, shape });
    }
    Ok(bound)
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

fn numbers(value: &toml::Value) -> Option<Vec<f64>> {
    let number = |value: &toml::Value| match value {
        toml::Value::Integer(number) => Some(*number as f64),
        toml::Value::Float(number) => Some(*number),
        toml::Value::Boolean(flag) => Some(f64::from(u8::from(*flag))),
        _ => None,
    };
    let numbers = match value {
        toml::Value::Array(list) => list.iter().map(number).collect::<Option<Vec<f64>>>()?,
        one => vec![number(one)?],
    };
    (!numbers.is_empty() && numbers.iter().all(|number| number.is_finite())).then_some(numbers)
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
