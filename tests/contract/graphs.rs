//! Random graphs, of what the rewrites of models are about, agree with ONNX Runtime through every backend.

use std::{path::Path, process::Command};

use picket::{bundle::npz, inference::BACKENDS, ports::Backend, tensor::Tensor};

/// Seeds, of two graphs each. `graphs.py FOLDER FIRST COUNT` makes more of them.
const SEEDS: u32 = 60;

/// Greatest error, as a share of the largest value …
const TOLERANCE: f64 = 1e-4;
/// … with half precision, whose roundings engines set elsewhere …
const HALF_TOLERANCE: f64 = 1e-2;
/// … and of codes: a code that falls to the other side of a half weighs as much in the layer behind it.
const CODES: f64 = 2.0;

#[test]
fn random_graphs_agree_with_onnx_runtime() {
    let Ok(python) = std::env::var("PICKET_TEST_PYTHON") else {
        eprintln!("skipped: PICKET_TEST_PYTHON is not set (tests/run sets it)");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let script = picket_tests::root().join("tests/contract/graphs.py");
    let made = Command::new(python).arg(script).arg(folder.path()).args(["0", &SEEDS.to_string()]).status().unwrap();
    assert!(made.success(), "graphs.py needs the packages of tests/requirements.txt");
    let paths = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let mut models: Vec<_> = paths.filter(|path| path.extension().is_some_and(|kind| kind == "onnx")).collect();
    models.sort();
    assert!(models.len() as u32 > SEEDS, "ONNX Runtime takes most of them");
    for backend in BACKENDS {
        let wrong: Vec<String> = models.iter().filter_map(|model| verdict(*backend, model).err()).collect();
        println!("{} graphs, {} wrong", models.len(), wrong.len());
        assert!(wrong.is_empty(), "{} of {} wrong:\n{}", wrong.len(), models.len(), wrong.join("\n"));
    }
}

fn verdict(backend: &dyn Backend, path: &Path) -> Result<(), String> {
    let name = path.file_stem().unwrap().to_string_lossy().into_owned();
    let mut arrays = npz::read(&std::fs::read(path.with_extension("npz")).unwrap()).unwrap();
    let mut take = |name: &str| arrays.remove(arrays.iter().position(|(other, _)| other == name).unwrap()).1;
    let (input, want) = (take("in0"), take("out0"));
    let model = backend.load(&std::fs::read(path).unwrap(), Some(&[input.shape().to_vec()]));
    let model = model.map_err(|error| format!("{name} does not load: {error}"))?;
    let got = model.runner().and_then(|mut runner| runner.run(vec![input]));
    let got = got.map_err(|error| format!("{name} does not run: {error}"))?;
    let got: &Tensor = got.first().ok_or_else(|| format!("{name} has no output"))?;
    if (want.dtype(), want.shape()) != (got.dtype(), got.shape()) {
        return Err(format!("{name} gives {}, want {}", got.kind(), want.kind()));
    }
    let (want, got) = (want.to_f64(), got.to_f64());
    let largest = want.iter().fold(1e-3f64, |most, value| most.max(value.abs()));
    let allowed = match name.rsplit('-').next() {
        Some("codes") => CODES,
        Some("half") => HALF_TOLERANCE * largest,
        _ => TOLERANCE * largest,
    };
    let off = want.iter().zip(&got).map(|(want, got)| (want - got).abs());
    // Not a number is as far off as can be.
    let off = off.fold(0.0, |most: f64, off| if off.is_nan() { f64::INFINITY } else { most.max(off) });
    if off <= allowed { Ok(()) } else { Err(format!("{name} is off by {off:e}, at most {allowed:e} is right")) }
}
