//! The routes, who may use them, and everything but inference.

use std::sync::{Arc, atomic::Ordering};

use axum::{
    Router,
    extract::{Path, Request, State},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::Response,
    routing::{delete, get, post},
};
use picket_core::{job::Failure, limits};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::sync::oneshot;

use super::{Server, dead, infer, reply};
use crate::{
    ports::{Event, TensorSpec},
    telemetry::Status,
    transport::ModelInfo,
};

type Shared = State<Arc<Server>>;

/// Every address that this server knows. Health needs no token: probes have none.
pub(super) fn router(server: Arc<Server>) -> Router {
    let health = Router::new()
        .route("/v2/health/live", get(live))
        .route("/v2/health/ready", get(ready))
        .route("/healthz", get(live))
        .route("/readyz", get(ready))
        .method_not_allowed_fallback(wrong_method);
    let rest = Router::new()
        .route("/v2", get(about))
        .route("/v2/models/{model}", get(model))
        .route("/v2/models/{model}/versions/{version}", get(model_version))
        .route("/v2/models/{model}/ready", get(model_ready))
        .route("/v2/models/{model}/versions/{version}/ready", get(model_version_ready))
        .route("/v2/models/{model}/infer", post(infer::infer))
        .route("/v2/models/{model}/versions/{version}/infer", post(infer::infer_version))
        .route("/metrics", get(metrics))
        .route("/status", get(status))
        .route("/dead", get(dead::list))
        .route("/dead/{number}/retry", post(dead::retry))
        .route("/dead/{number}", delete(dead::forget))
        .fallback(nothing_here)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(server.clone(), check_token));
    health.merge(rest).with_state(server)
}

/// Compares digests: how long it takes says nothing about the token.
async fn check_token(State(server): Shared, request: Request, next: Next) -> Response {
    let Some(want) = server.token else { return next.run(request).await };
    let given = request.headers().get(header::AUTHORIZATION).map(|value| value.as_bytes());
    let token =
        given.and_then(|value| value.split_at_checked(7)).filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "));
    if token.is_some_and(|(_, token)| <[u8; 32]>::from(Sha256::digest(token.trim_ascii())) == want) {
        return next.run(request).await;
    }
    reply::failure("", &Failure::new(reply::UNAUTHORIZED, "this needs the header `Authorization: Bearer …`"))
}

async fn nothing_here() -> Response {
    reply::failure("", &Failure::new(reply::NOT_FOUND, "there is nothing at this address"))
}

async fn wrong_method() -> Response {
    reply::failure("", &Failure::new(reply::WRONG_METHOD, "this address does not take this method"))
}

async fn live(State(server): Shared) -> Response {
    health("live", !server.context.inbox.is_closed())
}

async fn ready(State(server): Shared) -> Response {
    let ready = server.intake.load(Ordering::Relaxed) && server.status().await.is_some_and(|status| status.ready);
    health("ready", ready)
}

fn health(what: &str, good: bool) -> Response {
    let status = if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    reply::json(status, &json!({ what: good }))
}

async fn status(State(server): Shared) -> Response {
    match server.status().await {
        Some(status) => reply::json(StatusCode::OK, &status),
        None => reply::failure("", &Failure::new("job/shutting-down", "the run loop does not answer")),
    }
}

async fn metrics(State(server): Shared) -> Response {
    let text = server.context.telemetry.metrics_text();
    reply::body(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", text.into())
}

async fn about() -> Response {
    let about = json!({
        "name": "picket",
        "version": env!("CARGO_PKG_VERSION"),
        "extensions": ["binary_tensor_data"],
    });
    reply::json(StatusCode::OK, &about)
}

async fn model(State(server): Shared, Path(model): Path<String>) -> Response {
    describe(server.model(&model, None))
}

async fn model_version(State(server): Shared, Path((model, version)): Path<(String, String)>) -> Response {
    describe(server.model(&model, Some(&version)))
}

async fn model_ready(State(server): Shared, Path(model): Path<String>) -> Response {
    serves(&server, server.model(&model, None))
}

async fn model_version_ready(State(server): Shared, Path((model, version)): Path<(String, String)>) -> Response {
    serves(&server, server.model(&model, Some(&version)))
}

fn describe(model: Result<&ModelInfo, Failure>) -> Response {
    let model = match model {
        Ok(model) => model,
        Err(failure) => return reply::failure("", &failure),
    };
    let tensors = |specs: &[TensorSpec]| specs.iter().map(tensor).collect::<Vec<Value>>();
    let Some(signature) = &model.signature else { return reply::failure("", &not_ready(model)) };
    let document = json!({
        "name": &*model.name,
        "versions": [model.version],
        "platform": "picket_onnx",
        "inputs": tensors(&signature.inputs),
        "outputs": tensors(&signature.outputs),
    });
    reply::json(StatusCode::OK, &document)
}

/// A dimension that the job decides is -1.
fn tensor(spec: &TensorSpec) -> Value {
    let shape: Vec<i64> = spec.shape.iter().map(|dim| dim.and_then(|n| i64::try_from(n).ok()).unwrap_or(-1)).collect();
    json!({ "name": spec.name, "datatype": spec.dtype.name(), "shape": shape })
}

fn serves(server: &Server, model: Result<&ModelInfo, Failure>) -> Response {
    match model {
        Err(failure) => reply::failure("", &failure),
        Ok(model) if model.signature.is_none() => reply::failure("", &not_ready(model)),
        Ok(model) => {
            let ready = server.intake.load(Ordering::Relaxed);
            let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            reply::json(status, &json!({ "name": &*model.name, "ready": ready }))
        }
    }
}

fn not_ready(model: &ModelInfo) -> Failure {
    let why = model.refused.as_deref().unwrap_or("it is not loaded");
    Failure::new("model/not-ready", format!("model `{}` is not served: {why}", model.name))
}

impl Server {
    /// A model of this name, and of this version if one is asked for.
    ///
    /// # Errors
    /// `model/unknown`
    pub fn model(&self, name: &str, version: Option<&str>) -> Result<&ModelInfo, Failure> {
        let model = self.context.models.iter().find(|model| &*model.name == name);
        let model = model.ok_or_else(|| Failure::new("model/unknown", format!("there is no model `{name}`")))?;
        match version {
            Some(version) if version != model.version => {
                let message = format!("model `{name}` is not here in version `{version}`");
                Err(Failure::new("model/unknown", message).expected(&*model.version, version))
            }
            _ => Ok(model),
        }
    }

    /// Asks the run loop how it does; `None` when it does not answer in time.
    async fn status(&self) -> Option<Status> {
        let ask = async {
            let (answer, status) = oneshot::channel();
            self.context.inbox.send(Event::Status(answer)).await.ok()?;
            status.await.ok()
        };
        tokio::time::timeout(limits::HTTP_STATUS_WAIT.into(), ask).await.ok().flatten()
    }
}
