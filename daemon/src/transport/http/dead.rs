//! The dead letters: `GET /dead`, `POST /dead/{number}/retry`, `DELETE /dead/{number}`.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use picket_core::{job::Failure, limits};
use serde_json::json;
use tokio::sync::oneshot;

use super::{Server, reply};
use crate::{ports::Event, store::desk::Errand};

type Shared = State<Arc<Server>>;

pub(super) async fn list(State(server): Shared) -> Response {
    match server.errand(Errand::ListDead).await {
        Some(letters) => reply::json(StatusCode::OK, &letters),
        None => no_answer(),
    }
}

pub(super) async fn retry(State(server): Shared, Path(number): Path<u64>) -> Response {
    let found = server.errand(|answer| Errand::RetryDead { number, answer }).await;
    done(number, found, "retried")
}

pub(super) async fn forget(State(server): Shared, Path(number): Path<u64>) -> Response {
    let found = server.errand(|answer| Errand::DropDead { number, answer }).await;
    done(number, found, "dropped")
}

fn done(number: u64, found: Option<bool>, what: &str) -> Response {
    match found {
        Some(true) => reply::json(StatusCode::OK, &json!({ what: number })),
        Some(false) => reply::failure("", &Failure::new(reply::NOT_FOUND, format!("there is no dead letter {number}"))),
        None => no_answer(),
    }
}

fn no_answer() -> Response {
    reply::failure("", &Failure::new("job/shutting-down", "the run loop does not answer"))
}

impl Server {
    /// Asks the store, through the run loop.
    async fn errand<T>(&self, errand: impl FnOnce(oneshot::Sender<T>) -> Errand) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.context.inbox.send(Event::Errand(errand(answer))).await.ok()?;
        tokio::time::timeout(limits::HTTP_STATUS_WAIT.into(), answered).await.ok()?.ok()
    }
}
