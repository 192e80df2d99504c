//! The transport that all sources are together.

use std::{collections::HashMap, future::Future, pin::Pin, sync::Arc, thread};

use picket_core::{
    Input, LinkTerms,
    job::{AckTicket, Epoch, Failure, RowId},
    limits,
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
};

use super::desk::{Desk, Ended, Voice};
use crate::{
    board::watch::SourceRate,
    config::SourceConfig,
    ports::{Address, Event, Inbox, Message, Transport},
    transport::TransportContext,
};

/// Its name among the transports, in the store too.
pub const NAME: &str = "source";
/// The only connection that it ever has.
pub(super) const EPOCH: Epoch = Epoch(1);

struct Hub {
    context: TransportContext,
    ended: HashMap<Arc<str>, mpsc::Sender<Ended>>,
    stop: watch::Sender<bool>,
    /// Resolves when all sources have ended.
    done: oneshot::Receiver<()>,
}

/// Starts all sources, on a thread of their own: looking for frames in what a camera writes must not hold up the loop.
///
/// # Errors
/// The system gives no thread.
pub fn start(
    sources: Vec<SourceConfig>,
    context: TransportContext,
    rate: &SourceRate,
) -> std::io::Result<Box<dyn Transport>> {
    let (stop, stopped) = watch::channel(false);
    let (say_done, done) = oneshot::channel();
    let mut ended = HashMap::new();
    let mut tasks: Vec<Pin<Box<dyn Future<Output = ()> + Send>>> = Vec::new();
    for SourceConfig { name, model, deadline, privacy, setup, .. } in sources {
        // All rows that may be at this transport, and all jobs that the store may refuse.
        let (sender, receiver) = mpsc::channel(limits::SOURCE_ENDS);
        ended.insert(name.clone(), sender);
        tasks.push(setup.run(Desk {
            model,
            deadline,
            privacy,
            rate: rate.clone(),
            transport: context.id,
            voice: Voice { name, inbox: context.inbox.clone(), telemetry: context.telemetry.clone() },
            ended: receiver,
            stop: stopped.clone(),
        }));
    }
    let up = Input::LinkUp { transport: context.id, epoch: EPOCH, terms: LinkTerms::default() };
    let inbox = context.inbox.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let live = move || {
        runtime.block_on(async move {
            let _ = inbox.send(Event::Core(up)).await;
            let mut running = JoinSet::new();
            tasks.into_iter().for_each(|task| {
                running.spawn(task);
            });
            while running.join_next().await.is_some() {}
        });
        let _ = say_done.send(());
    };
    thread::Builder::new().name("sources".to_owned()).spawn(live)?;
    Ok(Box::new(Hub { context, ended, stop, done }))
}

impl Hub {
    fn hand_over(
        &self,
        to: &Address,
        row: Option<RowId>,
        job: Option<picket_core::job::JobId>,
        code: Option<Arc<str>>,
    ) {
        let ended = Ended { row, mark: to.correlation.clone(), job, code };
        let left = match self.ended.get(&to.to) {
            Some(source) => source.try_send(ended).err().map(mpsc::error::TrySendError::into_inner),
            // A source that the configuration does not have any more.
            None => Some(ended),
        };
        if let Some(row) = left.and_then(|left| left.row) {
            let confirmed = Input::Confirmed { transport: self.context.id, row, epoch: EPOCH };
            let inbox: Inbox = self.context.inbox.clone();
            tokio::spawn(async move {
                let _ = inbox.send(Event::Core(confirmed)).await;
            });
        }
    }
}

impl Transport for Hub {
    fn deliver(&mut self, row: RowId, _epoch: Epoch, message: Arc<Message>) {
        self.hand_over(&message.to, Some(row), message.job.clone(), message.code.clone());
    }

    fn ack(&mut self, _ticket: AckTicket) {}

    fn bounce(&mut self, to: &Address, failure: &Failure) {
        self.hand_over(to, None, None, Some(failure.code.into()));
    }

    fn passes_on(&self) -> bool {
        true
    }

    fn max_payload(&self) -> usize {
        limits::MAX_BODY_BYTES
    }

    fn stop_intake(&mut self) {
        let _ = self.stop.send(true);
    }

    fn close(self: Box<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let Self { ended, stop, done, .. } = *self;
        let _ = stop.send(true);
        drop(ended);
        Box::pin(async move {
            let _ = done.await;
            drop(stop);
        })
    }
}
