//! Which rows are where on their way out. A row is forgotten only for a confirmation on the current connection (I3), or
//! when it is given up, counted.
//!
//! ```text
//!            next              confirm, take
//! unsent ───────────▶ sent ─────────────────▶ gone
//!    ▲    Busy ◀──────┤ │      or a receipt
//!    │                  │ Forbidden            after so many tries
//!    └──── held ◀───────┴───────────────────▶ gone
//! ```
//!
//! A busy receiver gets less: its lane rests for a while that doubles, and then tries one row at a time until one is taken.
//! A row that is forbidden waits for its own next try, and only that: those behind it go on.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::{
    LinkTerms, OutboxRow, Refusal,
    job::{Epoch, JobId, RowId, TransportId},
    limits,
    time::{Moment, Span},
};

/// One transport's side of the outbox.
#[derive(Debug, Default)]
struct Lane {
    up: Option<Epoch>,
    /// Not handed over on this connection; lowest first, which is oldest first.
    unsent: BTreeSet<RowId>,
    /// Handed over on this connection, not confirmed.
    sent: BTreeMap<RowId, Moment>,
    /// The same in the order of handing over; what has been answered meanwhile goes when it comes to the front.
    order: VecDeque<(Moment, RowId)>,
    /// Forbidden, or without their receipt; each goes to `unsent` at its moment.
    held: BTreeSet<(Moment, RowId)>,
    /// Rows that wait for a receipt of their job's consumer; some may be on their way once more.
    awaited: BTreeMap<JobId, Vec<RowId>>,
    /// Nothing is handed over before this moment: the receiver refused a row.
    pause_until: Option<Moment>,
    /// Pauses since the receiver last took a row.
    pauses: u32,
    /// So long may the oldest row wait for its answer.
    terms: LinkTerms,
    /// When the oldest row became the oldest: before that, it had to wait for others.
    oldest_since: Moment,
    /// Connections that were given up since the receiver last took a row.
    resets: u32,
    /// This connection is given up.
    resetting: bool,
}

impl Lane {
    /// Is this row at the receiver on this very connection? If so it is not any more.
    fn answered(&mut self, row: RowId, epoch: Epoch, now: Moment) -> bool {
        if self.up != Some(epoch) || self.sent.remove(&row).is_none() {
            return false;
        }
        while let Some((at, first)) = self.order.front()
            && self.sent.get(first) != Some(at)
        {
            self.order.pop_front();
            self.oldest_since = now;
        }
        true
    }

    fn start_over(&mut self) {
        self.unsent.extend(std::mem::take(&mut self.sent).into_keys());
        self.order.clear();
        self.pause_until = None;
        self.resetting = false;
    }

    fn window(&self) -> usize {
        if self.pauses > 0 { 1 } else { limits::DELIVERY_WINDOW }
    }

    /// One refusal starts one pause; those that come meanwhile belong to the same.
    fn rest(&mut self, now: Moment) {
        if self.pause_until.is_none_or(|until| until <= now) {
            self.pause_until = Some(now + doubled(limits::REFUSED_PAUSE, self.pauses, limits::REFUSED_PAUSE_MAX));
            self.pauses += 1;
        }
    }

    /// No receipt is awaited for this row any more.
    fn stop_awaiting(&mut self, row: RowId, known: &Row) {
        if let Some(job) = &known.job
            && let Some(rows) = self.awaited.get_mut(job)
        {
            rows.retain(|awaited| *awaited != row);
            if rows.is_empty() {
                self.awaited.remove(job);
            }
        }
    }

    /// When the connection is dead, should nothing come until then.
    fn dead_at(&self) -> Option<Moment> {
        let (handed_over, _) = self.order.front().filter(|_| self.up.is_some() && !self.resetting)?;
        let longest = Span::from_micros(u64::MAX);
        let patience = doubled(self.terms.patience?, self.resets.min(limits::PATIENCE_DOUBLINGS), longest);
        Some(self.oldest_since.max(*handed_over) + patience)
    }
}

/// `span` doubled so often, at most `longest`.
fn doubled(span: Span, times: u32, longest: Span) -> Span {
    let factor = 1_u64.checked_shl(times).unwrap_or(u64::MAX);
    Span::from_micros(span.as_micros().saturating_mul(factor)).min(longest)
}

#[derive(Debug)]
struct Row {
    job: Option<JobId>,
    /// How often it was forbidden.
    forbidden: u32,
    /// How often it was handed over and taken, without a receipt.
    taken: u32,
    held_until: Option<Moment>,
}

