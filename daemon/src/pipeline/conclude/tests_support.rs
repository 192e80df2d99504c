//! For the tests of steps.

use std::sync::Arc;

use picket_core::boxes::Found;

use super::{CONCLUDE, Conclude, Reading, View};
use crate::tensor::{Dtype, Tensor};

/// A step from its keys.
pub fn step(keys: &str) -> Arc<dyn Conclude> {
    let mut table: toml::Table = toml::from_str(keys).unwrap();
    let name = table.remove("step").unwrap();
    let kind = CONCLUDE.iter().find(|kind| Some(kind.name) == name.as_str()).unwrap();
    (kind.read)(table).unwrap()
}

pub fn reading<'a>(outputs: &'a [Tensor], labels: &'a [String]) -> Reading<'a> {
    Reading::new(&[], outputs, labels, View::WHOLE)
}

/// The boxes that these steps make of the outputs of a model whose image has 40 × 20 pixels.
pub fn detected(outputs: &[Tensor], labels: &[&str], steps: &[Arc<dyn Conclude>]) -> Result<Vec<Found>, String> {
    let labels: Vec<String> = labels.iter().map(|label| (*label).to_owned()).collect();
    let inputs = [Tensor::new("x", Dtype::Uint8, vec![1, 3, 20, 40], vec![0; 2_400]).unwrap()];
    let mut reading = Reading::new(&inputs, outputs, &labels, View::WHOLE);
    steps.iter().try_for_each(|step| step.apply(&mut reading))?;
    Ok(reading.boxes)
}
