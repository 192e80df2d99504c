//! What sources and outputs do.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

use super::Telemetry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SourceLabels {
    source: String,
    what: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutputLabels {
    output: String,
    what: &'static str,
}

#[derive(Default)]
pub(super) struct Hands {
    sources: Family<SourceLabels, Counter>,
    outputs: Family<OutputLabels, Counter>,
}

impl Hands {
    pub fn register(&self, registry: &mut Registry) {
        registry.register("source", "What sources did and what happened to them", self.sources.clone());
        registry.register("output", "What outputs did and what kept them from it", self.outputs.clone());
    }
}

impl Telemetry {
    pub fn source(&self, name: &str, what: &'static str, many: u64) {
        self.hands.sources.get_or_create(&SourceLabels { source: name.to_owned(), what }).inc_by(many);
    }

    pub fn output(&self, name: &str, what: &'static str) {
        self.hands.outputs.get_or_create(&OutputLabels { output: name.to_owned(), what }).inc();
    }
}
