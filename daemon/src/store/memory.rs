//! The store that forgets everything when the process ends. Keeps the transaction borders of the port, and its limits.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use picket_core::{
    OutboxRow, StoreFault,
    job::{JobId, Key, RowId},
    limits,
};

use crate::ports::{Message, Recovered, Request, Store, Write, Written};

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
        }
    }

    fn write(&mut self, write: Write) -> Written {
        match write {
            Write::Accept { job, request } => {
                let size = request_bytes(&request);
                if self.bytes + size > self.max_bytes {
                    return Written::Failed { key: job.key, why: StoreFault::Full };
                }
                self.bytes += size;
                self.jobs.insert(job.key, request);
                Written::Accepted { key: job.key }
            }
            // A result replaces its job, so that a full store can still drain.
            Write::Finish { key, id, messages, .. } => {
                if let Some(request) = self.jobs.remove(&key) {
                    self.bytes -= request_bytes(&request);
                }
                self.keep(&id, &messages);
                Written::Finished { key, rows: self.insert_rows(messages) }
            }
            Write::Refuse { key, messages } => {
                let size: usize = messages.iter().map(message_bytes).sum();
                if self.bytes + size > self.max_bytes {
                    return Written::Failed { key, why: StoreFault::Full };
                }
                Written::Finished { key, rows: self.insert_rows(messages) }
            }
            Write::Repeat { key, id, to } => match self.kept.get(&id) {
                None => Written::NothingToRepeat { key },
                Some(messages) => {
                    let again = messages.iter().map(|message| Message { to: to.clone(), ..message.clone() }).collect();
                    Written::Repeated { key, rows: self.insert_rows(again) }
                }
            },
            Write::Confirm { row } | Write::Bury { row, .. } => {
                if let Some(message) = self.outbox.remove(&row) {
                    self.bytes -= message_bytes(&message);
                }
                Written::Confirmed
            }
        }
    }

    fn insert_rows(&mut self, messages: Vec<Message>) -> Vec<OutboxRow> {
        messages
            .into_iter()
            .map(|message| {
                let row = RowId(self.next_row);
                self.next_row += 1;
                self.bytes += message_bytes(&message);
                let described = OutboxRow { row, transport: message.to.transport, job: message.job.clone() };
                self.outbox.insert(row, Arc::new(message));
                described
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
        Recovered::default()
    }

    fn transact(&mut self, writes: Vec<Write>) -> Vec<Written> {
        writes.into_iter().map(|write| self.write(write)).collect()
    }

    fn row(&self, row: RowId) -> Option<Arc<Message>> {
        self.outbox.get(&row).cloned()
    }

    fn bytes(&self) -> usize {
        self.bytes
    }
}

fn request_bytes(request: &Request) -> usize {
    let (first, second) = request.content.parts();
    first.len() + second.map_or(0, bytes::Bytes::len)
}

fn message_bytes(message: &Message) -> usize {
    message.payload.len()
}
