//! HTTP: the Open Inference Protocol v2 in its REST form, and what operators look at.
//!
//! A caller waits on the line for its answer. So an inference request becomes a [`Request`](crate::ports::Request) with
//! the number of a waiter for its address; `deliver` hands the message to that waiter, and tells the run loop whether
//! anybody was still there. A caller that hung up loses nothing: the result is kept, and the same job id gets it again.
//!
//! Numbers of waiters carry a random word of this process, so that a row of the last run never finds a stranger.

mod dead;
mod infer;
mod listen;
mod pages;
mod reply;
mod waiters;

#[cfg(test)]
mod tests;

use std::{
    future::Future,
    path::PathBuf,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use picket_core::{
    Input, LinkTerms,
    job::{AckTicket, Epoch, Failure, RowId, TransportId},
    limits,
};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::JoinHandle,
};
use toml::Spanned;

use self::{
    listen::Listen,
    waiters::{Answer, Waiters},
};
use super::{TransportContext, TransportKind, TransportSetup};
use crate::{
    config::{ConfigError, Section, units},
    ports::{Address, Event, Inbox, Message, Transport},
};

/// The row of the registration table.
pub struct Http;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    listen: Spanned<String>,
    token_file: Option<Spanned<PathBuf>>,
    max_body: Option<Spanned<String>>,
}

/// A checked `[http]` section.
#[derive(Debug)]
struct Setup {
    listen: Listen,
    /// SHA-256 of the bearer token: all that a comparison needs.
    token: Option<[u8; 32]>,
    /// Bytes of one request body.
    max_body: usize,
}

impl TransportKind for Http {
    fn name(&self) -> &'static str {
        "http"
    }

    fn configure(&self, section: Section<'_>) -> Result<Box<dyn TransportSetup>, ConfigError> {
        Ok(Box::new(Setup::of(&section)?))
    }
}

impl Setup {
    fn of(section: &Section<'_>) -> Result<Self, ConfigError> {
        let raw: Raw = section.clone().parse()?;
        let at = raw.listen.span();
        let listen = Listen::parse(raw.listen.get_ref()).map_err(|why| section.error(Some(at.clone()), why))?;
        if !listen.is_local() && raw.token_file.is_none() {
            let why = format!("`listen = \"{listen}\"` is reachable from other machines: set `token_file` too");
            return Err(section.error(Some(at), why));
        }
        let token = match raw.token_file {
            Some(file) => Some(Sha256::digest(section.secret_line(&file)?.trim()).into()),
            None => None,
        };
        let max_body = match raw.max_body {
            Some(text) => {
                let most = limits::MAX_BODY_BYTES;
                let size = units::bytes(text.get_ref()).and_then(|size| {
                    let size = usize::try_from(size).ok().filter(|size| (1..=most).contains(size));
                    size.ok_or_else(|| format!("`max_body` is 1 byte to {}MiB", most >> 20))
                });
                size.map_err(|why| section.error(Some(text.span()), why))?
            }
            None => limits::MAX_BODY_BYTES,
        };
        Ok(Self { listen, token, max_body })
    }

    fn open(self, context: TransportContext) -> anyhow::Result<HttpTransport> {
        let door = self.listen.bind()?;
        let address = door.address();
        tracing::info!(addr = %address, "http listening");
        let (confirm, confirmations) = mpsc::channel(limits::DELIVERY_WINDOW);
        tokio::spawn(report(context.id, context.inbox.clone(), confirmations));
        let id = context.id;
        let server = Arc::new(Server {
            context,
            token: self.token,
            max_body: self.max_body,
            bodies: Arc::new(Semaphore::new(limits::HTTP_BODIES_BYTES)),
            waiters: Waiters::default(),
            intake: AtomicBool::new(true),
        });
        let (stop, stopped) = watch::channel(false);
        let serving = tokio::spawn(listen::serve(door, pages::router(server.clone()), stopped));
        Ok(HttpTransport { id, address, server, confirm, stop, serving })
    }
}

impl TransportSetup for Setup {
    fn start(self: Box<Self>, context: TransportContext) -> anyhow::Result<Box<dyn Transport>> {
        Ok(Box::new(self.open(context)?))
    }
}

/// What the handlers share.
struct Server {
    context: TransportContext,
    token: Option<[u8; 32]>,
    max_body: usize,
    /// One permit per byte of a body that is in the house.
    bodies: Arc<Semaphore>,
    waiters: Waiters,
    /// New jobs are taken.
    intake: AtomicBool,
}

/// Brings confirmations to the run loop. `deliver` must not wait for the loop's inbox: the loop itself calls it.
async fn report(transport: TransportId, inbox: Inbox, mut confirmations: mpsc::Receiver<Input>) {
    if inbox.send(Event::Core(Input::LinkUp { transport, epoch: EPOCH, terms: LinkTerms::default() })).await.is_err() {
        return;
    }
    while let Some(input) = confirmations.recv().await {
        if inbox.send(Event::Core(input)).await.is_err() {
            return;
        }
    }
}

/// HTTP has one connection to the run loop, which lasts as long as the process.
const EPOCH: Epoch = Epoch(1);

/// The running transport.
struct HttpTransport {
    id: TransportId,
    /// As bound: the port is the real one when the configuration said 0.
    address: String,
    server: Arc<Server>,
    /// At most a delivery window is unconfirmed, which is the room of this channel.
    confirm: mpsc::Sender<Input>,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl Transport for HttpTransport {
    fn deliver(&mut self, row: RowId, epoch: Epoch, message: Arc<Message>) {
        let transport = self.id;
        let to = message.to.to.clone();
        let input = if self.server.waiters.answer(&to, Answer::Message(message)) {
            Input::Confirmed { transport, row, epoch }
        } else {
            Input::Undeliverable { transport, row, epoch }
        };
        if self.confirm.try_send(input).is_err() {
            tracing::error!(row = row.0, "more rows delivered than a delivery window; this one stays unconfirmed");
        }
    }

    /// Nothing to do: requests come without a ticket, the answer is their acknowledgement.
    fn ack(&mut self, _ticket: AckTicket) {}

    fn bounce(&mut self, to: &Address, failure: &Failure) {
        // Nobody there any more is no news: nothing was promised.
        let _ = self.server.waiters.answer(&to.to, Answer::Bounced(failure.clone()));
    }

    fn max_payload(&self) -> usize {
        limits::MAX_BODY_BYTES
    }

    fn stop_intake(&mut self) {
        self.server.intake.store(false, Ordering::Relaxed);
    }

    fn close(mut self: Box<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            self.stop_intake();
            self.server.waiters.dismiss();
            let _ = self.stop.send(true);
            let patience = limits::HTTP_CLOSE_WAIT.into();
            if tokio::time::timeout(patience, &mut self.serving).await.is_err() {
                tracing::warn!(addr = %self.address, "some HTTP clients did not take their answer in time");
                self.serving.abort();
            }
        })
    }
}

impl Drop for HttpTransport {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
