//! MQTT 5. The only folder that names the client library (I7).
//!
//! A connection lives until its first error; then everything of it is dropped and rebuilt, and the outbox decides what is
//! sent again. The library is a pipe for one connection: no retransmission of its own, no acknowledgement of its own.

pub mod asker;
mod backoff;
mod confirm;
pub mod embedded;
mod fault;
mod ledger;
mod link;
mod session;
mod settings;
pub mod topics;

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use picket_core::{
    job::{AckTicket, Epoch, RowId},
    time::Span,
};
use rumqttc::{AsyncClient, ManualAck, PublishOptions};
use serde_json::Value;
use tokio::{
    sync::{Notify, mpsc},
    task::JoinHandle,
};

use self::{
    confirm::{Judge, Sent},
    ledger::Ledger,
    settings::Settings,
    topics::Topics,
};
use super::{TransportContext, TransportKind, TransportSetup};
use crate::{
    config::{ConfigError, Section},
    ports::{Address, Announcement, Clock, Message, Transport},
};

pub struct Mqtt;

impl TransportKind for Mqtt {
    fn name(&self) -> &'static str {
        "mqtt"
    }

    fn configure(&self, section: Section<'_>) -> Result<Box<dyn TransportSetup>, ConfigError> {
        Ok(Box::new(Setup(Settings::parse(section)?)))
    }
}

struct Setup(Settings);

impl TransportSetup for Setup {
    fn start(self: Box<Self>, context: TransportContext) -> anyhow::Result<Box<dyn Transport>> {
        let settings = self.0;
        if let Some(address) = settings.embedded {
            embedded::start(address, settings.max_packet)?;
        }
        if settings.is_exposed() {
            tracing::warn!(host = %settings.host, "MQTT without TLS beyond this machine: jobs and results can be read on the way");
        }
        let topics =
            Topics::new(context.id, &settings.prefix, &context.device, context.group.as_deref(), settings.max_packet)
                .with_receipts(settings.receipts);
        let shared = Arc::new(Shared {
            live: Mutex::new(None),
            announced: Mutex::new(Announced::default()),
            closing: AtomicBool::new(false),
            progress: AtomicBool::new(false),
            max_packet: AtomicUsize::new(settings.max_packet),
            topics,
            settings,
            clock: context.clock,
            moving_until: AtomicU64::new(u64::MAX),
        });
        let (sent, confirmations) = mpsc::channel(picket_core::limits::LINK_REQUESTS);
        let judge = Judge::new(context.id, context.inbox.clone(), context.telemetry.clone(), shared.clone());
        tokio::spawn(judge.run(confirmations));
        let link = tokio::spawn(link::supervise(shared.clone(), context));
        Ok(Box::new(MqttTransport { shared, sent, link }))
    }
}

/// What the run loop's side and the connection's side share.
struct Shared {
    /// The present connection, once its subscriptions stand.
    live: Mutex<Option<Live>>,
    announced: Mutex<Announced>,
    closing: AtomicBool,
    /// The present connection has brought a row to the broker.
    progress: AtomicBool,
    /// Largest packet that the broker takes, as of the last connection.
    max_packet: AtomicUsize,
    topics: Topics,
    settings: Settings,
    clock: Clock,
    /// The connection's task says that it moves: until this moment, in microseconds.
    moving_until: AtomicU64,
}

struct Live {
    epoch: Epoch,
    client: AsyncClient,
    acks: Ledger<ManualAck>,
    /// Somebody wants this connection to end.
    reset: Arc<Notify>,
}

impl Live {
    /// The arrival behind the ticket is dealt with: its acknowledgement leaves, as early as the order of receipt allows.
    fn acknowledge(&mut self, ticket: AckTicket) {
        for ack in self.acks.release(ticket) {
            // The request channel holds more than all acks and rows together. An ack that was lost all the same only
            // makes the broker deliver that job again.
            if self.client.try_manual_ack(ack).is_err() {
                tracing::warn!("an acknowledgement found no room; the broker will deliver that job again");
            }
        }
    }
}

/// What is told about this daemon.
#[derive(Default)]
struct Announced {
    /// Retained, so published anew on every connection.
    state: Option<Vec<u8>>,
    loss: Option<Vec<u8>>,
    /// What happened before there was a connection: it is published with the next one. The oldest goes first.
    events: VecDeque<Vec<u8>>,
}

impl Shared {
    fn live(&self) -> MutexGuard<'_, Option<Live>> {
        // The guarded sections cannot panic half-way; a poisoned lock still holds a whole value.
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn announced(&self) -> MutexGuard<'_, Announced> {
        self.announced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection's task is here again at the latest after this while.
    fn moves_within(&self, span: Duration) {
        let until = self.clock.now() + Span::from_micros(u64::try_from((span + SLACK).as_micros()).unwrap_or(u64::MAX));
        self.moving_until.store(until.as_micros(), Ordering::Relaxed);
    }

    fn note_progress(&self) {
        self.progress.store(true, Ordering::Relaxed);
    }

    fn max_packet(&self) -> usize {
        self.max_packet.load(Ordering::Relaxed)
    }

    /// Publishes something about this daemon. Not what is larger than the broker takes: that would end the connection.
    fn publish_document(&self, client: &AsyncClient, topic: String, payload: Vec<u8>, retained: bool) {
        if topic.len() + payload.len() + PACKET_OVERHEAD > self.max_packet() {
            tracing::debug!(topic, "larger than the broker's maximum packet size, not published");
            return;
        }
        let _ = client.try_publish(topic, payload, PublishOptions::at_least_once().retain(retained));
    }

