//! One connection after the other.

use std::{sync::Arc, time::Duration};

use picket_core::{Input, job::Epoch, limits};
use rand::Rng;
use rumqttc::{
    AckMode, AsyncClient, ConnAck, Event as LinkEvent, EventLoop, LastWill, MqttOptions, NetworkOptions, Packet,
    Publish, SessionMode, SubscribeFilter, TlsConfiguration, mqttbytes::QoS,
};
use tokio::time::{Instant, timeout};

use super::{Live, Shared, backoff::Backoff, ledger::Ledger, session::EmptySession, settings::Tls};
use crate::{ports::Event, transport::TransportContext};

/// The broker keeps our subscriptions and waiting jobs for so long while we are away.
const SESSION_EXPIRY_S: u32 = 24 * 3600;
/// Connecting, including TLS and CONNACK.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// A connection that stood so long ends the row of failures.
const HEALTHY: Duration = Duration::from_secs(60);

/// Keeps a connection until the transport closes.
pub(super) async fn supervise(shared: Arc<Shared>, context: TransportContext) {
    let mut backoff = Backoff::default();
    let mut quiet = false;
    for epoch in 1.. {
        let started = Instant::now();
        let error = Connection::open(&shared, &context, Epoch(epoch)).run().await;
        let was_up = shared.live().take().is_some();
        if was_up {
            let _ = context.inbox.send(Event::Core(Input::LinkDown { transport: context.id })).await;
        }
        if shared.closing() {
            return;
        }
        if was_up || !quiet {
            // Once per outage, not once per attempt.
            tracing::warn!(host = %shared.settings.host, port = shared.settings.port, error, "mqtt/disconnected");
            quiet = true;
        }
        if was_up && started.elapsed() >= HEALTHY {
            backoff.reset();
        }
        let chance: f64 = rand::rng().random();
        tokio::time::sleep(backoff.next(chance)).await;
    }
}

struct Connection<'a> {
    shared: &'a Arc<Shared>,
    context: &'a TransportContext,
    epoch: Epoch,
    client: Option<AsyncClient>,
    events: Option<EventLoop>,
    problem: String,
}

impl<'a> Connection<'a> {
    fn open(shared: &'a Arc<Shared>, context: &'a TransportContext, epoch: Epoch) -> Self {
        let (pair, problem) = match options(shared, context) {
            Ok(options) => match AsyncClient::builder(options).capacity(limits::LINK_REQUESTS).try_build() {
                Ok(pair) => (Some(pair), String::new()),
                Err(error) => (None, error.to_string()),
            },
            Err(problem) => (None, problem),
        };
        let (client, events) = pair.unzip();
        Self { shared, context, epoch, client, events, problem }
    }

    /// Polls until the first error, and says what it was.
    async fn run(mut self) -> String {
        let (Some(client), Some(mut events)) = (self.client.take(), self.events.take()) else {
            return self.problem;
        };
        // The library pings once per keep-alive and the broker answers, so a silent poll is a stalled one: a write that
        // blocks, or a peer that is gone without a word.
        let patience = self.shared.settings.keep_alive * 2 + CONNECT_LIMIT;
        loop {
            let event = match timeout(patience, events.poll()).await {
                Ok(Ok(LinkEvent::Incoming(packet))) => packet,
                Ok(Ok(_)) => continue,
                Ok(Err(error)) => return error.to_string(),
                Err(_) => return "mqtt/stalled: nothing came or went for two keep-alives".to_owned(),
            };
            let outcome = match event {
                Packet::ConnAck(connack) => {
                    events.options.clear_session_store();
                    self.connected(&client, &connack)
                }
                Packet::SubAck(suback) => self.subscribed(&client, &suback.return_codes).await,
                Packet::Publish(publish) => self.arrived(&publish).await,
                Packet::Disconnect(disconnect) => {
                    Err(format!("the broker said good-bye: {:?}", disconnect.reason_code))
                }
                _ => Ok(()),
            };
            if let Err(problem) = outcome {
                return problem;
            }
        }
    }

    /// From here on jobs may come (a resumed session's at once), and acks may leave.
    fn connected(&self, client: &AsyncClient, connack: &ConnAck) -> Result<(), String> {
        if !connack.session_present && self.epoch != Epoch(1) {
            tracing::warn!(
                "mqtt/session-lost: the broker has forgotten our session; jobs that waited there may be gone"
            );
            self.context.telemetry.dropped("session-lost");
        }
        let limit = connack.properties.as_ref().and_then(|properties| properties.max_packet_size);
        let max_packet = limit.map_or(self.shared.settings.max_packet, |limit| {
            self.shared.settings.max_packet.min(usize::try_from(limit).unwrap_or(usize::MAX))
        });
        *self.shared.live() = Some(Live {
            epoch: self.epoch,
            client: client.clone(),
            acks: Ledger::new(self.context.id, self.epoch),
            max_packet,
        });
        let filters = self.shared.topics.subscriptions().into_iter().map(|f| SubscribeFilter::new(f, QoS::AtLeastOnce));
        client.try_subscribe_many(filters).map_err(|error| error.to_string())
    }

