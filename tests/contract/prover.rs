//! A child that proves a model may end in any way: its parent has a code for each.

use std::{os::unix::fs::PermissionsExt, path::Path, time::Duration};

use picket::{bundle::Bundle, inference::prover::Prover};
use picket_core::job::Failure;
use picket_tests::root;

/// What a bundle gets from a child that is this script.
fn proven_by(folder: &Path, script: &str) -> Failure {
    let program = folder.join("child");
    std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut bundle = Bundle::read(&root().join("models/digits")).unwrap();
    let prover = Prover::new(program).within(Duration::from_secs(2));
    prover.prove(&mut bundle).expect_err("no script proves a model")
}

#[test]
fn every_end_of_a_child_is_a_refusal() {
    let folder = tempfile::tempdir().unwrap();
    let end = |script: &str| {
        let failure = proven_by(folder.path(), script);
        assert_eq!(failure.code, "model/broken", "{script}");
        failure.message.replace("bundle \"digits\": proving it ", "")
    };
    assert_eq!(end("kill -SEGV $$"), "was killed by SIGSEGV");
    assert_eq!(end("cat >/dev/null; kill -ABRT $$"), "was killed by SIGABRT");
    assert_eq!(
        end("echo 'memory allocation of 99 bytes failed' >&2; kill -ABRT $$").split(" its ").next(),
        Some("ran out of")
    );
    assert_eq!(end("cat >/dev/null; exit 0"), "ended without a word (exit code 0)");
    assert_eq!(end("echo 'nonsense'; exit 3"), "ended without a word (exit code 3)");
    assert_eq!(
        end("cat >/dev/null; echo '{\"Proven\":{\"load_us\":1,\"infer_us\":null,\"peak_kib\":1,\"held\":[]}}'; exit 1"),
        "ended without a word (exit code 1)"
    );
    assert_eq!(end("exec sleep 600"), "took longer than 2 s");
    assert_eq!(end("cat >/dev/null; exec sleep 600"), "took longer than 2 s");
    assert!(end("yes").starts_with("was killed by"), "what says too much is not heard to its end");
}

#[test]
fn what_a_child_refuses_is_refused_in_its_words() {
    let folder = tempfile::tempdir().unwrap();
    let verdict = r#"{"Refused":{"code":"model/unproven","message":"m","want":"a","got":"b"}}"#;
    let failure = proven_by(folder.path(), &format!("cat >/dev/null; echo '{verdict}'"));
    assert_eq!(failure, Failure::new("model/unproven", "m").expected("a", "b"));
}

#[test]
fn without_a_program_nothing_is_ready() {
    let mut bundle = Bundle::read(&root().join("models/digits")).unwrap();
    let failure = Prover::new("/no/such/program".into()).prove(&mut bundle).unwrap_err();
    assert_eq!(failure.code, "model/not-ready");
}
