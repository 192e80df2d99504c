//! `ssd`: an output of scores [1, N, classes] and one of boxes [1, N, 4], which the model has decoded already: left, top, right and
//! lower edge as parts of the model's image, 0 to 1. UltraFace and many exports of SSD end so.

use std::sync::Arc;

use picket_core::boxes::Found;
use serde::Deserialize;

use super::{Conclude, ConcludeKind, Reading, Role, output, spec_of};
use crate::{
    bundle::Task,
    pipeline::keys::{StepFault, read},
    ports::TensorSpec,
};

pub const KIND: ConcludeKind = ConcludeKind { name: "ssd", read: new };

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ssd {
    /// Names of the outputs.
    scores: String,
    boxes: String,
    /// The first score is that of nothing, which has no label.
    #[serde(default = "yes")]
    background: bool,
}

const fn yes() -> bool {
    true
}

fn new(keys: toml::Table) -> Result<Arc<dyn Conclude>, StepFault> {
    let step: Ssd = read(keys)?;
    Ok(Arc::new(step))
}

impl Conclude for Ssd {
    fn fits(&self, task: Task, outputs: &[TensorSpec], labels: &[String]) -> Result<(), String> {
        super::for_detect("ssd", task)?;
        let (scores, boxes) = (spec_of(outputs, &self.scores)?, spec_of(outputs, &self.boxes)?);
        let classes = labels.len() + usize::from(self.background);
        let wanted = [(scores, classes, "a score for each label"), (boxes, 4, "four edges")];
        for (spec, last, what) in wanted {
            if spec.shape.len() != 3 || spec.shape.last() != Some(&Some(last)) {
                return Err(format!("output `{}` is {}, not 1 x N x {last}: {what}", spec.name, spec.kind()));
            }
        }
        Ok(())
    }

    fn apply(&self, reading: &mut Reading<'_>) -> Result<(), String> {
        let (width, height) = reading.frame()?;
        let (scores, boxes) = (output(reading, &self.scores)?, output(reading, &self.boxes)?);
        let nothing = usize::from(self.background);
        let classes = reading.labels.len() + nothing;
        if scores.len() / classes.max(1) != boxes.len() / 4 {
            return Err(format!("{} scores for {} boxes", scores.len() / classes.max(1), boxes.len() / 4));
        }
        for (scores, [left, top, right, bottom]) in scores.chunks_exact(classes).zip(boxes.as_chunks::<4>().0) {
            let place = Found {
                class: 0,
                score: 0.0,
                x: left * width,
                y: top * height,
                w: ((right - left) * width).max(0.0),
                h: ((bottom - top) * height).max(0.0),
            };
            let found = scores.iter().skip(nothing).enumerate();
            reading.boxes.extend(found.map(|(class, score)| Found { class, score: score.clamp(0.0, 1.0), ..place }));
        }
        Ok(())
    }

    fn identity(&self) -> String {
        format!("ssd {:?} {:?} background {}", self.scores, self.boxes, self.background)
    }

    fn role(&self) -> Role {
        Role::MakesBoxes
    }
}

#[cfg(test)]
mod tests {
    use picket_core::boxes::Found;

    use crate::{
        pipeline::conclude::tests_support::{detected, step},
        tensor::Tensor,
    };

    #[test]
    fn edges_are_parts_of_the_models_image() {
        let scores = Tensor::from_f32("s", vec![1, 2, 3], &[0.1, 0.75, 0.15, 0.9, 0.0, 0.1]).unwrap();
        let boxes = Tensor::from_f32("b", vec![1, 2, 4], &[0.25, 0.5, 0.5, 1.0, 0.0, 0.0, 1.0, 1.0]).unwrap();
        let ssd = step("step = \"ssd\"\nscores = \"s\"\nboxes = \"b\"");
        let found = detected(&[scores, boxes], &["cat", "dog"], &[ssd]).unwrap();
        // The model's image has 40 × 20 pixels.
        let first = Found { class: 0, score: 0.75, x: 10.0, y: 10.0, w: 10.0, h: 10.0 };
        assert_eq!((found.len(), found[0]), (4, first));
        assert_eq!(found[3], Found { class: 1, score: 0.1, x: 0.0, y: 0.0, w: 40.0, h: 20.0 });
    }
}
