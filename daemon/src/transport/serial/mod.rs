//! Microcontrollers over serial lines: UART, USB. The wire is that of the crate `firmware-profiles`.
//!
//! A node's job is an ordinary job with the id `node/{node}/{boot}/{seq}`. Its Ack leaves when it is stored; its result
//! is a row of the outbox like any other, and is confirmed by the node's Receipt. All ports are one link to the run loop;
//! which node hears what, and when, is decided in `nodes.rs`, without a port and without a clock.

mod bucket;
#[cfg(test)]
mod exchange_tests;
mod hub;
mod line;
mod nodes;
#[cfg(test)]
mod nodes_tests;
mod request;
mod said;
mod settings;
mod windows;

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
};

use picket_core::{
    Input,
    job::{AckTicket, Epoch, RowId},
    limits,
};
use tokio::{
    sync::{Notify, mpsc},
    task::JoinHandle,
};

use self::{
    hub::{Hub, Ticks},
    line::Line,
    nodes::{Nodes, Rules},
    settings::Settings,
};
use super::{TransportContext, TransportKind, TransportSetup};
use crate::{
    config::{ConfigError, Section},
    ports::{Message, Transport},
};

/// The row of the registration table.
pub struct Serial;

impl TransportKind for Serial {
    fn name(&self) -> &'static str {
        "serial"
    }

    fn configure(&self, section: Section<'_>) -> Result<Box<dyn TransportSetup>, ConfigError> {
        Ok(Box::new(Setup(Settings::parse(&section)?)))
    }
}

struct Setup(Settings);

impl TransportSetup for Setup {
    fn check_models(&self, models: &[&str]) -> Result<(), ConfigError> {
        self.0.check_models(models)
    }

    fn start(self: Box<Self>, context: TransportContext) -> anyhow::Result<Box<dyn Transport>> {
        let Settings { ports, assigned, rate, .. } = self.0;
        let models = context.models.iter().map(|model| model.name.clone()).collect();
        let (lines, frames): (Vec<_>, Vec<_>) = ports.iter().map(|_| mpsc::channel(limits::SERIAL_QUEUE)).unzip();
        let (confirm, confirmations) = mpsc::channel(limits::DELIVERY_WINDOW);
        let hub = Arc::new(Hub {
            id: context.id,
            nodes: Mutex::new(Nodes::new(Rules { transport: context.id, rate, assigned, models })),
            lines,
            paths: ports.iter().map(|port| port.path.display().to_string()).collect(),
            confirm,
            inbox: context.inbox,
            clock: context.clock,
            telemetry: context.telemetry,
            wake: Notify::new(),
            ticks: Ticks::new(ports.len(), context.clock.now()),
        });
        let mut tasks = vec![tokio::spawn(hub.clone().report(confirmations)), tokio::spawn(hub.clone().keep_time())];
        for (index, (port, frames)) in ports.into_iter().zip(frames).enumerate() {
            tasks.push(tokio::spawn(Line { hub: hub.clone(), index, port, frames }.serve()));
        }
        Ok(Box::new(SerialTransport { hub, tasks }))
    }
}

struct SerialTransport {
    hub: Arc<Hub>,
    tasks: Vec<JoinHandle<()>>,
}

impl Transport for SerialTransport {
    fn deliver(&mut self, row: RowId, _epoch: Epoch, message: Arc<Message>) {
        let now = self.hub.clock.now();
        self.hub.with(|nodes, out| nodes.deliver(now, row, &message, out));
    }

    fn ack(&mut self, ticket: AckTicket) {
        self.hub.with(|nodes, out| nodes.ack(ticket, out));
    }

    fn takes_amendments(&self) -> bool {
        true
    }

    fn max_payload(&self) -> usize {
        limits::MAX_BODY_BYTES
    }

    /// A task that panicked is over, and a line without its task is deaf for ever.
    fn is_moving(&self) -> bool {
        let over = self.tasks.iter().any(JoinHandle::is_finished);
        !over && self.hub.ticks.all_since(self.hub.clock.now())
    }

    /// What has no receipt a little later stays in the outbox: a node that is away must not hold the process.
    fn stop_intake(&mut self) {
        self.hub.nodes().stop_intake();
        let hub = self.hub.clone();
        tokio::spawn(async move {
            tokio::time::sleep(limits::SERIAL_CLOSE_WAIT.into()).await;
            let _ = hub.confirm.send(Input::LinkDown { transport: hub.id }).await;
        });
    }

    fn close(self: Box<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::ready(()))
    }
}

impl Drop for SerialTransport {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}
