//! What goes to a provider.

use std::sync::Arc;

use picket_core::{
    job::{Failure, JobId, Key, ModelId, ProviderId},
    time::Span,
};

use super::House;
use crate::{
    inference::served::Served,
    pipeline,
    ports::{Event, Question, Request},
};

impl House {
    pub(super) fn ask(&self, key: Key, model: ModelId, provider: ProviderId, timeout: Span) {
        let (Some(cargo), Ok((served, _))) = (self.cargo.get(&key), &self.models[model.0].state) else { return };
        let (served, request, id) = (served.clone(), cargo.request.clone(), cargo.id.clone());
        let (asked, inbox) = (self.providers[provider.0].provider.clone(), self.inbox.clone());
        tokio::spawn(async move {
            let start = std::time::Instant::now();
            let result = match question(served, request, id, timeout).await {
                Ok(question) => asked.ask(question).await,
                Err(failure) => Err((picket_core::ProviderFault::BadAnswer, failure.to_string())),
            };
            let took = Span::from_micros(u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX));
            let _ = inbox.send(Event::Upstream { key, provider, timeout, took, result }).await;
        });
    }
}

/// The job's inputs, decoded once more: escalations are rare, and keeping every input decoded would cost memory.
async fn question(served: Arc<Served>, request: Arc<Request>, id: JobId, timeout: Span) -> Result<Question, Failure> {
    let labels = served.bundle.labels.clone();
    let decode = move || pipeline::decode(&request.content, &served.signature.inputs);
    let inputs = tokio::task::spawn_blocking(decode)
        .await
        .map_err(|_| Failure::new("input/undecodable", "decoding for the provider failed"))??;
    Ok(Question { id, inputs, labels, timeout })
}