    /// Nothing is published before the broker confirmed the subscriptions: who hears from us can reach us.
    async fn subscribed(&self, client: &AsyncClient, codes: &[rumqttc::SubscribeReasonCode]) -> Result<(), String> {
        let refused = codes.iter().find(|code| !matches!(code, rumqttc::SubscribeReasonCode::Success(_)));
        if let Some(code) = refused {
            return Err(format!("mqtt/not-authorised: the broker refused a subscription: {code:?}"));
        }
        self.shared.publish_announced(client);
        tracing::info!(host = %self.shared.settings.host, port = self.shared.settings.port, "mqtt connected");
        let input = Input::LinkUp { transport: self.context.id, epoch: self.epoch };
        self.context.inbox.send(Event::Core(input)).await.map_err(|_| "the run loop is gone".to_owned())
    }

    async fn arrived(&self, publish: &Publish) -> Result<(), String> {
        let ticket = {
            let mut live = self.shared.live();
            let Some(live) = live.as_mut() else { return Err("a message before CONNACK".to_owned()) };
            live.client.prepare_ack(publish).map(|ack| live.acks.hold(ack))
        };
        let Some(request) = self.shared.topics.request(publish, ticket) else {
            // Not a job of ours (a broker with odd subscriptions): acknowledged, or it would block the acks behind it.
            self.context.telemetry.dropped("not-a-job");
            if let (Some(ticket), Some(live)) = (ticket, self.shared.live().as_mut()) {
                for ack in live.acks.release(ticket) {
                    let _ = live.client.try_manual_ack(ack);
                }
            }
            return Ok(());
        };
        self.context.inbox.send(Event::Job(Box::new(request))).await.map_err(|_| "the run loop is gone".to_owned())
    }
}

fn options(shared: &Shared, context: &TransportContext) -> Result<MqttOptions, String> {
    let settings = &shared.settings;
    let client_id = settings.client_id.clone().unwrap_or_else(|| format!("picket-{}", context.device));
    let mut options = MqttOptions::new(client_id, (settings.host.clone(), settings.port));
    let mut network = NetworkOptions::default();
    network.set_tcp_nodelay(true);
    options.set_network_options(network);
    options.set_keep_alive(u16::try_from(settings.keep_alive.as_secs()).unwrap_or(u16::MAX));
    options.set_connect_timeout(CONNECT_LIMIT);
    options.set_session_mode(SessionMode::Persistent);
    options.set_session_expiry_interval(Some(SESSION_EXPIRY_S));
    options.set_ack_mode(AckMode::Manual);
    options.set_receive_maximum(Some(limits::UNACKED_ARRIVALS));
    // More than a job may have: what is a little too large shall come and be answered. Beyond this the broker drops it
    // without a word to anybody.
    options.set_max_packet_size(u32::try_from(settings.max_packet.saturating_mul(4)).ok());
    // The library keeps a slot for each and walks through all of them at every PUBACK; its default is 65,535.
    options.set_outgoing_inflight_upper_limit(u16::try_from(limits::DELIVERY_WINDOW).unwrap_or(u16::MAX));
    options.set_max_request_batch(limits::INBOX_BURST);
    options.set_request_channel_capacity(limits::LINK_REQUESTS);
    if let Some((username, password)) = &settings.credentials {
        options.set_credentials(username.clone(), password.clone());
    }
    if let Some(tls) = &settings.tls {
        options.set_transport(rumqttc::Transport::tls_with_config(tls_config(tls)));
    }
    let offline = serde_json::json!({ "state": "offline", "version": env!("CARGO_PKG_VERSION") }).to_string();
    options.set_last_will(LastWill::new(shared.topics.state(), offline, QoS::AtLeastOnce, true, None));
    options.validate().map_err(|error| error.to_string())?;
    let session = EmptySession::for_options(&options);
    options.set_session_store(session);
    Ok(options)
}

fn tls_config(tls: &Tls) -> TlsConfiguration {
    TlsConfiguration::Simple { ca: tls.ca.clone(), alpn: None, client_auth: tls.client.clone() }
}
