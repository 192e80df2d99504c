//! The other side of the conversation: sends jobs and hears what comes back. For the demo; a user's program does the same
//! with whatever MQTT client it has.

use bytes::Bytes;
use rumqttc::{
    AsyncClient, Event, MqttOptions, NetworkOptions, Packet, PublishOptions, PublishProperties, SubscribeFilter,
    mqttbytes::QoS,
};
use tokio::sync::{mpsc, oneshot};

/// Messages that may wait for their reader.
const HEARD: usize = 4_096;
/// Jobs that may wait for the socket.
const ASKED: usize = 1_024;

pub struct Asker {
    client: AsyncClient,
    reply_topic: String,
}

/// A message on one of the subscribed topics.
#[derive(Debug)]
pub struct Heard {
    pub topic: String,
    pub payload: Bytes,
}

impl Asker {
    /// Connects and subscribes to `reply_topic` and `topics`.
    ///
    /// # Errors
    /// The broker does not answer, or the connection ends before the subscriptions stand.
    pub async fn connect(
        port: u16,
        reply_topic: &str,
        topics: &[String],
    ) -> anyhow::Result<(Self, mpsc::Receiver<Heard>)> {
        let mut options = MqttOptions::new("demo-asker", ("127.0.0.1".to_owned(), port));
        let mut network = NetworkOptions::default();
        network.set_tcp_nodelay(true);
        options.set_network_options(network);
        options.set_max_packet_size(u32::try_from(picket_core::limits::MAX_PACKET_BYTES).ok());
        let (client, mut events) = AsyncClient::builder(options).capacity(ASKED).try_build()?;
        let filters = std::iter::once(reply_topic).chain(topics.iter().map(String::as_str));
        client.try_subscribe_many(filters.map(|topic| SubscribeFilter::new(topic.to_owned(), QoS::AtLeastOnce)))?;
        let (hear, heard) = mpsc::channel(HEARD);
        let (ready, subscribed) = oneshot::channel();
        tokio::spawn(async move {
            let mut ready = Some(ready);
            loop {
                match events.poll().await {
                    Ok(Event::Incoming(Packet::SubAck(_))) => {
                        let _ = ready.take().map(|ready| ready.send(()));
                    }
                    Ok(Event::Incoming(Packet::Publish(publish))) => {
                        let topic = String::from_utf8_lossy(&publish.topic).into_owned();
                        if hear.send(Heard { topic, payload: publish.payload }).await.is_err() {
                            return;
                        }
                    }
                    Ok(_) => {}
                    Err(error) => {
                        tracing::error!(%error, "the asker lost its broker");
                        return;
                    }
                }
            }
        });
        subscribed.await?;
        Ok((Self { client, reply_topic: reply_topic.to_owned() }, heard))
    }

    /// Sends one raw tensor as a job.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn ask(&self, topic: &str, id: &str, tensor: Bytes) -> anyhow::Result<()> {
        let properties = PublishProperties {
            content_type: Some("application/octet-stream".to_owned()),
            response_topic: Some(self.reply_topic.clone()),
            correlation_data: Some(Bytes::copy_from_slice(id.as_bytes())),
            user_properties: vec![("id".to_owned(), id.to_owned())],
            ..PublishProperties::default()
        };
        let options = PublishOptions::at_least_once().properties(properties);
        Ok(self.client.publish(topic.to_owned(), tensor, options).await?)
    }
}
