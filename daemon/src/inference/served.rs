//! A bundle in a backend's hands, after its golden vectors came out right on this CPU.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Instant,
};

use picket_core::{job::Failure, time::Span};

use super::{BACKENDS, probe::probe};
use crate::{
    bundle::{Bundle, golden},
    pipeline::{
        self,
        conclude::{Ran, conclude},
        prepare::{Prepared, prepare},
    },
    ports::{Backend, Content, Fixed, Inferred, Model, Runner, Signature, TensorSpec},
    tensor::Tensor,
};

/// A model that may answer jobs.
pub struct Served {
    pub bundle: Bundle,
    pub model: Arc<dyn Model>,
    /// Inputs as a job brings them, outputs as the model gives them.
    pub signature: Signature,
    /// Its golden vectors came out right here. Only a bare `.onnx` file, which has none, is served without.
    pub proven: bool,
}

impl Served {
    /// Loads the bundle and runs its golden vectors.
    ///
    /// # Errors
    /// `model/unsupported`, `model/broken` or `model/mismatch` when it does not load as declared, `model/unproven` when a
    /// golden vector comes out wrong: a model that answers wrong on this CPU is not served.
    pub fn load(bundle: Bundle) -> Result<Self, Failure> {
        let Some(backend) = BACKENDS.first() else {
            return Err(Failure::new("model/unsupported", "this build has no inference backend"));
        };
        Self::load_with(*backend, bundle)
    }

    pub fn load_with(backend: &dyn Backend, bundle: Bundle) -> Result<Self, Failure> {
        let served = Self::proven_elsewhere(backend, bundle)?;
        served.prove()?;
        Ok(served)
    }

    /// Loads a bundle whose golden vectors came out right in another process, on this CPU and with this program.
    pub(super) fn proven_elsewhere(backend: &dyn Backend, bundle: Bundle) -> Result<Self, Failure> {
        let shapes = declared_shapes(&bundle)?;
        let fixed = Fixed { shapes: shapes.as_deref(), constants: &bundle.constants };
        let loaded = catch_unwind(AssertUnwindSafe(|| backend.load_fixed(&bundle.model, &fixed)));
        let model = match loaded {
            Ok(Ok(model)) => model,
            Ok(Err(error)) => return Err(backend_failure(&bundle, &error)),
            Err(panic) => {
                let message = format!("loading {:?} panicked: {}", bundle.name, panic_text(&panic));
                return Err(Failure::new("model/broken", message));
            }
        };
        let signature = job_signature(&bundle, model.signature())?;
        let proven = !bundle.golden.is_empty();
        Ok(Self { bundle, model, signature, proven })
    }

    /// Runs every golden vector at the model's boundary.
    fn prove(&self) -> Result<(), Failure> {
        if self.bundle.golden.is_empty() {
            // A new runner for each try: a panic may tear its state.
            return probe(self.model.as_ref(), |inputs| run_caught(self.runner()?.as_mut(), inputs).map(|_| ()));
        }
        let mut runner = self.runner()?;
        for vector in &self.bundle.golden {
            let got = run_caught(runner.as_mut(), vector.inputs.clone());
            let verdict = got.and_then(|got| {
                if got.len() != vector.outputs.len() {
                    return Err(Failure::new("model/unproven", format!("{} outputs", got.len())));
                }
                let compare = |(want, got)| golden::compare(want, got, vector.tolerance);
                vector.outputs.iter().zip(&got).try_for_each(compare).map_err(|why| Failure::new("model/unproven", why))
            });
            if let Err(failure) = verdict {
                let message = format!("golden vector {} came out wrong on this CPU: {}", vector.name, failure.message);
                return Err(Failure::new("model/unproven", message));
            }
        }
        Ok(())
    }

    /// A runner for one thread.
    ///
    /// # Errors
    /// `model/failed` when the backend cannot make one.
    pub fn runner(&self) -> Result<Box<dyn Runner>, Failure> {
        self.model.clone().runner().map_err(|error| Failure::new("model/failed", error.to_string()))
    }

