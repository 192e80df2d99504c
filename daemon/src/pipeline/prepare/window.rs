//! `window`: `length` samples along the first axis at a time, each window `hop` samples after the one before; `pad` zeros
//! stand before the first. `per = "stream"` (the samples of a stream's jobs) or `"job"`.

use std::sync::Arc;

use picket_core::job::Failure;
use serde::Deserialize;

use super::{Prepare, PrepareKind};
use crate::{
    pipeline::{
        draft::Draft,
        keys::{StepFault, read},
        window::{Per, Window},
    },
    ports::TensorSpec,
};

pub const KIND: PrepareKind = PrepareKind { name: "window", read: new };

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    length: usize,
    hop: Option<usize>,
    #[serde(default)]
    pad: usize,
    per: Option<String>,
}

fn new(keys: toml::Table) -> Result<Arc<dyn Prepare>, StepFault> {
    let Keys { length, hop, pad, per } = read(keys)?;
    let hop = hop.unwrap_or(length);
    if length == 0 || hop == 0 {
        return Err(StepFault::invalid("`length` and `hop` are at least 1"));
    }
    if pad >= length {
        return Err(StepFault::invalid("`pad` is less than `length`: a window of zeros says nothing"));
    }
    let per = match per.as_deref() {
        None | Some("stream") => Per::Stream,
        Some("job") => Per::Job,
        Some(other) => return Err(StepFault::invalid(format!("`per` is {other:?}; it is \"stream\" or \"job\""))),
    };
    Ok(Arc::new(Window { length, hop, pad, per }))
}

impl Prepare for Window {
    fn shape(&self, spec: TensorSpec) -> Result<TensorSpec, String> {
        Self::shape(self, spec)
    }

    /// One full window passes as it is; what fills it stands outside of the steps.
    fn apply(&self, draft: Draft) -> Result<Draft, Failure> {
        if draft.shape.first() == Some(&self.length) {
            return Ok(draft);
        }
        let message = format!("a window of {} samples was made of {:?}", self.length, draft.shape);
        Err(Failure::new("input/shape-mismatch", message))
    }

    fn identity(&self) -> String {
        let per = if self.per == Per::Job { "job" } else { "stream" };
        format!("window {} {} {} {per}", self.length, self.hop, self.pad)
    }

    fn window(&self) -> Option<Window> {
        Some(*self)
    }
}
