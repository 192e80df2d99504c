//! Sources and outputs, from their configuration to the parts of the loop.

use std::sync::Arc;

use anyhow::Context;
use picket_core::job::TransportId;

use crate::{
    board::watch::SourceRate,
    config::{Config, SourceConfig},
    run::TransportSlot,
    source,
    transport::TransportContext,
};

/// Names of the transports, in the order of their ids: those of the configuration, then the one that the sources are.
pub(super) fn transport_names(config: &Config) -> Vec<Arc<str>> {
    let names = config.transports.iter().map(|(name, _)| *name);
    names.chain((!config.sources.is_empty()).then_some(source::NAME)).map(Arc::from).collect()
}

/// `id`: the next transport's.
pub(super) fn start_sources(
    sources: Vec<SourceConfig>,
    context: &TransportContext,
    id: usize,
    rate: &SourceRate,
) -> anyhow::Result<Option<TransportSlot>> {
    if sources.is_empty() {
        return Ok(None);
    }
    let context = TransportContext { id: TransportId(id), ..context.clone() };
    let transport = source::start(sources, context, rate).context("no thread for sources")?;
    Ok(Some(TransportSlot { name: source::NAME, transport }))
}
