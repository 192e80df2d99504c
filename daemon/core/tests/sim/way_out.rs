//! The way out: what the engine hears of its rows, and what becomes of them at their readers.

use std::collections::{BTreeMap, BTreeSet};

use picket_core::{
    Input, LinkTerms, OutboxRow, Refusal,
    engine::Call as Spend,
    job::{Epoch, JobId, RowId, TransportId},
    limits,
    time::{Moment, Span},
};

use super::{
    coverage::{Coverage, Seen},
    outside::Call,
    process::Process,
    store::{Address, Row},
    world::{Event, Inside, World},
};

/// A transport as the engine was told of it.
#[derive(Debug, Default)]
pub struct Lane {
    pub epoch: Option<Epoch>,
    /// And when.
    pub handed: BTreeMap<RowId, Moment>,
    pub patience: Option<Span>,
    pub reset: bool,
    pub receipts: bool,
    /// Rows that rest: until a receipt comes, or because they were forbidden. Later ones pass them.
    pub resting: BTreeSet<RowId>,
}

impl Process {
    pub fn hears_of_the_way_out(&mut self, input: &Input, coverage: &mut Coverage) {
        match input {
            Input::LinkUp { transport, epoch, terms: LinkTerms { patience, receipts } } => {
                let (patience, receipts) = (*patience, *receipts);
                let before = self.lanes.remove(transport).unwrap_or_default();
                // Which of them a new broker remembers to have taken, nobody knows.
                let resting = if receipts { BTreeSet::new() } else { before.resting };
                let lane = Lane { epoch: Some(*epoch), patience, receipts, resting, ..Lane::default() };
                self.lanes.insert(*transport, lane);
            }
            Input::LinkDown { transport } => {
                let resting = self.lanes.remove(transport).unwrap_or_default().resting;
                self.lanes.insert(*transport, Lane { resting, ..Lane::default() });
            }
            Input::Confirmed { transport, row, epoch } => {
                if self.takes(*transport, *row, *epoch) {
                    let lane = self.lanes.get_mut(transport).unwrap();
                    if lane.receipts && self.jobs.contains_key(row) {
                        lane.resting.insert(*row);
                        self.awaited.insert(*row);
                    } else {
                        self.must_confirm.insert(*row);
                    }
                } else {
                    self.must_call_stale = Some(*row);
                    let same = self.lanes[transport].epoch == Some(*epoch);
                    coverage.hit(if same { Seen::SecondConfirm } else { Seen::StaleConfirm });
                }
            }
            Input::Undeliverable { transport, row, epoch } => {
                if self.takes(*transport, *row, *epoch) {
                    self.must_confirm.insert(*row);
                    self.tally.undeliverable += 1;
                    coverage.hit(Seen::Undeliverable);
                }
            }
            Input::Rejected { transport, row, epoch, refusal } => {
                if !self.takes(*transport, *row, *epoch) {
                    return;
                }
                coverage.hit(if *refusal == Refusal::Busy { Seen::Rejected } else { Seen::Forbidden });
                if *refusal == Refusal::Forbidden {
                    self.lanes.get_mut(transport).unwrap().resting.insert(*row);
                    let times = self.forbidden.entry(*row).or_default();
                    *times += 1;
                    if *times == limits::UNAUTHORISED_TRIES {
                        self.must_bury = Some(*row);
                        self.tally.buried += 1;
                        coverage.hit(Seen::Buried);
                    }
                }
            }
            Input::Receipt { transport, job } => self.hears_a_receipt(*transport, job, coverage),
            Input::Evicted { rows } => self.hears_of_evicted(rows, coverage),
            _ => unreachable!("{input:?} is not of the way out"),
        }
    }

    fn hears_a_receipt(&mut self, transport: TransportId, job: &JobId, coverage: &mut Coverage) {
        let lane = &self.lanes[&transport];
        let here = |row: &RowId| self.awaited.contains(row) || lane.handed.contains_key(row);
        let of_job = self.jobs.iter().filter(|(_, of)| *of == job).map(|(row, _)| *row);
        self.must_confirm.extend(of_job.filter(here));
        if self.must_confirm.iter().any(|row| lane.handed.contains_key(row)) {
            coverage.hit(Seen::ReceiptBeforeConfirm);
        }
        let lane = self.lanes.get_mut(&transport).unwrap();
        lane.handed.retain(|row, _| !self.must_confirm.contains(row));
    }

