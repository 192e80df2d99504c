//! The daemon under test, and what it is asked.

use std::collections::BTreeMap;

use picket_tests::{
    daemon::Daemon,
    fake_broker::{FakeBroker, Link, Welcome},
    free_port, get, root, until,
};
use rumqttc::Publish;
use serde_json::Value;

pub const DIGITS: &str = "picket/v1/press-4/job/digits";
/// The session is still there.
pub const RESUMED: Welcome = Welcome { session_present: true, receive_max: None, max_packet: None };
/// It is not.
pub const NEW: Welcome = Welcome { session_present: false, receive_max: None, max_packet: None };

/// A daemon `press-4` with the digits bundle and an HTTP face to look at it.
pub struct Picket {
    pub daemon: Daemon,
    http: u16,
}

impl Picket {
    /// Connects to this port; `mqtt` are further lines of its section.
    pub fn start(port: u16, mqtt: &str) -> Self {
        Self::start_with_queue(port, mqtt, 20_000)
    }

    pub fn start_with_queue(port: u16, mqtt: &str, queue: usize) -> Self {
        Self::start_at(&format!("mqtt://127.0.0.1:{port}"), mqtt, queue)
    }

    pub fn start_at(url: &str, mqtt: &str, queue: usize) -> Self {
        let http = free_port();
        let daemon = Daemon::start(&format!(
            r#"
[device]
id = "press-4"
[mqtt]
url = "{url}"
{mqtt}
[http]
listen = "127.0.0.1:{http}"
[[model]]
name = "digits"
bundle = "{{models}}/digits"
queue = {queue}
"#
        ));
        Self { daemon, http }
    }

    pub async fn status(&self) -> Value {
        let text = get(&format!("http://127.0.0.1:{}/status", self.http)).await.unwrap().text().await.unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// A counter of `/metrics`, such as `dropped_total{reason="no-subscribers"}`; 0 when it is not there.
    pub async fn counter(&self, name: &str) -> u64 {
        let text = get(&format!("http://127.0.0.1:{}/metrics", self.http)).await.unwrap().text().await.unwrap();
        let name = format!("picket_{name} ");
        let value = text.lines().find_map(|line| line.strip_prefix(name.as_str()));
        value.map_or(0, |value| value.trim().parse().unwrap())
    }

    /// Polls `/status` until it is as wanted.
    pub async fn until_status(&self, what: &str, fits: impl Fn(&Value) -> bool) {
        until(what, || async { fits(&self.status().await) }).await;
    }

    pub async fn until_logged(&self, code: &str) {
        until(code, || async { self.logged(code) > 0 }).await;
    }

    /// How often the log says this.
    pub fn logged(&self, code: &str) -> usize {
        self.daemon.log().matches(code).count()
    }
}

/// A daemon that is connected to a fake broker.
pub async fn start(mqtt: &str) -> (FakeBroker, Picket, Link) {
    start_as(mqtt, NEW).await
}

pub async fn start_as(mqtt: &str, welcome: Welcome) -> (FakeBroker, Picket, Link) {
    let broker = FakeBroker::start().await;
    let picket = Picket::start(broker.port, mqtt);
    let link = broker.welcome(welcome).await;
    (broker, picket, link)
}

/// One digit as a raw tensor.
pub fn pixels() -> Vec<u8> {
    digit(0)
}

/// One of the digits of the test split.
pub fn digit(number: usize) -> Vec<u8> {
    let text = std::fs::read_to_string(root().join("models/digits/test.csv")).unwrap();
    let row = text.lines().filter(|line| !line.starts_with('#')).nth(1 + number).unwrap();
    row.split(',').skip(1).flat_map(|n| n.parse::<f32>().unwrap().to_le_bytes()).collect()
}

/// The id in a result or an error.
pub fn id_of(publish: &Publish) -> String {
    let document: Value = serde_json::from_slice(&publish.payload).unwrap();
    document["id"].as_str().unwrap().to_owned()
}

/// Results by job id; the same one may come more than once, but never with other bytes.
#[derive(Default)]
pub struct Answers(pub BTreeMap<String, bytes::Bytes>);

impl Answers {
    pub fn take(&mut self, payload: &bytes::Bytes) {
        let document: Value = serde_json::from_slice(payload).unwrap();
        assert_eq!(document["error"], Value::Null, "{document}");
        let id = document["id"].as_str().unwrap().to_owned();
        let before = self.0.entry(id).or_insert_with(|| payload.clone());
        assert_eq!(before, payload, "two different results of one job");
    }
}

/// A small generator of its own, so that a seed says everything.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        println!("seed {seed}");
        Self(seed)
    }

    /// Below `bound`.
    pub fn roll(&mut self, bound: usize) -> usize {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}
