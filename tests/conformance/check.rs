//! No operator is answered wrong: all of ONNX's own operator cases, in the profile of the tests.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test panics where it is broken")]

use std::{collections::BTreeMap, process::Command};

use picket_tests::{root, shared};
use serde::Deserialize;

#[derive(Deserialize)]
struct Report {
    totals: BTreeMap<String, Count>,
    cases: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Count {
    pass: usize,
    wrong: usize,
    crash: usize,
}

#[test]
fn no_operator_is_answered_wrong_and_none_is_lost() {
    let Some(archive) = shared("data/onnx-1.20.0-backend-test-data.tar.gz") else { return };
    let done = Command::new(env!("CARGO_BIN_EXE_picket-conformance")).arg(archive).arg("--json").output().unwrap();
    let report: Report = serde_json::from_slice(&done.stdout).unwrap();
    let faults: Vec<&serde_json::Value> =
        report.cases.iter().filter(|case| case["verdict"] == "wrong" || case["verdict"] == "crash").collect();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), serde_json::to_string_pretty(&faults).unwrap());
    for (variant, count) in &report.totals {
        assert_eq!((count.wrong, count.crash), (0, 0));
        let committed = committed(variant);
        // Where integers wrap, which ONNX wants and release builds do, a debug build panics, and refuses.
        let wraps = |case: &&serde_json::Value| case["why"].as_str().is_some_and(|why| why.contains("with overflow"));
        let wrapped = report.cases.iter().filter(|case| case["variant"] == **variant).filter(wraps).count();
        let pass = count.pass + if cfg!(debug_assertions) { wrapped } else { 0 };
        assert!(pass >= committed, "{variant}: {pass} pass, {committed} by RESULTS.md");
    }
}

/// What RESULTS.md says passes: `| given | 1000 | …`.
fn committed(variant: &str) -> usize {
    let text = std::fs::read_to_string(root().join("tests/conformance/RESULTS.md")).unwrap();
    let row = text.lines().find(|line| line.starts_with(&format!("| {variant} |"))).expect("a row of totals");
    row.split('|').nth(2).unwrap().trim().parse().unwrap()
}