    fn hears_of_evicted(&mut self, rows: &[RowId], coverage: &mut Coverage) {
        self.tally.evicted += rows.len() as u64;
        for row in rows {
            for lane in self.lanes.values_mut() {
                if lane.handed.remove(row).is_some() {
                    coverage.hit(Seen::EvictedOnItsWay);
                }
            }
            self.forget_row(*row);
        }
    }

    pub fn learn_rows(&mut self, rows: &[OutboxRow]) {
        self.rows.extend(rows.iter().map(|row| (row.row, row.transport)));
        self.jobs.extend(rows.iter().filter_map(|row| Some((row.row, row.job.clone()?))));
    }

    pub fn forget_row(&mut self, row: RowId) {
        self.rows.remove(&row);
        self.jobs.remove(&row);
        self.awaited.remove(&row);
        for lane in self.lanes.values_mut() {
            lane.resting.remove(&row);
        }
    }

    /// I3: was this row handed over on this very connection, and is that the present one?
    fn takes(&mut self, transport: TransportId, row: RowId, epoch: Epoch) -> bool {
        let lane = self.lanes.entry(transport).or_default();
        lane.epoch == Some(epoch) && lane.handed.remove(&row).is_some()
    }
}

impl World<'_> {
    /// The consumer says that it has this job's result.
    fn receipt(&mut self, transport: TransportId, job: Option<JobId>) {
        let Some(job) = job.filter(|_| self.plan.receipts) else { return };
        if self.mishap(self.plan.forgets) {
            return self.coverage.hit(Seen::ReceiptLost);
        }
        let delay = self.moment(20);
        self.hears_after(delay, Input::Receipt { transport, job });
    }

    /// Confirmations of a broken connection are mostly lost with it; some were in the inbox already.
    pub fn hear(&mut self, input: Input) {
        if let Input::Confirmed { transport, epoch, .. } = &input {
            let current = self.process().lanes.get(transport).is_some_and(|lane| lane.epoch == Some(*epoch));
            if !current && self.chance(0.5) {
                return self.coverage.hit(Seen::ConfirmLost);
            }
        }
        if let Input::Receipt { job, .. } = &input {
            let waits = self.process().jobs.values().any(|known| known == job);
            self.coverage.hit(if waits { Seen::ReceiptHeard } else { Seen::ReceiptForNothing });
        }
        match &input {
            Input::ProviderAnswered { key, provider, result, .. } => {
                self.settle(Spend::Job(*key, *provider), *provider, result);
            }
            Input::Opined { inquiry, provider, result, .. } => {
                let part = self.store.inquiries.get(inquiry).and_then(|(spec, _)| spec.model.zip(spec.group.clone()));
                if let (Ok(opinion), Some(part)) = (result, part) {
                    self.process().told.insert((part, *provider, opinion.said.class()));
                }
                self.settle(Spend::Inquiry(*inquiry), *provider, result);
            }
            _ => {}
        }
        self.tell(input);
    }

    /// A message is at its reader, if the connection still stood; its sender hears of that a little later.
    pub fn reach(&mut self, transport: TransportId, id: RowId, epoch: Epoch, row: Row, job: Option<JobId>) {
        if let Some(job) = &job {
            assert_eq!(self.store.done[job].value, row.value, "I2: other bytes than the stored ones for {job}");
        }
        let delay = self.moment(5);
        match row.to {
            Address::Topic(_) => {
                if !self.broker.is_current(epoch) && self.chance(0.5) {
                    return;
                }
                if self.plan.receipts && job.is_some() && self.mishap(self.plan.forgets) {
                    self.coverage.hit(Seen::ForgottenByBroker);
                } else {
                    self.readers.read(job.as_ref(), true);
                    self.receipt(transport, job);
                }
                if self.mishap(self.plan.withholds) {
                    return self.coverage.hit(Seen::ConfirmWithheld);
                }
            }
            Address::Caller(_, call) if self.readers.is_gone(call) => {
                self.readers.read(job.as_ref(), false);
                return self.hears_after(delay, Input::Undeliverable { transport, row: id, epoch });
            }
            Address::Caller(_, call) => {
                self.readers.answer(call, Call::Replied);
                self.readers.read(job.as_ref(), true);
            }
        }
        self.hears_after(delay, Input::Confirmed { transport, row: id, epoch });
        if self.mishap(0.03) {
            let later = self.now + delay + self.moment(50);
            let again = Inside::Hear(Input::Confirmed { transport, row: id, epoch });
            self.at(later, Event::Inside(again));
        }
    }
}
