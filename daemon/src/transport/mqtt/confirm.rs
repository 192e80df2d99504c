//! From a row handed to the client library to what the broker said of it.

use futures_util::{StreamExt, stream::FuturesUnordered};
use picket_core::{
    Input,
    job::{Epoch, RowId, TransportId},
};
use rumqttc::{PubAckReason, PublishNotice, PublishNoticeError, PublishResult};
use tokio::sync::mpsc;

use crate::ports::{Event, Inbox};

pub(super) struct Sent {
    pub row: RowId,
    pub epoch: Epoch,
    pub outcome: Outcome,
}

pub(super) enum Outcome {
    Pending(PublishNotice),
    /// The library had no room.
    NotNow,
    /// This message can never leave on such a connection.
    Impossible(&'static str),
}

/// Waits for every row's PUBACK and tells the run loop. Ends with its transport.
pub(super) async fn run(transport: TransportId, inbox: Inbox, mut sent: mpsc::Receiver<Sent>) {
    let mut pending = FuturesUnordered::new();
    loop {
        let verdict = tokio::select! {
            next = sent.recv() => match next {
                None => return,
                Some(Sent { row, epoch, outcome: Outcome::Pending(notice) }) => {
                    pending.push(async move { (row, epoch, notice.wait_async().await) });
                    None
                }
                Some(Sent { row, epoch, outcome: Outcome::NotNow }) => Some(Input::Rejected { transport, row, epoch }),
                Some(Sent { row, epoch, outcome: Outcome::Impossible(why) }) => {
                    tracing::warn!(row = row.0, why, "a message cannot be published");
                    Some(Input::Undeliverable { transport, row, epoch })
                }
            },
            Some((row, epoch, result)) = pending.next() => judge(transport, row, epoch, result),
        };
        if let Some(input) = verdict
            && inbox.send(Event::Core(input)).await.is_err()
        {
            return;
        }
    }
}

/// `None`: the connection went; the row is sent again on the next one.
fn judge(
    transport: TransportId,
    row: RowId,
    epoch: Epoch,
    result: Result<PublishResult, PublishNoticeError>,
) -> Option<Input> {
    let reason = match result {
        Ok(PublishResult::Qos1(ack)) => ack.reason,
        Ok(_) => PubAckReason::Success,
        Err(PublishNoticeError::V5PubAck(reason)) => reason,
        Err(PublishNoticeError::Recv | PublishNoticeError::SessionReset) => return None,
        Err(error) => {
            tracing::warn!(row = row.0, %error, "the client library did not publish a message");
            return Some(Input::Rejected { transport, row, epoch });
        }
    };
    match reason {
        // Nobody listens: it was handed to the broker all the same.
        PubAckReason::Success | PubAckReason::NoMatchingSubscribers => Some(Input::Confirmed { transport, row, epoch }),
        PubAckReason::TopicNameInvalid | PubAckReason::PayloadFormatInvalid => {
            tracing::warn!(row = row.0, ?reason, "the broker will never take a message");
            Some(Input::Undeliverable { transport, row, epoch })
        }
        reason => {
            tracing::warn!(row = row.0, ?reason, "the broker refused a message for now");
            Some(Input::Rejected { transport, row, epoch })
        }
    }
}
