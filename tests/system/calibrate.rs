//! `picket calibrate`, and what its file is worth.

use std::{fs, path::Path, process::Output};

use picket_tests::{daemon::picket, root};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::Value;

/// A copy of a bundle that may be written to, without a calibration.
pub fn bundle(name: &str) -> tempfile::TempDir {
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
        let (made, shipped) = (read(bundle.path()), read(&root().join("models").join(name)));
        assert!(is_same(&made, &shipped), "{name}:\n{made}\n{shipped}");
    }
}

/// Another processor has other kernels, whose last bits differ: scores, and what is reckoned from them, may be off by 1e-5.
fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) if a.is_f64() || b.is_f64() => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            (a - b).abs() <= 1e-5 * b.abs().max(1.0)
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| is_same(value, other)))
        }
        _ => a == b,
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

/// All digits that no model has seen, each made brighter or darker by chance: then the size of an output says nothing of
/// how sure it is, and how its classes stand to one another does.
fn of_any_brightness(file: &Path, spread: f32) {
    let seed = 7;
    println!("seed {seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    let mut text = String::new();
    for (at, split) in ["certify", "test"].into_iter().enumerate() {
        let rows = fs::read_to_string(root().join(format!("models/digits/{split}.csv"))).unwrap();
        let rows = rows.lines().filter(|line| !line.starts_with('#')).skip(at);
        for row in rows {
            let factor = if spread > 0.0 { dice.random_range(-spread..spread).exp() } else { 1.0 };
            let cells = row.split(',').enumerate().map(|(place, cell)| match cell.parse::<f32>() {
                Ok(pixel) if place > 0 => (pixel * factor).to_string(),
                _ => cell.to_owned(),
            });
            text.push_str(&cells.collect::<Vec<_>>().join(","));
            text.push('\n');
        }
    }
    fs::write(file, text).unwrap();
}

fn calibrate_with(bundle: &Path, data: &Path, more: &[&str]) -> Value {
    let base = ["calibrate", bundle.to_str().unwrap(), data.to_str().unwrap(), "--json"];
    let output = picket(&[&base, more].concat());
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn a_better_score_is_chosen_on_cases_that_certify_nothing() {
    let bundle = bundle("digits");
    let data = bundle.path().join("any-brightness.csv");
    of_any_brightness(&data, 1.5);
    let said = calibrate_with(bundle.path(), &data, &["--alpha", "0.1"]);
    assert_eq!((&said["given"], &said["choosing"], &said["n"]), (&597.into(), &199.into(), &398.into()), "{said}");
    assert_eq!(said["score"]["kind"], "logistic4", "{said}");
    let of = |key: &str| said["score"][key].as_f64().unwrap();
    assert!(of("augrc_logistic") < of("augrc_softmax") - of("standard_error"), "{said}");
    // The daemon's own way gives the same score that was certified.
    let answer = infer(bundle.path());
    assert_eq!((&answer["certified"], &answer["evidence"]["n"]), (&true.into(), &398.into()), "{answer}");
    assert_ne!(answer["evidence"]["s"], answer["answer"]["confidence"], "{answer}");
    let plain = calibrate_with(bundle.path(), &data, &["--alpha", "0.1", "--score", "softmax"]);
    assert_eq!((&plain["n"], &plain["choosing"], &plain["score"]["kind"]), (&597.into(), &0.into(), &"softmax".into()));
    assert_eq!(plain["promise"]["round"], 2, "another score is another look at the cases");
}

#[test]
fn the_plain_score_stays_where_nothing_is_better_and_where_cases_are_few() {
    let bundle = bundle("digits");
    let data = bundle.path().join("as-they-are.csv");
    of_any_brightness(&data, 0.0);
    let said = calibrate_with(bundle.path(), &data, &["--alpha", "0.1"]);
    assert_eq!((&said["choosing"], &said["score"]["kind"]), (&199.into(), &"softmax".into()), "{said}");
    let said = calibrate_with(bundle.path(), &data, &["--alpha", "0.02"]);
    assert_eq!((&said["n"], &said["choosing"], &said["score"]["kind"]), (&597.into(), &0.into(), &"softmax".into()));
    // 845 cases allow ten wrong ones at 2 %, and they are to be two thirds.
    let needed = said["score"]["chosen_from"].as_u64().unwrap();
    assert!((1_200..1_400).contains(&needed), "{said}");
}
