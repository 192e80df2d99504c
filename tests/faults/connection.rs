//! Connections that end, hang, or never begin.

use std::time::Duration;

use picket_tests::{
    broker::Mosquitto,
    client::{Client, Job},
    daemon::picket,
    fake_broker::FakeBroker,
    proxy::{End, Flow, Proxy, Weather},
    root, until,
};
use rumqttc::DisconnectReasonCode;

use crate::support::{DIGITS, NEW, Picket, RESUMED, digit, id_of, pixels, start};

fn job(id: &str) -> Job {
    let values: Vec<f32> = digit(0).chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    Job::raw(&values).with("id", id)
}

/// A daemon behind a proxy, and a client that is not.
async fn behind_a_proxy(mqtt: &str) -> (Mosquitto, Proxy, Picket, Client) {
    let broker = Mosquitto::start();
    let proxy = Proxy::start(broker.port);
    let picket = Picket::start(proxy.port, mqtt);
    let mut client = Client::connect(broker.port, &["picket/v1/press-4/state"]).await;
    client.wait_online("press-4").await;
    (broker, proxy, picket, client)
}

/// Row 3, each direction alone and both.
#[tokio::test]
async fn a_half_open_connection_is_noticed_and_nothing_is_lost() {
    let (_broker, proxy, picket, mut client) = behind_a_proxy("keep_alive_s = 1").await;
    let hole = Flow::BlackHole;
    let cases = [
        Weather { up: hole, down: hole },
        Weather { up: hole, ..Weather::default() },
        Weather { down: hole, ..Weather::default() },
    ];
    for (number, weather) in cases.into_iter().enumerate() {
        let connections = proxy.accepted();
        proxy.set(weather);
        client.send(DIGITS, &job(&format!("half-{number}"))).await;
        until("another connection", || async { proxy.accepted() > connections }).await;
        assert!(picket.logged("mqtt/stalled") > number, "{}", picket.daemon.log());
        proxy.set(Weather::default());
        proxy.end(End::Reset);
        let id = format!("half-{number}");
        client.next_where(|heard| !heard.topic.ends_with("/state") && heard.json()["id"] == *id).await;
    }
}

/// Connections that end in unusual ways, and ones that are merely slow.
#[tokio::test]
async fn resets_slow_closes_and_delays_lose_nothing() {
    let (_broker, proxy, picket, mut client) = behind_a_proxy("keep_alive_s = 2").await;
    for (number, how) in [End::Reset, End::Slowly(Duration::from_millis(300)), End::Reset].into_iter().enumerate() {
        let delay = Flow::Delay(Duration::from_millis(20));
        proxy.set(Weather { up: delay, down: delay });
        client.send(DIGITS, &job(&format!("end-{number}"))).await;
        proxy.end(how);
        let id = format!("end-{number}");
        client.next_where(|heard| !heard.topic.ends_with("/state") && heard.json()["id"] == *id).await;
    }
    assert_eq!(picket.logged("mqtt/stalled"), 0, "slow is not dead:\n{}", picket.daemon.log());
}

/// Row 5.
#[tokio::test]
async fn a_broker_that_never_answers_connect_is_tried_again() {
    let broker = FakeBroker::start().await;
    let picket = Picket::start(broker.port, "");
    let mut silent = broker.accept().await;
    silent.connect_packet().await;
    let mut link = broker.welcome(NEW).await;
    assert_eq!(picket.logged("mqtt/connect-timeout"), 1);
    link.job(DIGITS, "after", pixels()).await;
    assert_eq!(id_of(&link.result().await), "after");
}

/// Row 12.
#[tokio::test]
async fn an_acknowledgement_of_nothing_costs_one_connection_and_no_more() {
    let (broker, picket, mut link) = start("").await;
    link.ack(77).await;
    link.closed().await;
    let mut link = broker.welcome(RESUMED).await;
    link.job(DIGITS, "next", pixels()).await;
    let result = link.result().await;
    link.ack(result.pkid).await;
    picket.until_status("it is confirmed", |status| status["outbox_rows"] == 0).await;
    assert_eq!(picket.logged("mqtt/protocol-error"), 1);
    assert_eq!(picket.counter("link_failures_total{code=\"mqtt/protocol-error\"}").await, 1);
}

/// Row 13.
#[tokio::test]
async fn a_packet_that_kills_every_connection_costs_the_session_in_the_end() {
    let broker = FakeBroker::start().await;
    let picket = Picket::start(broker.port, "max_packet = \"1KiB\"");
    for attempt in 0..3 {
        let mut link = broker.accept().await;
        let connect = link.greet(RESUMED).await;
        assert!(!connect.clean_start, "attempt {attempt} still wants the session");
        // The broker has it in our session, and does not care for the maximum that it was told.
        link.job(DIGITS, "huge", vec![0; 5_000]).await;
        link.closed().await;
    }
    let mut link = broker.accept().await;
    let connect = link.greet(NEW).await;
    assert!(connect.clean_start, "the session is given up");
    assert!(connect.properties.unwrap().session_expiry_interval.unwrap() > 0, "and the new one is kept");
    link.grant().await;
    assert_eq!(picket.logged("mqtt/packet-too-large"), 3, "once for each connection that stood");
    link.loss_with("session_lost", 1).await;
    link.job(DIGITS, "small", pixels()).await;
    assert_eq!(id_of(&link.result().await), "small");
    link.cut();
    let mut link = broker.accept().await;
    assert!(!link.greet(RESUMED).await.clean_start, "once");
}

/// Row 15.
#[test]
fn other_qualities_of_service_are_refused_when_the_configuration_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("picket.toml");
    for (qos, exit, code) in [(0, 78, "error[config/invalid]"), (1, 0, ""), (2, 78, "error[config/qos2-unsupported]")] {
        let bundle = root().join("models/digits");
        let config = format!(
            "[mqtt]\nurl = \"mqtt://127.0.0.1:1883\"\nqos = {qos}\n[[model]]\nname = \"digits\"\nbundle = {bundle:?}\n"
        );
        std::fs::write(&file, config).unwrap();
        let output = picket(&["check", "--config", file.to_str().unwrap()]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(exit), "qos = {qos}: {said}");
        assert!(said.starts_with(code), "qos = {qos}: {said}");
        assert!(exit == 0 || said.contains(":3:7: "), "qos = {qos}: {said}");
    }
}

/// Row 16. (mosquitto 2.0 says nothing when it hands a client id to another; newer brokers do.)
#[tokio::test]
async fn a_stolen_client_id_is_called_by_its_name_and_contested_slowly() {
    let (broker, picket, mut link) = start("").await;
    link.job(DIGITS, "stolen", pixels()).await;
    let before = link.result().await;
    // Brokers close behind the word at once.
    link.say_good_bye(DisconnectReasonCode::SessionTakenOver).await;
    link.cut();
    let mut link = broker.welcome(RESUMED).await;
    assert_eq!(picket.logged("mqtt/client-id-stolen"), 1);
    assert_eq!(picket.logged("mqtt/disconnected"), 0);
    assert_eq!(link.result().await.payload, before.payload, "the result is kept");
}
