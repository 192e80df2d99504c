//! What goes out when a job ends.

use std::sync::Arc;

use bytes::Bytes;
use picket_core::{
    Answer, Source,
    job::{Failure, ModelId},
};

use super::{House, cargo::Cargo};
use crate::{
    answer::{self, Facts},
    inference::served::Served,
    ports::{Death, Message, Upstream},
};

impl House {
    pub(super) fn answer_messages(&self, cargo: &Cargo, answer: &Answer) -> Vec<Message> {
        let Some((model, served)) = self.served(cargo.model) else {
            return self.error_messages(cargo, &Failure::new("model/not-ready", "the model is gone"));
        };
        let provider = match answer.source {
            Source::Local => None,
            Source::Provider(id) => Some(&*self.provider_names[id.0]),
        };
        // Of what was said about another frame only the answer itself is known.
        let reused = answer.reused.clone().map(|said| Upstream {
            said,
            confidence: None,
            outputs: Vec::new(),
            model: String::new(),
            cost: None,
        });
        let facts = Facts {
            id: &cargo.id,
            model,
            served,
            outputs: &cargo.outputs,
            seen: cargo.seen.as_ref(),
            stream: cargo.stream.as_ref(),
            upstream: cargo.upstream.as_ref().or(reused.as_ref()),
            provider,
            instead_of: cargo.instead_of.as_deref(),
        };
        let document = answer::result(answer, &facts, &cargo.request.reply.face);
        let to = cargo.request.reply.to.clone();
        let room = self.transports.get(to.transport.0).map_or(usize::MAX, |slot| slot.transport.max_payload());
        if document.payload.len() > room {
            let message = format!("the result has {} bytes, at most {room} can leave", document.payload.len());
            return self.error_messages(cargo, &Failure::new("result/too-large", message));
        }
        let (payload, json_len) = (document.payload, document.json_len);
        vec![Message { to, payload, json_len, code: None, job: Some(cargo.id.clone()), expires_at: cargo.expires_at }]
    }

    /// The error to the asker, and the dead letter where there is a place for it.
    pub(super) fn error_messages(&self, cargo: &Cargo, failure: &Failure) -> Vec<Message> {
        let code: Arc<str> = failure.code.into();
        let request = &cargo.request;
        let document = answer::error(cargo.id.as_str(), failure, &request.reply.face);
        let own = Message {
            to: request.reply.to.clone(),
            payload: document.payload,
            json_len: None,
            code: Some(code.clone()),
            job: Some(cargo.id.clone()),
            expires_at: cargo.expires_at,
        };
        let death = Death { failure: failure.clone(), attempts: cargo.attempts };
        let payload: Bytes =
            answer::dead_letter(cargo.id.as_str(), &request.model, &death, &request.content, &cargo.digest);
        let letters = self.transports.iter().filter_map(|slot| slot.transport.dead_letters());
        let dead = letters.map(|to| Message {
            to,
            payload: payload.clone(),
            json_len: None,
            code: Some(code.clone()),
            job: None,
            expires_at: None,
        });
        std::iter::once(own).chain(dead).collect()
    }

    pub(super) fn served(&self, model: Option<ModelId>) -> Option<(&str, &Served)> {
        let slot = &self.models[model?.0];
        slot.state.as_ref().ok().map(|(served, _)| (&*slot.name, &**served))
    }
}
