//! What a source has to do with the rest of the house.

use std::sync::Arc;

use bytes::Bytes;
use picket_core::{
    Input,
    job::{JobId, Privacy, RowId, TransportId},
    time::Span,
};
use serde_json::json;
use tokio::sync::{mpsc, watch};

use super::hub::EPOCH;
use crate::{
    board::watch::SourceRate,
    ports::{Address, Content, Event, Face, InStream, Inbox, Reply, Request},
    telemetry::Telemetry,
};

/// What every source is given.
pub struct Desk {
    /// Whose jobs it makes.
    pub model: Arc<str>,
    /// `None`: the model's.
    pub deadline: Option<Span>,
    pub privacy: Option<Privacy>,
    /// Part of its configured rate that it may have at the moment.
    pub rate: SourceRate,
    pub(super) transport: TransportId,
    pub(super) voice: Voice,
    pub(super) ended: mpsc::Receiver<Ended>,
    pub(super) stop: watch::Receiver<bool>,
}

/// What became of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// To be confirmed when whatever follows from it is done. `None`: the store did not take the job at all.
    pub row: Option<RowId>,
    /// The mark that the source has given to its job.
    pub mark: Option<Bytes>,
    pub job: Option<JobId>,
    /// An error's; `None`: it was answered.
    pub code: Option<Arc<str>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    Ended(Ended),
    /// No more jobs, please.
    Stop,
}

impl Desk {
    /// Hands in a job. `mark` comes back with its end, after a restart of the daemon as well.
    pub async fn submit(&self, id: JobId, content: Content, mark: Option<Bytes>) {
        self.count("jobs");
        // Windows of one sensor follow one another, pictures do not.
        let key = matches!(content, Content::Raw { .. }).then(|| format!("source/{}", self.name).into());
        let request = Request {
            ticket: None,
            model: self.model.clone(),
            id: Some(id),
            fault: None,
            deadline: self.deadline,
            expiry: None,
            priority: 0,
            privacy: self.privacy,
            content,
            reply: Reply {
                to: Address { transport: self.transport, to: self.voice.name.clone(), correlation: mark },
                face: Face::Message { outputs: false },
            },
            amend: false,
            group: None,
            in_stream: InStream { key, seq: None },
            // Whatever becomes of this very submission is to be heard.
            answer_repeats: true,
        };
        // A loop that is gone answers nothing, and the daemon is about to end.
        let _ = self.voice.inbox.send(Event::Job(Box::new(request))).await;
    }

    /// The next thing that a source must hear of.
    pub async fn news(&mut self) -> News {
        tokio::select! {
            biased;
            // A hub that is gone wants no more jobs either.
            _ = self.stop.wait_for(|stop| *stop) => News::Stop,
            ended = self.ended.recv() => ended.map_or(News::Stop, News::Ended),
        }
    }

    /// The end of a job, also after the stop. `None`: the daemon ends.
    pub async fn ended(&mut self) -> Option<Ended> {
        self.ended.recv().await
    }

    /// Whatever follows from this end is done.
    pub async fn confirm(&self, ended: &Ended) {
        let Some(row) = ended.row else { return };
        let _ =
            self.voice.inbox.send(Event::Core(Input::Confirmed { transport: self.transport, row, epoch: EPOCH })).await;
    }

    pub fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    /// Confirms what is still under way, until the daemon ends.
    pub async fn drain(&mut self) {
        while let Some(ended) = self.ended().await {
            self.confirm(&ended).await;
        }
    }
}

impl std::ops::Deref for Desk {
    type Target = Voice;

    fn deref(&self) -> &Voice {
        &self.voice
    }
}

/// How a source is counted and heard of.
#[derive(Clone)]
pub struct Voice {
    pub name: Arc<str>,
    pub(super) inbox: Inbox,
    pub(super) telemetry: Arc<Telemetry>,
}

impl Voice {
    pub fn count(&self, what: &'static str) {
        self.telemetry.source(&self.name, what, 1);
    }

    pub fn count_many(&self, what: &'static str, many: u64) {
        if many > 0 {
            self.telemetry.source(&self.name, what, many);
        }
    }

    /// Something happened that an operator should know: logged, and an event.
    pub async fn tell(&self, code: &'static str, message: &str) {
        tracing::warn!(source = &*self.name, code, why = message, "source");
        let event = json!({ "event": "source", "code": code, "source": &*self.name, "message": message });
        let _ = self.inbox.send(Event::News(event)).await;
    }
}
