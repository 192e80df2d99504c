//! One inference request: body, envelope, waiter, run loop, answer.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
};

use axum::{
    body::{Body, HttpBody},
    extract::{Path, State},
    http::{HeaderMap, header},
    response::Response,
};
use bytes::{Bytes, BytesMut};
use picket_core::{
    job::{Failure, JobId},
    limits,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    Server,
    reply::{self, JSON_LENGTH},
    waiters::{Answer, Waiter},
};
use crate::{
    oip::{self, Envelope},
    options::{JobOptions, invalid},
    ports::{Address, Content, Event, Face, InStream, OutputForm, Reply, Request},
};

/// Header for clients that cannot put an id into the body.
const JOB_ID: &str = "picket-job-id";
/// Bodies from this size on are looked at on a thread that may block.
const LARGE: usize = 1 << 20;

pub(super) async fn infer(
    State(server): State<Arc<Server>>,
    Path(model): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    answer(&server, &model, None, &headers, body).await
}

pub(super) async fn infer_version(
    State(server): State<Arc<Server>>,
    Path((model, version)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    answer(&server, &model, Some(&version), &headers, body).await
}

async fn answer(server: &Server, model: &str, version: Option<&str>, headers: &HeaderMap, body: Body) -> Response {
    // The permit lives until the answer is there: it stands for the memory of the body.
    let (content, _permit) = match read(server, headers, body).await {
        Ok(read) => read,
        Err(failure) => return refuse(server, "", &failure),
    };
    let envelope = match look(&content).await {
        Ok(envelope) => envelope,
        Err(failure) => return refuse(server, "", &failure),
    };
    let asked = envelope.id.clone().unwrap_or_default();
    let (id, waiter, request) = match prepare(server, model, version, headers, &envelope, content) {
        Ok(prepared) => prepared,
        Err(failure) => return refuse(server, &asked, &failure),
    };
    match wait(server, waiter, request).await {
        Ok(Answer::Message(message)) => reply::message(&message),
        Ok(Answer::Bounced(failure)) | Err(failure) => reply::failure(id.as_str(), &failure),
    }
}

/// An error at the door: the run loop never hears of the request, so it is counted here.
fn refuse(server: &Server, id: &str, failure: &Failure) -> Response {
    server.context.telemetry.refused_at_the_door(failure);
    reply::failure(id, failure)
}

/// The body in its two parts.
async fn read(
    server: &Server,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Content, Option<OwnedSemaphorePermit>), Failure> {
    if !server.intake.load(Ordering::Relaxed) {
        return Err(stopping());
    }
    if let Some(encoding) = headers.get(header::CONTENT_ENCODING).filter(|value| *value != "identity") {
        let message = format!("a body with content encoding {encoding:?} is not understood; send it as it is");
        return Err(Failure::new("input/undecodable", message));
    }
    let (bytes, permit) = collect(body, server.max_body, &server.bodies).await?;
    let split = match headers.get(JSON_LENGTH) {
        None => bytes.len(),
        Some(length) => {
            let number = length.to_str().ok().and_then(|text| text.parse().ok());
            number.filter(|n| *n <= bytes.len()).ok_or_else(|| {
                Failure::new("input/undecodable", "Inference-Header-Content-Length does not fit the body")
                    .expected(format!("at most {}", bytes.len()), format!("{length:?}"))
            })?
        }
    };
    Ok((Content::Oip { json: bytes.slice(..split), binary: bytes.slice(split..) }, permit))
}

/// Reads a body of at most `max` bytes, taking a permit for each of them.
async fn collect(
    mut body: Body,
    max: usize,
    room: &Arc<Semaphore>,
) -> Result<(Bytes, Option<OwnedSemaphorePermit>), Failure> {
    let too_large = |got: u64| {
        Failure::new("input/too-large", "the body is larger than this server takes")
            .expected(format!("{max} bytes"), format!("{got} bytes or more"))
    };
    let announced = body.size_hint().lower();
    if announced > max as u64 {
        return Err(too_large(announced));
    }
    let mut permit: Option<OwnedSemaphorePermit> = None;
    let (mut first, mut rest) = (Bytes::new(), BytesMut::new());
    loop {
        let next = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx));
        let frame = tokio::time::timeout(limits::HTTP_BODY_WAIT.into(), next).await;
        let frame = frame.map_err(|_| Failure::new(reply::TOO_SLOW, "the body did not come in time"))?;
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|why| Failure::new("input/undecodable", format!("the body broke off: {why}")))?;
        let Ok(data) = frame.into_data() else { continue };
        let so_far = first.len() + rest.len() + data.len();
        if so_far > max {
            return Err(too_large(so_far as u64));
        }
        let bytes = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let more = room
            .clone()
            .try_acquire_many_owned(bytes)
            .map_err(|_| Failure::new("job/shed", "too many bytes of other requests are under way; try again later"))?;
        match &mut permit {
            Some(permit) => permit.merge(more),
            None => permit = Some(more),
        }
        // Most bodies come in one piece, which then needs no copy.
        if first.is_empty() && rest.is_empty() {
            first = data;
            continue;
        }
        if rest.is_empty() {
            rest.reserve((announced as usize).max(so_far));
            rest.extend_from_slice(&std::mem::take(&mut first));
        }
        rest.extend_from_slice(&data);
    }
    Ok((if rest.is_empty() { first } else { rest.freeze() }, permit))
}

