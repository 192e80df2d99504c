//! From a row handed to the client library to what the broker said of it.

use std::sync::Arc;

use futures_util::{StreamExt, stream::FuturesUnordered};
use picket_core::{
    Input, Refusal,
    job::{Epoch, RowId, TransportId},
};
use rumqttc::{PubAckReason, PublishNotice, PublishNoticeError, PublishResult};
use tokio::sync::mpsc;

use super::Shared;
use crate::{
    ports::{Event, Inbox},
    telemetry::Telemetry,
};

pub(super) struct Sent {
    pub row: RowId,
    pub epoch: Epoch,
    pub outcome: Outcome,
}

pub(super) enum Outcome {
    Pending(PublishNotice),
    /// Its asker does not want it any more.
    Expired,
    /// The library had no room.
    NotNow,
    /// This message can never leave on such a connection.
    Impossible(&'static str),
}

/// Waits for every row's PUBACK and tells the run loop.
pub(super) struct Judge {
    pub transport: TransportId,
    pub inbox: Inbox,
    pub telemetry: Arc<Telemetry>,
    pub shared: Arc<Shared>,
    /// The code of the refusals that go on now: said once, not for each row.
    refusing: Option<&'static str>,
}

/// What the broker said, or the way to it.
enum Verdict {
    Taken,
    Refused(Refusal, &'static str),
    Never(&'static str),
    Expired,
}

impl Judge {
    pub fn new(transport: TransportId, inbox: Inbox, telemetry: Arc<Telemetry>, shared: Arc<Shared>) -> Self {
        Self { transport, inbox, telemetry, shared, refusing: None }
    }

    /// Ends with its transport.
    pub async fn run(mut self, mut sent: mpsc::Receiver<Sent>) {
        let mut pending = FuturesUnordered::new();
        loop {
            let (row, epoch, verdict) = tokio::select! {
                next = sent.recv() => match next {
                    None => return,
                    Some(Sent { row, epoch, outcome: Outcome::Pending(notice) }) => {
                        pending.push(async move { (row, epoch, notice.wait_async().await) });
                        continue;
                    }
                    Some(Sent { row, epoch, outcome: Outcome::NotNow }) => {
                        (row, epoch, Verdict::Refused(Refusal::Busy, "mqtt/no-room"))
                    }
                    Some(Sent { row, epoch, outcome: Outcome::Expired }) => {
                        self.telemetry.dropped("result-expired");
                        (row, epoch, Verdict::Expired)
                    }
                    Some(Sent { row, epoch, outcome: Outcome::Impossible(why) }) => {
                        tracing::warn!(row = row.0, why, "a message cannot be published");
                        (row, epoch, Verdict::Never("mqtt/message-invalid"))
                    }
                },
                Some((row, epoch, result)) = pending.next() => match self.verdict(result) {
                    Some(verdict) => (row, epoch, verdict),
                    None => continue,
                },
            };
            let input = self.input(row, epoch, verdict);
            if self.inbox.send(Event::Core(input)).await.is_err() {
                return;
            }
        }
    }

    /// `None`: the connection went; the row is sent again on the next one.
    fn verdict(&self, result: Result<PublishResult, PublishNoticeError>) -> Option<Verdict> {
        let reason = match result {
            Ok(PublishResult::Qos1(ack)) => ack.reason,
            Ok(_) => PubAckReason::Success,
            Err(PublishNoticeError::V5PubAck(reason)) => reason,
            Err(PublishNoticeError::Recv | PublishNoticeError::SessionReset) => return None,
            Err(error) => {
                tracing::warn!(%error, "the client library did not publish a message");
                return Some(Verdict::Refused(Refusal::Busy, "mqtt/no-room"));
            }
        };
        Some(match reason {
            PubAckReason::Success => Verdict::Taken,
            PubAckReason::NoMatchingSubscribers => {
                // Nobody listens: it was handed to the broker all the same.
                self.telemetry.dropped("no-subscribers");
                Verdict::Taken
            }
            PubAckReason::TopicNameInvalid | PubAckReason::PayloadFormatInvalid => {
                tracing::warn!(?reason, "the broker will never take a message");
                Verdict::Never("mqtt/message-invalid")
            }
            PubAckReason::NotAuthorized => Verdict::Refused(Refusal::Forbidden, "mqtt/not-authorised"),
            PubAckReason::QuotaExceeded => Verdict::Refused(Refusal::Busy, "mqtt/quota-exceeded"),
            _ => Verdict::Refused(Refusal::Busy, "mqtt/publish-refused"),
        })
    }

    fn input(&mut self, row: RowId, epoch: Epoch, verdict: Verdict) -> Input {
        let transport = self.transport;
        match verdict {
            Verdict::Taken => {
                self.refusing = None;
                self.shared.note_progress();
                Input::Confirmed { transport, row, epoch }
            }
            Verdict::Refused(refusal, code) => {
                if self.refusing.replace(code) != Some(code) {
                    self.telemetry.link_failed(code);
                    tracing::warn!(row = row.0, code, "the broker does not take a message; it is tried again");
                }
                Input::Rejected { transport, row, epoch, refusal }
            }
            Verdict::Expired => Input::Undeliverable { transport, row, epoch },
            Verdict::Never(code) => {
                self.telemetry.link_failed(code);
                Input::Undeliverable { transport, row, epoch }
            }
        }
    }
}
