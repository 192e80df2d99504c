//! Transports: how jobs come in and results go out.

pub mod channel;
mod http;
pub mod mqtt;
mod serial;

use std::sync::Arc;

use picket_core::job::TransportId;

use crate::{
    config::{ConfigError, Section},
    ports::{Clock, Inbox, Signature, Transport},
    telemetry::Telemetry,
};

/// The registration table: to add a transport, add its file, its `mod` line and its line here. (`channel` has no section
/// in a configuration: whoever uses it holds its other end.)
pub static TRANSPORTS: &[&dyn TransportKind] = &[&mqtt::Mqtt, &http::Http, &serial::Serial];

/// A kind of transport: one section of the configuration, one row of [`TRANSPORTS`].
pub trait TransportKind: Sync {
    /// Name of its section in the configuration, and of the transport in logs and status.
    fn name(&self) -> &'static str;

    /// Checks the section. Opens nothing.
    ///
    /// # Errors
    /// The first mistake in the section.
    fn configure(&self, section: Section<'_>) -> Result<Box<dyn TransportSetup>, ConfigError>;
}

/// A checked section, ready to start.
pub trait TransportSetup: Send {
    /// Are the models that the section names there?
    ///
    /// # Errors
    /// `config/unknown-name`, with its place.
    fn check_models(&self, _models: &[&str]) -> Result<(), ConfigError> {
        Ok(())
    }

    /// Opens sockets and spawns tasks on the present tokio runtime.
    ///
    /// # Errors
    /// A socket cannot be opened. A peer that is away is no error: the transport keeps trying.
    fn start(self: Box<Self>, context: TransportContext) -> anyhow::Result<Box<dyn Transport>>;
}

/// What a transport may know of the daemon.
#[derive(Clone)]
pub struct TransportContext {
    pub id: TransportId,
    pub inbox: Inbox,
    pub clock: Clock,
    pub device: Arc<str>,
    pub group: Option<Arc<str>>,
    pub models: Arc<[ModelInfo]>,
    pub telemetry: Arc<Telemetry>,
}

/// A model as the outside sees it.
#[derive(Clone, Debug)]
pub struct ModelInfo {
    pub name: Arc<str>,
    pub version: String,
    /// Inputs as a job brings them, outputs as the model gives them. `None` for a model that is not served.
    pub signature: Option<Signature>,
    pub proven: bool,
    /// Why it is not served: a code and a sentence.
    pub refused: Option<String>,
}
