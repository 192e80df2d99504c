//! What follows from the board's temperature.

use std::sync::Arc;

use picket_core::heat::{Change, Reading, Stage};
use serde_json::json;

use super::House;
use crate::{
    board::watch::Sample,
    ports::{Announcement, Request},
    telemetry::{BoardStatus, ZoneStatus},
};

impl House {
    pub(super) fn hear_heat(&mut self, sample: Sample) {
        let reading = Reading { celsius: &sample.celsius, throttled: sample.throttle.slowed };
        let change = self.board.heat.step(self.clock.now(), &reading);
        self.board.celsius = sample.celsius;
        self.telemetry.board(&self.board);
        if let Some(change) = change {
            self.change_stage(change, sample.throttle.slowed);
        }
    }

    fn change_stage(&mut self, Change { from, to }: Change, throttled: bool) {
        self.board.source_rate.set(to.source_rate());
        self.engine.ease(to > Stage::Normal);
        let zones = self.board.zones.iter().zip(&self.board.celsius);
        let celsius: serde_json::Map<_, _> = zones.map(|(zone, celsius)| (zone.clone(), json!(celsius))).collect();
        let (from, stage) = (from.name(), to.name());
        tracing::warn!(stage, from, ?celsius, throttled, "board/heat: what is done while the board is hot has changed");
        self.announce(&Announcement::Event(json!({
            "event": "heat", "code": "board/heat", "stage": stage, "from": from, "celsius": celsius,
            "throttled": throttled, "source_rate": to.source_rate(),
        })));
    }

    /// While the board is too hot, jobs of a model with a smaller sibling are the sibling's. Returns whose they were.
    pub(super) fn leave_to_the_smaller(&self, request: Arc<Request>) -> (Arc<Request>, Option<Arc<str>>) {
        if self.board.heat.stage() != Stage::Smaller {
            return (request, None);
        }
        let wanted = self.models.iter().find(|slot| slot.name == request.model);
        let Some(smaller) = wanted.and_then(|slot| self.models.get(slot.smaller?.0)) else { return (request, None) };
        let was = request.model.clone();
        (Arc::new(Request { model: smaller.name.clone(), ..(*request).clone() }), Some(was))
    }

    pub(super) fn board_status(&self) -> BoardStatus {
        let zones = self.board.zones.iter().enumerate();
        let zone = |(index, name): (usize, &String)| ZoneStatus {
            zone: name.clone(),
            celsius: self.board.celsius.get(index).copied().flatten(),
        };
        BoardStatus {
            name: self.board.board.clone(),
            heat: self.board.heat.stage().name().to_owned(),
            source_rate: self.board.source_rate.get(),
            zones: zones.map(zone).collect(),
        }
    }
}
