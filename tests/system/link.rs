//! Brokers that are away, and daemons that come and go.

use std::time::Duration;

use picket_tests::{
    broker::Mosquitto,
    client::{Client, Job},
    daemon::Daemon,
    free_port,
};

use crate::support::{DIGITS, config, digits, start};

const STATE: &str = "picket/v1/press-4/state";

#[tokio::test]
async fn a_broker_that_is_away_at_start_is_waited_for() {
    let port = free_port();
    let mut daemon = Daemon::start(&config(port, ""));
    while !daemon.log().contains("mqtt/disconnected") {
        assert!(daemon.is_running(), "{}", daemon.log());
        tokio::task::yield_now().await;
    }
    let _broker = Mosquitto::start_on(port);
    let mut client = Client::connect(port, &[STATE]).await;
    client.wait_online("press-4").await;
    let (label, pixels) = &digits()[0];
    let answer = client.ask(DIGITS, &Job::raw(pixels)).await;
    assert_eq!(answer["answer"]["label"], label.to_string());
    assert_eq!(daemon.log().matches("mqtt/disconnected").count(), 1, "said once, not once per attempt");
}

#[tokio::test]
async fn a_broker_that_dies_is_found_again() {
    let (mut broker, mut daemon, client) = start("", &[]).await;
    drop(client);
    broker.kill();
    broker.run();
    // The state was retained by a broker that kept nothing: that it is there again means that the daemon is.
    let mut client = Client::connect(broker.port, &[STATE]).await;
    client.wait_online("press-4").await;
    let (label, pixels) = &digits()[0];
    let answer = client.ask(DIGITS, &Job::raw(pixels)).await;
    assert_eq!(answer["answer"]["label"], label.to_string());
    assert!(daemon.is_running());
    assert!(daemon.log().contains("mqtt/session-lost"), "jobs may be gone with the broker's session: said so");
}

#[tokio::test]
async fn jobs_wait_at_the_broker_while_the_daemon_is_away() {
    let (broker, mut daemon, mut client) = start("", &[]).await;
    daemon.terminate();
    assert!(daemon.wait(Duration::from_secs(10)).success());
    let heard = client.next_where(|m| m.topic == STATE && m.json()["state"] != "online").await;
    assert_eq!(heard.json()["state"], "stopped");

    let digits = digits();
    for (number, (_, pixels)) in digits.iter().take(10).enumerate() {
        client.send(DIGITS, &Job::raw(pixels).with("id", format!("kept-{number}"))).await;
    }
    let _again = Daemon::start(&config(broker.port, ""));
    let mut ids: Vec<String> = Vec::new();
    while ids.len() < 10 {
        ids.push(client.answer().await.json()["id"].as_str().unwrap().to_owned());
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 10, "each once");
}

#[tokio::test]
async fn a_daemon_that_is_killed_is_declared_offline_by_its_last_will() {
    let (_broker, daemon, mut client) = start("", &[]).await;
    drop(daemon);
    let heard = client.next_where(|m| m.topic == STATE && m.json()["state"] != "online").await;
    assert_eq!(heard.json()["state"], "offline");
}
