//! `[[constant]]`: inputs of the model that are the same in every job, like the sample rate of a microphone.

use toml::Value;

use super::{BundleError, manifest::Manifest};
use crate::{
    ports::{Constant, TensorSpec},
    tensor::elements,
};

/// Whole numbers up to here are exact as f64.
const EXACT: u64 = 1 << 53;

/// # Errors
/// `bundle/invalid`: a value that is no number, or an input that jobs bring or that is there twice.
pub fn read(manifest: &Manifest, inputs: &[TensorSpec]) -> Result<Vec<Constant>, BundleError> {
    let mut constants: Vec<Constant> = Vec::with_capacity(manifest.raw.constant.len());
    for raw in &manifest.raw.constant {
        let input = raw.input.get_ref();
        if inputs.iter().any(|other| other.name == *input) {
            return Err(manifest.invalid(&raw.input, format!("`{input}` is an [[input]], which jobs bring")));
        }
        if constants.iter().any(|other| other.input == *input) {
            return Err(manifest.invalid(&raw.input, format!("`{input}` is constant already")));
        }
        let value = raw.value.get_ref();
        let list = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        if elements(&[list.len()]).is_none() || list.is_empty() {
            return Err(manifest.invalid(&raw.value, format!("{} values make no tensor", list.len())));
        }
        let values = list.iter().map(number).collect::<Option<Vec<f64>>>().ok_or_else(|| {
            let message = "`value` is a number (a whole one up to 2^53), true or false, or a list of these";
            manifest.invalid(&raw.value, message)
        })?;
        constants.push(Constant { input: input.clone(), values });
    }
    Ok(constants)
}

#[expect(clippy::cast_precision_loss, reason = "whole numbers up to 2^53 are exact")]
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(whole) if whole.unsigned_abs() <= EXACT => Some(*whole as f64),
        Value::Float(number) => Some(*number),
        Value::Boolean(truth) => Some(f64::from(u8::from(*truth))),
        _ => None,
    }
}
