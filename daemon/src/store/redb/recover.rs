//! What an earlier process left, read once at the start.

use std::sync::Arc;

use ::redb::{ReadableTable, Table, WriteTransaction};
use picket_core::{
    OutboxRow,
    inquiry::InquiryId,
    job::{JobId, Key, RowId},
};
use serde::de::DeserializeOwned;

use super::{
    DEAD, INQUIRIES, Index, JOBS, LEARNED, LOSSES, MESSAGES, META, OUTBOX, OpenJob, RedbStore, SALT, SEEN,
    trouble::Trouble,
};
use crate::{
    ports::Recovered,
    store::{
        attempts::mark,
        records::{DeadRecord, InquiryRecord, JobRecord, MessageRecord, Now, RowRecord, SeenRecord, decode, encode},
    },
};

/// Numbers count from zero; one from here on was written by nobody, and there would be none after it.
const NUMBERS: u64 = u64::MAX / 2;

type Rows<'t> = Table<'t, u64, &'static [u8]>;

/// What has been read so far.
struct Reading<'t> {
    transaction: &'t WriteTransaction,
    now: Now,
    index: Index,
    recovered: Recovered,
    /// Records whose checksum is wrong. They go, and are counted.
    damaged: u64,
}

impl RedbStore {
    pub(super) fn read_all(&mut self) -> Result<Recovered, Trouble> {
        let now = self.now();
        self.blobs.forget_uses();
        let transaction = self.begin()?;
        let recovered = Recovered { moved_aside: self.moved_aside.clone(), ..Recovered::default() };
        let mut reading = Reading { transaction: &transaction, now, index: Index::default(), recovered, damaged: 0 };
        self.read_jobs(&mut reading)?;
        self.read_outbox(&mut reading)?;
        read_seen(&mut reading)?;
        self.read_messages(&mut reading)?;
        self.read_dead(&mut reading)?;
        self.read_inquiries(&mut reading)?;
        read_learned(&mut reading)?;
        count_losses(&mut reading)?;
        let Reading { index, recovered, .. } = reading;
        // Also makes a sync before anything that was found is trusted: it may not have been on the disk yet.
        transaction.commit()?;
        self.index = index;
        self.moved_aside = None;
        self.suspects.clear();
        let _ = self.attempts.clear();
        if let Err(error) = self.blobs.sweep() {
            tracing::warn!(%error, "orphaned payload files stay");
        }
        Ok(recovered)
    }

    /// Accepted jobs. Those that a process had in hand at its end have had one more attempt.
    fn read_jobs(&mut self, reading: &mut Reading<'_>) -> Result<(), Trouble> {
        let mut jobs = reading.transaction.open_table(JOBS)?;
        let (mut bad, mut marked) = (Vec::new(), Vec::new());
        for entry in jobs.iter()? {
            let (number, value) = entry?;
            let number = number.value();
            let key = Key(reading.recovered.jobs.len() as u64);
            let read = read::<JobRecord>(number, value.value()).and_then(|mut record| {
                let id = JobId::new(&record.id).ok()?;
                if self.suspects.contains(&mark(&id)) {
                    record.attempts += 1;
                    marked.push((number, encode(&record)));
                }
                let request = record.request(&self.setup.names, |payload| self.payload(payload))?;
                Some((record.stored(key, &self.setup.names, reading.now)?, Arc::new(request), record))
            });
            let Some((job, request, record)) = read else {
                bad.push(number);
                continue;
            };
            reading.index.next_job = number + 1;
            let files: Vec<_> = record.content.blobs().collect();
            reading.index.open(key, OpenJob { number, bytes: record.bytes, blobs: !files.is_empty() });
            files.into_iter().for_each(|id| self.blobs.adopt(id));
            reading.recovered.jobs.push((job, request));
        }
        for (number, record) in &marked {
            jobs.insert(number, record.as_slice())?;
        }
        reading.remove(&mut jobs, &bad)
    }

    /// Rows that are not confirmed.
    fn read_outbox(&self, reading: &mut Reading<'_>) -> Result<(), Trouble> {
        let mut outbox = reading.transaction.open_table(OUTBOX)?;
        let mut bad = Vec::new();
        for entry in outbox.iter()? {
            let (row, value) = entry?;
            let row = row.value();
            let Some(record) = read::<RowRecord>(row, value.value()) else {
                bad.push(row);
                continue;
            };
            reading.index.next_row = row + 1;
            reading.index.bytes = reading.index.bytes.saturating_add(record.bytes);
            reading.recovered.rows.push(OutboxRow {
                row: RowId(row),
                transport: self.setup.names.transport(&record.transport),
                job: record.job.as_deref().and_then(|id| JobId::new(id).ok()),
            });
        }
        reading.remove(&mut outbox, &bad)
    }

    /// The messages behind the rows, and those kept for repetition.
    fn read_messages(&mut self, reading: &mut Reading<'_>) -> Result<(), Trouble> {
        let mut messages = reading.transaction.open_table(MESSAGES)?;
        let mut bad = Vec::new();
        for entry in messages.iter()? {
            let (row, value) = entry?;
            let row = row.value();
            let Some(record) = read::<MessageRecord>(row, value.value()) else {
                bad.push(row);
                continue;
            };
            reading.index.next_row = reading.index.next_row.max(row + 1);
            record.payload.blob().into_iter().for_each(|id| self.blobs.adopt(id));
        }
        reading.remove(&mut messages, &bad)?;
        let mut outbox = reading.transaction.open_table(OUTBOX)?;
        for row in &bad {
            outbox.remove(row)?;
        }
        reading.recovered.rows.retain(|row| !bad.contains(&row.row.0));
        Ok(())
    }

