//! Subcommands that need no daemon, and models that are not served.

use picket_tests::{bundles, client::Job, daemon::picket, golden, root, shared};
use serde_json::Value;

use crate::support::start;

fn bundle(name: &str) -> String {
    root().join("models").join(name).to_str().unwrap().to_owned()
}

#[test]
fn infer_answers_on_the_spot() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("seven.json");
    let (label, pixels) = crate::support::digits().into_iter().next().unwrap();
    std::fs::write(&file, crate::support::request("x", &pixels).to_string()).unwrap();
    let output = picket(&["infer", &bundle("digits"), file.to_str().unwrap(), "--json"]);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["answer"]["label"], label.to_string());

    let raw = folder.path().join("short.bin");
    std::fs::write(&raw, [0u8; 252]).unwrap();
    let output = picket(&["infer", &bundle("digits"), raw.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("error[input/shape-mismatch]"));
}

#[test]
fn bench_measures_every_shipped_bundle() {
    for name in ["digits", "digits-large", "hydraulic-pump"] {
        let output = picket(&["bench", &bundle(name), "--seconds", "0.05", "--json"]);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        assert_eq!((&report["model"], &report["proven"]), (&name.into(), &true.into()));
        assert!(report["p50_ms"].as_f64().unwrap() > 0.0 && report["rss_kib"].as_u64().unwrap() > 0);
    }
}

#[tokio::test]
async fn a_model_that_is_not_proven_is_not_served() {
    let Some(shared) = shared("golden").and(shared("")) else { return };
    let entries = golden::entries(&shared);
    let entry = entries.iter().find(|entry| entry.model.ends_with("mlperf-tiny/kws_int8.onnx")).unwrap();
    let model = std::fs::read(shared.join(&entry.model)).unwrap();
    let mut outputs = entry.outputs(&shared);
    outputs[0].name = "Identity".to_owned();
    let folder = tempfile::tempdir().unwrap();
    let right = bundles::write(folder.path(), "right", &model, &entry.tensors(), &outputs, 0.0);
    let flipped: Vec<u8> = outputs[0].data().iter().map(|byte| byte ^ 0x40).collect();
    let tampered =
        picket::tensor::Tensor::new("Identity", outputs[0].dtype(), outputs[0].shape().to_vec(), flipped).unwrap();
    let wrong = bundles::write(folder.path(), "wrong", &model, &entry.tensors(), &[tampered], 0.0);

    let more = format!(
        "[[model]]\nname = \"right\"\nbundle = \"{}\"\n[[model]]\nname = \"wrong\"\nbundle = \"{}\"\n",
        right.display(),
        wrong.display()
    );
    let (_broker, daemon, mut client) = start(&more, &[]).await;
    let input = entry.tensors()[0].data().clone();
    let job = |id: &str| Job { payload: input.clone(), ..Job::raw(&[]) }.with("id", id).with("outputs", "true");
    let refused = client.ask("picket/v1/press-4/job/wrong", &job("w")).await;
    assert_eq!(refused["error"]["code"], "model/unproven");
    assert!(daemon.log().contains("model/unproven"));

    // Right or refused, never served wrong.
    let answer = client.ask("picket/v1/press-4/job/right", &job("r")).await;
    if answer["error"].is_null() {
        let got: Vec<i64> =
            answer["outputs"][0]["data"].as_array().unwrap().iter().map(|v| v.as_i64().unwrap()).collect();
        let want: Vec<i64> = outputs[0].data().iter().map(|byte| i64::from(*byte as i8)).collect();
        assert_eq!(got, want);
    } else {
        assert_eq!(answer["error"]["code"], "model/unproven");
    }
}
