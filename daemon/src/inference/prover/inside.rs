//! What the child does: confine itself, read the bundle's files, prove the model, say so.

use std::{
    fs::File,
    io::{self, Read, Write},
    process::ExitCode,
    thread,
    time::Instant,
};

use picket_core::{job::Failure, limits};

use super::dossier::{self, Proof, Verdict};
use crate::{
    bundle::Bundle,
    inference::{
        prescan,
        served::{Served, run_caught},
    },
    ports::TensorSpec,
    sandbox,
    tensor::{Dtype, Tensor, elements},
};

/// What the parent asks for.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    pub memory: u64,
    pub seconds: u64,
    /// Take the time of an inference.
    pub measure: bool,
}

/// A child's whole life. Whatever it finds, it ends well; a child that ends otherwise has died of the model.
pub fn run(asked: &Asked) -> ExitCode {
    let closed = sandbox::close_inherited();
    // Read at the end, when no file can be opened any more.
    let mut status = File::open("/proc/self/status").ok();
    let limits = sandbox::Limits { memory: asked.memory, seconds: asked.seconds, open_files: limits::PROOF_FILES };
    let verdict = match sandbox::enter(&limits) {
        Ok(mut held) => {
            held.extend(closed.is_ok().then_some("files"));
            match examine(asked.measure) {
                Ok(proof) => Verdict::Proven(Proof {
                    held: held.into_iter().map(str::to_owned).collect(),
                    peak_kib: status.as_mut().and_then(peak_kib).unwrap_or(0),
                    ..proof
                }),
                Err(failure) => Verdict::refused(failure),
            }
        }
        Err(error) => Verdict::refused(Failure::new("model/not-ready", format!("a limit cannot be set: {error}"))),
    };
    let said = serde_json::to_vec(&verdict).map_err(io::Error::from).and_then(|said| io::stdout().write_all(&said));
    if said.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// On a thread of its own, because that one's stack is bounded.
fn examine(measure: bool) -> Result<Proof, Failure> {
    let proving = move || {
        sandbox::no_more_threads();
        prove(measure)
    };
    let thread = thread::Builder::new().name("prove".to_owned()).stack_size(limits::PROOF_STACK_BYTES).spawn(proving);
    let no_thread = |error: io::Error| Failure::new("model/not-ready", format!("no thread: {error}"));
    thread.map_err(no_thread)?.join().unwrap_or_else(|_| Err(Failure::new("model/broken", "proving it panicked")))
}

fn prove(measure: bool) -> Result<Proof, Failure> {
    let unread = |error: io::Error| Failure::new("model/not-ready", format!("its files did not arrive: {error}"));
    let files = dossier::read(&mut io::stdin().lock()).map_err(unread)?;
    let bundle = Bundle::again(files).map_err(|error| Failure::new(error.code, error.message))?;
    let named = |why: String| format!("bundle {:?}: {why}", bundle.name);
    prescan::scan(&bundle.model).map_err(|refusal| Failure::new(refusal.code, named(refusal.message)))?;
    let start = Instant::now();
    let served = Served::load(bundle)?;
    let load_us = micros(start);
    let infer_us = run_once(&served, measure)?;
    Ok(Proof { load_us, infer_us: infer_us.filter(|_| measure), ..Proof::default() })
}

/// A model without golden vectors runs once on zeros, or on ones if it divides by them, so that one which cannot run at all
/// is found here. Returns the microseconds of an inference: of a second one, as the first warms up.
fn run_once(served: &Served, measure: bool) -> Result<Option<u64>, Failure> {
    let (inputs, otherwise) = match served.bundle.golden.first() {
        Some(_) if !measure => return Ok(None),
        Some(golden) => (Some(golden.inputs.clone()), None),
        None => (filled(served, false), filled(served, true)),
    };
    let Some(inputs) = inputs else { return Ok(None) };
    let took = timed(served, &inputs, measure);
    let took = took.or_else(|first| otherwise.map_or(Err(first), |inputs| timed(served, &inputs, measure)));
    took.map(Some).map_err(|failure| {
        let message = format!("bundle {:?} runs neither on zeros nor on ones: {}", served.bundle.name, failure.message);
        Failure::new("model/broken", message)
    })
}

/// With a runner of its own: one that panicked may be torn.
fn timed(served: &Served, inputs: &[Tensor], measure: bool) -> Result<u64, Failure> {
    let mut runner = served.runner()?;
    let mut took = 0;
    for _ in 0..if measure { 2 } else { 1 } {
        let start = Instant::now();
        run_caught(runner.as_mut(), inputs.to_vec())?;
        took = micros(start);
    }
    Ok(took)
}

/// Inputs of zeros or ones, where the model says how many.
fn filled(served: &Served, ones: bool) -> Option<Vec<Tensor>> {
    let filled = |spec: &TensorSpec| {
        let shape: Vec<usize> = spec.shape.iter().copied().collect::<Option<_>>()?;
        let value = if ones { one(spec.dtype) } else { vec![0; spec.dtype.size()] };
        let bytes = value.repeat(elements(&shape)?);
        Tensor::new(spec.name.as_str(), spec.dtype, shape, bytes).ok()
    };
    served.model.signature().inputs.iter().map(filled).collect()
}

/// 1, little-endian.
fn one(dtype: Dtype) -> Vec<u8> {
    match dtype {
        Dtype::Fp16 => half::f16::ONE.to_le_bytes().to_vec(),
        Dtype::Fp32 => 1.0_f32.to_le_bytes().to_vec(),
        Dtype::Fp64 => 1.0_f64.to_le_bytes().to_vec(),
        whole => 1_u64.to_le_bytes()[..whole.size()].to_vec(),
    }
}

/// The most memory that this process had so far.
fn peak_kib(status: &mut File) -> Option<u64> {
    let mut text = String::new();
    status.read_to_string(&mut text).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}

fn micros(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX)
}
