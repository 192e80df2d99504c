//! Model bundles: a folder with a model, what it takes and gives, who answers for it, and vectors that prove it.
//!
//! Reading verifies: the model's digest, every length and name that the manifest states. What needs the model itself
//! (its own signature, the golden vectors) is checked where it is loaded.

pub mod calibration;
mod check;
mod constants;
mod decision;
pub(crate) mod files;
pub mod golden;
pub mod inspect;
mod manifest;
pub mod npz;
mod states;
mod steps;

#[cfg(test)]
mod tests;

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use picket_core::{
    escalation::{calibration::State, decide::Policy},
    job::ProviderId,
    limits,
    said::Measure,
    time::Span,
};

use self::files::Folder;
pub use self::{
    files::Files,
    golden::Golden,
    manifest::{Card, PLACEHOLDER},
    states::State as BoundState,
};
use crate::{
    pipeline::{
        conclude::Conclude,
        prepare::Step,
        window::{Per, Windowed},
    },
    ports::{Constant, TensorSpec},
};

/// The file that makes a folder a bundle.
pub const MANIFEST: &str = "bundle.toml";

/// A model with everything that belongs to it, verified.
#[derive(Clone, Debug)]
pub struct Bundle {
    pub name: String,
    /// A whole number that only grows; `0` for a bare `.onnx` file.
    pub version: String,
    pub task: Task,
    /// Class names in the order of the scores; `normal` and `anomaly` for anomalies; empty for tasks without classes.
    pub labels: Arc<[String]>,
    /// What a job brings, before the prepare steps. Empty: whatever the model takes.
    pub inputs: Vec<TensorSpec>,
    /// What the model gives. Empty: not declared.
    pub outputs: Vec<TensorSpec>,
    /// Inputs of the model that no job brings.
    pub constants: Vec<Constant>,
    pub prepare: Vec<Step>,
    /// The inputs after the prepare steps: what the model takes. Empty as `inputs`.
    pub prepared: Vec<TensorSpec>,
    pub conclude: Vec<Arc<dyn Conclude>>,
    /// Outputs of the model that are inputs of its next call in the same stream: neither a job's nor its answer's.
    pub states: Vec<BoundState>,
    /// Silence after which a stream begins anew.
    pub stream_age: Span,
    /// What makes an answer right.
    pub measure: Measure,
    /// Of the number that it gives.
    pub unit: Option<String>,
    /// Which output is the sigma of the first.
    pub sigma: Option<usize>,
    /// Softmax temperature, > 0.
    pub temperature: f32,
    /// Top probability below which an answer is doubtful, 0 to 1.
    pub threshold: Option<f32>,
    /// `None` only for a bare `.onnx` file.
    pub card: Option<Card>,
    /// The model file.
    pub model: Bytes,
    /// SHA-256 of the model file, lower-case hex.
    pub sha256: String,
    /// Empty only for a bare `.onnx` file.
    pub golden: Vec<Golden>,
    /// What may be promised of its answers.
    pub calibration: calibration::Found,
    /// Sentences for the operator.
    pub warnings: Vec<String>,
    /// What it was read from, for who proves it. Let go when that is done.
    pub files: Files,
}

/// What a model is for, and so what its outputs mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// The first output has one score per class.
    Classify,
    /// The first output is a score: the higher, the less normal.
    Anomaly,
    /// The first output is a number, with its sigma as a second element or in an output of its own.
    Regress,
    /// The outputs are boxes around things in an image, or what becomes boxes.
    Detect,
    /// The outputs are the answer; nothing judges them.
    Tensor,
}

impl Task {
    /// As the manifest and the calibration name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Classify => "classify",
            Self::Anomaly => "anomaly",
            Self::Regress => "regress",
            Self::Detect => "detect",
            Self::Tensor => "tensor",
        }
    }
}

/// Why a bundle is not used. The code is stable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("error[{code}]: {message}")]
pub struct BundleError {
    pub code: &'static str,
    /// Begins with the file, and with line and column where the manifest itself is wrong.
    pub message: String,
}

impl BundleError {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl Bundle {
    /// Reads and verifies a bundle's folder, or a bare `.onnx` file.
    ///
    /// # Errors
    /// `bundle/unreadable`, `bundle/too-large`, `bundle/path-escape`, `bundle/syntax`, `bundle/unknown-key`,
    /// `bundle/unsupported-step`, `bundle/not-yet`, `bundle/no-card`, `bundle/no-golden`, `bundle/invalid`,
    /// `bundle/bad-golden`, `bundle/bad-calibration` or `model/hash-mismatch`.
    pub fn read(path: &Path) -> Result<Self, BundleError> {
        if is_bare_model(path) && path.is_file() {
            return Ok(Self::bare(path, files::read_capped(path, limits::MAX_MODEL_BYTES)?));
        }
        Self::read_folder(Folder::open(path)?)
    }

