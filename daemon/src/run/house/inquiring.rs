//! Questions about answered jobs: asked when a provider has time, and what comes of them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Instant,
};

use picket_core::{
    Input, Opinion, ProviderFault,
    engine::{Call, Charge},
    inquiry::{Ending, Inquiry, InquiryId},
    job::{JobId, ModelId, ProviderId},
    time::Span,
};

use super::{House, asking::Answered};
use crate::{
    answer::{self, Late},
    ports::{Event, Message, Request, Upstream, Write},
    store::desk::Inquire,
};

/// Questions that are at a provider, or were.
#[derive(Default)]
pub(super) struct Inquiries(HashMap<InquiryId, Asked>);

struct Asked {
    request: Arc<Request>,
    said: Option<(ProviderId, Upstream)>,
}

impl Inquiries {
    /// What was said about it so far.
    pub fn said(&self, inquiry: InquiryId) -> Option<(ProviderId, &Upstream)> {
        let (provider, upstream) = self.0.get(&inquiry)?.said.as_ref()?;
        Some((*provider, upstream))
    }

    pub fn request(&self, inquiry: InquiryId) -> Option<&Arc<Request>> {
        self.0.get(&inquiry).map(|asked| &asked.request)
    }
}

impl House {
    /// The job has come from the store: off it goes.
    pub(super) fn send_inquiry(&mut self, inquire: Inquire, request: Option<Arc<Request>>) {
        let Inquire { inquiry, ask } = inquire;
        let (provider, timeout) = (ask.provider, ask.timeout);
        let draft = request.and_then(|request| {
            self.inquiries.0.insert(inquiry, Asked { request: request.clone(), said: None });
            // Nobody else knows this id: the job's own stays in the ledger.
            let id = request.id.clone().unwrap_or_else(|| JobId::from_digest(&[0; 32]));
            self.draft(&ask, (request, id, Vec::new()))
        });
        let Some(draft) = draft else {
            let result = Err(ProviderFault::Withheld);
            let charge = Charge::Nothing;
            self.follow_ups.push_back(Input::Settled { call: Call::Inquiry(inquiry), provider, charge });
            return self.follow_ups.push_back(Input::Opined { inquiry, provider, timeout, result });
        };
        let (way, inbox) = (self.way(provider, timeout), self.inbox.clone());
        tokio::spawn(async move {
            let (charge, result) = way.send(draft, Instant::now()).await;
            let _ = inbox.send(Event::Opinion { inquiry, provider, timeout, charge, result }).await;
        });
    }

    pub(super) fn hear_opinion(&mut self, inquiry: InquiryId, provider: ProviderId, timeout: Span, result: Answered) {
        let result = self.hear_provider(provider, result).map(|upstream| {
            let opinion = Opinion { said: upstream.said.clone() };
            if let Some(asked) = self.inquiries.0.get_mut(&inquiry) {
                asked.said = Some((provider, upstream));
            }
            opinion
        });
        self.hear_core(Input::Opined { inquiry, provider, timeout, result });
    }

    pub(super) fn close_inquiry(
        &mut self,
        inquiry: InquiryId,
        job: &JobId,
        model: ModelId,
        was: &Inquiry,
        age: Span,
        ending: Ending,
    ) {
        let asked = self.inquiries.0.remove(&inquiry);
        let messages = match (ending, &asked) {
            (Ending::Amended { .. }, Some(Asked { request, said: Some((provider, upstream)) })) => {
                self.amendments(job, model, was, age, request, (*provider, upstream))
            }
            _ => Vec::new(),
        };
        self.write(Write::Close { inquiry, messages });
    }

    /// What was learned of a model becomes durable with the next transaction.
    pub(super) fn remember(&mut self, model: ModelId) {
        let Some(learned) = self.engine.learned(model) else { return };
        match postcard::to_stdvec(&learned) {
            Ok(state) => self.write(Write::Learned { model: self.models[model.0].name.clone(), state }),
            Err(error) => tracing::error!(%error, "what was learned of a model cannot be written"),
        }
    }

    /// As an earlier process has left it. What this version cannot read is learned anew.
    pub(super) fn recall(&mut self, learned: &BTreeMap<String, Vec<u8>>) {
        for index in 0..self.models.len() {
            let Some(state) = learned.get(&*self.models[index].name) else { continue };
            match postcard::from_bytes(state) {
                Ok(learned) => self.hear_core(Input::Learned { model: ModelId(index), learned: Box::new(learned) }),
                Err(error) => {
                    let model = &self.models[index].name;
                    tracing::warn!(%model, %error, "what was learned of this model cannot be read, and is learned anew");
                }
            }
        }
    }

    /// To everybody who listens for corrections, and to the asker who wished so.
    fn amendments(
        &self,
        job: &JobId,
        model: ModelId,
        was: &Inquiry,
        age: Span,
        request: &Request,
        (provider, upstream): (ProviderId, &Upstream),
    ) -> Vec<Message> {
        let Some((name, served)) = self.served(Some(model)) else { return Vec::new() };
        let provider = &*self.provider_names[provider.0];
        let payload = answer::amendment(&Late { id: job, model: name, served, was, upstream, provider, age });
        let mut to: Vec<_> = self.transports.iter().filter_map(|slot| slot.transport.amendments(name)).collect();
        if request.amend && !to.contains(&request.reply.to) {
            to.push(request.reply.to.clone());
        }
        let room = |message: &Message| {
            let slot = self.transports.get(message.to.transport.0);
            slot.is_some_and(|slot| payload.len() <= slot.transport.max_payload())
        };
        let message =
            |to| Message { to, payload: payload.clone(), json_len: None, code: None, job: None, expires_at: None };
        to.into_iter().map(message).filter(room).collect()
    }
}
