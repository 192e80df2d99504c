//! The Open Inference Protocol face, by a client that somebody else wrote.

use std::process::Command;

use picket_tests::{daemon::Daemon, free_port, get, root, until_ready};

fn start() -> (Daemon, u16) {
    let port = free_port();
    let daemon = Daemon::start(&format!(
        "[device]\nid = \"press-4\"\n[http]\nlisten = \"127.0.0.1:{port}\"\n\
         [[model]]\nname = \"digits\"\nbundle = \"{{models}}/digits\"\n"
    ));
    (daemon, port)
}

/// Asks all test digits by tritonclient, JSON and binary, and checks metadata, parameters and errors.
#[test]
fn tritonclient_gets_right_answers() {
    let (_daemon, port) = start();
    let python = std::env::var("PICKET_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let output = Command::new(python)
        .arg(root().join("tests/system/tritonclient_check.py"))
        .arg(format!("127.0.0.1:{port}"))
        .arg(root().join("models/digits/test.csv"))
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    assert!(out.contains("all right"), "{out}");
}

#[tokio::test]
async fn health_metadata_metrics_and_status_answer() {
    let (_daemon, port) = start();
    let url = |path: &str| format!("http://127.0.0.1:{port}{path}");
    until_ready(port).await;
    for path in
        ["/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/digits", "/v2/models/digits/ready", "/healthz"]
    {
        assert!(get(&url(path)).await.unwrap().status().is_success(), "{path}");
    }
    assert_eq!(get(&url("/v2/models/nothing")).await.unwrap().status(), 404);
    let metrics = get(&url("/metrics")).await.unwrap().text().await.unwrap();
    assert!(metrics.contains("picket_jobs_now{state=\"accepted\"} 0") && metrics.ends_with("# EOF\n"), "{metrics}");

    let output = picket_tests::daemon::picket(&["status", "--json", "--url", &url("")]);
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&status["device"], &status["ready"]), (&"press-4".into(), &true.into()));
    assert_eq!(status["models"][0]["proven"], true);
    // Plain http asks no system for certificates.
    let mut bare = std::process::Command::new(picket_tests::daemon::binary());
    bare.args(["status", "--json", "--url", &url("")])
        .env("SSL_CERT_FILE", "/nonexistent")
        .env("SSL_CERT_DIR", "/nonexistent");
    let output = bare.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