    /// What providers are still to be asked about.
    fn read_inquiries(&mut self, reading: &mut Reading<'_>) -> Result<(), Trouble> {
        let mut inquiries = reading.transaction.open_table(INQUIRIES)?;
        let mut bad = Vec::new();
        for entry in inquiries.iter()? {
            let (number, value) = entry?;
            let number = number.value();
            let found = read::<InquiryRecord>(number, value.value()).and_then(|record| {
                let stored = record.stored(InquiryId(number), &self.setup.names, reading.now)?;
                Some((record, stored))
            });
            let Some((record, stored)) = found else {
                bad.push(number);
                continue;
            };
            reading.index.next_inquiry = number + 1;
            reading.index.bytes = reading.index.bytes.saturating_add(record.job.bytes);
            record.blobs().for_each(|id| self.blobs.adopt(id));
            reading.recovered.inquiries.push(stored);
        }
        reading.remove(&mut inquiries, &bad)
    }

    fn read_dead(&mut self, reading: &mut Reading<'_>) -> Result<(), Trouble> {
        let mut dead = reading.transaction.open_table(DEAD)?;
        let mut bad = Vec::new();
        for entry in dead.iter()? {
            let (number, value) = entry?;
            let number = number.value();
            let Some(record) = read::<DeadRecord>(number, value.value()) else {
                bad.push(number);
                continue;
            };
            if reading.index.next_dead == 0 {
                reading.index.first_dead = number;
            }
            reading.index.next_dead = number + 1;
            record.blobs().into_iter().for_each(|id| self.blobs.adopt(id));
        }
        reading.remove(&mut dead, &bad)
    }
}

/// `None`: this record is not what was written there.
fn read<T: DeserializeOwned>(number: u64, bytes: &[u8]) -> Option<T> {
    (number < NUMBERS).then(|| decode(bytes))?
}

/// Finished ids, and which results are kept.
fn read_seen(reading: &mut Reading<'_>) -> Result<(), Trouble> {
    let mut seen = reading.transaction.open_table(SEEN)?;
    let messages = reading.transaction.open_table(MESSAGES)?;
    let mut bad = Vec::new();
    for entry in seen.iter()? {
        let (number, value) = entry?;
        let number = number.value();
        let record: Option<SeenRecord> = read(number, value.value());
        let Some((id, record)) = record.and_then(|record| Some((JobId::new(&record.id).ok()?, record))) else {
            bad.push(number);
            continue;
        };
        if reading.index.next_seen == 0 {
            reading.index.first_seen = number;
        }
        reading.index.next_seen = number + 1;
        if let Some((row, bytes)) = record.kept.filter(|(row, _)| *row < NUMBERS) {
            reading.index.next_row = reading.index.next_row.max(row + 1);
            if messages.get(row)?.is_some() {
                reading.index.keep(RowId(row), id.clone(), bytes);
            }
        }
        reading.recovered.seen.push((id, record.digest));
    }
    reading.remove(&mut seen, &bad)
}

/// What was learned of each model, and the lottery's key, which is drawn once.
fn read_learned(reading: &mut Reading<'_>) -> Result<(), Trouble> {
    let mut learned = reading.transaction.open_table(LEARNED)?;
    let mut bad = Vec::new();
    for entry in learned.iter()? {
        let (model, value) = entry?;
        match decode::<Vec<u8>>(value.value()) {
            Some(state) => {
                reading.recovered.learned.insert(model.value().to_owned(), state);
            }
            None => bad.push(model.value().to_owned()),
        }
    }
    for model in &bad {
        learned.remove(model.as_str())?;
    }
    reading.damaged += bad.len() as u64;
    let mut meta = reading.transaction.open_table(META)?;
    let found: Option<[u8; 32]> = meta.get(SALT)?.and_then(|value| decode(value.value()));
    reading.recovered.salt = match found {
        Some(salt) => salt,
        None => {
            let salt: [u8; 32] = rand::random();
            meta.insert(SALT, encode(&salt).as_slice())?;
            salt
        }
    };
    Ok(())
}

fn count_losses(reading: &mut Reading<'_>) -> Result<(), Trouble> {
    let mut meta = reading.transaction.open_table(META)?;
    if let Some(found) = meta.get(LOSSES)? {
        reading.recovered.losses = decode(found.value()).unwrap_or_default();
    }
    let losses = &mut reading.recovered.losses;
    if reading.recovered.moved_aside.is_some() {
        *losses.entry("corrupt_store".to_owned()).or_default() += 1;
    }
    if reading.damaged > 0 {
        tracing::error!(damaged = reading.damaged, "store/corrupt: records could not be read and are lost");
        *losses.entry("corrupt_record".to_owned()).or_default() += reading.damaged;
    }
    meta.insert(LOSSES, encode(losses).as_slice())?;
    Ok(())
}

impl Reading<'_> {
    fn remove(&mut self, table: &mut Rows<'_>, bad: &[u64]) -> Result<(), Trouble> {
        for number in bad {
            table.remove(number)?;
        }
        self.damaged += bad.len() as u64;
        Ok(())
    }
}
