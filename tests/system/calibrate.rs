//! `picket calibrate`, and what its file is worth.

use std::{fs, path::Path, process::Output};

use picket_tests::{daemon::picket, root};
use serde_json::Value;

/// A copy of a bundle that may be written to, without a calibration.
fn bundle(name: &str) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    let from = root().join("models").join(name);
    fs::create_dir(copy.path().join("golden")).unwrap();
    for file in ["bundle.toml", "model.onnx"] {
        fs::copy(from.join(file), copy.path().join(file)).unwrap();
    }
    for entry in fs::read_dir(from.join("golden")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join("golden").join(entry.file_name())).unwrap();
    }
    copy
}

fn calibrate(bundle: &Path, more: &[&str]) -> Output {
    let data = root().join("models/digits/certify.csv");
    let base = ["calibrate", bundle.to_str().unwrap(), data.to_str().unwrap(), "--json"];
    picket(&[&base, more].concat())
}

/// The answer to a digit that the model is sure of.
fn infer(bundle: &Path) -> Value {
    let input = root().join("models/digits/certify.csv");
    let row = fs::read_to_string(input).unwrap().lines().nth(5).unwrap().to_owned();
    let pixels: Vec<u8> =
        row.split(',').skip(1).flat_map(|pixel| pixel.parse::<f32>().unwrap().to_le_bytes()).collect();
    let file = bundle.join("digit.bin");
    fs::write(&file, pixels).unwrap();
    let output = picket(&["infer", bundle.to_str().unwrap(), file.to_str().unwrap(), "--json"]);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn what_was_calibrated_is_certified() {
    let bundle = bundle("digits");
    assert_eq!(infer(bundle.path())["reason"], "LOCAL_UNCERTIFIED_NO_CALIBRATION");
    let output = calibrate(bundle.path(), &["--alpha", "0.02"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&said["n"], &said["promise"]["round"]), (&297.into(), &1.into()));
    let answer = infer(bundle.path());
    assert_eq!((&answer["certified"], &answer["reason"]), (&true.into(), &"LOCAL_CERTIFIED".into()), "{answer}");
    assert_eq!((&answer["evidence"]["alpha"], &answer["evidence"]["n"]), (&0.02.into(), &297.into()), "{answer}");
    // The same question again is no second look; another promise is.
    for (alpha, round) in [("0.02", 1), ("0.05", 2)] {
        let said: Value = serde_json::from_slice(&calibrate(bundle.path(), &["--alpha", alpha]).stdout).unwrap();
        assert_eq!(said["promise"]["round"], round, "alpha {alpha}");
    }
}

#[test]
fn the_shipped_calibrations_are_what_calibrate_makes() {
    for name in ["digits", "digits-large"] {
        let bundle = bundle(name);
        assert!(calibrate(bundle.path(), &["--alpha", "0.02"]).status.success());
        let read = |folder: &Path| -> Value {
            let text = fs::read(folder.join("calibration.json")).unwrap();
            let mut file: Value = serde_json::from_slice(&text).unwrap();
            file["created"] = Value::Null;
            file
        };
        assert_eq!(read(bundle.path()), read(&root().join("models").join(name)), "{name}");
    }
}

#[test]
fn too_few_cases_say_how_many_more() {
    let bundle = bundle("digits");
    let output = calibrate(bundle.path(), &["--alpha", "0.001"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // ln 0.0304 / ln 0.999 = 3492 cases, and there are 297.
    assert!(!output.status.success() && said.starts_with("error[calibration/too-few]"), "{said}");
    assert!(said.contains("3195 more needed"), "{said}");
    assert!(!bundle.path().join("calibration.json").exists());
}

#[test]
fn a_foreign_calibration_certifies_nothing_and_a_broken_one_is_refused() {
    let bundle = bundle("digits");
    let file = bundle.path().join("calibration.json");
    fs::copy(root().join("models/digits-large/calibration.json"), &file).unwrap();
    let answer = infer(bundle.path());
    let (certified, reason) = (&answer["certified"], &answer["reason"]);
    assert_eq!((certified, reason), (&false.into(), &"LOCAL_UNCERTIFIED_MODEL_MISMATCH".into()), "{answer}");
    fs::write(&file, "{}").unwrap();
    let output = picket(&["bench", bundle.path().to_str().unwrap(), "--seconds", "0.1"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.starts_with("error[bundle/bad-calibration]"), "{said}");
}
