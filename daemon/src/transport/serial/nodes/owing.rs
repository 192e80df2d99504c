//! Verdicts: sent until their receipt, or until nobody will ever send one.

use std::collections::BTreeSet;

use firmware_profiles::{
    uplink::VERDICTS_AHEAD,
    wire::{Address, Body, NodeId, RejectCode},
};
use picket_core::{
    job::RowId,
    limits,
    time::{Doubling, Moment},
};

use super::{Heard, Nodes, Out, frame};
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
    /// How many others its node was sent for the first time since this one was.
    pub passed: usize,
}

impl Owed {
    /// Its node is sent no other verdict before it has confirmed this one; see [`VERDICTS_AHEAD`].
    fn holds_up(&self) -> bool {
        self.passed + 1 >= VERDICTS_AHEAD
    }

    /// Another one went out after it.
    fn pass(&mut self, now: Moment) {
        self.passed += 1;
        if self.holds_up() {
            self.due = self.due.min(now + limits::VERDICT_WAIT);
        }
    }
}

/// Between one repetition of a verdict and the next.
const WAITS: Doubling = Doubling::new(limits::VERDICT_WAIT, limits::VERDICT_WAIT_MAX);

impl Nodes {
    pub(super) fn receipt(&mut self, heard: Heard, job: Address, revision: u16, out: &mut Vec<Out>) {
        if let Some(node) = self.nodes.get_mut(&job.node).filter(|node| node.boot == job.boot) {
            node.heard = heard.now;
            if node.open.remove(&job.seq) {
                node.closed.push_front(job.seq);
                node.closed.truncate(limits::NODE_CLOSED);
            }
        }
        self.owed.retain(|row, owed| {
            let taken = owed.address == job && owed.said.revision == revision;
            if taken {
                out.push(Out::Done { row: *row, taken: true });
            }
            !taken
        });
        // What had to wait for it.
        self.tick(heard.now, out);
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
        self.owed.insert(row, Owed { address, said, since: now, due: now, times: 0, passed: 0 });
        self.tick(now, out);
    }

    /// A node that this process has not heard greets by itself every half minute only. Told to say Hello first it does so
    /// at once; another node, or another start of it, leaves that alone.
    pub(super) fn call(&self, port: usize, job: Address, out: &mut Vec<Out>) {
        if !self.nodes.contains_key(&job.node) {
            let body = Body::Reject { seq: job.seq, code: RejectCode::HELLO_FIRST };
            out.push(Out::Send { port, bytes: frame(Address { seq: 0, ..job }, body) });
        }
    }

    /// Sends what is due, and forgets who was silent for too long.
    pub(in crate::transport::serial) fn tick(&mut self, now: Moment, out: &mut Vec<Out>) {
        let too_old = |since: Moment| now.since(since) >= limits::NODE_FORGOTTEN;
        self.nodes.retain(|_, node| !too_old(node.heard));
        let gone: BTreeSet<NodeId> = self.owed.values().map(|owed| owed.address.node).collect();
        let gone: BTreeSet<NodeId> = gone.into_iter().filter(|node| !self.nodes.contains_key(node)).collect();
        self.forget_rows(out, |owed| too_old(owed.since) && gone.contains(&owed.address.node));
        let due: Vec<RowId> = self.owed.iter().filter(|(_, owed)| owed.due <= now).map(|(row, _)| *row).collect();
        due.into_iter().for_each(|row| self.tell(row, now, out));
    }

    /// Sends a verdict, unless its node is away or might forget one that it has not confirmed.
    fn tell(&mut self, row: RowId, now: Moment, out: &mut Vec<Out>) {
        let far = self.far_ahead();
        let Some(owed) = self.owed.get_mut(&row) else { return };
        let id = owed.address.node;
        let Some(node) = self.nodes.get_mut(&id).filter(|node| node.is_up) else { return };
        let first = owed.times == 0;
        if first && far.contains(&id) {
            return;
        }
        owed.due = now + if owed.holds_up() { limits::VERDICT_WAIT } else { WAITS.after(owed.times) };
        owed.times = owed.times.saturating_add(1);
        let verdict = Body::Verdict(owed.said.verdict(owed.address.seq));
        out.push(Out::Send { port: node.port, bytes: node.frame(owed.address, verdict) });
        if first {
            let others = self.owed.iter_mut().filter(|(other, owed)| **other != row && owed.address.node == id);
            others.filter(|(_, owed)| owed.times > 0).for_each(|(_, owed)| owed.pass(now));
        }
    }

    /// Nodes that have to confirm a verdict before they are sent another one.
    fn far_ahead(&self) -> BTreeSet<NodeId> {
        self.owed.values().filter(|owed| owed.holds_up()).map(|owed| owed.address.node).collect()
    }

    /// When [`Self::tick`] has something to do.
    pub(in crate::transport::serial) fn next_due(&self) -> Option<Moment> {
        let far = self.far_ahead();
        let is_up = |owed: &Owed| self.nodes.get(&owed.address.node).is_some_and(|node| node.is_up);
        let reachable = |owed: &&Owed| is_up(owed) && (owed.times > 0 || !far.contains(&owed.address.node));
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
