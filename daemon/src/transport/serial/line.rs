//! One serial port: opened, read, written, and opened again when it is away. What is heard is decided in [`super::nodes`].

use std::{path::Path, sync::Arc};

use firmware_profiles::wire::Receiver;
use picket_core::{limits, time::Doubling};
use serde_json::json;
use serial2_tokio::SerialPort;
use tokio::sync::mpsc;

use super::{hub::Hub, settings::Port};
use crate::{failpoint, ports::Event};

/// Bytes that are read at once.
const CHUNK: usize = 4_096;

pub(super) struct Line {
    pub hub: Arc<Hub>,
    pub index: usize,
    pub port: Port,
    /// Frames to be written.
    pub frames: mpsc::Receiver<Vec<u8>>,
}

impl Line {
    /// Keeps the port open, as long as the transport runs.
    pub async fn serve(mut self) {
        let (mut retry, mut was_lost) = (Doubling::new(limits::SERIAL_REOPEN, limits::SERIAL_REOPEN_MAX), false);
        loop {
            self.hub.ticks.tick(self.index, self.hub.clock.now());
            let why = match open(&self.port) {
                Ok(port) => {
                    if std::mem::take(&mut was_lost) {
                        self.say("serial-back", "serial/back", None).await;
                    }
                    tracing::info!(path = %self.port.path.display(), baud = self.port.baud, "serial port open");
                    retry.reset();
                    self.hub.with(|nodes, out| nodes.port_is_up(self.index, true, out));
                    let why = self.run(&port).await;
                    self.hub.with(|nodes, out| nodes.port_is_up(self.index, false, out));
                    why
                }
                Err(error) => error.to_string(),
            };
            if !std::mem::replace(&mut was_lost, true) {
                tracing::warn!(path = %self.port.path.display(), why, "serial/lost: the port is tried again");
                self.say("serial-lost", "serial/lost", Some(why)).await;
            }
            tokio::time::sleep(retry.wait().into()).await;
            // What was said meanwhile is said again by whoever wants an answer.
            while self.frames.try_recv().is_ok() {}
        }
    }

    /// Reads and writes until the first error, and says what it was.
    async fn run(&mut self, port: &SerialPort) -> String {
        let writing = async {
            // What the line carried before does not spoil the first frame.
            let mut result = port.write_all(&[0]).await;
            while result.is_ok() {
                let Some(bytes) = self.frames.recv().await else { std::future::pending().await };
                result = port.write_all(&bytes).await;
            }
            result
        };
        let reading = async {
            let (mut receiver, mut buffer) = (Receiver::<{ firmware_profiles::wire::ENCODED_MAX }>::new(), [0; CHUNK]);
            loop {
                match port.read(&mut buffer).await {
                    Ok(0) => return "the port is gone".to_owned(),
                    Ok(length) => {
                        let mut bytes = buffer.get(..length).unwrap_or_default();
                        while let Some(result) = receiver.receive(&mut bytes) {
                            self.hub.hear(self.index, result);
                        }
                        // A flood on one line leaves the others their turn.
                        tokio::task::yield_now().await;
                    }
                    Err(error) => return error.to_string(),
                }
            }
        };
        let ticking = async {
            loop {
                self.hub.ticks.tick(self.index, self.hub.clock.now());
                failpoint::hit("serial-line");
                tokio::time::sleep(limits::SERIAL_TICK.into()).await;
            }
        };
        tokio::select! {
            () = ticking => String::new(),
            why = reading => why,
            written = writing => written.err().map_or_else(String::new, |error| error.to_string()),
        }
    }

    async fn say(&self, event: &str, code: &'static str, why: Option<String>) {
        self.hub.telemetry.link_failed(code);
        let mut news = json!({ "event": event, "code": code, "port": self.port.path.display().to_string() });
        if let Some(why) = why {
            news["why"] = why.into();
        }
        let _ = self.hub.inbox.send(Event::News(news)).await;
    }
}

/// Eight data bits, no parity, one stop bit, no flow control.
fn open(Port { path, baud }: &Port) -> std::io::Result<SerialPort> {
    let path: &Path = path;
    SerialPort::open(path, *baud)
}
