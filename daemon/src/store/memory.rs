//! The store that forgets everything when the process ends. Keeps the transaction borders of the port, and its limits.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use picket_core::{
    OutboxRow, StoreFault,
    inquiry::InquiryId,
    job::{Digest, JobId, Key, RowId},
    limits,
};

use crate::{
    answer::{self, hex},
    ports::{DeadLetter, Death, Message, NewRow, Recovered, Request, Revived, Store, Write, Written},
};

/// Everything in memory, at most `max_bytes` of payloads.
pub struct MemoryStore {
    max_bytes: usize,
    bytes: usize,
    jobs: HashMap<Key, Arc<Request>>,
    outbox: BTreeMap<RowId, Arc<Message>>,
    next_row: u64,
    /// Results kept for repetition; bounded by number and bytes, oldest first to go.
    kept: HashMap<JobId, Vec<Message>>,
    kept_order: VecDeque<JobId>,
    kept_bytes: usize,
    dead: VecDeque<(DeadLetter, Arc<Request>)>,
    next_dead: u64,
    inquiries: HashMap<InquiryId, Arc<Request>>,
    next_inquiry: u64,
}

impl MemoryStore {
    pub fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            bytes: 0,
            jobs: HashMap::new(),
            outbox: BTreeMap::new(),
            next_row: 1,
            kept: HashMap::new(),
            kept_order: VecDeque::new(),
            kept_bytes: 0,
            dead: VecDeque::new(),
            next_dead: 1,
            inquiries: HashMap::new(),
            next_inquiry: 1,
        }
    }

    /// Its rows are numbered from there on.
    #[must_use]
    pub fn with_rows_from(self, first: u64) -> Self {
        Self { next_row: first, ..self }
    }

    /// The result of this job could be repeated.
    pub fn keeps(&self, id: &JobId) -> bool {
        self.kept.contains_key(id)
    }

    fn write(&mut self, write: Write) -> Written {
        match write {
            Write::Accept { job, request, was_dead } => {
                let size = request.content.size();
                if self.bytes + size > self.max_bytes {
                    return Written::Failed { key: job.key, why: StoreFault::Full };
                }
                self.bytes += size;
                self.jobs.insert(job.key, request);
                self.dead.retain(|(letter, _)| Some(letter.number) != was_dead);
                Written::Accepted { key: job.key }
            }
            // A result replaces its job, so that a full store can still drain.
            Write::Finish { key, id, digest, messages, dead, inquiry } => {
                let mut opened = None;
                if let Some(request) = self.jobs.remove(&key) {
                    self.bytes -= request.content.size();
                    if let Some(death) = dead {
                        self.bury(&id, &digest, &death, request);
                    } else if inquiry.is_some() {
                        self.bytes += request.content.size();
                        opened = Some(InquiryId(self.next_inquiry));
                        self.inquiries.insert(InquiryId(self.next_inquiry), request);
                        self.next_inquiry += 1;
                    }
                }
                self.keep(&id, &messages);
                Written::Finished { key, rows: self.insert_rows(messages), inquiry: opened }
            }
            Write::Refuse { key, messages } => {
                let size: usize = messages.iter().map(message_bytes).sum();
                if self.bytes + size > self.max_bytes {
                    return Written::Failed { key, why: StoreFault::Full };
                }
                Written::Finished { key, rows: self.insert_rows(messages), inquiry: None }
            }
            Write::Repeat { key, id, to } => match self.kept.get(&id) {
                None => Written::NothingToRepeat { key },
                Some(messages) => {
                    let again = messages.iter().map(|message| Message { to: to.clone(), ..message.clone() }).collect();
                    Written::Repeated { key, rows: self.insert_rows(again) }
                }
            },
            Write::Close { inquiry, messages } => {
                if let Some(request) = self.inquiries.remove(&inquiry) {
                    self.bytes -= request.content.size();
                }
                Written::Closed { inquiry, rows: self.insert_rows(messages) }
            }
            Write::Resend { .. } | Write::Learned { .. } => Written::Done,
            Write::Confirm { row } | Write::Bury { row, .. } => {
                if let Some(message) = self.outbox.remove(&row) {
                    self.bytes -= message_bytes(&message);
                }
                Written::Done
            }
            Write::Losses(_) => Written::Done,
            Write::ForgetDead { number } => {
                self.dead.retain(|(letter, _)| letter.number != number);
                Written::Done
            }
        }
    }

    fn bury(&mut self, id: &JobId, digest: &Digest, Death { failure, attempts }: &Death, request: Arc<Request>) {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let letter = DeadLetter {
            number: self.next_dead,
            id: id.to_string(),
            model: request.model.to_string(),
            code: failure.code.to_owned(),
            message: failure.message.clone(),
            attempts: *attempts,
            digest: hex(digest),
            since: since.map_or(0, |since| since.as_secs()),
            bytes: request.content.size() as u64,
            first: answer::first_bytes(request.content.parts().0),
        };
        self.next_dead += 1;
        self.dead.push_back((letter, request));
        if self.dead.len() > limits::DEAD_LETTERS {
            self.dead.pop_front();
        }
    }

    fn insert_rows(&mut self, messages: Vec<Message>) -> Vec<NewRow> {
        messages
            .into_iter()
            .map(|message| {
                let row = RowId(self.next_row);
                self.next_row += 1;
                self.bytes += message_bytes(&message);
                let described = OutboxRow { row, transport: message.to.transport, job: message.job.clone() };
                let message = Arc::new(message);
                self.outbox.insert(row, message.clone());
                NewRow { row: described, message }
            })
            .collect()
    }

    /// Keeps the job's own result, not the dead letter beside it.
    fn keep(&mut self, id: &JobId, messages: &[Message]) {
        let own: Vec<Message> = messages.iter().filter(|message| message.job.is_some()).cloned().collect();
        self.kept_bytes += own.iter().map(message_bytes).sum::<usize>();
        match self.kept.insert(id.clone(), own) {
            Some(old) => self.kept_bytes -= old.iter().map(message_bytes).sum::<usize>(),
            None => self.kept_order.push_back(id.clone()),
        }
        while self.kept_order.len() > limits::KEPT_RESULTS || self.kept_bytes > limits::KEPT_RESULT_BYTES {
            let Some(oldest) = self.kept_order.pop_front() else { break };
            let gone = self.kept.remove(&oldest).unwrap_or_default();
            self.kept_bytes -= gone.iter().map(message_bytes).sum::<usize>();
        }
    }
}

impl Store for MemoryStore {
    fn recover(&mut self) -> Recovered {
        Recovered { salt: rand::random(), ..Recovered::default() }
    }

    fn transact(&mut self, writes: Vec<Write>) -> Vec<Written> {
        writes.into_iter().map(|write| self.write(write)).collect()
    }

    fn row(&mut self, row: RowId) -> Option<Arc<Message>> {
        self.outbox.get(&row).cloned()
    }

    fn inquiry(&mut self, inquiry: InquiryId) -> Option<Arc<Request>> {
        self.inquiries.get(&inquiry).cloned()
    }

    fn bytes(&self) -> usize {
        self.bytes
    }

    fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    fn waits(&self) -> bool {
        false
    }

    fn dead(&mut self) -> Vec<DeadLetter> {
        self.dead.iter().map(|(letter, _)| letter.clone()).collect()
    }

    fn revive(&mut self, number: u64) -> Option<Revived> {
        let found = self.dead.iter().find(|(letter, _)| letter.number == number);
        found.map(|(_, request)| Revived::Job(request.clone()))
    }
}

fn message_bytes(message: &Message) -> usize {
    message.payload.len()
}
