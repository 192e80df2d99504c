//! One connection after the other.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use picket_core::{Input, LinkTerms, job::Epoch, limits, time::Span};
use rand::Rng;
use rumqttc::{
    AckMode, AsyncClient, ConnAck, Event as LinkEvent, EventLoop, LastWill, MqttOptions, NetworkOptions, Packet,
    Publish, SessionMode, SubscribeFilter, TlsConfiguration, mqttbytes::QoS,
};
use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};

use super::{
    Live, Shared,
    backoff::Backoff,
    fault::{self, Fault, FaultKind},
    ledger::Ledger,
    session::EmptySession,
    settings::Tls,
};
use crate::{ports::Event, transport::TransportContext};

/// The broker keeps our subscriptions and waiting jobs for so long while we are away.
const SESSION_EXPIRY_S: u32 = 24 * 3600;
/// Connecting, including TLS and CONNACK.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// What the client library needs to notice by itself that its connection is dead; a little later we do.
const GRACE: Duration = Duration::from_secs(1);
/// A connection that brought a row to the broker and stood so long ends the row of failures. Not any sooner: a broker that
/// does not say that our client id was taken over (mosquitto 2.0 does not) would see two daemons drive each other out.
const USEFUL: Duration = Duration::from_secs(10);
/// A persistent session whose next packet ends the connection so often in a row is given up.
const TOO_LARGE_LIMIT: u32 = 3;

/// Keeps a connection until the transport closes.
pub(super) async fn supervise(shared: Arc<Shared>, context: TransportContext) {
    let mut ordinary = Backoff::ordinary();
    let mut contested = Backoff::contested();
    let mut said = Said::default();
    let mut too_large = 0;
    for epoch in 1.. {
        let started = Instant::now();
        shared.progress.store(false, Ordering::Relaxed);
        let fresh = too_large >= TOO_LARGE_LIMIT;
        let fault = Connection::open(&shared, &context, Epoch(epoch), fresh).run().await;
        let was_up = shared.live().take().is_some();
        if was_up {
            let _ = context.inbox.send(Event::Core(Input::LinkDown { transport: context.id })).await;
        }
        if shared.closing() {
            return;
        }
        said.say(&shared, &context, &fault, was_up);
        // An attempt that never got to the session says nothing about what waits in it.
        if fault.kind == FaultKind::PacketTooLarge {
            too_large = if fresh { 0 } else { too_large + 1 };
        } else if was_up {
            too_large = 0;
        }
        if was_up {
            ordinary.stood(started.elapsed());
            contested.stood(started.elapsed());
        }
        if shared.progress.load(Ordering::Relaxed) && started.elapsed() >= USEFUL {
            // It did what it is there for, so the next one may come soon.
            ordinary.reset();
        }
        let backoff = if fault.kind == FaultKind::ClientIdStolen { &mut contested } else { &mut ordinary };
        let chance: f64 = rand::rng().random();
        let wait = backoff.next(chance);
        shared.moves_within(wait);
        tokio::time::sleep(wait).await;
    }
}

/// The codes that have been said of the present outage: each kind of failure once, not once per attempt.
#[derive(Default)]
struct Said(BTreeSet<&'static str>);

impl Said {
    fn say(&mut self, shared: &Shared, context: &TransportContext, fault: &Fault, was_up: bool) {
        let code = fault.kind.code();
        context.telemetry.link_failed(code);
        if was_up {
            *self = Self::default();
        }
        if self.0.insert(code) {
            tracing::warn!(host = %shared.settings.host, port = shared.settings.port, why = %fault, "{code}");
        }
    }
}

struct Connection<'a> {
    shared: &'a Arc<Shared>,
    context: &'a TransportContext,
    epoch: Epoch,
    client: Option<AsyncClient>,
    events: Option<EventLoop>,
    reset: Arc<Notify>,
    problem: String,
}

impl<'a> Connection<'a> {
    /// `fresh`: the broker is to forget our session.
    fn open(shared: &'a Arc<Shared>, context: &'a TransportContext, epoch: Epoch, fresh: bool) -> Self {
        let (pair, problem) = match options(shared, context, fresh) {
            Ok(options) => match AsyncClient::builder(options).capacity(limits::LINK_REQUESTS).try_build() {
                Ok(pair) => (Some(pair), String::new()),
                Err(error) => (None, error.to_string()),
            },
            Err(problem) => (None, problem),
        };
        let (client, events) = pair.unzip();
        Self { shared, context, epoch, client, events, reset: Arc::new(Notify::new()), problem }
    }

