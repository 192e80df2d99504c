//! The inquiries' part of a transaction.

use picket_core::inquiry::{Inquiry, InquiryId};

use super::{batch::Batch, trouble::Trouble};
use crate::{
    ports::{Message, Written},
    store::records::{InquiryRecord, JobRecord, decode, encode},
};

impl Batch<'_> {
    /// The finished job, with its input, waits for a provider. Its bytes count until it is closed.
    pub(super) fn open_inquiry(&mut self, job: JobRecord, inquiry: &Inquiry) -> Result<InquiryId, Trouble> {
        let id = InquiryId(self.change.next_inquiry);
        self.change.next_inquiry += 1;
        self.change.bytes += job.bytes;
        let record = InquiryRecord::new(job, inquiry, self.now);
        self.inquiries.insert(id.0, encode(&record).as_slice())?;
        Ok(id)
    }

    pub(super) fn close_inquiry(&mut self, inquiry: InquiryId, messages: &[Message]) -> Result<Written, Trouble> {
        let removed = self.inquiries.remove(inquiry.0)?;
        if let Some(record) = removed.and_then(|value| decode::<InquiryRecord>(value.value())) {
            self.change.bytes = self.change.bytes.saturating_sub(record.job.bytes);
            self.change.abandoned.extend(record.blobs());
        }
        Ok(Written::Closed { inquiry, rows: self.insert_rows(messages)? })
    }
}