/// The envelope, which takes a scan over the whole document.
async fn look(content: &Content) -> Result<Envelope, Failure> {
    let json = content.parts().0.clone();
    if json.len() < LARGE {
        return oip::envelope(&json);
    }
    let looked = tokio::task::spawn_blocking(move || oip::envelope(&json)).await;
    looked.unwrap_or_else(|_| Err(stopping()))
}

/// Everything that can be wrong without looking at a tensor, and a waiter for what is right.
fn prepare(
    server: &Server,
    model: &str,
    version: Option<&str>,
    headers: &HeaderMap,
    envelope: &Envelope,
    content: Content,
) -> Result<(JobId, Waiter, Request), Failure> {
    let mut options = envelope.options()?;
    if let (None, Some(id)) = (&options.id, headers.get(JOB_ID)) {
        options.set("id", &String::from_utf8_lossy(id.as_bytes()))?;
    }
    if let Some(version) = version {
        server.model(model, Some(version))?;
    }
    // An unknown model is the run loop's to refuse, as for every transport.
    if let Ok(known) = server.model(model, None) {
        check_outputs(known, &envelope.outputs)?;
    }
    let waiter = server.waiters.admit().ok_or_else(|| {
        if server.intake.load(Ordering::Relaxed) {
            Failure::new("job/shed", "too many requests wait for their answer; try again later")
        } else {
            stopping()
        }
    })?;
    let to = waiter.address();
    let JobOptions { id, deadline, priority, privacy, group_key, stream, seq, .. } = options;
    let id = match id {
        Some(id) => id,
        None => JobId::new(&format!("http-{to}")).map_err(|why| Failure::new("job/invalid-option", why))?,
    };
    let request = Request {
        ticket: None,
        model: model.into(),
        id: Some(id.clone()),
        fault: None,
        deadline,
        expiry: None,
        priority,
        privacy,
        content,
        reply: Reply {
            to: Address { transport: server.context.id, to, correlation: None },
            face: Face::Oip { outputs: envelope.outputs.clone() },
        },
        amend: false,
        group: group_key.map(Arc::from),
        in_stream: InStream { key: stream.map(Arc::from), seq },
        answer_repeats: true,
    };
    Ok((id, waiter, request))
}

fn check_outputs(model: &crate::transport::ModelInfo, form: &OutputForm) -> Result<(), Failure> {
    let Some(signature) = &model.signature else { return Ok(()) };
    let exists = |name: &str| signature.outputs.iter().any(|output| output.name == name);
    match form.requested.iter().find(|(name, _)| !exists(name)) {
        None => Ok(()),
        Some((missing, _)) => {
            let names: Vec<&str> = signature.outputs.iter().map(|output| &*output.name).collect();
            Err(invalid("outputs", missing, &format!("model `{}` gives {}", model.name, names.join(", "))))
        }
    }
}

async fn wait(server: &Server, mut waiter: Waiter, request: Request) -> Result<Answer, Failure> {
    server.context.inbox.send(Event::Job(Box::new(request))).await.map_err(|_| stopping())?;
    // Every job is answered by its deadline at the latest; a closed line means that the daemon stops.
    (&mut waiter.answer).await.map_err(|_| stopping())
}

fn stopping() -> Failure {
    Failure::new("job/shutting-down", "this Picket is stopping")
}
