//! The bundle's `[[conclude]]` steps: what the outputs say, as far as the decision needs it.

use picket_core::escalation::decide::Observation;

use crate::{
    bundle::{Bundle, ConcludeStep, Task},
    tensor::Tensor,
};

/// Reads the outputs by the bundle's task. A NaN or infinite output is malformed, whatever the task.
pub fn conclude(outputs: &[Tensor], bundle: &Bundle) -> Observation {
    if let Some((output, at)) = outputs.iter().find_map(|o| o.first_non_finite().map(|at| (o, at))) {
        return Observation::Malformed(format!("output {:?} is not finite at element {at}", output.name));
    }
    match bundle.task {
        Task::Tensor => Observation::Opaque,
        Task::Classify => classify(outputs, bundle),
    }
}

fn classify(outputs: &[Tensor], bundle: &Bundle) -> Observation {
    let Some(first) = outputs.first() else {
        return Observation::Malformed("the model gave no output".to_owned());
    };
    if first.elements() != bundle.labels.len() {
        let message = format!("output {:?} is {} for {} labels", first.name, first.kind(), bundle.labels.len());
        return Observation::Malformed(message);
    }
    let scores = first.to_f32();
    if bundle.conclude.contains(&ConcludeStep::Softmax) {
        return Observation::Scores(scores);
    }
    // Without a softmax step the model gives probabilities; their logarithms are logits of the same distribution.
    if scores.iter().any(|p| *p < 0.0) || scores.iter().all(|p| *p == 0.0) {
        return Observation::Malformed(format!("output {:?} is no list of probabilities", first.name));
    }
    Observation::Scores(scores.into_iter().map(|p| p.max(f32::MIN_POSITIVE).ln()).collect())
}
