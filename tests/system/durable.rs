//! What survives the process, and what a process survives.

use std::time::{Duration, Instant};

use picket_tests::{
    broker::Mosquitto,
    client::{Client, Job},
    daemon::{Daemon, picket},
    free_port, until_ready,
};
use serde_json::Value;

use crate::support::{DIGITS, config, digits};

const STATE: &str = "picket/v1/press-4/state";
const POISON: (&str, &str) = ("PICKET_FAILPOINT", "poison=on");

fn http(port: u16) -> String {
    format!("[http]\nlisten = \"127.0.0.1:{port}\"\n")
}

async fn start(more: &str, environment: &[(&'static str, &str)]) -> (Mosquitto, Daemon, Client) {
    let broker = Mosquitto::start();
    let daemon = Daemon::start_with(&config(broker.port, more), environment);
    let mut client = Client::connect(broker.port, &[STATE, "picket/v1/press-4/dead"]).await;
    client.wait_online("press-4").await;
    (broker, daemon, client)
}

fn job(id: &str) -> Job {
    Job::raw(&digits()[0].1).with("id", id)
}

#[tokio::test]
async fn a_second_daemon_on_the_same_store_goes_away() {
    let broker = Mosquitto::start();
    let daemon = Daemon::start(&config(broker.port, ""));
    let mut client = Client::connect(broker.port, &[STATE]).await;
    client.wait_online("press-4").await;
    let config = daemon.folder.path().join("picket.toml");
    let second = picket(&["run", "--config", config.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(75), "{said}");
    assert!(said.contains("error[store/locked]"), "{said}");
}

#[tokio::test]
async fn a_finished_result_is_repeated_by_the_next_process_and_the_job_not_run_again() {
    let (_broker, mut daemon, mut client) = start("", &[]).await;
    let first = {
        client.send(DIGITS, &job("once")).await;
        client.answer().await.payload
    };
    daemon.kill();
    // Would it be run again, it would hang.
    daemon.run_again(&[("PICKET_FAILPOINT", "poison=on")]);
    client.send(DIGITS, &job("once")).await;
    assert_eq!(client.answer().await.payload, first, "the stored bytes, always");
}

#[tokio::test]
async fn a_job_that_somebody_else_sends_as_well_is_run_once_and_answered_to_both() {
    let (broker, _daemon, mut first) = start("", &[]).await;
    let mut second = Client::connect(broker.port, &[]).await;
    for client in [&first, &second] {
        client.send(DIGITS, &job("shared")).await;
    }
    let answers = [first.answer().await.payload, second.answer().await.payload];
    assert_eq!(answers[0], answers[1], "one result, to whoever asks");
}

#[tokio::test]
async fn an_inference_that_never_ends_takes_nobody_along() {
    let port = free_port();
    let more = format!("deadline_ms = 200\n{}", http(port));
    let (_broker, daemon, mut client) = start(&more, &[POISON]).await;
    client.send(DIGITS, &job("poison-hang-1").with("deadline-ms", "60000")).await;
    let answer = client.answer().await.json();
    assert_eq!(answer["error"]["code"], "model/stuck", "{answer}");
    let answer = client.ask(DIGITS, &job("innocent").with("deadline-ms", "20000")).await;
    assert_eq!(answer["answer"]["label"], digits()[0].0.to_string(), "{answer}");
    assert!(daemon.log().contains("model/stuck"));
}

#[tokio::test]
async fn dead_letters_are_listed_shown_retried_and_dropped() {
    let port = free_port();
    let more = format!("deadline_ms = 200\n{}", http(port));
    let (_broker, mut daemon, mut client) = start(&more, &[POISON]).await;
    until_ready(port).await;
    client.send(DIGITS, &job("poison-hang-1").with("deadline-ms", "60000")).await;
    assert_eq!(client.answer().await.json()["error"]["code"], "model/stuck");

    let url = format!("http://127.0.0.1:{port}");
    let dead = |arguments: &[&str]| {
        let mut all = vec!["dead", "--json", "--url", &url];
        all.extend(arguments);
        let output = picket(&all);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), serde_json::from_slice::<Value>(&output.stdout).unwrap_or_default(), said)
    };
    let list = dead(&["list"]).1;
    assert_eq!(
        (list[0]["id"].as_str(), list[0]["code"].as_str()),
        (Some("poison-hang-1"), Some("model/stuck")),
        "{list}"
    );
    assert_eq!(list[0]["attempts"], 1);
    let number = list[0]["number"].to_string();
    assert_eq!(dead(&["show", &number]).1["model"], "digits");
    let (good, _, said) = dead(&["retry", "12345"]);
    assert!(!good && said.contains("error[http/not-found]"), "{said}");

    // The letter outlives the process, and the next one is not poisoned.
    daemon.kill();
    daemon.run_again(&[]);
    until_ready(port).await;
    assert!(dead(&["retry", &number]).0);
    let answer = client.answer().await.json();
    assert_eq!(answer["answer"]["label"], digits()[0].0.to_string(), "{answer}");
    assert_eq!(dead(&["list"]).1.as_array().unwrap().len(), 0, "an accepted retry takes its letter away");
    assert!(!dead(&["drop", &number]).0);
}

#[tokio::test]
async fn a_second_sigterm_ends_at_once_and_loses_nothing() {
    let port = free_port();
    let more = format!("deadline_ms = 60000\n{}", http(port));
    let (_broker, mut daemon, mut client) = start(&more, &[POISON]).await;
    // Keeps the only inference thread, so that the stop has to wait for it.
    client.send(DIGITS, &job("poison-hang-1")).await;
    client.send(DIGITS, &job("waiting")).await;
    picket_tests::until("both are accepted", || async {
        let status = picket(&["status", "--json", "--url", &format!("http://127.0.0.1:{port}")]);
        let status: Value = serde_json::from_slice(&status.stdout).unwrap_or_default();
        status["jobs"]["accepted"] == 2
    })
    .await;
    daemon.terminate();
    picket_tests::until("it stops", || async { daemon.log().contains("stopping") }).await;
    let begin = Instant::now();
    daemon.terminate();
    assert!(daemon.wait(Duration::from_secs(5)).success());
    assert!(begin.elapsed() < Duration::from_secs(5), "it waited for its work all the same");
    daemon.run_again(&[]);
    let mut answered = Vec::new();
    while answered.len() < 2 {
        let answer = client.answer().await.json();
        assert!(answer["error"].is_null(), "{answer}");
        answered.push(answer["id"].as_str().unwrap().to_owned());
    }
    answered.sort();
    assert_eq!(answered, ["poison-hang-1", "waiting"]);
}
