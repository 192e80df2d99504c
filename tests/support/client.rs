//! A user's MQTT 5 client.

use std::time::Duration;

use bytes::Bytes;
use rumqttc::{
    AsyncClient, Event, MqttOptions, NetworkOptions, Packet, PublishOptions, PublishProperties, SubscribeFilter,
    mqttbytes::QoS,
};
use serde_json::Value;
use tokio::{sync::mpsc, time::timeout};

/// Longer than anything here takes; only a hanging test notices.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Client {
    client: AsyncClient,
    heard: mpsc::Receiver<Heard>,
    reply_topic: String,
}

#[derive(Clone, Debug)]
pub struct Heard {
    pub topic: String,
    pub payload: Bytes,
    pub correlation: Option<Bytes>,
    pub content_type: Option<String>,
    pub retained: bool,
}

impl Heard {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.payload).unwrap_or_else(|error| panic!("{error}: {:?}", self.payload))
    }
}

/// A job to be sent.
#[derive(Clone, Debug, Default)]
pub struct Job {
    pub payload: Bytes,
    pub content_type: Option<&'static str>,
    pub user: Vec<(&'static str, String)>,
    pub correlation: Option<&'static [u8]>,
    pub expiry_s: Option<u32>,
    /// Without a response topic the answer goes to the default one.
    pub no_response_topic: bool,
}

impl Job {
    pub fn json(document: &Value) -> Self {
        Self { payload: document.to_string().into(), content_type: Some("application/json"), ..Self::default() }
    }

    pub fn raw(values: &[f32]) -> Self {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Self { payload: bytes.into(), content_type: Some("application/octet-stream"), ..Self::default() }
    }

    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.user.push((key, value.into()));
        self
    }
}

impl Client {
    /// Connects and subscribes to an own reply topic and `topics`.
    pub async fn connect(port: u16, topics: &[&str]) -> Self {
        static NUMBER: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let name = format!("test-{}-{}", std::process::id(), NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        let reply_topic = format!("{name}/answers");
        let mut options = MqttOptions::new(name, ("127.0.0.1".to_owned(), port));
        let mut network = NetworkOptions::default();
        network.set_tcp_nodelay(true);
        options.set_network_options(network);
        options.set_max_packet_size(Some(16 << 20));
        let (client, mut events) = AsyncClient::builder(options).capacity(1_000).try_build().unwrap();
        let filters = std::iter::once(reply_topic.as_str()).chain(topics.iter().copied());
        client.try_subscribe_many(filters.map(|t| SubscribeFilter::new(t.to_owned(), QoS::AtLeastOnce))).unwrap();
        let (hear, heard) = mpsc::channel(10_000);
        let (subscribed, ready) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            let mut subscribed = Some(subscribed);
            while let Ok(event) = events.poll().await {
                match event {
                    Event::Incoming(Packet::SubAck(_)) => drop(subscribed.take().map(|s| s.send(()))),
                    Event::Incoming(Packet::Publish(publish)) => {
                        let properties = publish.properties.unwrap_or_default();
                        let message = Heard {
                            topic: String::from_utf8(publish.topic.to_vec()).unwrap(),
                            payload: publish.payload,
                            correlation: properties.correlation_data,
                            content_type: properties.content_type,
                            retained: publish.retain,
                        };
                        if hear.send(message).await.is_err() {
                            return;
                        }
                    }
                    _ => {}
                }
            }
        });
        timeout(PATIENCE, ready).await.expect("the broker answers").expect("the subscriptions stand");
        Self { client, heard, reply_topic }
    }

    pub async fn send(&self, topic: &str, job: &Job) {
        let properties = PublishProperties {
            response_topic: (!job.no_response_topic).then(|| self.reply_topic.clone()),
            correlation_data: job.correlation.map(Bytes::from_static),
            content_type: job.content_type.map(str::to_owned),
            message_expiry_interval: job.expiry_s,
            user_properties: job.user.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect(),
            ..PublishProperties::default()
        };
        let options = PublishOptions::at_least_once().properties(properties);
        self.client.publish(topic.to_owned(), job.payload.clone(), options).await.unwrap();
    }

    /// A plain message.
    pub async fn publish(&self, topic: &str, payload: &str) {
        self.client.publish(topic.to_owned(), payload.to_owned(), PublishOptions::at_least_once()).await.unwrap();
    }

    /// The next message of all subscriptions.
    pub async fn next(&mut self) -> Heard {
        timeout(PATIENCE, self.heard.recv()).await.expect("a message comes in time").expect("the connection stands")
    }

    /// The next message that fits.
    pub async fn next_where(&mut self, fits: impl Fn(&Heard) -> bool) -> Heard {
        loop {
            let message = self.next().await;
            if fits(&message) {
                return message;
            }
        }
    }

    /// The next answer on the own reply topic.
    pub async fn answer(&mut self) -> Heard {
        let topic = self.reply_topic.clone();
        self.next_where(|message| message.topic == topic).await
    }

    /// Sends a job and waits for its answer.
    pub async fn ask(&mut self, topic: &str, job: &Job) -> Value {
        self.send(topic, job).await;
        self.answer().await.json()
    }

    /// Waits until the device's retained state says `online`.
    pub async fn wait_online(&mut self, device: &str) {
        let topic = format!("picket/v1/{device}/state");
        self.next_where(|message| message.topic == topic && message.json()["state"] == "online").await;
    }
}
