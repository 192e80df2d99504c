//! A broker that does what a test tells it, packet by packet, and keeps what it received in order.
//!
//! Nothing happens by itself but two things while the test waits for a packet: pings are answered, and what the daemon says
//! about itself (state, losses, events) is acknowledged.

use bytes::{Bytes, BytesMut};
use rumqttc::{
    ConnAck, ConnAckProperties, Connect, ConnectReturnCode, Disconnect, DisconnectReasonCode, Packet, PubAck,
    PubAckReason, Publish, PublishProperties, SubAck, SubscribeReasonCode,
    mqttbytes::{self, QoS},
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    time::{Instant, timeout, timeout_at},
};

use crate::client::PATIENCE;

/// Where jobs of the fake broker want their answers.
pub const ANSWERS: &str = "fake/answers";
/// Nothing that we send is larger.
const LARGEST: u32 = 16 << 20;

pub struct FakeBroker {
    listener: TcpListener,
    pub port: u16,
}

/// What a CONNACK says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Welcome {
    pub session_present: bool,
    pub receive_max: Option<u16>,
    pub max_packet: Option<u32>,
}

/// The broker's end of one connection.
pub struct Link {
    stream: TcpStream,
    /// Every packet of this connection, in order.
    pub received: Vec<Packet>,
    next_pkid: u16,
}

impl FakeBroker {
    pub async fn start() -> Self {
        Self::listen(None).await
    }

    /// With a receive buffer that is full soon.
    pub async fn start_narrow() -> Self {
        Self::listen(Some(4_096)).await
    }

    async fn listen(receive_buffer: Option<u32>) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        if let Some(size) = receive_buffer {
            socket.set_recv_buffer_size(size).unwrap(); // before listen: connections inherit it
        }
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(16).unwrap();
        let port = listener.local_addr().unwrap().port();
        Self { listener, port }
    }

    /// The next connection, on which nothing has been said yet.
    pub async fn accept(&self) -> Link {
        let (stream, _) = timeout(PATIENCE, self.listener.accept()).await.expect("somebody connects").unwrap();
        stream.set_nodelay(true).unwrap();
        Link { stream, received: Vec::new(), next_pkid: 1 }
    }

    /// The next connection, with its subscriptions standing.
    pub async fn welcome(&self, welcome: Welcome) -> Link {
        let mut link = self.accept().await;
        link.greet(welcome).await;
        link.grant().await;
        link
    }
}

impl Link {
    /// The next packet. `None`: the connection is closed.
    pub async fn next(&mut self) -> Option<Packet> {
        let limit = Instant::now() + PATIENCE;
        loop {
            let packet = self.step(limit).await?;
            let answered = match &packet {
                Packet::PingReq => true,
                Packet::Publish(publish) => about_itself(publish),
                _ => false,
            };
            if !answered {
                return Some(packet);
            }
        }
    }

    /// The very next packet. Answers what needs no test to be answered.
    async fn step(&mut self, limit: Instant) -> Option<Packet> {
        let packet = timeout_at(limit, self.read()).await;
        let packet = packet.unwrap_or_else(|_| panic!("what the test waits for does not come: {:?}", self.received))?;
        self.received.push(packet.clone());
        match &packet {
            Packet::PingReq => self.send(Packet::PingResp).await,
            Packet::Publish(publish) if about_itself(publish) => self.ack(publish.pkid).await,
            _ => {}
        }
        Some(packet)
    }

    /// Takes one packet from the stream and not a byte more, so that a test may go on byte by byte.
    async fn read(&mut self) -> Option<Packet> {
        let mut bytes = BytesMut::new();
        loop {
            match Packet::read(&mut bytes, Some(LARGEST)) {
                Ok(packet) => return Some(packet),
                Err(mqttbytes::Error::InsufficientBytes(missing)) => {
                    let known = bytes.len();
                    bytes.resize(known + missing.max(1), 0);
                    self.stream.read_exact(&mut bytes[known..]).await.ok()?;
                }
                Err(error) => panic!("the daemon sent something broken: {error}"),
            }
        }
    }

    /// Waits until the daemon has said on this connection that its link is up; what is next are its results.
    pub async fn until_up(&mut self) {
        self.until_said("event", "event", &"link-up".into()).await;
    }

    /// Waits until the daemon's announcement of its losses has this number.
    pub async fn loss_with(&mut self, what: &str, count: u64) {
        self.until_said("loss", what, &count.into()).await;
    }

    async fn until_said(&mut self, topic: &str, key: &str, value: &Value) {
        let (limit, mut looked_at) = (Instant::now() + PATIENCE, 0);
        loop {
            for packet in &self.received[looked_at..] {
                if let Packet::Publish(publish) = packet
                    && publish.topic.ends_with(format!("/{topic}").as_bytes())
                    && serde_json::from_slice::<Value>(&publish.payload).unwrap()[key] == *value
                {
                    return;
                }
            }
            looked_at = self.received.len();
            assert!(self.step(limit).await.is_some(), "the connection stands");
        }
    }

    /// Waits for CONNECT and answers it.
    pub async fn greet(&mut self, welcome: Welcome) -> Connect {
        let connect = self.connect_packet().await;
        let properties = ConnAckProperties {
            receive_max: welcome.receive_max,
            max_packet_size: welcome.max_packet,
            ..no_connack_properties()
        };
        let session_present = welcome.session_present;
        self.send(Packet::ConnAck(ConnAck {
            session_present,
            code: ConnectReturnCode::Success,
            properties: Some(properties),
        }))
        .await;
        connect
    }

