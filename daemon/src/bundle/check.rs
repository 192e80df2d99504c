//! Whether the manifest makes sense in itself, and what it then says.

use std::sync::Arc;

use picket_core::{escalation::anomaly, time::Span};

use super::{
    BundleError, Task, constants,
    decision::{self, Decision},
    manifest::{Manifest, ModelFile, RawTensor},
    states::{self, State},
    steps,
};
use crate::{
    config::{section::unknown_word, words::name_fault},
    pipeline::{conclude::Conclude, prepare::Step},
    ports::{Constant, TensorSpec},
    tensor::{Dtype, elements},
};

/// What a manifest declares, checked.
pub struct Declared {
    pub model: ModelFile,
    pub task: Task,
    pub labels: Arc<[String]>,
    pub inputs: Vec<TensorSpec>,
    pub constants: Vec<Constant>,
    pub outputs: Vec<TensorSpec>,
    pub prepare: Vec<Step>,
    /// The inputs after these steps: what the model takes.
    pub prepared: Vec<TensorSpec>,
    pub conclude: Vec<Arc<dyn Conclude>>,
    pub decision: Decision,
    /// Outputs that are inputs of the next call.
    pub states: Vec<State>,
    /// Silence after which a stream begins anew.
    pub stream_age: Span,
}

/// # Errors
/// The first thing in the manifest that cannot be.
pub fn check(manifest: &Manifest) -> Result<Declared, BundleError> {
    let mut found = Vec::new();
    let declared = read(manifest, &mut found);
    match found.into_iter().next() {
        Some(first) => Err(first),
        None => {
            declared.ok_or_else(|| manifest.error("bundle/invalid", None, "the manifest declares nothing".to_owned()))
        }
    }
}

/// Everything in the manifest that cannot be, not only the first thing.
pub fn faults(manifest: &Manifest) -> Vec<BundleError> {
    let mut found = Vec::new();
    read(manifest, &mut found);
    found
}

/// What depends on something that is wrong itself says nothing new.
fn read(manifest: &Manifest, found: &mut Vec<BundleError>) -> Option<Declared> {
    let raw = &manifest.raw;
    let named = note(found, name(manifest));
    let model = note(found, model_file(manifest));
    let digest = note(found, digest(manifest));
    let card = note(found, card(manifest));
    let task = note(found, task(manifest));
    let inputs = note(found, tensors(manifest, "input", &raw.input));
    let constants = inputs.as_ref().and_then(|inputs| note(found, constants::read(manifest, inputs)));
    let outputs = note(found, tensors(manifest, "output", &raw.output));
    let decided = task.zip(outputs.as_ref()).and_then(|(task, outputs)| {
        let labels = note(found, labels(manifest, task, outputs))?;
        let conclude = note(found, steps::conclude(manifest, task, outputs, &labels))?;
        let decision = note(found, decision::read(manifest, task, outputs, &labels, &conclude))?;
        Some((labels, conclude, decision))
    });
    let prepare = inputs.as_ref().and_then(|inputs| note(found, steps::prepare(manifest, inputs)));
    let states =
        inputs.as_ref().zip(constants.as_ref()).zip(outputs.as_ref()).and_then(|((inputs, constants), outputs)| {
            note(found, states::read(manifest, (inputs, constants), outputs))
        });
    let stream_age = prepare
        .as_ref()
        .zip(states.as_ref())
        .and_then(|((prepare, _), states)| note(found, states::age(manifest, super::remembers(prepare, states))));
    named?;
    digest?;
    card?;
    let (labels, conclude, decision) = decided?;
    let (prepare, prepared) = prepare?;
    Some(Declared {
        model: model?,
        task: task?,
        labels,
        inputs: inputs?,
        constants: constants?,
        states: states?,
        stream_age: stream_age?,
        outputs: outputs?,
        prepare,
        prepared,
        conclude,
        decision,
    })
}

fn note<T>(found: &mut Vec<BundleError>, result: Result<T, BundleError>) -> Option<T> {
    result.map_err(|error| found.push(error)).ok()
}

fn name(manifest: &Manifest) -> Result<(), BundleError> {
    let name = &manifest.raw.name;
    name_fault(name.get_ref()).map_or(Ok(()), |message| Err(manifest.invalid(name, message)))
}

fn digest(manifest: &Manifest) -> Result<(), BundleError> {
    let digest = &manifest.raw.model.sha256;
    if digest.get_ref().len() != 64 || !digest.get_ref().chars().all(|c| c.is_ascii_hexdigit()) {
        return Err(manifest.invalid(digest, "`sha256` is 64 hexadecimal digits"));
    }
    Ok(())
}

fn card(manifest: &Manifest) -> Result<(), BundleError> {
    let Some(card) = &manifest.raw.card else {
        let message = "there is no [card]; say at least what the model is for, what it learned from, its limits, \
                       and who answers for it";
        return Err(manifest.error("bundle/no-card", None, message));
    };
    let open = card.get_ref().open_keys();
    if open.is_empty() {
        return Ok(());
    }
    let message = format!("[card] is not filled in: {}", open.join(", "));
    Err(manifest.error("bundle/no-card", Some(card.span()), message))
}

