//! What an answer says of its stream.

use serde::Serialize;
use serde_json::{Value, json};

use crate::ports::{Begun, StreamNote};

/// Without a key nothing is kept between jobs, and only `windows` is there.
#[derive(Serialize)]
pub(super) struct StreamDocument<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    /// It began anew with this job …
    #[serde(skip_serializing_if = "Option::is_none")]
    fresh: Option<bool>,
    /// … because it is `new`, or after a `gap`, or for its `age`.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'static str>,
    /// That this job completed.
    #[serde(skip_serializing_if = "Option::is_none")]
    windows: Option<usize>,
    /// Samples that are kept for the next window …
    #[serde(skip_serializing_if = "Option::is_none")]
    have: Option<usize>,
    /// … and those that it lacks.
    #[serde(skip_serializing_if = "Option::is_none")]
    need: Option<usize>,
}

impl<'a> From<&'a StreamNote> for StreamDocument<'a> {
    fn from(note: &'a StreamNote) -> Self {
        let key = note.key.as_deref();
        Self {
            key,
            fresh: key.map(|_| note.begun.is_some()),
            why: note.begun.map(Begun::name),
            windows: note.windows,
            have: note.have,
            need: note.need,
        }
    }
}

/// The same as parameters of an Open Inference Protocol response.
pub(super) fn parameters(note: Option<&StreamNote>) -> [(&'static str, Value); 6] {
    let document = note.map(StreamDocument::from);
    let document = document.as_ref();
    [
        ("stream", json!(document.and_then(|stream| stream.key))),
        ("fresh", json!(document.and_then(|stream| stream.fresh))),
        ("why_fresh", json!(document.and_then(|stream| stream.why))),
        ("windows", json!(document.and_then(|stream| stream.windows))),
        ("have", json!(document.and_then(|stream| stream.have))),
        ("need", json!(document.and_then(|stream| stream.need))),
    ]
}
