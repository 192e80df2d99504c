//! `fastestdet`: the first output is [1, 5 + classes, rows, columns]: of each cell an object score, dx, dy, w, h and class scores.
//! Centre (column + tanh dx) / columns, (row + tanh dy) / rows; sides σ(w), σ(h); all as parts of the model's image (FastestDet,
//! utils/tool.py). Score object^a · class^b; `power = [a, b]` is [1, 1] unless the bundle says otherwise. A cell finds one class.

use std::sync::Arc;

use picket_core::boxes::Found;
use serde::Deserialize;

use super::{Conclude, ConcludeKind, Reading, Role, sigmoid::sigmoid};
use crate::{
    bundle::Task,
    pipeline::keys::{StepFault, bits, read},
    ports::TensorSpec,
};

pub const KIND: ConcludeKind = ConcludeKind { name: "fastestdet", read: new };

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FastestDet {
    #[serde(default = "product")]
    power: [f32; 2],
}

const fn product() -> [f32; 2] {
    [1.0; 2]
}

fn new(keys: toml::Table) -> Result<Arc<dyn Conclude>, StepFault> {
    let step: FastestDet = read(keys)?;
    if step.power.iter().any(|power| !(power.is_finite() && *power > 0.0)) {
        return Err(StepFault::invalid("`power` is two numbers, more than 0"));
    }
    Ok(Arc::new(step))
}

/// Channels before the class scores.
const BEFORE: usize = 5;

impl Conclude for FastestDet {
    fn fits(&self, task: Task, outputs: &[TensorSpec], labels: &[String]) -> Result<(), String> {
        super::for_detect("fastestdet", task)?;
        match outputs.first() {
            Some(spec) if spec.shape.len() == 4 && spec.shape[1] == Some(BEFORE + labels.len()) => Ok(()),
            Some(spec) => {
                let wanted = BEFORE + labels.len();
                Err(format!("output `{}` is {}, not 1 x {wanted} x rows x columns", spec.name, spec.kind()))
            }
            None => Err("`fastestdet` needs an output".to_owned()),
        }
    }

    fn apply(&self, reading: &mut Reading<'_>) -> Result<(), String> {
        let (width, height) = reading.frame()?;
        let first = reading.outputs.first().ok_or("there is no output")?;
        let [1, channels, rows, columns] = *first.shape() else {
            return Err(format!("the output is {}", first.kind()));
        };
        if channels != BEFORE + reading.labels.len() || rows * columns == 0 {
            return Err(format!("the output is {} for {} labels", first.kind(), reading.labels.len()));
        }
        let (values, cells) = (&reading.scores, rows * columns);
        let [object_power, class_power] = self.power.map(f64::from);
        let mut found = Vec::with_capacity(cells);
        for cell in 0..cells {
            let at = |channel: usize| values[channel * cells + cell];
            // The first of equals, as argmax has it.
            let best = (BEFORE..channels).reduce(|best, channel| if at(channel) > at(best) { channel } else { best });
            let Some(best) = best else { return Err("there are no classes".to_owned()) };
            let score = at(0).clamp(0.0, 1.0).powf(object_power) * at(best).clamp(0.0, 1.0).powf(class_power);
            let (column, row) = ((cell % columns) as f64, (cell / columns) as f64);
            let (x, y) = ((column + at(1).tanh()) / columns as f64, (row + at(2).tanh()) / rows as f64);
            let (w, h) = (sigmoid(at(3)), sigmoid(at(4)));
            found.push(Found {
                class: best - BEFORE,
                score: score as f32,
                x: (x - w / 2.0) as f32 * width,
                y: (y - h / 2.0) as f32 * height,
                w: w as f32 * width,
                h: h as f32 * height,
            });
        }
        reading.boxes.extend(found);
        Ok(())
    }

    fn identity(&self) -> String {
        format!("fastestdet {}", bits(&self.power))
    }

    fn role(&self) -> Role {
        Role::MakesBoxes
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        pipeline::conclude::tests_support::{detected, step},
        tensor::Tensor,
    };

    #[test]
    fn a_cell_says_where_its_object_is() {
        // One row of two cells; two classes.
        let channels = [[0.0, 0.64], [0.0, 0.0], [0.0, 0.0], [0.0, -100.0], [0.0, 0.0], [0.0, 0.25], [0.0, 0.81]];
        let output = Tensor::from_f32("o", vec![1, 7, 1, 2], channels.as_flattened()).unwrap();
        let found = detected(std::slice::from_ref(&output), &["cat", "dog"], &[step("step = \"fastestdet\"")]).unwrap();
        let second = found[1];
        assert_eq!((second.class, second.x, second.y), (1, 20.0, -5.0));
        assert!((second.score - 0.64 * 0.81).abs() < 1e-6 && second.w < 1e-6 && second.h == 10.0, "{second:?}");
        let rooted =
            detected(&[output], &["cat", "dog"], &[step("step = \"fastestdet\"\npower = [0.5, 0.5]")]).unwrap();
        assert!((rooted[1].score - 0.8 * 0.9).abs() < 1e-6);
    }
}
