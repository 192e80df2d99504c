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
        Task::Anomaly => anomaly(outputs),
        Task::Regress => regress(outputs, bundle),
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

fn anomaly(outputs: &[Tensor]) -> Observation {
    match outputs.first().map(Tensor::to_f64).as_deref() {
        Some([score]) => Observation::Anomaly(*score),
        other => Observation::Malformed(format!("the model gave {} scores, not one", other.map_or(0, <[f64]>::len))),
    }
}

fn regress(outputs: &[Tensor], bundle: &Bundle) -> Observation {
    let named = match bundle.sigma.map(|at| outputs.get(at).map(Tensor::to_f64)) {
        None => None,
        Some(Some(sigma)) if sigma.len() == 1 => Some(sigma[0]),
        Some(_) => return Observation::Malformed("the model gave no sigma".to_owned()),
    };
    let (value, sigma) = match outputs.first().map(Tensor::to_f64).as_deref() {
        Some([value]) => (*value, named),
        Some([value, sigma]) => (*value, Some(*sigma)),
        other => {
            let count = other.map_or(0, <[f64]>::len);
            return Observation::Malformed(format!(
                "the model gave {count} numbers: a value, or value and sigma, are wanted"
            ));
        }
    };
    match sigma {
        Some(sigma) if sigma < 0.0 => Observation::Malformed(format!("the sigma is {sigma}, which is less than 0")),
        _ => Observation::Value { value, sigma },
    }
}
