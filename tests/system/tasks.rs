//! Numbers and anomaly scores: from a bundle to certified answers. The model gives back what it gets, so that a test says what
//! it answers.

use std::{fmt::Write as _, fs, path::Path, process::Command};

use picket_tests::daemon::picket;
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// A field of a protobuf message whose payload is bytes.
fn field(number: u8, payload: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, u8::try_from(payload.len()).unwrap()], payload].concat()
}

fn varint(number: u8, value: u8) -> Vec<u8> {
    vec![number << 3, value]
}

/// An ONNX model `y = Identity(x)` of 1 x `width` floats (fields as in onnx.proto3).
fn identity(width: u8) -> Vec<u8> {
    let dims: Vec<u8> = [1, width].into_iter().flat_map(|size| field(1, &varint(1, size))).collect();
    let tensor = [varint(1, 1), field(2, &dims)].concat();
    let value = |name: &[u8]| [field(1, name), field(2, &field(1, &tensor))].concat();
    let node = [field(1, b"x"), field(2, b"y"), field(4, b"Identity")].concat();
    let graph = [field(1, &node), field(2, b"g"), field(11, &value(b"x")), field(12, &value(b"y"))].concat();
    [varint(1, 8), field(7, &graph), field(8, &varint(2, 13))].concat()
}

fn bundle(task: &str, decision: &str, width: u8) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let model = identity(width);
    fs::write(folder.path().join("model.onnx"), &model).unwrap();
    let sha256 = Sha256::digest(&model).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    let manifest = format!(
        "format = \"picket-bundle/1\"\nname = \"{task}\"\nversion = 1\ntask = \"{task}\"\n\
         [model]\nfile = \"model.onnx\"\nsha256 = \"{sha256}\"\n\
         [[input]]\nname = \"x\"\ndtype = \"FP32\"\nshape = [1, {width}]\n\
         [[output]]\nname = \"y\"\ndtype = \"FP32\"\nshape = [1, {width}]\n[decision]\n{decision}\n\
         [card]\nintended_use = \"a test\"\ntraining_data = \"none\"\ndata_licence = \"CC0\"\nattribution = \"nobody\"\n\
         known_limits = \"it learned nothing\"\nmeasured = \"nothing\"\nrisk_class = \"minimal\"\nresponsible = \"the test\"\n\
         [[golden]]\nfile = \"golden/0.npz\"\ntolerance = 0.0001\n"
    );
    fs::write(folder.path().join("bundle.toml"), manifest).unwrap();
    fs::create_dir(folder.path().join("golden")).unwrap();
    let golden = folder.path().join("golden/0.npz");
    let python = std::env::var("PICKET_TEST_PYTHON").expect("tests/run sets it");
    let script = format!(
        "import numpy, sys; v = numpy.full((1, {width}), 0.25, numpy.float32); numpy.savez(sys.argv[1], in0=v, out0=v)"
    );
    assert!(Command::new(python).args(["-c", &script]).arg(&golden).status().unwrap().success());
    folder
}

fn calibrate(bundle: &Path, table: &str, more: &[&str]) -> Result<Value, String> {
    let data = bundle.join("cases.csv");
    fs::write(&data, table).unwrap();
    let base = ["calibrate", bundle.to_str().unwrap(), data.to_str().unwrap(), "--json"];
    let output = picket(&[&base, more].concat());
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(serde_json::from_slice(&output.stdout).expect(&error)) } else { Err(error) }
}

fn infer(bundle: &Path, input: &[f32]) -> Value {
    let file = bundle.join("input.bin");
    fs::write(&file, input.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>()).unwrap();
    let output = picket(&["infer", bundle.to_str().unwrap(), file.to_str().unwrap(), "--json"]);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

/// A gauge that says how well it sees: where its sigma is small, it is right.
#[test]
fn a_number_with_a_small_sigma_is_certified_and_one_with_a_large_one_is_not() {
    let bundle = bundle("regress", "tolerance = 0.5\nunit = \"mm\"", 2);
    let seed = 11;
    println!("seed {seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    let mut table = "label,value,sigma\n".to_owned();
    for _ in 0..400 {
        let (truth, sigma): (f64, f64) = (dice.random_range(0.0..10.0), dice.random_range(0.01..1.0));
        let off = if sigma > 0.6 { 2.0 } else { 0.1 };
        let _ = writeln!(table, "{truth},{},{sigma}", truth + off);
    }
    let said = calibrate(bundle.path(), &table, &["--alpha", "0.05"]).unwrap();
    let share = said["promise"]["local_share"].as_f64().unwrap();
    assert!((0.55..0.75).contains(&share), "three fifths are sure: {said}");
    let sure = infer(bundle.path(), &[3.5, 0.1]);
    assert_eq!((&sure["certified"], &sure["reason"]), (&true.into(), &"LOCAL_CERTIFIED".into()), "{sure}");
    let answer = &sure["answer"];
    assert_eq!((&answer["value"], &answer["unit"]), (&3.5.into(), &"mm".into()), "{sure}");
    let doubtful = infer(bundle.path(), &[3.5, 0.9]);
    assert_eq!(doubtful["certified"], false, "{doubtful}");
}

/// Each side has a promise of its own, and what lies between the two is not certified.
#[test]
fn anomaly_scores_are_certified_on_either_side_and_not_between() {
    let bundle = bundle("anomaly", "threshold = 0.5", 1);
    let seed = 12;
    println!("seed {seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    let mut table = "label,score\n".to_owned();
    for number in 0..800 {
        let ill = number % 2 == 0;
        // Around the threshold one cannot tell.
        let score: f64 = if ill { dice.random_range(0.4..1.0) } else { dice.random_range(0.0..0.6) };
        let _ = writeln!(table, "{},{score}", if ill { "anomaly" } else { "normal" });
    }
    calibrate(bundle.path(), &table, &["--alpha", "0.1"]).unwrap();
    for (score, label, certified) in
        [(0.05, "normal", true), (0.45, "normal", false), (0.55, "anomaly", false), (0.95, "anomaly", true)]
    {
        let answer = infer(bundle.path(), &[score]);
        assert_eq!(answer["answer"]["label"], label, "{score}: {answer}");
        assert_eq!(answer["certified"], certified, "{score}: {answer}");
    }
}

#[test]
fn labels_that_do_not_fit_the_task_are_named_with_their_place() {
    let gauge = bundle("regress", "tolerance = 0.5", 2);
    let error = calibrate(gauge.path(), "label,value,sigma\nred,1.0,0.1\n", &[]).unwrap_err();
    assert!(error.contains("cases.csv:2") && error.contains("red"), "{error}");
    let guard = bundle("anomaly", "threshold = 0.5", 1);
    let error = calibrate(guard.path(), "label,score\nodd,1.0\n", &[]).unwrap_err();
    assert!(error.contains("cases.csv:2") && error.contains("odd"), "{error}");
}
