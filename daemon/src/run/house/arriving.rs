//! From a request to an arrival that the engine can judge.

use std::sync::Arc;

use picket_core::{
    Input,
    job::{Arrival, Failure, JobId, Key, ModelId},
};

use super::{House, cargo::Cargo, digest::digest};
use crate::ports::Request;

impl House {
    /// `was_dead`: an operator wants this dead letter to be run once more.
    pub(super) fn hear_job(&mut self, request: Arc<Request>, was_dead: Option<u64>) {
        let key = Key(self.next_key);
        self.next_key += 1;
        // A repetition has the same digest, whoever answers it.
        let digest = digest(&request);
        let (request, instead_of) = self.leave_to_the_smaller(request);
        let id = request.id.clone().unwrap_or_else(|| JobId::from_digest(&digest));
        let model = match &request.fault {
            Some(failure) => Err(failure.clone()),
            None => self.fits(&request).and_then(|()| self.find_model(&request.model)),
        };
        let arrival = Arrival {
            key,
            id: id.clone(),
            digest,
            model: model.clone(),
            deadline: request.deadline,
            priority: request.priority,
            privacy: request.privacy.unwrap_or(self.default_privacy),
            group: request.group.clone().filter(|_| !self.is_a_streams_key(&request, &model)),
            audit: self.draws(&id, model.as_ref().ok().copied()),
            bytes: request.content.size() as u64,
            ticket: request.ticket,
            answer_repeats: request.answer_repeats,
            asker: request.reply.to.mark(),
            again: was_dead.is_some(),
        };
        let cargo = Cargo { was_dead, instead_of, ..Cargo::new(self.clock.now(), request, id, digest, model.ok()) };
        self.cargo.insert(key, cargo);
        self.hear_core(Input::Arrived(arrival));
    }

    /// Is this job to have a second opinion?
    pub(super) fn draws(&self, id: &JobId, model: Option<ModelId>) -> bool {
        let rate = model.map_or(0.0, |model| self.engine.audit_rate(self.clock.now(), model));
        self.lottery.draws(id, rate)
    }

    /// The group key of this job says which stream it continues, not which part it shows.
    fn is_a_streams_key(&self, request: &Request, model: &Result<ModelId, Failure>) -> bool {
        let served = model.as_ref().ok().and_then(|model| self.served(Some(*model)));
        request.in_stream.key.is_none() && served.is_some_and(|(_, served)| served.bundle.remembers())
    }

    /// Waiting for room would take for ever.
    fn fits(&self, request: &Request) -> Result<(), Failure> {
        let bytes = request.content.size();
        if bytes <= self.max_job_bytes {
            return Ok(());
        }
        let message = format!("the job has {bytes} bytes, the whole store at most {}", self.max_job_bytes);
        Err(Failure::new("input/too-large", message))
    }

    fn find_model(&self, name: &str) -> Result<ModelId, Failure> {
        let Some(index) = self.models.iter().position(|slot| &*slot.name == name) else {
            let known: Vec<&str> = self.models.iter().map(|slot| &*slot.name).collect();
            return Err(Failure::new("model/unknown", format!("there is no model {name:?} here"))
                .expected(known.join(", "), name));
        };
        self.models[index].state.as_ref().map(|_| ModelId(index)).map_err(Failure::clone)
    }
}