    /// Polls until the first error, and says what it was.
    async fn run(mut self) -> Fault {
        let (Some(client), Some(mut events)) = (self.client.take(), self.events.take()) else {
            return Fault::new(FaultKind::Disconnected, self.problem);
        };
        let reset = self.reset.clone();
        // The library pings once per keep-alive and the broker answers, so a silent poll is a stalled one: a write that
        // blocks, or a peer that is gone without a word.
        let mut patience = CONNECT_LIMIT + GRACE;
        loop {
            self.shared.moves_within(patience);
            let polled = tokio::select! {
                biased;
                () = reset.notified() => {
                    return Fault::new(FaultKind::Stalled, "the broker leaves messages unanswered");
                }
                polled = timeout(patience, events.poll()) => polled,
            };
            let packet = match polled {
                Ok(Ok(LinkEvent::Incoming(packet))) => packet,
                Ok(Ok(_)) => continue,
                Ok(Err(error)) => return error.into(),
                Err(_) => return Fault::new(FaultKind::Stalled, "nothing came or went for two keep-alives"),
            };
            let outcome = match packet {
                Packet::ConnAck(connack) => {
                    events.options.clear_session_store();
                    patience = self.patience() + GRACE;
                    self.connected(&client, &connack)
                }
                Packet::SubAck(suback) => self.subscribed(&client, &suback.return_codes).await,
                Packet::Publish(publish) => self.arrived(&publish).await,
                Packet::Disconnect(disconnect) => {
                    let kind = fault::of_good_bye(disconnect.reason_code);
                    Err(Fault::new(kind, format!("the broker said good-bye: {:?}", disconnect.reason_code)))
                }
                _ => Ok(()),
            };
            if let Err(fault) = outcome {
                return fault;
            }
        }
    }

    /// So long may the broker leave us without a word, or a row without its answer.
    fn patience(&self) -> Duration {
        self.shared.settings.keep_alive * 2
    }

    /// From here on jobs may come (a resumed session's at once), and acks may leave.
    fn connected(&self, client: &AsyncClient, connack: &ConnAck) -> Result<(), Fault> {
        if !connack.session_present && self.epoch != Epoch(1) {
            tracing::warn!(
                "mqtt/session-lost: the broker has forgotten our session; jobs that waited there may be gone"
            );
            self.context.telemetry.session_lost();
        }
        let limit = connack.properties.as_ref().and_then(|properties| properties.max_packet_size);
        let max_packet = limit.map_or(self.shared.settings.max_packet, |limit| {
            self.shared.settings.max_packet.min(usize::try_from(limit).unwrap_or(usize::MAX))
        });
        self.shared.max_packet.store(max_packet, Ordering::Relaxed);
        *self.shared.live() = Some(Live {
            epoch: self.epoch,
            client: client.clone(),
            acks: Ledger::new(self.context.id, self.epoch),
            reset: self.reset.clone(),
        });
        let filters = self.shared.topics.subscriptions().into_iter().map(|f| SubscribeFilter::new(f, QoS::AtLeastOnce));
        client.try_subscribe_many(filters).map_err(|error| Fault::new(FaultKind::Disconnected, error.to_string()))
    }

    /// Nothing is published before the broker confirmed the subscriptions: who hears from us can reach us.
    async fn subscribed(&self, client: &AsyncClient, codes: &[rumqttc::SubscribeReasonCode]) -> Result<(), Fault> {
        let refused = codes.iter().find(|code| !matches!(code, rumqttc::SubscribeReasonCode::Success(_)));
        if let Some(code) = refused {
            let why = format!("the broker refused a subscription: {code:?}");
            return Err(Fault::new(FaultKind::NotAuthorised, why));
        }
        self.shared.publish_announced(client);
        tracing::info!(host = %self.shared.settings.host, port = self.shared.settings.port, "mqtt connected");
        let patience = Some(Span::from_millis(u64::try_from(self.patience().as_millis()).unwrap_or(u64::MAX)));
        let terms = LinkTerms { patience, receipts: self.shared.settings.receipts };
        self.tell(Event::Core(Input::LinkUp { transport: self.context.id, epoch: self.epoch, terms })).await
    }

    async fn arrived(&self, publish: &Publish) -> Result<(), Fault> {
        let ticket = {
            let mut live = self.shared.live();
            let Some(live) = live.as_mut() else {
                return Err(Fault::new(FaultKind::ProtocolError, "a message before CONNACK"));
            };
            live.client.prepare_ack(publish).map(|ack| live.acks.hold(ack))
        };
        let receipt = self.shared.topics.receipt(publish);
        let request = if receipt.is_some() { None } else { self.shared.topics.request(publish, ticket) };
        let Some(request) = request else {
            // A receipt, or not ours at all (a broker with odd subscriptions): nothing has to be durable first.
            if let Some(Some(job)) = receipt {
                self.tell(Event::Core(Input::Receipt { transport: self.context.id, job })).await?;
            } else {
                self.context.telemetry.dropped("not-a-job");
            }
            if let (Some(ticket), Some(live)) = (ticket, self.shared.live().as_mut()) {
                live.acknowledge(ticket);
            }
            return Ok(());
        };
        self.tell(Event::Job(Box::new(request))).await
    }

    async fn tell(&self, event: Event) -> Result<(), Fault> {
        let gone = |_| Fault::new(FaultKind::Disconnected, "the run loop is gone");
        self.context.inbox.send(event).await.map_err(gone)
    }
}

fn options(shared: &Shared, context: &TransportContext, fresh: bool) -> Result<MqttOptions, String> {
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
    if fresh {
        // This one session starts clean, and is kept from there on.
        options.set_session_mode(SessionMode::Clean);
        options.set_session_expiry_interval(Some(SESSION_EXPIRY_S));
        return Ok(options);
    }
    let session = EmptySession::for_options(&options);
    options.set_session_store(session);
    Ok(options)
}

fn tls_config(tls: &Tls) -> TlsConfiguration {
    TlsConfiguration::Simple { ca: tls.ca.clone(), alpn: None, client_auth: tls.client.clone() }
}
