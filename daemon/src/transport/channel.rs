//! In memory: for tests, and for programs that have a Picket inside instead of beside them.

use std::{future::Future, pin::Pin, sync::Arc};

use picket_core::{
    Input, LinkTerms,
    job::{AckTicket, Epoch, JobId, RowId},
    limits,
};
use tokio::sync::mpsc;

use super::TransportContext;
use crate::ports::{Address, Content, Event, Face, InStream, Inbox, Message, Reply, Request, Transport};

/// The only connection that such a transport ever has.
const EPOCH: Epoch = Epoch(1);

/// The daemon's end.
pub struct Channel {
    delivered: mpsc::Sender<(RowId, Arc<Message>)>,
    acks: mpsc::Sender<AckTicket>,
    dead_letters: Address,
}

/// The user's end.
pub struct Handle {
    context: TransportContext,
    delivered: mpsc::Receiver<(RowId, Arc<Message>)>,
    /// Tickets that the daemon has released.
    pub acks: mpsc::Receiver<AckTicket>,
    next_serial: u64,
}

/// Opens both ends; the link is up at once.
pub fn open(context: TransportContext) -> (Channel, Handle) {
    let (deliver, delivered) = mpsc::channel(limits::DELIVERY_WINDOW);
    let (ack, acks) = mpsc::channel(limits::UNACKED_ARRIVALS as usize);
    let dead_letters = Address { transport: context.id, to: "dead".into(), correlation: None };
    let handle = Handle { context, delivered, acks, next_serial: 0 };
    (Channel { delivered: deliver, acks: ack, dead_letters }, handle)
}

impl Handle {
    /// Tells the daemon that somebody is here. Before this, results wait.
    pub async fn connect(&self) {
        self.tell(Input::LinkUp { transport: self.context.id, epoch: EPOCH, terms: LinkTerms::default() }).await;
    }

    /// A job with everything left at its default; its answer is addressed to its id.
    pub fn job(&mut self, id: &JobId, model: &str, content: Content) -> Request {
        let ticket = AckTicket { transport: self.context.id, epoch: EPOCH, serial: self.next_serial };
        self.next_serial += 1;
        Request {
            ticket: Some(ticket),
            model: model.into(),
            id: Some(id.clone()),
            fault: None,
            deadline: None,
            expiry: None,
            priority: 0,
            privacy: None,
            content,
            reply: Reply {
                to: Address { transport: self.context.id, to: id.as_str().into(), correlation: None },
                face: Face::Message { outputs: false },
            },
            amend: false,
            group: None,
            in_stream: InStream::default(),
            answer_repeats: false,
        }
    }

    pub async fn send(&self, request: Request) {
        // A daemon that is gone answers nothing; who waits for an answer notices.
        let _ = self.inbox().send(Event::Job(Box::new(request))).await;
    }

    /// The next message, confirmed by taking it. `None`: the daemon is gone.
    pub async fn next(&mut self) -> Option<Arc<Message>> {
        let (row, message) = self.delivered.recv().await?;
        self.tell(Input::Confirmed { transport: self.context.id, row, epoch: EPOCH }).await;
        Some(message)
    }

    fn inbox(&self) -> &Inbox {
        &self.context.inbox
    }

    async fn tell(&self, input: Input) {
        let _ = self.inbox().send(Event::Core(input)).await;
    }
}

impl Transport for Channel {
    fn deliver(&mut self, row: RowId, _epoch: Epoch, message: Arc<Message>) {
        // The channel holds a whole delivery window; a user who is gone confirms nothing.
        let _ = self.delivered.try_send((row, message));
    }

    fn ack(&mut self, ticket: AckTicket) {
        let _ = self.acks.try_send(ticket);
    }

    fn dead_letters(&self) -> Option<Address> {
        Some(self.dead_letters.clone())
    }

    fn max_payload(&self) -> usize {
        limits::MAX_BODY_BYTES
    }

    fn close(self: Box<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::ready(()))
    }
}
