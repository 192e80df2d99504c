//! What a child that proves a model cannot do, tried by a program that confines itself as it does.

use std::{net::TcpListener, process::Command};

use picket_tests::daemon::beside;

/// Asks the kernel for the version of its Landlock: `landlock_create_ruleset(2)` is call 444 everywhere.
fn kernel_has_landlock() -> bool {
    let script = "import ctypes; print(ctypes.CDLL(None).syscall(444, None, 0, 1))";
    let output = Command::new("python3").args(["-c", script]).output();
    output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).trim().parse::<i64>().is_ok_and(|abi| abi > 0))
}

#[test]
fn a_confined_process_reaches_nothing() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let script = "exec 7</etc/hostname; exec \"$0\" \"$@\"";
    let probe = beside("picket-sandbox-probe");
    // A pipe, not a file: the probe may not write to files.
    let output = Command::new("sh").args(["-c", script]).arg(probe).arg(&port).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let held = said.lines().find_map(|line| line.strip_prefix("held ")).unwrap_or_else(|| panic!("{said}"));
    let says = |what: &str| said.lines().any(|line| line == what);
    assert!(held.contains("limits") && held.contains("parent"), "{said}");
    assert!(says("too-much-memory fails") && says("some-memory works"), "{said}");
    assert!(says("know-the-processor works"), "kernels are chosen by it: {said}");
    if held.contains("files") {
        assert!(says("inherited-file fails"), "{said}");
    }
    if held.contains("network-namespace") {
        assert!(says("connect fails"), "{said}");
    }
    if !held.contains("landlock") {
        assert!(!kernel_has_landlock(), "this kernel has Landlock, and it was not used: {said}");
        eprintln!("skipped: this kernel has no Landlock");
        return;
    }
    for what in ["read-a-file", "list-a-folder", "write-a-file", "run-a-program"] {
        assert!(says(&format!("{what} fails")), "{what}: {said}");
    }
}
