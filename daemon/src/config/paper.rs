//! Plug-ins that can be configured and do nothing, for tests of the configuration.

use std::{pin::Pin, sync::Arc};

use picket_core::{escalation::money::Money, time::Span};
use serde::Deserialize;
use toml::Spanned;

use super::{ConfigError, Section};
use crate::{
    ports::{Asking, Provider, Question, Transport},
    provider::{ProviderKind, ProviderSetup},
    transport::{TransportContext, TransportKind, TransportSetup},
};

pub const TRANSPORTS: &[&dyn TransportKind] = &[&Paper("mqtt"), &Paper("http")];
pub const PROVIDERS: &[&dyn ProviderKind] = &[&Mute];

/// A transport that can be configured and not started.
struct Paper(&'static str);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PaperSection {
    url: Option<Spanned<String>>,
    #[serde(rename = "prefix")]
    _prefix: Option<String>,
    #[serde(rename = "listen")]
    _listen: Option<String>,
}

impl TransportKind for Paper {
    fn name(&self) -> &'static str {
        self.0
    }

    fn configure(&self, section: Section<'_>) -> Result<Box<dyn TransportSetup>, ConfigError> {
        let raw: PaperSection = section.parse()?;
        match raw.url {
            Some(url) if url.get_ref().ends_with(":0") => Err(section.error(Some(url.span()), "port 0 is no port")),
            _ => Ok(Box::new(Paper(self.0))),
        }
    }
}

impl TransportSetup for Paper {
    fn start(self: Box<Self>, _: TransportContext) -> anyhow::Result<Box<dyn Transport>> {
        anyhow::bail!("{} is only paper", self.0)
    }
}

/// A provider that never answers.
struct Mute;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MuteSection {
    name: String,
    #[serde(rename = "kind")]
    _kind: String,
    #[serde(rename = "url")]
    _url: Option<String>,
    #[serde(rename = "model")]
    _model: Option<String>,
    timeout_ms: Option<u64>,
}

impl ProviderKind for Mute {
    fn name(&self) -> &'static str {
        "oip"
    }

    fn configure(&self, section: Section<'_>) -> Result<ProviderSetup, ConfigError> {
        let raw: MuteSection = section.parse()?;
        let timeout = Span::from_millis(raw.timeout_ms.unwrap_or(1_000));
        Ok(ProviderSetup { name: raw.name.into(), timeout, cost: Money::ZERO, provider: Arc::new(Mute) })
    }
}

impl Provider for Mute {
    fn ask(&self, _: Question) -> Asking {
        Pin::from(Box::new(std::future::pending()))
    }
}