pub(super) fn model_file(manifest: &Manifest) -> Result<ModelFile, BundleError> {
    let model = &manifest.raw.model;
    match (&model.file, &model.path) {
        (Some(file), None) => Ok(ModelFile::Inside(file.get_ref().clone())),
        (None, Some(path)) => Ok(ModelFile::Anywhere(path.get_ref().clone())),
        (Some(_), Some(path)) => Err(manifest.invalid(path, "`file` and `path` both name the model; keep one of them")),
        (None, None) => {
            let message = "[model] needs `file`, which is in the bundle's folder, or `path`, which may be elsewhere";
            Err(manifest.invalid(&model.sha256, message))
        }
    }
}

const TASKS: [&str; 5] = ["classify", "anomaly", "regress", "detect", "tensor"];

fn task(manifest: &Manifest) -> Result<Task, BundleError> {
    let task = &manifest.raw.task;
    match task.get_ref().as_str() {
        "classify" => Ok(Task::Classify),
        "tensor" => Ok(Task::Tensor),
        "anomaly" => Ok(Task::Anomaly),
        "regress" => Ok(Task::Regress),
        "detect" => Ok(Task::Detect),
        other => Err(manifest.invalid(task, unknown_word("task", other, &TASKS))),
    }
}

fn tensors(manifest: &Manifest, what: &str, raw: &[RawTensor]) -> Result<Vec<TensorSpec>, BundleError> {
    if raw.is_empty() {
        return Err(manifest.error(
            "bundle/invalid",
            None,
            format!("there is no [[{what}]]; a bundle declares them all"),
        ));
    }
    let mut specs: Vec<TensorSpec> = Vec::with_capacity(raw.len());
    for tensor in raw {
        if specs.iter().any(|spec| spec.name == *tensor.name.get_ref()) {
            return Err(
                manifest.invalid(&tensor.name, format!("there is an {what} `{}` already", tensor.name.get_ref()))
            );
        }
        specs.push(tensor_spec(manifest, tensor)?);
    }
    Ok(specs)
}

fn tensor_spec(manifest: &Manifest, tensor: &RawTensor) -> Result<TensorSpec, BundleError> {
    let Some(dtype) = Dtype::parse(tensor.dtype.get_ref()) else {
        let known = Dtype::ALL.map(Dtype::name);
        return Err(manifest.invalid(&tensor.dtype, unknown_word("dtype", tensor.dtype.get_ref(), &known)));
    };
    let dim = |dim: &i64| match dim {
        -1 => Ok(None),
        1.. => usize::try_from(*dim).map(Some).map_err(|_| *dim),
        _ => Err(*dim),
    };
    let shape: Vec<Option<usize>> =
        tensor.shape.get_ref().iter().map(dim).collect::<Result<_, _>>().map_err(|dim| {
            manifest.invalid(&tensor.shape, format!("{dim} is no dimension; -1 is one that the job decides"))
        })?;
    let least: Vec<usize> = shape.iter().map(|dim| dim.unwrap_or(1)).collect();
    if elements(&least).is_none() {
        return Err(manifest.invalid(&tensor.shape, "more elements than any tensor may have"));
    }
    Ok(TensorSpec { name: tensor.name.get_ref().clone(), dtype, shape })
}

/// The first output has as many scores as there are labels.
fn labels(manifest: &Manifest, task: Task, outputs: &[TensorSpec]) -> Result<Arc<[String]>, BundleError> {
    let raw = manifest.raw.labels.as_ref();
    if !matches!(task, Task::Classify | Task::Detect) {
        let own: Vec<String> = match task {
            Task::Anomaly => anomaly::LABELS.map(str::to_owned).to_vec(),
            _ => Vec::new(),
        };
        return match raw {
            Some(labels) => Err(manifest.invalid(labels, format!("task `{}` takes no labels", task.name()))),
            None => Ok(own.into()),
        };
    }
    let Some(raw) = raw else {
        let message = format!("task `{}` needs `labels`, one for each class", task.name());
        return Err(manifest.invalid(&manifest.raw.task, message));
    };
    let mut labels: Vec<String> = Vec::with_capacity(raw.get_ref().len());
    for label in raw.get_ref() {
        // An answer from upstream is matched by its label.
        if labels.contains(label.get_ref()) {
            return Err(manifest.invalid(label, format!("label `{}` is there twice", label.get_ref())));
        }
        labels.push(label.get_ref().clone());
    }
    // What a detector's outputs have to do with its classes, its steps know.
    let Some(scores) = outputs.first().filter(|_| task == Task::Classify) else { return Ok(labels.into()) };
    // A first dimension that the job decides is a batch, and a job is one case.
    let free = scores.shape.iter().skip(1).any(Option::is_none);
    let classes: usize = scores.shape.iter().copied().flatten().product();
    if free || classes != labels.len() {
        let message = format!("{} labels, but output `{}` is {}", labels.len(), scores.name, scores.kind());
        return Err(manifest.invalid(raw, message));
    }
    Ok(labels.into())
}
