//! `windows`: what counts where one job completes several windows: the `"last"` one, or the `"mean"` or `"max"` of each
//! score over all of them. Without this step it is the last. Scores are as the other steps leave them: logits stay logits.

use std::sync::Arc;

use picket_core::escalation::decide::Observation;
use serde::Deserialize;

use super::{Conclude, ConcludeKind, Ran, Reading, observe, reading};
use crate::{
    bundle::{Bundle, Task},
    pipeline::keys::{StepFault, read},
    ports::TensorSpec,
};

pub const KIND: ConcludeKind = ConcludeKind { name: "windows", read: new };

/// Which of several windows count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Take {
    #[default]
    Last,
    Mean,
    Max,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Windows {
    take: Take,
}

fn new(keys: toml::Table) -> Result<Arc<dyn Conclude>, StepFault> {
    let step: Windows = read(keys)?;
    Ok(Arc::new(step))
}

impl Conclude for Windows {
    fn fits(&self, task: Task, _outputs: &[TensorSpec], _labels: &[String]) -> Result<(), String> {
        match (self.take, task) {
            (_, Task::Classify | Task::Anomaly) | (Take::Last, _) => Ok(()),
            _ => Err(format!("task `{}` has no scores of which a mean or a maximum says something", task.name())),
        }
    }

    fn apply(&self, _reading: &mut Reading<'_>) -> Result<(), String> {
        Ok(())
    }

    fn identity(&self) -> String {
        format!("windows {:?}", self.take)
    }

    fn take(&self) -> Option<Take> {
        Some(self.take)
    }
}

/// What one job's windows say together.
#[derive(Debug)]
pub struct Gathering<'b> {
    bundle: &'b Bundle,
    take: Take,
    count: usize,
    /// Sum or maximum of the scores so far.
    scores: Vec<f64>,
    so_far: Observation,
}

impl<'b> Gathering<'b> {
    pub fn new(bundle: &'b Bundle) -> Self {
        let take = bundle.conclude.iter().rev().find_map(|step| step.take()).unwrap_or_default();
        Self { bundle, take, count: 0, scores: Vec::new(), so_far: Observation::WindowOpen }
    }

    /// One window more. After an unusable one nothing changes any more.
    pub fn add(&mut self, ran: Ran<'_>) {
        if matches!(self.so_far, Observation::Malformed(_)) {
            return;
        }
        let mut reading = match reading(ran, self.bundle) {
            Ok(reading) => reading,
            Err(seen) => return self.so_far = seen,
        };
        self.so_far = observe(&reading, self.bundle);
        self.count += 1;
        if self.take == Take::Last || matches!(self.so_far, Observation::Malformed(_)) {
            return;
        }
        if self.count == 1 {
            self.scores.clone_from(&reading.scores);
        } else {
            for (all, one) in self.scores.iter_mut().zip(&reading.scores) {
                *all = if self.take == Take::Max { all.max(*one) } else { *all + one };
            }
        }
        let share = if self.take == Take::Mean { self.count as f64 } else { 1.0 };
        reading.scores = self.scores.iter().map(|all| all / share).collect();
        self.so_far = observe(&reading, self.bundle);
    }

    /// Without a window: that it is open.
    pub fn end(self) -> Observation {
        self.so_far
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{pipeline::conclude::View, tensor::Tensor};

    fn gathered(keys: &str, task: Task, outputs: &[&[f32]]) -> Observation {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.onnx");
        std::fs::write(&path, "x").unwrap();
        let step = new(toml::from_str(keys).unwrap()).unwrap();
        let labels = ["a".to_owned(), "b".to_owned()].into();
        let bundle = Bundle { task, labels, conclude: vec![step], ..Bundle::read(&path).unwrap() };
        let mut gathering = Gathering::new(&bundle);
        for values in outputs {
            let output = Tensor::from_f32("y", vec![values.len()], values).unwrap();
            gathering.add(Ran { inputs: &[], outputs: &[output], view: View::WHOLE });
        }
        gathering.end()
    }

    #[test]
    fn the_last_the_mean_or_the_largest_score_counts() {
        let scores: [&[f32]; 3] = [&[1.0], &[4.0], &[1.0]];
        let take = |take: &str| gathered(&format!("take = \"{take}\""), Task::Anomaly, &scores);
        assert_eq!(take("last"), Observation::Anomaly(1.0));
        assert_eq!(take("mean"), Observation::Anomaly(2.0));
        assert_eq!(take("max"), Observation::Anomaly(4.0));
    }

    #[test]
    fn probabilities_are_averaged_as_probabilities() {
        let Observation::Scores(logits) =
            gathered("take = \"mean\"", Task::Classify, &[&[0.25, 0.75], &[0.75, 0.25], &[0.5, 0.5]])
        else {
            panic!()
        };
        assert!(logits.iter().all(|z| (z - 0.5_f32.ln()).abs() < 1e-6), "{logits:?}");
    }

    #[test]
    fn one_unusable_window_makes_the_answer_unusable_and_none_leaves_it_open() {
        let nan = gathered("take = \"mean\"", Task::Anomaly, &[&[1.0], &[f32::NAN], &[1.0]]);
        assert!(matches!(nan, Observation::Malformed(_)), "{nan:?}");
        assert_eq!(gathered("take = \"mean\"", Task::Anomaly, &[]), Observation::WindowOpen);
    }
}
