//! From TOML text to a checked configuration; nothing is opened here but the files themselves.

mod by_label;
mod device;
mod document;
mod escalation;
mod model;
mod output;
pub mod pin;
mod provider;
mod records;
pub mod redact;
pub mod secret;
pub mod section;
mod source;
mod store;
pub mod units;
pub mod words;

#[cfg(test)]
mod paper;
#[cfg(test)]
mod tests;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use self::document::Document;
pub use self::{
    by_label::ByLabel,
    device::Device,
    escalation::{AUDIT_RATE, Demand, Escalation},
    model::{ModelConfig, Smaller},
    output::OutputConfig,
    provider::{ACCURACY, ProviderConfig},
    records::Records,
    section::{ConfigError, Section, Source},
    source::SourceConfig,
    store::{OnFull, StoreConfig},
};
use crate::{
    provider::{PROVIDERS, ProviderKind},
    transport::{TRANSPORTS, TransportKind, TransportSetup},
};

/// A configuration that has been checked as far as that goes without opening a socket.
pub struct Config {
    pub device: Device,
    pub store: StoreConfig,
    /// The transports that are configured, by name, in the order of their registration.
    pub transports: Vec<(&'static str, Box<dyn TransportSetup>)>,
    /// What makes jobs by itself.
    pub sources: Vec<SourceConfig>,
    /// Lines that move when a model answers.
    pub outputs: Vec<OutputConfig>,
    /// At least one; a [`picket_core::job::ModelId`] is an index of this.
    pub models: Vec<ModelConfig>,
    /// `None`: nobody is ever asked.
    pub escalation: Option<Escalation>,
    /// A [`picket_core::job::ProviderId`] is an index of this.
    pub providers: Vec<ProviderConfig>,
    /// What is written down beside jobs and results.
    pub records: Records,
}

/// The plug-ins that own sections of the configuration.
#[derive(Clone, Copy)]
struct Kinds<'k> {
    transports: &'k [&'static dyn TransportKind],
    providers: &'k [&'static dyn ProviderKind],
}

impl Config {
    /// Reads `path`, then `conf.d/*.toml` beside it in the order of their names: later keys override earlier ones,
    /// `[[model]]` and `[[provider]]` append.
    ///
    /// # Errors
    /// The first mistake, as one line with its place: `config/unreadable`, `config/syntax`, `config/unknown-key`,
    /// `config/unknown-name`, `config/duplicate-name`, `config/missing`, `config/missing-bundle`, `config/not-yet`
    /// or `config/invalid`.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let source = Arc::new(document::gather(path)?);
        let kinds = Kinds { transports: TRANSPORTS, providers: PROVIDERS };
        Self::check(&source, document::folder_of(path), kinds)
    }

    /// The files that [`Self::load`] reads, as they are.
    ///
    /// # Errors
    /// `config/unreadable`.
    pub fn texts(path: &Path) -> Result<Vec<(PathBuf, String)>, ConfigError> {
        let source = document::gather(path)?;
        Ok(source.files().map(|(path, text)| (path.to_owned(), text.to_owned())).collect())
    }

    fn check(source: &Arc<Source>, folder: &Path, kinds: Kinds<'_>) -> Result<Self, ConfigError> {
        let mut document = Document::parse(source)?;
        let mut known =
            vec!["device", "store", "model", "escalation", "provider", "decisions", "export", "source", "output"];
        known.extend(kinds.transports.iter().map(|kind| kind.name()));
        document.allow(&known)?;

        let device = device::check(document.table("device")?.as_ref(), folder)?;
        let store = store::check(document.table("store")?.as_ref(), folder)?;
        let transports = transports(&mut document, kinds.transports)?;
        let models = model::check_all(&document.tables("model")?, folder, &store, &device.board.profile)?;
        let providers = provider::check_all(&document.tables("provider")?, kinds.providers)?;
        let escalation = match document.table("escalation")? {
            Some(section) => Some(escalation::check(&section, &providers)?),
            None => None,
        };
        let records = records::check(&mut document, store.durable)?;
        if models.is_empty() {
            return Err(document.error("config/missing", "there is no [[model]]; a Picket needs at least one"));
        }
        let sources =
            source::check_all(&document.tables("source")?, (folder, &device.board.profile), &models, store.durable)?;
        let outputs = output::check_all(&document.tables("output")?, folder, &models, &device.board.profile)?;
        if transports.is_empty() && sources.is_empty() {
            let names: Vec<String> = kinds.transports.iter().map(|kind| format!("[{}]", kind.name())).collect();
            let message = format!("no jobs could come in; add one of these sections: {}", names.join(", "));
            return Err(document.error("config/missing", &message));
        }
        let names: Vec<&str> = models.iter().map(|model| &*model.name).collect();
        transports.iter().try_for_each(|(_, setup)| setup.check_models(&names))?;
        Ok(Self { device, store, transports, sources, outputs, models, escalation, providers, records })
    }
}

type Transports = Vec<(&'static str, Box<dyn TransportSetup>)>;

fn transports(document: &mut Document<'_>, kinds: &[&'static dyn TransportKind]) -> Result<Transports, ConfigError> {
    let mut setups = Vec::new();
    for kind in kinds {
        if let Some(section) = document.table(kind.name())? {
            setups.push((kind.name(), kind.configure(section)?));
        }
    }
    Ok(setups)
}
