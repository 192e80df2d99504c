//! Verdicts: sent until their receipt, or until nobody will ever send one.

use std::collections::BTreeSet;

use firmware_profiles::wire::{Address, Body, NodeId};
use picket_core::{
    job::RowId,
    limits,
    time::{Moment, Span},
};

use super::{Heard, Nodes, Out};
use crate::{
    ports::Message,
    transport::serial::{request, said::Said},
};

/// A verdict that waits for its receipt.
pub(super) struct Owed {
    /// The job's.
    pub address: Address,
    pub said: Said,
    pub since: Moment,
    pub due: Moment,
    /// How often it was sent.
    pub times: u32,
}

impl Nodes {
    pub(super) fn receipt(&mut self, heard: Heard, job: Address, revision: u16, out: &mut Vec<Out>) {
        if let Some(node) = self.nodes.get_mut(&job.node).filter(|node| node.boot == job.boot) {
            node.heard = heard.now;
            node.open.remove(&job.seq);
        }
        self.owed.retain(|row, owed| {
            let taken = owed.address == job && owed.said.revision == revision;
            if taken {
                out.push(Out::Done { row: *row, taken: true });
            }
            !taken
        });
    }

    /// A row for a node.
    pub(in crate::transport::serial) fn deliver(
        &mut self,
        now: Moment,
        row: RowId,
        message: &Message,
        out: &mut Vec<Out>,
    ) {
        let done = Out::Done { row, taken: false };
        let (Some(address), Some(said)) = (request::job_of(&message.to.to), Said::of(message)) else {
            out.push(Out::Count("node/not-a-result"));
            return out.push(done);
        };
        let restarted = self.nodes.get(&address.node).is_some_and(|node| node.boot != address.boot);
        let rows = self.owed.values().filter(|owed| owed.address.node == address.node).count();
        let too_many = said.revision > 1 && rows >= limits::NODE_ROWS;
        if restarted || too_many {
            return out.push(done);
        }
        self.ports.iter().for_each(|port| self.call(*port, address, out));
        self.owed.insert(row, Owed { address, said, since: now, due: now, times: 0 });
        self.tick(now, out);
    }

    /// Sends what is due, and forgets who was silent for too long.
    pub(in crate::transport::serial) fn tick(&mut self, now: Moment, out: &mut Vec<Out>) {
        let too_old = |since: Moment| now.since(since) >= limits::NODE_FORGOTTEN;
        self.nodes.retain(|_, node| !too_old(node.heard));
        let gone: BTreeSet<NodeId> = self.owed.values().map(|owed| owed.address.node).collect();
        let gone: BTreeSet<NodeId> = gone.into_iter().filter(|node| !self.nodes.contains_key(node)).collect();
        self.forget_rows(out, |owed| too_old(owed.since) && gone.contains(&owed.address.node));
        let mut due = Vec::new();
        for owed in self.owed.values_mut().filter(|owed| owed.due <= now) {
            let Some(node) = self.nodes.get_mut(&owed.address.node).filter(|node| node.is_up) else { continue };
            let wait = limits::VERDICT_WAIT.as_micros().saturating_mul(1 << owed.times.min(16));
            owed.due = now + Span::from_micros(wait.min(limits::VERDICT_WAIT_MAX.as_micros()));
            owed.times = owed.times.saturating_add(1);
            due.push(Out::Send {
                port: node.port,
                bytes: node.frame(owed.address, Body::Verdict(owed.said.verdict(owed.address.seq))),
            });
        }
        out.extend(due);
    }

    /// When [`Self::tick`] has something to do.
    pub(in crate::transport::serial) fn next_due(&self) -> Option<Moment> {
        let reachable = |owed: &&Owed| self.nodes.get(&owed.address.node).is_some_and(|node| node.is_up);
        let verdicts = self.owed.values().filter(reachable).map(|owed| owed.due);
        let silent = self.nodes.values().map(|node| node.heard + limits::NODE_FORGOTTEN);
        let unheard = self.owed.values().filter(|owed| !self.nodes.contains_key(&owed.address.node));
        let dropped = unheard.map(|owed| owed.since + limits::NODE_FORGOTTEN);
        verdicts.chain(silent).chain(dropped).min()
    }

    pub(super) fn forget_rows(&mut self, out: &mut Vec<Out>, which: impl Fn(&Owed) -> bool) {
        self.owed.retain(|row, owed| {
            let goes = which(owed);
            if goes {
                out.push(Out::Done { row: *row, taken: false });
            }
            !goes
        });
    }
}
