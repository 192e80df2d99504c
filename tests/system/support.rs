//! Configurations and inputs that several system tests use.

use picket_tests::{broker::Mosquitto, client::Client, daemon::Daemon, root};
use serde_json::{Value, json};

pub const DIGITS: &str = "picket/v1/press-4/job/digits";

/// A daemon `press-4` with the digits bundle.
pub fn config(port: u16, more: &str) -> String {
    format!(
        r#"
[device]
id = "press-4"
[mqtt]
url = "mqtt://127.0.0.1:{port}"
[[model]]
name = "digits"
bundle = "{{models}}/digits"
queue = 2000
{more}
"#
    )
}

/// Broker, daemon and client, ready for jobs.
pub async fn start(more: &str, topics: &[&str]) -> (Mosquitto, Daemon, Client) {
    let broker = Mosquitto::start();
    let daemon = Daemon::start(&config(broker.port, more));
    let topics: Vec<&str> = ["picket/v1/press-4/state"].iter().chain(topics).copied().collect();
    let mut client = Client::connect(broker.port, &topics).await;
    client.wait_online("press-4").await;
    (broker, daemon, client)
}

/// The digits of the test split: what a person says, and the pixels.
pub fn digits() -> Vec<(u8, Vec<f32>)> {
    let text = std::fs::read_to_string(root().join("models/digits/test.csv")).unwrap();
    let rows = text.lines().filter(|line| !line.starts_with('#')).skip(1);
    rows.map(|row| {
        let mut numbers = row.split(',').map(|n| n.parse::<u8>().unwrap());
        (numbers.next().unwrap(), numbers.map(f32::from).collect())
    })
    .collect()
}

/// An Open Inference Protocol request for the digits model.
pub fn request(id: &str, pixels: &[f32]) -> Value {
    json!({ "id": id, "inputs": [{ "name": "pixels", "shape": [1, 64], "datatype": "FP32", "data": pixels }] })
}
