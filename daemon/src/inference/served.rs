//! A bundle in a backend's hands, after its golden vectors came out right on this CPU.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use picket_core::{job::Failure, time::Span};

use super::{
    BACKENDS,
    binding::Binding,
    gathered::Gathered,
    probe::probe,
    streams::{self, Hand, Place, Streams},
};
use crate::{
    bundle::{Bundle, golden},
    pipeline::{
        self,
        conclude::{Gathering, Ran},
        prepare::{Prepared, prepare},
    },
    ports::{Backend, BackendError, Content, Fixed, Inferred, Model, Runner, Signature, TensorSpec},
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
    /// Where the model's inputs come from.
    pub(super) binding: Binding,
    /// Streams that are kept at once.
    pub(super) most_streams: usize,
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
    pub(super) fn proven_elsewhere(backend: &dyn Backend, mut bundle: Bundle) -> Result<Self, Failure> {
        let shapes = if bundle.states.is_empty() {
            declared_shapes(&bundle)?
        } else {
            let file = caught(&bundle, || backend.signature(&bundle.model, &bundle.constants))?;
            Some(Binding::new(&bundle, &file)?.shapes(&bundle.prepared)?)
        };
        let fixed = Fixed { shapes: shapes.as_deref(), constants: &bundle.constants };
        let model = caught(&bundle, || backend.load_fixed(&bundle.model, &fixed))?;
        let binding = Binding::new(&bundle, model.signature())?;
        if !bundle.states.is_empty() {
            for vector in &mut bundle.golden {
                let bad = |why: String| Failure::new("bundle/bad-golden", format!("{}: {why}", vector.name));
                *vector = vector.of_model(model.signature()).map_err(bad)?;
            }
        }
        let signature = job_signature(&bundle, &binding, model.signature())?;
        let proven = !bundle.golden.is_empty();
        let mut served = Self { bundle, model, signature, proven, binding, most_streams: 0 };
        served.most_streams = streams::most(&served)?;
        Ok(served)
    }

    pub(super) fn stream_age(&self) -> Duration {
        self.bundle.stream_age.into()
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

    /// As [`Self::infer_in`], of a job that stands alone.
    pub fn infer(&self, runner: &mut dyn Runner, content: &Content) -> (Result<Inferred, Failure>, Span, Span) {
        let place = Place { key: "", seq: None, now: Instant::now() };
        self.infer_in(runner, &mut Streams::default(), content, place)
    }

    /// Decodes, prepares, runs and concludes one job; also says how long preparation and inference took. Of a model that
    /// keeps something between the jobs of a stream, `streams` has it.
    pub fn infer_in(
        &self,
        runner: &mut dyn Runner,
        streams: &mut Streams,
        content: &Content,
        place: Place<'_>,
    ) -> (Result<Inferred, Failure>, Span, Span) {
        let mut spent = Spent { prepare: Duration::ZERO, infer: Duration::ZERO };
        let result = self.run(runner, streams, content, place, &mut spent);
        (result, span(spent.prepare), span(spent.infer))
    }

    fn run(
        &self,
        runner: &mut dyn Runner,
        streams: &mut Streams,
        content: &Content,
        place: Place<'_>,
        spent: &mut Spent,
    ) -> Result<Inferred, Failure> {
        let bundle = &self.bundle;
        let windowed = bundle.windowed();
        let mut single = None;
        let chunk = timed(&mut spent.prepare, || {
            let inputs = pipeline::decode(content, &self.signature.inputs)?;
            match &windowed {
                Some(windowed) => windowed.chunk(inputs).map(Some),
                None => prepare(inputs, &bundle.prepare).map(|prepared| single.insert(prepared)).map(|_| None),
            }
        })?;
        let cut = windowed.as_ref().zip(chunk.as_ref());
        let mut hand = Hand::open(self, streams, place, cut)?;
        let mut gathering = Gathering::new(bundle);
        let mut gathered = Gathered::default();
        loop {
            let next = timed(&mut spent.prepare, || match (cut, &mut hand.stream.tail) {
                (Some((windowed, chunk)), Some(tail)) => {
                    tail.next(&windowed.window).map(|full| windowed.run(chunk, full)).transpose()
                }
                _ => Ok(single.take()),
            })?;
            let Some(Prepared { inputs, view }) = next else { break };
            let given = self.binding.inputs(&inputs, &hand.stream.states);
            let outputs = timed(&mut spent.infer, || run_caught(runner, given))?;
            let outputs = self.binding.outputs(outputs, &mut hand.stream.states)?;
            gathering.add(Ran { inputs: &inputs, outputs: &outputs, view });
            gathered.add(outputs)?;
        }
        let stream = hand.close(self, streams);
        let outputs = if windowed.is_some() { gathered.stacked()? } else { gathered.single() };
        Ok(Inferred { observation: gathering.end(), outputs, stream })
    }
}

/// Of one job.
struct Spent {
    prepare: Duration,
    infer: Duration,
}

fn timed<T>(spent: &mut Duration, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let done = work();
    *spent += start.elapsed();
    done
}

/// A panic in a backend that reads a model is a model that is broken.
fn caught<T>(bundle: &Bundle, load: impl FnOnce() -> Result<T, BackendError>) -> Result<T, Failure> {
    match catch_unwind(AssertUnwindSafe(load)) {
        Ok(Ok(loaded)) => Ok(loaded),
        Ok(Err(error)) => Err(backend_failure(bundle, &error)),
        Err(panic) => {
            let message = format!("loading {:?} panicked: {}", bundle.name, panic_text(&panic));
            Err(Failure::new("model/broken", message))
        }
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

fn span(time: Duration) -> Span {
    Span::from_micros(u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
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
fn job_signature(bundle: &Bundle, binding: &Binding, model: &Signature) -> Result<Signature, Failure> {
    if bundle.inputs.is_empty() {
        return Ok(model.clone());
    }
    let mut outputs = binding.job_outputs(model);
    for (declared, real) in bundle.prepared.iter().zip(binding.job_inputs(model)) {
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
    for (declared, real) in bundle.outputs.iter().zip(&outputs) {
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
    if !bundle.outputs.is_empty() && bundle.outputs.len() != outputs.len() {
        let message = format!("{} outputs are declared, the model has {}", bundle.outputs.len(), outputs.len());
        return Err(Failure::new("model/mismatch", message));
    }
    if bundle.windowed().is_some() {
        // A job may complete several windows, or none.
        outputs.iter_mut().for_each(|output| output.shape.insert(0, None));
    }
    Ok(Signature { inputs: bundle.inputs.clone(), outputs })
}

fn backend_failure(bundle: &Bundle, error: &BackendError) -> Failure {
    let code = match error {
        BackendError::Unsupported(_) => "model/unsupported",
        BackendError::Broken(_) => "model/broken",
        BackendError::Run(_) => "model/failed",
    };
    Failure::new(code, format!("bundle {:?}: {error}", bundle.name))
}
