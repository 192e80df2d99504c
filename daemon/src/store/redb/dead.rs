//! The dead letters' part of a transaction.

use ::redb::ReadableTable;
use picket_core::{job::RowId, limits};
use sha2::{Digest as _, Sha256};

use super::{batch::Batch, trouble::Trouble};
use crate::{
    answer,
    ports::{DeadLetter, Death, Written},
    store::records::{DeadRecord, JobRecord, MessageRecord, Was, decode, encode},
};

impl Batch<'_> {
    pub(super) fn bury(&mut self, job: JobRecord, Death { failure, attempts }: &Death) -> Result<(), Trouble> {
        let letter = DeadLetter {
            number: 0,
            id: job.id.clone(),
            model: job.model.clone(),
            code: failure.code.to_owned(),
            message: failure.message.clone(),
            attempts: *attempts,
            digest: answer::hex(&job.digest),
            since: self.now.stamp.wall / 1_000_000,
            bytes: job.bytes,
            first: answer::first_bytes(&self.bytes(job.content.payloads().next())),
        };
        self.insert_dead(letter, Was::Job(job))
    }

    /// The message goes from the outbox to the dead letters.
    pub(super) fn bury_row(&mut self, row: RowId, code: &str) -> Result<(), Trouble> {
        let found = self.messages.get(row.0)?.and_then(|value| decode::<MessageRecord>(value.value()));
        if let (Some(record), false) = (found, self.draining) {
            let payload = self.bytes(Some(&record.payload));
            let letter = DeadLetter {
                number: 0,
                id: record.job.clone().unwrap_or_default(),
                model: String::new(),
                code: code.to_owned(),
                message: format!("the broker forbids publishing on {}", record.to()),
                attempts: 0,
                digest: answer::hex(&Sha256::digest(&payload)),
                since: self.now.stamp.wall / 1_000_000,
                bytes: payload.len() as u64,
                first: answer::first_bytes(&payload),
            };
            self.change.adopted.extend(record.payload.blob());
            self.insert_dead(letter, Was::Row(record))?;
        }
        self.remove_row(row)
    }

    pub(super) fn resend(&mut self, number: u64) -> Result<Written, Trouble> {
        let found = self.dead.get(number)?.and_then(|value| decode::<DeadRecord>(value.value()));
        let Some(DeadRecord { was: Was::Row(record), .. }) = found else { return Ok(Written::Done) };
        let payload = self.bytes(Some(&record.payload));
        let rows = self.insert_rows(&[record.message(payload, &self.setup.names, self.now)])?;
        self.forget_dead(number)?;
        Ok(Written::Added { rows })
    }

    fn insert_dead(&mut self, letter: DeadLetter, was: Was) -> Result<(), Trouble> {
        let number = self.change.next_dead;
        self.change.next_dead += 1;
        let record = DeadRecord { letter: DeadLetter { number, ..letter }, was };
        self.dead.insert(number, encode(&record).as_slice())?;
        while self.change.next_dead - self.change.first_dead > limits::DEAD_LETTERS as u64 {
            self.forget_dead(self.change.first_dead)?;
            self.change.first_dead += 1;
        }
        Ok(())
    }

    pub(super) fn forget_dead(&mut self, number: u64) -> Result<(), Trouble> {
        let removed = self.dead.remove(number)?;
        if let Some(record) = removed.and_then(|value| decode::<DeadRecord>(value.value())) {
            self.change.abandoned.extend(record.blobs());
        }
        Ok(())
    }
}
