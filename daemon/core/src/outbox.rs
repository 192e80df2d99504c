//! Which rows are where on their way out. A row is forgotten only for a confirmation on the current connection (I3).

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    OutboxRow,
    job::{Epoch, JobId, RowId, TransportId},
    limits,
    time::Moment,
};

/// One transport's side of the outbox.
#[derive(Debug, Default)]
struct Lane {
    up: Option<Epoch>,
    /// Not handed over on this connection; lowest first, which is oldest first.
    unsent: BTreeSet<RowId>,
    /// Handed over on this connection, not confirmed.
    sent: BTreeSet<RowId>,
    /// Nothing is handed over before this moment: the receiver refused a row.
    pause_until: Option<Moment>,
}

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    lanes: BTreeMap<TransportId, Lane>,
    jobs: BTreeMap<RowId, Option<JobId>>,
}

impl Outbox {
    pub fn insert(&mut self, row: &OutboxRow) {
        self.lanes.entry(row.transport).or_default().unsent.insert(row.row);
        self.jobs.insert(row.row, row.job.clone());
    }

    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    pub fn link_up(&mut self, transport: TransportId, epoch: Epoch) {
        let lane = self.lanes.entry(transport).or_default();
        lane.unsent.append(&mut lane.sent);
        lane.up = Some(epoch);
        lane.pause_until = None;
    }

    pub fn link_down(&mut self, transport: TransportId) {
        let lane = self.lanes.entry(transport).or_default();
        lane.unsent.append(&mut lane.sent);
        lane.up = None;
    }

    /// Removes a row for good. `Err` when this connection has no claim on it: an old one's echo.
    pub fn take(&mut self, transport: TransportId, row: RowId, epoch: Epoch) -> Result<Option<JobId>, ()> {
        let lane = self.lanes.entry(transport).or_default();
        if lane.up != Some(epoch) || !lane.sent.remove(&row) {
            return Err(());
        }
        Ok(self.jobs.remove(&row).flatten())
    }

    /// Forgets a row that is no longer in the store, wherever it is on its way.
    pub fn evict(&mut self, row: RowId) -> Option<JobId> {
        for lane in self.lanes.values_mut() {
            lane.unsent.remove(&row);
            lane.sent.remove(&row);
        }
        self.jobs.remove(&row).flatten()
    }

    /// The receiver refused a row for now: it goes back, and its lane rests.
    pub fn put_back(&mut self, transport: TransportId, row: RowId, epoch: Epoch, now: Moment) {
        let lane = self.lanes.entry(transport).or_default();
        if lane.up == Some(epoch) && lane.sent.remove(&row) {
            lane.unsent.insert(row);
            lane.pause_until = Some(now + limits::REJECTED_ROW_RETRY);
        }
    }

    /// Next row to hand over, oldest first, at most a window of them unconfirmed.
    pub fn next(&mut self, now: Moment) -> Option<(TransportId, RowId, Epoch)> {
        self.lanes.iter_mut().find_map(|(transport, lane)| {
            let epoch = lane.up?;
            if lane.pause_until.is_some_and(|until| now < until) || lane.sent.len() >= limits::DELIVERY_WINDOW {
                return None;
            }
            lane.pause_until = None;
            let row = lane.unsent.pop_first()?;
            lane.sent.insert(row);
            Some((*transport, row, epoch))
        })
    }

    pub fn next_deadline(&self) -> Option<Moment> {
        self.lanes
            .values()
            .filter(|lane| lane.up.is_some() && !lane.unsent.is_empty())
            .filter_map(|lane| lane.pause_until)
            .min()
    }

    /// Everything that could be delivered now has been confirmed.
    pub fn settled(&self) -> bool {
        self.lanes.values().all(|lane| lane.sent.is_empty() && (lane.unsent.is_empty() || lane.up.is_none()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MQTT: TransportId = TransportId(0);

    fn outbox_with(rows: &[u64]) -> Outbox {
        let mut outbox = Outbox::default();
        for row in rows {
            outbox.insert(&OutboxRow { row: RowId(*row), transport: MQTT, job: None });
        }
        outbox
    }

    #[test]
    fn a_new_connection_sends_again_from_the_oldest() {
        let mut outbox = outbox_with(&[1, 2]);
        let now = Moment::ZERO;
        assert_eq!(outbox.next(now), None, "no link, no delivery");
        outbox.link_up(MQTT, Epoch(1));
        assert_eq!(outbox.next(now), Some((MQTT, RowId(1), Epoch(1))));
        outbox.link_down(MQTT);
        assert_eq!(outbox.take(MQTT, RowId(1), Epoch(1)), Err(()), "a confirmation after the cut does not count");
        outbox.link_up(MQTT, Epoch(2));
        assert_eq!(outbox.next(now), Some((MQTT, RowId(1), Epoch(2))));
        assert_eq!(outbox.take(MQTT, RowId(1), Epoch(1)), Err(()), "nor does an old connection's");
        assert_eq!(outbox.take(MQTT, RowId(1), Epoch(2)), Ok(None));
        assert_eq!(outbox.len(), 1);
    }

    #[test]
    fn a_refused_row_stays_and_its_lane_rests() {
        let mut outbox = outbox_with(&[1]);
        outbox.link_up(MQTT, Epoch(1));
        outbox.next(Moment::ZERO);
        outbox.put_back(MQTT, RowId(1), Epoch(1), Moment::ZERO);
        assert_eq!(outbox.next(Moment::ZERO), None);
        let later = outbox.next_deadline().unwrap();
        assert_eq!(outbox.next(later), Some((MQTT, RowId(1), Epoch(1))));
    }
}
