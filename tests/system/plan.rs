//! `picket plan`: what promises would cost, from labelled cases or from a calibration file.

use std::{fs, path::Path, process::Output};

use picket_tests::{daemon::picket, root};
use serde_json::Value;

use crate::calibrate::bundle;

fn plan(bundle: &Path, more: &[&str]) -> Output {
    picket(&[&["plan", bundle.to_str().unwrap()], more].concat())
}

fn document(bundle: &Path, more: &[&str]) -> Value {
    let output = plan(bundle, &[more, &["--json"]].concat());
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

fn data() -> String {
    root().join("models/digits/certify.csv").to_str().unwrap().to_owned()
}

#[test]
fn every_promise_has_its_share_its_calls_and_its_money() {
    let bundle = root().join("models/digits");
    let (data, more) = (data(), ["--requests-per-day", "1000", "--cost-per-call", "0.01", "--audit-rate", "0.1"]);
    let said = document(&bundle, &[&[data.as_str(), "--alpha", "0.001,0.02", "--alpha", "0.1"], &more[..]].concat());
    let rows = said["rows"].as_array().unwrap();
    assert_eq!(rows.iter().map(|row| row["alpha"].as_f64().unwrap()).collect::<Vec<_>>(), [0.001, 0.02, 0.1]);
    // Another promise than the one in force is a second look: δ · 6 / (π² · 4) = 0.0076, and ln 0.0076 / ln 0.999 = 4878.
    assert_eq!((&rows[0]["cases"], &rows[0]["cases_missing"]), (&297.into(), &4581.into()), "{said}");
    // The one in force is as the shipped file has it.
    let file: Value = serde_json::from_slice(&fs::read(bundle.join("calibration.json")).unwrap()).unwrap();
    assert_eq!(rows[1]["local_share"], file["promise"]["local_share"], "{said}");
    for row in &rows[1..] {
        let share = row["local_share"].as_f64().unwrap();
        let calls = 1000.0 * (1.0 - share + 0.1 * share);
        assert!((row["calls_per_day"].as_f64().unwrap() - calls).abs() < 1e-6, "{row}");
        assert!((row["money_per_day"].as_f64().unwrap() - calls.ceil() * 0.01).abs() < 1e-6, "{row}");
    }
    // 17 of the 297 are wrong locally; one of them stays local at 2 %.
    let (alone, whole) = (said["always_local"]["accuracy"].as_f64().unwrap(), rows[1]["accuracy"].as_f64().unwrap());
    assert!((alone - 280.0 / 297.0).abs() < 1e-9, "{said}");
    let share = rows[1]["local_share"].as_f64().unwrap();
    assert!((whole - (share - 1.0 / 297.0 + 0.95 * (1.0 - share))).abs() < 1e-9, "{said}");
    assert_eq!(said["always_provider"]["money_per_day"], 10.0, "{said}");
}

#[test]
fn a_calibration_file_is_enough_for_what_it_lists() {
    let bundle = root().join("models/digits");
    let said = document(&bundle, &["--alpha", "0.001,0.03,0.05"]);
    let rows = said["rows"].as_array().unwrap();
    // ln 0.0304 / ln 0.999 = 3492 cases, and there are 297.
    assert_eq!(rows[0]["cases_missing"], 3195, "{said}");
    assert_eq!(rows[1]["missing"], "data", "{said}");
    assert!(rows[2]["local_share"].as_f64().unwrap() > 0.9 && rows[2]["accuracy"].is_null(), "{said}");
    assert!(rows[2]["money_per_day"].is_null(), "nobody says what a call costs: {said}");
    let text = String::from_utf8(plan(&bundle, &[]).stdout).unwrap();
    for part in ["→ at most 2 % wrong", "3195 more needed", "always local", "always the provider", "10,000"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn cost_accuracy_and_lottery_come_from_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let (config, picture) = (folder.path().join("picket.toml"), folder.path().join("plan.svg"));
    let models = root().join("models/digits");
    fs::write(
        &config,
        format!(
            "[device]\nid = \"press-4\"\n[store]\npath = \"store\"\n[http]\nlisten = \"127.0.0.1:0\"\n[[model]]\n\
             name = \"digits\"\nbundle = \"{}\"\n[escalation]\nproviders = [\"hq\"]\naudit_rate = 0.25\n[[provider]]\n\
             name = \"hq\"\nkind = \"oip\"\nurl = \"http://127.0.0.1:1\"\nmodel = \"x\"\naccuracy = 0.5\n\
             cost = {{ call = 0.5 }}\n",
            models.display()
        ),
    )
    .unwrap();
    let paths = (config.to_str().unwrap(), picture.to_str().unwrap());
    let said = document(&models, &["--config", paths.0, "--svg", paths.1]);
    assert_eq!((&said["provider"], &said["provider_accuracy"]), (&"hq".into(), &0.5.into()), "{said}");
    assert_eq!((&said["cost_per_call"], &said["audit_rate"]), (&0.5.into(), &0.25.into()), "{said}");
    assert_eq!(said["always_provider"]["money_per_day"], 5000.0, "{said}");
    let svg = fs::read_to_string(&picture).unwrap();
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{svg}");
    assert_eq!(svg.matches("<circle").count(), 3, "2, 5 and 10 %: {svg}");
    // What is said on the line counts more.
    let said = document(&models, &["--config", paths.0, "--cost-per-call", "2", "--audit-rate", "0"]);
    assert_eq!((&said["cost_per_call"], &said["audit_rate"]), (&2.0.into(), &0.0.into()), "{said}");

    let lonely = fs::read_to_string(&config).unwrap().replace("[\"hq\"]", "[]");
    fs::write(&config, lonely).unwrap();
    refused(&models, &["--config", paths.0], "error[plan/no-provider]", Some(1));
}

#[test]
fn what_cannot_be_planned_says_why() {
    let bare = bundle("digits");
    refused(bare.path(), &[], "error[plan/no-calibration]", Some(1));
    fs::copy(root().join("models/digits-large/calibration.json"), bare.path().join("calibration.json")).unwrap();
    refused(bare.path(), &[], "error[plan/model-mismatch]", Some(1));
    refused(bare.path(), &["/nowhere/cases.csv"], "error[calibration/bad-data]", Some(1));
    let digits = root().join("models/digits");
    for (more, part) in [
        (["--cost-per-call", "-1"], "--cost-per-call"),
        (["--requests-per-day", "0"], "above 0"),
        (["--alpha", "2"], "between 0 and 1"),
        (["--provider-accuracy", "95"], "a share, 0 to 1"),
        (["--delta", "0.1"], "DATA"),
    ] {
        refused(&digits, &more, part, Some(2));
    }
}

fn refused(bundle: &Path, more: &[&str], part: &str, code: Option<i32>) {
    let output = plan(bundle, more);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), code, "{more:?}: {said}");
    assert!(said.contains(part), "{more:?}: {said}");
}