    /// Reads a bundle once more, out of what it was read from before.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn again(mut files: Files) -> Result<Self, BundleError> {
        match files.contents.as_mut_slice() {
            [(name, model)] if name.is_empty() => Ok(Self::bare(&files.path, std::mem::take(model))),
            _ => Self::read_folder(Folder::again(files)),
        }
    }

    fn read_folder(folder: Folder) -> Result<Self, BundleError> {
        let manifest = manifest::read(&folder)?;
        let declared = check::check(&manifest)?;
        let model = folder.read_model(&declared.model, limits::MAX_MODEL_BYTES)?;
        let shown = folder.show(declared.model.name());
        let sha256 = files::expect_sha256(&shown, &model, manifest.raw.model.sha256.get_ref())?;
        let golden = golden::read_all(&folder, &manifest, &declared)?;
        let raw = manifest.raw;
        let mut bundle = Self {
            name: raw.name.into_inner(),
            version: raw.version.to_string(),
            task: declared.task,
            labels: declared.labels,
            inputs: declared.inputs,
            constants: declared.constants,
            outputs: declared.outputs,
            prepare: declared.prepare,
            prepared: declared.prepared,
            conclude: declared.conclude,
            states: declared.states,
            stream_age: declared.stream_age,
            measure: declared.decision.measure,
            unit: declared.decision.unit,
            sigma: declared.decision.sigma,
            temperature: declared.decision.temperature,
            threshold: declared.decision.threshold,
            card: raw.card.map(toml::Spanned::into_inner),
            model,
            sha256,
            golden,
            calibration: calibration::Found::default(),
            warnings: Vec::new(),
            files: Files::default(),
        };
        bundle.calibration = calibration::read(&folder, &bundle)?;
        if bundle.calibration.state == State::Mismatch {
            bundle.warnings.push(format!(
                "{} is of another model, or of other steps around it: nothing is certified; run `picket calibrate` again",
                folder.show(calibration::FILE)
            ));
        }
        bundle.files = folder.into_files();
        Ok(bundle)
    }

    /// What of its steps cuts a job into windows.
    pub fn windowed(&self) -> Option<Windowed<'_>> {
        Windowed::of(&self.prepare, &self.inputs)
    }

    /// Something is kept between the jobs of a stream.
    pub fn remembers(&self) -> bool {
        remembers(&self.prepare, &self.states)
    }

    /// Softmax temperature of the confidences in its answers: the certificate's, where one is in force.
    pub fn scale(&self) -> f32 {
        self.calibration.state.certified().map_or(self.temperature, |certified| certified.score.temperature())
    }

    /// How its doubtful answers are treated, with these providers to ask; `redacts`: there are redaction steps for it.
    pub fn policy(&self, providers: Vec<ProviderId>, redacts: bool) -> Policy {
        Policy {
            measure: self.measure,
            calibration: self.calibration.state.clone(),
            providers,
            redacts,
            ..Policy::alone(self.temperature, self.threshold)
        }
    }

    /// A bare model works, but nothing says what it is for and nothing proves it.
    pub(crate) fn bare(path: &Path, model: Bytes) -> Self {
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let warning = format!(
            "{} is a bare model: no card, no golden vectors, so nothing proves that it answers right on this CPU",
            path.display()
        );
        Self {
            name,
            version: "0".to_owned(),
            task: Task::Tensor,
            labels: Arc::from([]),
            inputs: Vec::new(),
            constants: Vec::new(),
            outputs: Vec::new(),
            prepare: Vec::new(),
            prepared: Vec::new(),
            conclude: Vec::new(),
            states: Vec::new(),
            stream_age: limits::STREAM_AGE,
            measure: Measure::Classes,
            unit: None,
            sigma: None,
            temperature: 1.0,
            threshold: None,
            card: None,
            sha256: files::sha256(&model),
            files: Files { path: path.to_owned(), contents: vec![(String::new(), model.clone())] },
            model,
            golden: Vec::new(),
            calibration: calibration::Found::default(),
            warnings: vec![warning],
        }
    }
}

/// With windows of one job, states too are those of one job.
fn remembers(prepare: &[Step], states: &[BoundState]) -> bool {
    match prepare.iter().find_map(|step| step.step.window()) {
        Some(window) => window.per == Per::Stream,
        None => !states.is_empty(),
    }
}

/// Does this name a model file rather than a bundle's folder?
pub fn is_bare_model(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("onnx"))
}

/// Is there something that [`Bundle::read`] could read? Opens nothing.
///
/// # Errors
/// Says what is missing.
pub fn look(path: &Path) -> Result<(), String> {
    if path.join(MANIFEST).is_file() || (path.is_file() && is_bare_model(path)) {
        return Ok(());
    }
    Err(if path.is_dir() {
        format!("{} is no bundle: it has no {MANIFEST}", path.display())
    } else if path.exists() {
        format!("{} is neither a bundle's folder nor an .onnx file", path.display())
    } else {
        format!("there is no {}", path.display())
    })
}
