//! The float models of `../shared/golden` agree with ONNX Runtime through every backend.

use std::path::Path;

use picket::{bundle::golden::compare, inference::BACKENDS, ports::Backend, tensor::Tensor};
use picket_tests::{golden, shared};

/// Greatest error, relative to the range of the output's values …
const TOLERANCE: f64 = 1e-4;
/// … of models that compute in half precision …
const HALF_TOLERANCE: f64 = 1e-2;
/// … and of integer outputs, in codes.
const CODES: f64 = 2.0;

/// Models with a golden answer that do not pass, each with the reason. A model that passes after all must go from here.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("silero_vad.onnx", "an If on the sample rate, whose branches tract cannot type"),
    ("silero_vad_16k_op15.onnx", "an If whose branches differ in their facts"),
    ("silero_vad_half.onnx", "an If whose branches differ in their facts"),
    ("tiny-random-gpt2-fp32.onnx", "com.microsoft operators (EmbedLayerNormalization)"),
    ("movenet_lightning_qdq.onnx", "quantised and unstable on noise; its key points on a picture need another test"),
    ("SqueezeNet_fp16.onnx", "half precision all the way: off by 1.02 % of the range"),
    ("yunet_n_320_320.onnx", "tract's sigmoid is off by 3e-8, and on noise this output's whole range is 4e-5"),
    ("yunet_n_dynamic.onnx", "tract's sigmoid is off by 3e-8, and on noise this output's whole range is 4e-5"),
];

#[test]
fn float_models_agree_with_onnx_runtime() {
    let Some(shared) = shared("golden").and(shared("")) else { return };
    let mut right = 0;
    let mut wrong = Vec::new();
    for backend in BACKENDS {
        for entry in golden::entries(&shared).iter().filter(|entry| entry.golden.is_some()) {
            let exception = EXCEPTIONS.iter().find(|(model, _)| entry.model.ends_with(&format!("/{model}")));
            let outcome = run(*backend, &shared, entry);
            println!("{:60} {}", entry.model, outcome.as_ref().err().map_or("ok", String::as_str));
            match (exception, outcome) {
                (None, Ok(())) => right += 1,
                (None, Err(why)) => wrong.push(format!("{}: {why}", entry.model)),
                (Some(_), Err(_)) => {}
                (Some((_, reason)), Ok(())) => wrong.push(format!("{} passes, and is excepted: {reason}", entry.model)),
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(right >= 34, "only {right} models were compared");
}

fn run(backend: &dyn Backend, shared: &Path, entry: &golden::Entry) -> Result<(), String> {
    let model = std::fs::read(shared.join(&entry.model)).map_err(|error| error.to_string())?;
    let model = backend.load(&model, Some(&entry.shapes())).map_err(|error| format!("does not load: {error}"))?;
    let mut runner = model.runner().map_err(|error| error.to_string())?;
    let got = runner.run(entry.tensors()).map_err(|error| format!("does not run: {error}"))?;
    let want = entry.outputs(shared);
    if want.len() != got.len() {
        return Err(format!("{} outputs instead of {}", got.len(), want.len()));
    }
    let half = entry.model.contains("fp16") || entry.model.contains("half");
    let float_tolerance = if half { HALF_TOLERANCE } else { TOLERANCE };
    want.iter().zip(&got).try_for_each(|(want, got)| {
        let tolerance = if want.dtype().is_float() { float_tolerance } else { CODES / range(want) };
        compare(want, got, tolerance)
    })
}

/// The range of an integer output's values, which is what a tolerance is relative to.
fn range(tensor: &Tensor) -> f64 {
    let values = tensor.to_f64();
    let (least, most) = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(*v), b.max(*v)));
    if most > least { most - least } else { most.abs().max(1.0) }
}