    /// Decodes, prepares, runs and concludes one job; also says how long preparation and inference took.
    pub fn infer(&self, runner: &mut dyn Runner, content: &Content) -> (Result<Inferred, Failure>, Span, Span) {
        let start = Instant::now();
        let prepared =
            pipeline::decode(content, &self.signature.inputs).and_then(|inputs| prepare(inputs, &self.bundle.prepare));
        let took = elapsed(start);
        let Prepared { inputs, view } = match prepared {
            Ok(prepared) => prepared,
            Err(failure) => return (Err(failure), took, Span::ZERO),
        };
        let start = Instant::now();
        let outputs = run_caught(runner, inputs.clone());
        let infer = elapsed(start);
        let result = outputs.map(|outputs| {
            let ran = Ran { inputs: &inputs, outputs: &outputs, view };
            Inferred { observation: conclude(ran, &self.bundle), outputs }
        });
        (result, took, infer)
    }
}

/// A panic in a backend is a failed job, not a dead thread. The caller must make a new runner after `model/panicked`.
pub(super) fn run_caught(runner: &mut dyn Runner, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, Failure> {
    match catch_unwind(AssertUnwindSafe(|| runner.run(inputs))) {
        Ok(Ok(outputs)) => Ok(outputs),
        Ok(Err(error)) => Err(Failure::new("model/failed", error.to_string())),
        Err(panic) => Err(Failure::new(PANICKED, format!("the model panicked: {}", panic_text(&panic)))),
    }
}

pub(super) const PANICKED: &str = "model/panicked";

fn panic_text(panic: &Box<dyn std::any::Any + Send>) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("no message").to_owned()
}

fn elapsed(start: Instant) -> Span {
    Span::from_micros(u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX))
}

/// The shapes of the model's inputs, behind the prepare steps.
fn declared_shapes(bundle: &Bundle) -> Result<Option<Vec<Vec<usize>>>, Failure> {
    if bundle.prepared.is_empty() {
        return Ok(None);
    }
    let fixed = |input: &TensorSpec| {
        input.shape.iter().copied().collect::<Option<Vec<usize>>>().ok_or_else(|| {
            Failure::new(
                "model/mismatch",
                format!("input {:?} of bundle {:?} has no fixed shape", input.name, bundle.name),
            )
        })
    };
    bundle.prepared.iter().map(fixed).collect::<Result<_, _>>().map(Some)
}

/// What a job must bring: the bundle's declaration where there is one, checked against the model.
fn job_signature(bundle: &Bundle, model: &Signature) -> Result<Signature, Failure> {
    if bundle.inputs.is_empty() {
        return Ok(model.clone());
    }
    for (declared, real) in bundle.prepared.iter().zip(&model.inputs) {
        if declared.dtype != real.dtype {
            let steps = if bundle.prepare.is_empty() { "" } else { " behind the prepare steps" };
            let message = format!(
                "input {:?} is declared {}{steps}, the model takes {}",
                declared.name,
                declared.kind(),
                real.kind()
            );
            return Err(Failure::new("model/mismatch", message).expected(real.kind(), declared.kind()));
        }
    }
    for (declared, real) in bundle.outputs.iter().zip(&model.outputs) {
        let same_shape = declared.shape.len() == real.shape.len();
        if declared.dtype != real.dtype || !same_shape || declared.name != real.name {
            let message = format!(
                "output {:?} is declared {}, the model gives {:?} {}",
                declared.name,
                declared.kind(),
                real.name,
                real.kind()
            );
            return Err(Failure::new("model/mismatch", message).expected(real.kind(), declared.kind()));
        }
    }
    if !bundle.outputs.is_empty() && bundle.outputs.len() != model.outputs.len() {
        let message = format!("{} outputs are declared, the model has {}", bundle.outputs.len(), model.outputs.len());
        return Err(Failure::new("model/mismatch", message));
    }
    Ok(Signature { inputs: bundle.inputs.clone(), outputs: model.outputs.clone() })
}

fn backend_failure(bundle: &Bundle, error: &crate::ports::BackendError) -> Failure {
    use crate::ports::BackendError;
    let code = match error {
        BackendError::Unsupported(_) => "model/unsupported",
        BackendError::Broken(_) => "model/broken",
        BackendError::Run(_) => "model/failed",
    };
    Failure::new(code, format!("bundle {:?}: {error}", bundle.name))
}