/// What a confirmation means for a row.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Confirmed {
    Gone(Option<JobId>),
    /// It stays until its consumer has sent a receipt.
    AwaitsReceipt,
}

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    lanes: BTreeMap<TransportId, Lane>,
    rows: BTreeMap<RowId, Row>,
}

impl Outbox {
    pub fn insert(&mut self, row: &OutboxRow) {
        self.lanes.entry(row.transport).or_default().unsent.insert(row.row);
        self.rows.insert(row.row, Row { job: row.job.clone(), forbidden: 0, taken: 0, held_until: None });
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn link_up(&mut self, transport: TransportId, epoch: Epoch, terms: LinkTerms, now: Moment) {
        let lane = self.lanes.entry(transport).or_default();
        lane.start_over();
        lane.up = Some(epoch);
        lane.terms = terms;
        if terms.receipts {
            // The broker may have been another one, or have forgotten what it took.
            lane.unsent.extend(std::mem::take(&mut lane.held).into_iter().map(|(_, row)| row));
        }
        lane.oldest_since = now;
    }

    pub fn link_down(&mut self, transport: TransportId) {
        let lane = self.lanes.entry(transport).or_default();
        lane.start_over();
        lane.up = None;
    }

    /// The receiver took a row. `Err` when this connection has no claim on it: an old one's echo.
    pub fn confirm(&mut self, transport: TransportId, row: RowId, epoch: Epoch, now: Moment) -> Result<Confirmed, ()> {
        let lane = self.lanes.entry(transport).or_default();
        if !lane.answered(row, epoch, now) {
            return Err(());
        }
        lane.pauses = 0;
        lane.resets = 0;
        if let (true, Some(Row { job: Some(job), taken, held_until, .. })) =
            (lane.terms.receipts, self.rows.get_mut(&row))
        {
            let until = now + doubled(limits::RECEIPT_WAIT, *taken, limits::RECEIPT_WAIT_MAX);
            *taken += 1;
            *held_until = Some(until);
            lane.held.insert((until, row));
            let awaited = lane.awaited.entry(job.clone()).or_default();
            if !awaited.contains(&row) {
                awaited.push(row);
            }
            return Ok(Confirmed::AwaitsReceipt);
        }
        Ok(Confirmed::Gone(self.rows.remove(&row).and_then(|row| row.job)))
    }

    /// The consumer has this job's result: what was handed over of it is done.
    pub fn receipt(&mut self, transport: TransportId, job: &JobId, now: Moment) -> Vec<RowId> {
        let lane = self.lanes.entry(transport).or_default();
        let mut rows = lane.awaited.remove(job).unwrap_or_default();
        // Its consumer may be faster than its PUBACK.
        let early =
            lane.sent.keys().filter(|row| self.rows.get(row).is_some_and(|known| known.job.as_ref() == Some(job)));
        rows.extend(early.copied().collect::<Vec<_>>());
        rows.sort_unstable();
        rows.dedup();
        rows.retain(|row| {
            lane.unsent.remove(row);
            if let Some(epoch) = lane.up {
                lane.answered(*row, epoch, now);
            }
            let Some(known) = self.rows.remove(row) else { return false };
            if let Some(until) = known.held_until {
                lane.held.remove(&(until, *row));
            }
            true
        });
        rows
    }

    /// Forgets a row that is no longer in the store, wherever it is on its way.
    pub fn evict(&mut self, row: RowId, now: Moment) -> Option<JobId> {
        let known = self.rows.remove(&row)?;
        for lane in self.lanes.values_mut() {
            lane.unsent.remove(&row);
            lane.held.retain(|(_, held)| *held != row);
            lane.stop_awaiting(row, &known);
            if let Some(epoch) = lane.up {
                lane.answered(row, epoch, now);
            }
        }
        known.job
    }

    /// Removes a row for good: it has no receiver any more.
    pub fn take(&mut self, transport: TransportId, row: RowId, epoch: Epoch, now: Moment) -> Result<Option<JobId>, ()> {
        let lane = self.lanes.entry(transport).or_default();
        if !lane.answered(row, epoch, now) {
            return Err(());
        }
        let Some(known) = self.rows.remove(&row) else { return Ok(None) };
        lane.stop_awaiting(row, &known);
        Ok(known.job)
    }

    /// The receiver refused a row: it stays, and its lane rests. `Some` when it is given up, and is gone.
    pub fn refused(
        &mut self,
        transport: TransportId,
        row: RowId,
        epoch: Epoch,
        refusal: Refusal,
        now: Moment,
    ) -> Option<Option<JobId>> {
        let lane = self.lanes.entry(transport).or_default();
        if !lane.answered(row, epoch, now) {
            return None;
        }
        if refusal == Refusal::Busy {
            lane.rest(now);
            lane.unsent.insert(row);
            return None;
        }
        let known = self.rows.get_mut(&row)?;
        known.forbidden += 1;
        if known.forbidden >= limits::UNAUTHORISED_TRIES {
            let known = self.rows.remove(&row)?;
            lane.stop_awaiting(row, &known);
            return Some(known.job);
        }
        let wait = doubled(limits::REFUSED_PAUSE, known.forbidden - 1, limits::REFUSED_PAUSE_MAX);
        lane.held.insert((now + wait, row));
        None
    }

    /// Next row to hand over, oldest first, at most a window of them unconfirmed.
    pub fn next(&mut self, now: Moment) -> Option<(TransportId, RowId, Epoch)> {
        self.lanes.iter_mut().find_map(|(transport, lane)| {
            let epoch = lane.up?;
            let resting = lane.resetting || lane.pause_until.is_some_and(|until| now < until);
            if resting || lane.sent.len() >= lane.window() {
                return None;
            }
            lane.pause_until = None;
            while let Some((at, row)) = lane.held.first().copied()
                && at <= now
            {
                lane.held.pop_first();
                lane.unsent.insert(row);
            }
            let row = lane.unsent.pop_first()?;
            lane.sent.insert(row, now);
            lane.order.push_back((now, row));
            Some((*transport, row, epoch))
        })
    }

    /// A connection that is to be given up: its oldest row has waited too long for its answer.
    pub fn stalled(&mut self, now: Moment) -> Option<(TransportId, Epoch)> {
        self.lanes.iter_mut().find_map(|(transport, lane)| {
            if lane.dead_at().is_none_or(|at| now < at) {
                return None;
            }
            lane.resetting = true;
            lane.resets += 1;
            Some((*transport, lane.up?))
        })
    }

    pub fn next_deadline(&self) -> Option<Moment> {
        self.lanes.values().filter(|lane| lane.up.is_some()).filter_map(Self::lane_deadline).min()
    }

    fn lane_deadline(lane: &Lane) -> Option<Moment> {
        // With a full window (of one, after a refusal) the next thing to happen is an answer.
        let free = !lane.resetting && lane.sent.len() < lane.window();
        let held = lane.held.first().map(|(at, _)| *at);
        let ready = match (lane.unsent.is_empty(), held) {
            (true, None) => None,
            (true, Some(at)) => Some(lane.pause_until.map_or(at, |until| until.max(at))),
            (false, _) => lane.pause_until,
        };
        [ready.filter(|_| free), lane.dead_at()].into_iter().flatten().min()
    }

    /// Everything that could be delivered now has been confirmed.
    pub fn settled(&self) -> bool {
        // A receipt may take for ever; the store keeps what has none.
        let waiting = |lane: &Lane| !lane.unsent.is_empty() || !(lane.held.is_empty() || lane.terms.receipts);
        self.lanes.values().all(|lane| lane.sent.is_empty() && (lane.up.is_none() || !waiting(lane)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MQTT: TransportId = TransportId(0);
    const ONE: Epoch = Epoch(1);
    const PATIENT: LinkTerms = LinkTerms { patience: Some(Span::from_millis(2_000)), receipts: false };

    fn after(millis: u64) -> Moment {
        Moment::ZERO + Span::from_millis(millis)
    }

    /// With these rows, and connected.
    fn outbox_with(rows: &[u64]) -> Outbox {
        let mut outbox = Outbox::default();
        for row in rows {
            outbox.insert(&OutboxRow { row: RowId(*row), transport: MQTT, job: None });
        }
        outbox.link_up(MQTT, ONE, PATIENT, Moment::ZERO);
        outbox
    }

    /// The rows that leave now.
    fn leaving(outbox: &mut Outbox, now: Moment) -> Vec<u64> {
        std::iter::from_fn(|| outbox.next(now)).map(|(_, row, _)| row.0).collect()
    }

    fn refuse(outbox: &mut Outbox, row: u64, refusal: Refusal, now: Moment) -> bool {
        outbox.refused(MQTT, RowId(row), ONE, refusal, now).is_some()
    }

    #[test]
    fn a_new_connection_sends_again_from_the_oldest() {
        let mut outbox = outbox_with(&[1, 2]);
        let now = Moment::ZERO;
        outbox.link_down(MQTT);
        assert_eq!(outbox.next(now), None, "no link, no delivery");
        outbox.link_up(MQTT, ONE, LinkTerms::default(), now);
        assert_eq!(outbox.next(now), Some((MQTT, RowId(1), ONE)));
        outbox.link_down(MQTT);
        assert_eq!(outbox.confirm(MQTT, RowId(1), ONE, now), Err(()), "a confirmation after the cut does not count");
        outbox.link_up(MQTT, Epoch(2), LinkTerms::default(), now);
        assert_eq!(outbox.next(now), Some((MQTT, RowId(1), Epoch(2))));
        assert_eq!(outbox.confirm(MQTT, RowId(1), ONE, now), Err(()), "nor does an old connection's");
        assert_eq!(outbox.confirm(MQTT, RowId(1), Epoch(2), now), Ok(Confirmed::Gone(None)));
        assert_eq!(outbox.len(), 1);
    }

    #[test]
    fn a_receiver_without_room_is_left_alone_for_longer_and_longer_until_it_takes_a_row() {
        let mut outbox = outbox_with(&[1, 2, 3]);
        assert_eq!(leaving(&mut outbox, Moment::ZERO), [1, 2, 3]);
        for row in [1, 2, 3] {
            assert!(!refuse(&mut outbox, row, Refusal::Busy, Moment::ZERO));
        }
        let (mut now, mut pauses) = (Moment::ZERO, Vec::new());
        for _ in 0..8 {
            assert_eq!(leaving(&mut outbox, now), [] as [u64; 0]);
            let later = outbox.next_deadline().unwrap();
            pauses.push(later.since(now).as_micros() / 1_000_000);
            now = later;
            assert_eq!(leaving(&mut outbox, now), [1], "one row, the oldest, finds out");
            refuse(&mut outbox, 1, Refusal::Busy, now);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        now = outbox.next_deadline().unwrap();
        assert_eq!(leaving(&mut outbox, now), [1]);
        outbox.confirm(MQTT, RowId(1), ONE, now).unwrap();
        assert_eq!(leaving(&mut outbox, now), [2, 3], "all is well again");
        refuse(&mut outbox, 2, Refusal::Busy, now);
        outbox.confirm(MQTT, RowId(3), ONE, now).unwrap();
        assert_eq!(outbox.next_deadline(), Some(now + limits::REFUSED_PAUSE), "and pauses are short again");
    }

    #[test]
    fn a_forbidden_row_lets_the_others_pass_and_is_given_up_in_the_end() {
        let mut outbox = outbox_with(&[1, 2]);
        let (mut now, mut tries) = (Moment::ZERO, 0);
        while outbox.len() > 0 {
            for row in leaving(&mut outbox, now) {
                if row == 2 {
                    outbox.confirm(MQTT, RowId(2), ONE, now).unwrap();
                    assert!(tries < 3, "row 2 had to wait for {tries} tries of row 1");
                } else {
                    tries += 1;
                    assert_eq!(refuse(&mut outbox, 1, Refusal::Forbidden, now), tries == limits::UNAUTHORISED_TRIES);
                }
            }
            now = outbox.next_deadline().unwrap_or(now);
        }
        assert!(outbox.settled());
    }

    #[test]
    fn a_row_without_an_answer_ends_the_connection_once() {
        let mut outbox = outbox_with(&[1, 2]);
        leaving(&mut outbox, Moment::ZERO);
        assert_eq!(outbox.next_deadline(), Some(after(2_000)));
        assert_eq!(outbox.stalled(after(1_999)), None);
        outbox.confirm(MQTT, RowId(2), ONE, after(1_999)).unwrap();
        assert_eq!(outbox.stalled(after(2_000)), Some((MQTT, ONE)), "the younger one's answer is no excuse");
        assert_eq!((outbox.stalled(after(9_000)), outbox.next_deadline()), (None, None), "once");
        outbox.insert(&OutboxRow { row: RowId(3), transport: MQTT, job: None });
        assert_eq!(outbox.next(after(2_000)), None, "nothing more for a dead connection");
    }

    #[test]
    fn a_slow_receiver_that_moves_on_is_no_dead_one() {
        let mut outbox = outbox_with(&[1, 2, 3]);
        leaving(&mut outbox, Moment::ZERO);
        for row in [1, 2, 3] {
            let now = after(row * 1_900);
            assert_eq!(outbox.stalled(now), None, "row {row} became the oldest only when the one before it was taken");
            outbox.confirm(MQTT, RowId(row), ONE, now).unwrap();
        }
    }

    #[test]
    fn patience_grows_while_no_connection_gets_a_row_through() {
        let mut outbox = outbox_with(&[1]);
        let (mut now, mut waits) = (Moment::ZERO, Vec::new());
        for epoch in 2..8 {
            leaving(&mut outbox, now);
            let dead = outbox.next_deadline().unwrap();
            waits.push(dead.since(now).as_micros() / 1_000_000);
            now = dead;
            assert!(outbox.stalled(now).is_some());
            outbox.link_up(MQTT, Epoch(epoch), PATIENT, now);
        }
        assert_eq!(waits, [2, 4, 8, 16, 32, 32]);
    }

    fn with_receipts() -> (Outbox, JobId) {
        let mut outbox = Outbox::default();
        let job = JobId::new("a").unwrap();
        outbox.insert(&OutboxRow { row: RowId(1), transport: MQTT, job: Some(job.clone()) });
        outbox.insert(&OutboxRow { row: RowId(2), transport: MQTT, job: None });
        outbox.link_up(MQTT, ONE, LinkTerms { patience: None, receipts: true }, Moment::ZERO);
        assert_eq!(outbox.next(Moment::ZERO).map(|(_, row, _)| row), Some(RowId(1)));
        assert_eq!(outbox.next(Moment::ZERO).map(|(_, row, _)| row), Some(RowId(2)));
        (outbox, job)
    }

    #[test]
    fn a_result_stays_until_its_receipt_and_is_sent_again_without_one() {
        let (mut outbox, job) = with_receipts();
        let now = Moment::ZERO;
        assert_eq!(outbox.confirm(MQTT, RowId(1), ONE, now), Ok(Confirmed::AwaitsReceipt));
        assert_eq!(
            outbox.confirm(MQTT, RowId(2), ONE, now),
            Ok(Confirmed::Gone(None)),
            "a dead letter has no consumer"
        );
        assert!(outbox.settled(), "a receipt may take for ever");
        assert_eq!(outbox.next(now), None);
        let later = outbox.next_deadline().unwrap();
        assert_eq!(later, now + limits::RECEIPT_WAIT);
        assert_eq!(outbox.next(later), Some((MQTT, RowId(1), ONE)));
        assert_eq!(outbox.confirm(MQTT, RowId(1), ONE, later), Ok(Confirmed::AwaitsReceipt));
        assert_eq!(
            outbox.next_deadline(),
            Some(later + limits::RECEIPT_WAIT + limits::RECEIPT_WAIT),
            "less and less often"
        );
        assert_eq!(outbox.receipt(MQTT, &job, later), [RowId(1)]);
        assert_eq!((outbox.len(), outbox.next_deadline()), (0, None));
        assert_eq!(outbox.receipt(MQTT, &job, later), [], "a second receipt means nothing");
    }

    /// A consumer that never sends a receipt must not cost memory for ever.
    #[test]
    fn nothing_is_remembered_of_a_row_that_is_given_up() {
        let now = Moment::ZERO;
        let (mut evicted, _) = with_receipts();
        evicted.confirm(MQTT, RowId(1), ONE, now).unwrap();
        evicted.evict(RowId(1), now);

        let (mut forbidden, _) = with_receipts();
        forbidden.confirm(MQTT, RowId(1), ONE, now).unwrap();
        let mut now = now;
        let given_up = (0..=limits::UNAUTHORISED_TRIES).any(|_| {
            now += limits::RECEIPT_WAIT_MAX;
            while forbidden.next(now).is_some() {}
            forbidden.refused(MQTT, RowId(1), ONE, Refusal::Forbidden, now).is_some()
        });
        assert!(given_up);
        for outbox in [evicted, forbidden] {
            let lane = &outbox.lanes[&MQTT];
            assert!(lane.awaited.is_empty() && lane.held.is_empty(), "{lane:?}");
            assert!(!outbox.rows.contains_key(&RowId(1)));
        }
    }

    #[test]
    fn a_receipt_may_come_before_its_confirmation_and_after_a_new_connection() {
        let (mut outbox, job) = with_receipts();
        let now = Moment::ZERO;
        assert_eq!(outbox.receipt(MQTT, &job, now), [RowId(1)]);
        assert_eq!(outbox.confirm(MQTT, RowId(1), ONE, now), Err(()));

        let (mut outbox, job) = with_receipts();
        outbox.confirm(MQTT, RowId(1), ONE, now).unwrap();
        outbox.link_up(MQTT, Epoch(2), LinkTerms { patience: None, receipts: true }, now);
        assert_eq!(outbox.receipt(MQTT, &job, now), [RowId(1)]);
        assert_eq!(outbox.next(now).map(|(_, row, _)| row), Some(RowId(2)), "only the dead letter is left");
    }
}
