//! Beginnings and ends of streams.

use picket_core::job::ModelId;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

use super::Telemetry;
use crate::ports::StreamNote;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    model: String,
    what: &'static str,
}

/// `what` is why one began (`new`, `gap`, `age`), or `evicted`.
#[derive(Default)]
pub(super) struct Streams(Family<Labels, Counter>);

impl Streams {
    pub fn register(&self, registry: &mut Registry) {
        registry.register("streams", "Streams that began anew, by reason, and those that had to go", self.0.clone());
    }
}

impl Telemetry {
    /// What a job's inference did to the streams of its model.
    pub fn stream(&self, model: ModelId, note: Option<&StreamNote>) {
        let (Some(note), Some(meters)) = (note, self.models.get(model.0)) else { return };
        let count = |what: &'static str, count: usize| {
            let labels = Labels { model: meters.name.to_string(), what };
            self.streams.0.get_or_create(&labels).inc_by(count as u64);
        };
        if let Some(begun) = note.begun {
            count(begun.name(), 1);
        }
        if note.evicted > 0 {
            count("evicted", note.evicted);
            tracing::debug!(model = &*meters.name, count = note.evicted, "the oldest streams went for a new one");
        }
    }
}
