//! A job's belongings.

use std::sync::Arc;

use picket_core::{
    escalation::decide::Observation,
    job::{Digest, JobId, ModelId},
    time::Moment,
};

use crate::ports::{Request, StreamNote, Upstream};

/// What the daemon keeps of a job while the engine knows its key.
pub(super) struct Cargo {
    pub request: Arc<Request>,
    pub id: JobId,
    pub digest: Digest,
    pub model: Option<ModelId>,
    pub outputs: Vec<crate::tensor::Tensor>,
    /// What the local model said.
    pub seen: Option<Observation>,
    /// How it found its stream, and left it.
    pub stream: Option<StreamNote>,
    pub upstream: Option<Upstream>,
    /// How often its inference began, in this process and those before.
    pub attempts: u32,
    /// Its number among the dead letters, when it was one.
    pub was_dead: Option<u64>,
    /// The model that it was for, when it was left to a smaller one. Forgotten with the process.
    pub instead_of: Option<Arc<str>>,
    /// Its answer is of no use after this. A restart begins this time anew: rather too long than too short.
    pub expires_at: Option<Moment>,
}

impl Cargo {
    pub fn new(now: Moment, request: Arc<Request>, id: JobId, digest: Digest, model: Option<ModelId>) -> Self {
        let (outputs, seen, stream, upstream) = (Vec::new(), None, None, None);
        let expires_at = request.expiry.map(|expiry| now + expiry);
        let (was_dead, instead_of) = (None, None);
        Self {
            request,
            id,
            digest,
            model,
            outputs,
            seen,
            stream,
            upstream,
            attempts: 0,
            was_dead,
            instead_of,
            expires_at,
        }
    }
}
