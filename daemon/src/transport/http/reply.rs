//! Answers as HTTP says them.

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::Response,
};
use bytes::Bytes;
use picket_core::job::Failure;

use crate::{oip, ports::Message};

/// Length of the JSON part of a body that has binary tensors behind it.
pub(super) const JSON_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");

/// Codes of this transport alone.
pub(super) const NOT_FOUND: &str = "http/not-found";
pub(super) const WRONG_METHOD: &str = "http/method-not-allowed";
pub(super) const UNAUTHORIZED: &str = "http/unauthorized";
pub(super) const TOO_SLOW: &str = "http/timeout";

/// The status of an error code.
pub(super) fn status_of(code: &str) -> StatusCode {
    match code {
        "input/too-large" => StatusCode::PAYLOAD_TOO_LARGE,
        "job/invalid-option" => StatusCode::BAD_REQUEST,
        "job/id-reused" => StatusCode::CONFLICT,
        "job/expired" => StatusCode::GATEWAY_TIMEOUT,
        "job/shed" | "job/shutting-down" | "model/not-ready" | "model/unproven" => StatusCode::SERVICE_UNAVAILABLE,
        "model/unknown" | NOT_FOUND => StatusCode::NOT_FOUND,
        WRONG_METHOD => StatusCode::METHOD_NOT_ALLOWED,
        UNAUTHORIZED => StatusCode::UNAUTHORIZED,
        TOO_SLOW => StatusCode::REQUEST_TIMEOUT,
        _ if code.starts_with("input/") => StatusCode::BAD_REQUEST,
        _ if code.starts_with("store/") => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// A stored message, as it is.
pub(super) fn message(message: &Message) -> Response {
    let status = message.code.as_deref().map_or(StatusCode::OK, status_of);
    match message.json_len {
        None => body(status, "application/json", message.payload.clone()),
        Some(length) => {
            let mut response = body(status, "application/octet-stream", message.payload.clone());
            response.headers_mut().insert(JSON_LENGTH, HeaderValue::from(length));
            response
        }
    }
}

/// An error that this transport answers by itself. `id` is empty when the request has none that is known.
pub(super) fn failure(id: &str, failure: &Failure) -> Response {
    let mut response = body(status_of(failure.code), "application/json", oip::error_document(id, failure).into());
    match failure.code {
        UNAUTHORIZED => {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        // The rest of the body is not read: nothing else can come on this connection.
        "input/too-large" | TOO_SLOW => {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        _ => {}
    }
    response
}

pub(super) fn json(status: StatusCode, document: &impl serde::Serialize) -> Response {
    match serde_json::to_vec(document) {
        Ok(bytes) => body(status, "application/json", bytes.into()),
        Err(why) => failure("", &Failure::new("http/internal", why.to_string())),
    }
}

pub(super) fn body(status: StatusCode, content_type: &'static str, bytes: Bytes) -> Response {
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_status() {
        for (code, status) in [
            ("input/undecodable", 400),
            ("input/shape-mismatch", 400),
            ("input/non-finite", 400),
            ("job/invalid-option", 400),
            ("input/too-large", 413),
            ("model/unknown", 404),
            ("job/id-reused", 409),
            ("job/expired", 504),
            ("job/shed", 503),
            ("job/shutting-down", 503),
            ("store/full", 503),
            ("store/unavailable", 503),
            ("model/not-ready", 503),
            ("model/unproven", 503),
            ("model/failed", 500),
            ("model/invalid-output", 500),
            ("job/poison", 500),
        ] {
            assert_eq!(status_of(code).as_u16(), status, "{code}");
        }
    }
}
