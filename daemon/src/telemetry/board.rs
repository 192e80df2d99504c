//! How hot the board is, and what follows.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};

use super::Telemetry;
use crate::board::watch::Watched;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ZoneLabel {
    zone: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WhatLabel {
    what: &'static str,
}

#[derive(Default)]
pub(super) struct Board {
    celsius: Family<ZoneLabel, Gauge<f64, AtomicU64>>,
    stage: Gauge,
    doubts: Family<WhatLabel, Gauge<u64, AtomicU64>>,
}

impl Board {
    pub fn register(&self, registry: &mut Registry) {
        registry.register("board_celsius", "Temperature of the zones that have limits", self.celsius.clone());
        registry.register("heat_stage", "0 normal, 1 eased, 2 smaller", self.stage.clone());
        registry.register(
            "heat_doubts",
            "Readings that could not be had, or not be believed at once",
            self.doubts.clone(),
        );
    }
}

impl Telemetry {
    /// A zone that cannot be read has no gauge.
    pub fn board(&self, watched: &Watched) {
        for (zone, celsius) in watched.zones.iter().zip(&watched.celsius) {
            let label = ZoneLabel { zone: zone.clone() };
            match celsius {
                Some(celsius) => {
                    self.board.celsius.get_or_create(&label).set(*celsius);
                }
                None => {
                    self.board.celsius.remove(&label);
                }
            }
        }
        self.board.stage.set(watched.heat.stage() as i64);
        for (what, count) in [("unknown", watched.heat.unknown()), ("leap", watched.heat.leaps())] {
            self.board.doubts.get_or_create(&WhatLabel { what }).set(count);
        }
    }
}
