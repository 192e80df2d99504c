//! `picket model`: from somebody's ONNX file to a bundle that answers, and everything that is in the way.

use std::{fs, path::Path, process::Output};

use picket_tests::{bundles, daemon::picket, hostile, onnx, root};
use serde_json::Value;

fn model(arguments: &[&str]) -> Output {
    picket(&[&["model"], arguments].concat())
}

fn lines(output: &Output, folder: &Path) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stdout).replace(folder.to_str().unwrap(), "HERE");
    text.lines().map(str::to_owned).collect()
}

fn digits_file(file: &str) -> String {
    root().join("models/digits").join(file).to_str().unwrap().to_owned()
}

#[test]
fn from_a_file_to_a_bundle_that_answers() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("mine");
    let out = bundle.to_str().unwrap();
    let made = model(&["init", &digits_file("model.onnx"), "--out", out]);
    assert!(made.status.success(), "{made:?}");

    let open = model(&["check", out]);
    assert_eq!(open.status.code(), Some(1));
    let found = lines(&open, folder.path());
    assert!(found[0].starts_with("error[bundle/no-card]: HERE/mine/bundle.toml:"), "{found:#?}");
    assert!(found[0].ends_with("[card] is not filled in: intended_use, training_data, data_licence, known_limits, measured, risk_class, responsible"));
    assert!(found[1].starts_with("error[bundle/unreadable]: HERE/mine/golden/0.npz"), "{found:#?}");
    assert_eq!(found.len(), 2, "nothing else is open: {found:#?}");
    assert!(picket(&["infer", out, &digits_file("test.csv")]).status.code() == Some(1), "and it is not served");

    // What a person does, and what golden.py does: this vector is ONNX Runtime's.
    let manifest = fs::read_to_string(bundle.join("bundle.toml")).unwrap();
    fs::write(bundle.join("bundle.toml"), manifest.replace("FILL IN: ", "")).unwrap();
    fs::copy(digits_file("golden/0.npz"), bundle.join("golden/0.npz")).unwrap();
    let checked = model(&["check", out, "--json"]);
    assert!(checked.status.success(), "{checked:?}");
    let report: Value = serde_json::from_slice(&checked.stdout).unwrap();
    let found = &report["model"];
    assert_eq!((&report["ok"], &found["task"], &found["proven"]), (&true.into(), &"classify".into(), &true.into()));
    assert_eq!((&found["inputs"][0], &found["outputs"][0]), (&"pixels 1x64 FP32".into(), &"logits 1x10 FP32".into()));
    assert_eq!(found["card"]["responsible"], "who answers for it");
    assert!(found["infer_ms"].as_f64().unwrap() > 0.0 && found["peak_kib"].as_u64().unwrap() > 1_000, "{found}");

    let input = folder.path().join("zeros.bin");
    fs::write(&input, [0; 256]).unwrap();
    let answered = picket(&["infer", out, input.to_str().unwrap(), "--json"]);
    let answer: Value = serde_json::from_slice(&answered.stdout).unwrap_or_else(|_| panic!("{answered:?}"));
    assert!(answer["proven"] == true && answer["answer"]["index"].is_u64(), "{answer}");

    let again = model(&["init", &digits_file("model.onnx"), "--out", out]);
    assert!(String::from_utf8_lossy(&again.stderr).starts_with("error[bundle/exists]"), "{again:?}");
}

#[test]
fn a_model_may_stay_where_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (file, bundle) = (folder.path().join("plus one.onnx"), folder.path().join("b"));
    fs::write(&file, onnx::good()).unwrap();
    let made =
        model(&["init", file.to_str().unwrap(), "--in-place", "--task", "regress", "--out", bundle.to_str().unwrap()]);
    assert!(made.status.success(), "{made:?}");
    let manifest = fs::read_to_string(bundle.join("bundle.toml")).unwrap();
    let path = file.canonicalize().unwrap();
    assert!(manifest.contains(&format!("path = \"{}\"", path.display())) && !bundle.join("model.onnx").exists());
    assert!(manifest.contains("name = \"plus-one\""), "{manifest}");
    let found = lines(&model(&["check", bundle.to_str().unwrap()]), folder.path());
    assert!(found.iter().any(|line| line.ends_with("`tolerance` must be finite, and more than 0")), "{found:#?}");
}

#[test]
fn everything_that_is_wrong_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = fs::read_to_string(digits_file("bundle.toml")).unwrap();
    let card = &manifest[manifest.find("[card]").unwrap()..manifest.find("[[golden]]").unwrap()];
    let manifest =
        manifest.replace(card, "").replace("\"8\", \"9\"]", "\"8\"]").replace("sha256 = \"07", "sha256 = \"17");
    let manifest = manifest.replace("golden/3", "golden/33").replace("name = \"digits\"", "name = \"my digits\"");
    let wrong = folder.path().join("wrong");
    fs::create_dir_all(wrong.join("golden")).unwrap();
    fs::write(wrong.join("bundle.toml"), manifest).unwrap();
    for file in ["model.onnx", "golden/0.npz", "golden/1.npz", "golden/2.npz", "golden/4.npz"] {
        fs::copy(digits_file(file), wrong.join(file)).unwrap();
    }
    let checked = model(&["check", wrong.to_str().unwrap()]);
    assert_eq!(checked.status.code(), Some(1));
    let starts = [
        "error[bundle/invalid]: HERE/wrong/bundle.toml:3:8: `my digits` is no name",
        "error[bundle/no-card]: HERE/wrong/bundle.toml: there is no [card]",
        "error[bundle/invalid]: HERE/wrong/bundle.toml:6:10: 9 labels, but output `logits` is 1x10 FP32",
        "error[model/hash-mismatch]: HERE/wrong/model.onnx is not the file",
        "error[bundle/unreadable]: HERE/wrong/golden/33.npz",
    ];
    let found = lines(&checked, folder.path());
    assert_eq!(found.len(), starts.len(), "{found:#?}");
    for (line, start) in found.iter().zip(starts) {
        assert!(line.starts_with(start), "{line}\nis not\n{start}");
    }
    assert!(String::from_utf8_lossy(&checked.stderr).contains("5 things are in the way"));
}

#[test]
fn what_only_the_model_itself_can_show_is_said_too() {
    let folder = tempfile::tempdir().unwrap();
    let floats = |name: &str, values: &[f32]| picket::tensor::Tensor::from_f32(name, vec![2], values).unwrap();
    let (x, right, wrong) = (floats("x", &[1.0, 2.0]), floats("y", &[2.0, 3.0]), floats("y", &[2.0, 4.0]));
    let write = |name: &str, model: &[u8], output| {
        bundles::write(folder.path(), name, model, std::slice::from_ref(&x), &[output], 1e-4)
    };
    let code = |path: &Path| {
        let output = model(&["check", path.to_str().unwrap(), "--json"]);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        assert_eq!(output.status.success(), report["ok"].as_bool().unwrap());
        report["faults"][0]["code"].as_str().map(str::to_owned)
    };
    assert_eq!(code(&write("right", &onnx::good(), right.clone())), None);
    assert_eq!(code(&write("wrong", &onnx::good(), wrong)).as_deref(), Some("model/unproven"));
    let deadly = hostile::all().into_iter().find(|file| file.name == "double-40-times").unwrap();
    assert_eq!(code(&write("deadly", &deadly.bytes, right)).as_deref(), Some("model/unproven"));
}
