//! Acknowledgements of one connection, held back until their jobs are durable, leaving in order of receipt (I6).

use std::collections::VecDeque;

use picket_core::job::{AckTicket, Epoch, TransportId};

/// Acks of type `A`, oldest first. A new connection gets a new ledger, so an old ticket finds nothing to release.
#[derive(Debug)]
pub(super) struct Ledger<A> {
    transport: TransportId,
    epoch: Epoch,
    next_serial: u64,
    held: VecDeque<Held<A>>,
}

#[derive(Debug)]
struct Held<A> {
    serial: u64,
    ack: A,
    durable: bool,
}

impl<A> Ledger<A> {
    pub const fn new(transport: TransportId, epoch: Epoch) -> Self {
        Self { transport, epoch, next_serial: 0, held: VecDeque::new() }
    }

    /// Notes an arrival; its ack stays here.
    pub fn hold(&mut self, ack: A) -> AckTicket {
        let serial = self.next_serial;
        self.next_serial += 1;
        self.held.push_back(Held { serial, ack, durable: false });
        AckTicket { transport: self.transport, epoch: self.epoch, serial }
    }

    /// The job behind the ticket is durable. Returns the acks that may leave now, in order of receipt: MQTT 5 wants them
    /// in that order, so one that is ready waits for those before it.
    pub fn release(&mut self, ticket: AckTicket) -> Vec<A> {
        if ticket.epoch != self.epoch {
            return Vec::new();
        }
        // Serials are consecutive, so the place is known.
        let first = self.held.front().map_or(ticket.serial + 1, |held| held.serial);
        let place = ticket.serial.checked_sub(first).and_then(|n| usize::try_from(n).ok());
        if let Some(held) = place.and_then(|place| self.held.get_mut(place)) {
            held.durable = true;
        }
        let mut ready = Vec::new();
        while self.held.front().is_some_and(|held| held.durable) {
            ready.extend(self.held.pop_front().map(|held| held.ack));
        }
        ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acks_leave_in_order_of_receipt() {
        let mut ledger = Ledger::new(TransportId(0), Epoch(1));
        let [a, b, c] = ["a", "b", "c"].map(|ack| ledger.hold(ack));
        assert!(ledger.release(b).is_empty());
        assert!(ledger.release(c).is_empty());
        assert_eq!(ledger.release(a), ["a", "b", "c"]);
        assert!(ledger.release(a).is_empty(), "once");
        let d = ledger.hold("d");
        assert_eq!(ledger.release(d), ["d"]);
    }

    #[test]
    fn an_old_connections_ticket_releases_nothing() {
        let mut old = Ledger::new(TransportId(0), Epoch(1));
        let ticket = old.hold("old");
        let mut new = Ledger::new(TransportId(0), Epoch(2));
        new.hold("new");
        assert!(new.release(ticket).is_empty());
    }
}