    fn closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Publishes the retained documents; what does not fit now is published on the next connection.
    fn publish_announced(&self, client: &AsyncClient) {
        let announced = self.announced();
        let documents = [(self.topics.state(), &announced.state), (self.topics.loss(), &announced.loss)];
        for (topic, document) in documents {
            if let Some(document) = document {
                self.publish_document(client, topic, document.clone(), true);
            }
        }
        drop(announced);
        self.publish_events(client);
    }

    /// A retained document: now, and on every later connection.
    fn retain(&self, topic: String, value: &Value, slot: fn(&mut Announced) -> &mut Option<Vec<u8>>) {
        let payload = value.to_string().into_bytes();
        *slot(&mut self.announced()) = Some(payload.clone());
        if let Some(live) = self.live().as_ref() {
            self.publish_document(&live.client, topic, payload, true);
        }
    }

    /// An event: now, or on the next connection. Kept first: a connection that stands from now on publishes what it finds.
    fn tell(&self, value: &Value) {
        let mut announced = self.announced();
        if announced.events.len() == picket_core::limits::EARLY_EVENTS {
            announced.events.pop_front();
        }
        announced.events.push_back(value.to_string().into_bytes());
        drop(announced);
        if let Some(live) = self.live().as_ref() {
            self.publish_events(&live.client);
        }
    }

    fn publish_events(&self, client: &AsyncClient) {
        for event in std::mem::take(&mut self.announced().events) {
            self.publish_document(client, self.topics.event(), event, false);
        }
    }
}

struct MqttTransport {
    shared: Arc<Shared>,
    /// Rows handed to the library, to be confirmed.
    sent: mpsc::Sender<Sent>,
    link: JoinHandle<()>,
}

/// A machine under load may be so late.
const SLACK: Duration = Duration::from_secs(5);

/// Bytes of a Publish beside topic, correlation data and payload: header, lengths, content type, error property.
const PACKET_OVERHEAD: usize = 128;

impl Transport for MqttTransport {
    fn deliver(&mut self, row: RowId, epoch: Epoch, message: Arc<Message>) {
        let live = self.shared.live();
        // Without this connection the engine has heard, or will hear, of its end; the row stays in the outbox.
        let Some(live) = live.as_ref().filter(|live| live.epoch == epoch) else { return };
        let left = message.expires_at.map(|at| at.since(self.shared.clock.now()));
        let properties = topics::result_properties(message.to.correlation.as_ref(), message.code.as_ref(), left);
        let size = message.payload.len() + message.to.to.len() + message.to.correlation.as_ref().map_or(0, |c| c.len());
        let options = PublishOptions::at_least_once().properties(properties);
        let outcome = if left == Some(Span::ZERO) {
            confirm::Outcome::Expired
        } else if size + PACKET_OVERHEAD > self.shared.max_packet() {
            confirm::Outcome::Impossible("larger than the broker's maximum packet size")
        } else {
            match live.client.try_publish_tracked(&*message.to.to, message.payload.clone(), options) {
                Ok(notice) => confirm::Outcome::Pending(notice),
                Err(rumqttc::ClientError::InvalidRequest(_)) => confirm::Outcome::Impossible("no valid topic"),
                Err(_) => confirm::Outcome::NotNow,
            }
        };
        // The channel holds more than the delivery window, so it has room; if it had none, the next connection sends
        // the row again.
        let _ = self.sent.try_send(Sent { row, epoch, outcome });
    }

    fn ack(&mut self, ticket: AckTicket) {
        let mut live = self.shared.live();
        let Some(live) = live.as_mut().filter(|live| live.epoch == ticket.epoch) else { return };
        live.acknowledge(ticket);
    }

    fn reset(&mut self, epoch: Epoch) {
        if let Some(live) = self.shared.live().as_ref().filter(|live| live.epoch == epoch) {
            live.reset.notify_one();
        }
    }

    fn announce(&mut self, what: Announcement) {
        let shared = &self.shared;
        match what {
            Announcement::State(value) => shared.retain(shared.topics.state(), &value, |told| &mut told.state),
            Announcement::Loss(value) => shared.retain(shared.topics.loss(), &value, |told| &mut told.loss),
            Announcement::Event(value) => shared.tell(&value),
        }
    }

    fn is_moving(&self) -> bool {
        self.shared.clock.now().as_micros() < self.shared.moving_until.load(Ordering::Relaxed)
    }

    fn dead_letters(&self) -> Option<Address> {
        Some(self.shared.topics.dead())
    }

    fn amendments(&self, model: &str) -> Option<Address> {
        Some(self.shared.topics.amend(model))
    }

    fn results(&self, model: &str) -> Option<Address> {
        Some(self.shared.topics.result(model))
    }

    fn max_payload(&self) -> usize {
        self.shared.max_packet().saturating_sub(2 * PACKET_OVERHEAD)
    }

    fn close(self: Box<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.shared.closing.store(true, Ordering::Release);
        let disconnecting = self.shared.live().as_ref().is_some_and(|live| live.client.try_disconnect().is_ok());
        if !disconnecting {
            self.link.abort();
        }
        Box::pin(async move {
            // An aborted task is a closed link as well.
            let _ = self.link.await;
        })
    }
}