    /// Waits for CONNECT and says nothing.
    pub async fn connect_packet(&mut self) -> Connect {
        match self.next().await {
            Some(Packet::Connect(connect, ..)) => connect,
            other => panic!("not CONNECT but {other:?}"),
        }
    }

    /// Waits for SUBSCRIBE and grants it; nothing else may come before.
    pub async fn grant(&mut self) {
        match self.next().await {
            Some(Packet::Subscribe(subscribe)) => {
                let return_codes =
                    subscribe.filters.iter().map(|_| SubscribeReasonCode::Success(QoS::AtLeastOnce)).collect();
                self.send(Packet::SubAck(SubAck { pkid: subscribe.pkid, return_codes, properties: None })).await;
            }
            other => panic!("not SUBSCRIBE but {other:?}"),
        }
    }

    /// The next PUBLISH that is not about the daemon itself; what else comes is only noted. `None`: closed.
    pub async fn publish(&mut self) -> Option<Publish> {
        loop {
            if let Packet::Publish(publish) = self.next().await? {
                return Some(publish);
            }
        }
    }

    /// As [`Self::publish`], on a connection that stands.
    pub async fn result(&mut self) -> Publish {
        self.publish().await.expect("the connection stands")
    }

    /// Waits until the daemon has acknowledged so many jobs; says which packet ids, in order.
    pub async fn acks(&mut self, count: usize) -> Vec<u16> {
        loop {
            let acks = self.acks_so_far();
            if acks.len() >= count {
                return acks;
            }
            assert!(self.next().await.is_some(), "the connection stands");
        }
    }

    pub fn acks_so_far(&self) -> Vec<u16> {
        let ack = |packet: &Packet| match packet {
            Packet::PubAck(ack) => Some(ack.pkid),
            _ => None,
        };
        self.received.iter().filter_map(ack).collect()
    }

    /// Waits until the daemon ends the connection.
    pub async fn closed(&mut self) {
        while self.next().await.is_some() {}
    }

    pub async fn ack(&mut self, pkid: u16) {
        self.ack_with(pkid, PubAckReason::Success).await;
    }

    pub async fn ack_with(&mut self, pkid: u16, reason: PubAckReason) {
        self.send(Packet::PubAck(PubAck { pkid, reason, properties: None })).await;
    }

    /// Sends a job with this id; its answer goes to [`ANSWERS`].
    pub async fn job(&mut self, topic: &str, id: &str, payload: impl Into<Bytes>) -> Publish {
        let publish = self.make_job(topic, id, payload, None);
        self.send(Packet::Publish(publish.clone())).await;
        publish
    }

    /// A job that is not sent yet.
    pub fn make_job(
        &mut self,
        topic: &str,
        id: &str,
        payload: impl Into<Bytes>,
        correlation: Option<Bytes>,
    ) -> Publish {
        let properties = PublishProperties {
            content_type: Some("application/octet-stream".to_owned()),
            response_topic: Some(ANSWERS.to_owned()),
            correlation_data: correlation,
            user_properties: vec![("id".to_owned(), id.to_owned())],
            ..PublishProperties::default()
        };
        let mut publish = Publish::new(topic, QoS::AtLeastOnce, payload, Some(properties));
        publish.pkid = self.next_pkid;
        self.next_pkid += 1;
        publish
    }

    pub async fn say_good_bye(&mut self, reason: DisconnectReasonCode) {
        self.send(Packet::Disconnect(Disconnect::new(reason))).await;
    }

    /// What cannot be sent any more is not: the daemon may have gone.
    pub async fn send(&mut self, packet: Packet) {
        self.send_part(packet, usize::MAX).await;
    }

    /// As [`Self::send`], but only the first bytes.
    pub async fn send_part(&mut self, packet: Packet, length: usize) {
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes, None).unwrap();
        self.stream.write_all(&bytes[..length.min(bytes.len())]).await.ok();
    }

    /// Takes so many bytes from the stream, whatever they are.
    pub async fn swallow(&mut self, count: usize) {
        let mut bytes = vec![0; count];
        timeout(PATIENCE, self.stream.read_exact(&mut bytes)).await.expect("so many bytes come").unwrap();
    }

    /// Ends the connection without a word. Bytes that were not read make it a reset.
    pub fn cut(self) {
        drop(self.stream);
    }
}

fn about_itself(publish: &Publish) -> bool {
    [&b"/state"[..], b"/loss", b"/event"].iter().any(|end| publish.topic.ends_with(end))
}

fn no_connack_properties() -> ConnAckProperties {
    ConnAckProperties {
        session_expiry_interval: None,
        receive_max: None,
        max_qos: None,
        retain_available: None,
        max_packet_size: None,
        assigned_client_identifier: None,
        topic_alias_max: None,
        reason_string: None,
        user_properties: Vec::new(),
        wildcard_subscription_available: None,
        subscription_identifiers_available: None,
        shared_subscription_available: None,
        server_keep_alive: None,
        response_information: None,
        server_reference: None,
        authentication_method: None,
        authentication_data: None,
    }
}
