//! The float models of `../shared/golden` agree with ONNX Runtime through every backend.

use std::path::Path;

use picket::{bundle::golden::compare, inference::BACKENDS, ports::Backend, tensor::Tensor};
use picket_tests::{golden, shared};

/// Greatest error, relative to the range of the output's values.
const TOLERANCE: f64 = 1e-4;

/// Models with a golden answer that are not part of this suite or do not pass it, each with the reason.
const EXCEPTIONS: &[(&str, &str)] = &[];

#[test]
fn float_models_agree_with_onnx_runtime() {
    let Some(shared) = shared("golden").and(shared("")) else { return };
    let mut right = 0;
    let mut wrong = Vec::new();
    for backend in BACKENDS {
        for entry in golden::entries(&shared).iter().filter(|entry| entry.golden.is_some()) {
            let exception = EXCEPTIONS.iter().find(|(model, _)| entry.model.ends_with(model));
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
    assert!(right >= 20, "only {right} models were compared");
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
    want.iter().zip(&got).try_for_each(|(want, got): (&Tensor, &Tensor)| compare(want, got, TOLERANCE))
}
