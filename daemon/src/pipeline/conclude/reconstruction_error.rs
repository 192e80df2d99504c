//! `reconstruction-error`: the mean squared difference between the model's first input and its first output is the score:
//! an autoencoder reproduces badly what it has not learned. Quantised tensors are reckoned with as
//! (q - `zero_point`) · `scale`, which the keys `input` and `output` say.

use std::sync::Arc;

use serde::Deserialize;

use super::{Conclude, ConcludeKind, Reading};
use crate::{
    bundle::Task,
    pipeline::keys::{StepFault, bits, read},
    ports::TensorSpec,
};

pub const KIND: ConcludeKind = ConcludeKind { name: "reconstruction-error", read: new };

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReconstructionError {
    #[serde(default)]
    input: Scale,
    #[serde(default)]
    output: Scale,
}

/// What a quantised number stands for.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Scale {
    scale: f64,
    zero_point: i32,
}

impl Default for Scale {
    fn default() -> Self {
        Self { scale: 1.0, zero_point: 0 }
    }
}

impl Scale {
    fn real(self, number: f64) -> f64 {
        (number - f64::from(self.zero_point)) * self.scale
    }

    fn identity(self) -> String {
        format!("{} {}", bits(&[self.scale as f32]), self.zero_point)
    }
}

fn new(keys: toml::Table) -> Result<Arc<dyn Conclude>, StepFault> {
    let step: ReconstructionError = read(keys)?;
    if [step.input, step.output].iter().any(|scale| !(scale.scale.is_finite() && scale.scale > 0.0)) {
        return Err(StepFault::invalid("`scale` must be finite, and more than 0"));
    }
    Ok(Arc::new(step))
}

impl Conclude for ReconstructionError {
    fn fits(&self, task: Task, outputs: &[TensorSpec], _labels: &[String]) -> Result<(), String> {
        match (task, outputs.first()) {
            (Task::Anomaly, Some(_)) => Ok(()),
            _ => {
                Err("`reconstruction-error` is for task `anomaly`: the score is how badly the input came out"
                    .to_owned())
            }
        }
    }

    fn apply(&self, reading: &mut Reading<'_>) -> Result<(), String> {
        let (Some(input), Some(output)) = (reading.inputs.first(), reading.outputs.first()) else {
            return Err("there is nothing to compare".to_owned());
        };
        let (given, came) = (input.to_f64(), output.to_f64());
        if given.len() != came.len() || given.is_empty() {
            return Err(format!("input {} and output {} have not as many elements", input.kind(), output.kind()));
        }
        let squares = given.iter().zip(&came).map(|(a, b)| (self.input.real(*a) - self.output.real(*b)).powi(2));
        reading.scores = vec![squares.sum::<f64>() / given.len() as f64];
        Ok(())
    }

    fn identity(&self) -> String {
        format!("reconstruction-error {} {}", self.input.identity(), self.output.identity())
    }

    fn scores(&self) -> Option<usize> {
        Some(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        pipeline::conclude::View,
        tensor::{Dtype, Tensor},
    };

    fn score(keys: &str, input: Tensor, output: Tensor) -> Result<Vec<f64>, String> {
        let step = new(toml::from_str(keys).unwrap()).unwrap();
        let (inputs, outputs) = ([input], [output]);
        let mut reading = Reading::new(&inputs, &outputs, &[], View::WHOLE);
        step.apply(&mut reading).map(|()| reading.scores)
    }

    #[test]
    fn it_is_the_mean_of_the_squares() {
        let floats = |values: &[f32]| Tensor::from_f32("x", vec![1, values.len()], values).unwrap();
        assert_eq!(score("", floats(&[1.0, 2.0]), floats(&[0.0, 5.0])), Ok(vec![5.0]));
        assert!(score("", floats(&[1.0, 2.0]), floats(&[0.0])).is_err());
    }

    #[test]
    fn quantised_numbers_are_what_they_stand_for() {
        let codes = |values: &[i8]| {
            let bytes: Vec<u8> = values.iter().map(|code| code.cast_unsigned()).collect();
            Tensor::new("x", Dtype::Int8, vec![values.len()], bytes).unwrap()
        };
        let keys = "input = { scale = 0.5, zero_point = 10 }\noutput = { scale = 2.0, zero_point = -1 }";
        // (12 - 10) / 2 = 1 against (1 + 1) · 2 = 4, and -1 against 0.
        assert_eq!(score(keys, codes(&[12, 8]), codes(&[1, -1])), Ok(vec![5.0]));
    }
}
