//! `nms`: of boxes of one class that overlap by more than `iou`, only the surest stays (greedy non-maximum suppression). Boxes with less
//! than `score` are left out before, and so are those behind the [`limits::BOX_CANDIDATES`] surest. Of equals the first stays.

use std::sync::Arc;

use picket_core::{boxes::Found, limits};
use serde::Deserialize;

use super::{Conclude, ConcludeKind, Reading};
use crate::{
    bundle::Task,
    pipeline::keys::{StepFault, bits, read},
    ports::TensorSpec,
};

pub const KIND: ConcludeKind = ConcludeKind { name: "nms", read: new };

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nms {
    iou: f32,
    /// Low, so that what was nearly shown is still seen: that says how sure an answer is.
    #[serde(default = "hardly")]
    score: f32,
}

const fn hardly() -> f32 {
    0.05
}

fn new(keys: toml::Table) -> Result<Arc<dyn Conclude>, StepFault> {
    let step: Nms = read(keys)?;
    if !(0.0..=1.0).contains(&step.iou) || !(0.0..=1.0).contains(&step.score) {
        return Err(StepFault::invalid("`iou` and `score` lie between 0 and 1"));
    }
    Ok(Arc::new(step))
}

impl Conclude for Nms {
    fn fits(&self, task: Task, _outputs: &[TensorSpec], _labels: &[String]) -> Result<(), String> {
        super::for_detect("nms", task)
    }

    fn apply(&self, reading: &mut Reading<'_>) -> Result<(), String> {
        let mut left = std::mem::take(&mut reading.boxes);
        left.retain(|found| found.score >= self.score);
        // Stable: the model's order decides between equals.
        left.sort_by(|a, b| b.score.total_cmp(&a.score));
        left.truncate(limits::BOX_CANDIDATES);
        let mut kept: Vec<Found> = Vec::new();
        for found in left {
            let same = |other: &Found| other.class == found.class && other.iou(&found) > f64::from(self.iou);
            if !kept.iter().any(same) {
                kept.push(found);
            }
        }
        reading.boxes = kept;
        Ok(())
    }

    fn identity(&self) -> String {
        format!("nms {}", bits(&[self.iou, self.score]))
    }
}

#[cfg(test)]
mod tests {
    use picket_core::boxes::Found;

    use crate::pipeline::conclude::tests_support::{reading, step};

    #[test]
    fn of_boxes_that_are_one_thing_the_surest_stays() {
        let found = |class, score, x| Found { class, score, x, y: 0.0, w: 10.0, h: 10.0 };
        let mut reading = reading(&[], &[]);
        // 0 and 1 overlap by 9/11, 2 is of another class, 3 lies apart, 4 is as sure as 3 and at its place, 5 is too weak.
        reading.boxes = vec![
            found(0, 0.8, 1.0),
            found(0, 0.9, 0.0),
            found(1, 0.7, 0.0),
            found(0, 0.5, 50.0),
            found(0, 0.5, 51.0),
            found(0, 0.04, 90.0),
        ];
        step("step = \"nms\"\niou = 0.5").apply(&mut reading).unwrap();
        assert_eq!(reading.boxes, [found(0, 0.9, 0.0), found(1, 0.7, 0.0), found(0, 0.5, 50.0)]);
    }
}
