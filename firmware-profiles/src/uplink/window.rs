//! Frames that the gateway has not acknowledged yet, each as it goes over the wire. Time is an argument.

use crate::wire::{EncodeError, Frame, encode};

/// A repetition waits twice as long as the one before, up to so many times the first wait.
const BACKOFF_MAX: u32 = 8;

/// A frame that cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowError {
    /// As many frames are under way as may be.
    Full,
    /// The frame cannot be encoded, or is longer than a slot.
    Encode(EncodeError),
}

#[derive(Clone, Debug)]
struct Slot<const BYTES: usize> {
    seq: u32,
    /// The encoded frame's bytes; none: the slot is free.
    length: usize,
    /// When it goes out next, in µs.
    due_us: u64,
    /// What the next wait is multiplied with.
    backoff: u32,
    bytes: [u8; BYTES],
}

impl<const BYTES: usize> Slot<BYTES> {
    const FREE: Self = Self { seq: 0, length: 0, due_us: 0, backoff: 1, bytes: [0; BYTES] };
}

/// At most `SLOTS` frames of at most `BYTES` bytes on the wire, repeated until acknowledged. The gateway may allow fewer.
#[derive(Clone, Debug)]
pub struct Window<const SLOTS: usize, const BYTES: usize> {
    slots: [Slot<BYTES>; SLOTS],
    limit: usize,
    repeat_us: u64,
    repeated: u32,
}

impl<const SLOTS: usize, const BYTES: usize> Window<SLOTS, BYTES> {
    /// An empty window, whose frames go out again after `repeat_us`, and then ever more seldom.
    pub const fn new(repeat_us: u64) -> Self {
        Self { slots: [Slot::FREE; SLOTS], limit: SLOTS, repeat_us, repeated: 0 }
    }

    /// How many frames the gateway allows under way; at least 1, at most `SLOTS`.
    pub fn limit(&mut self, frames: u8) {
        self.limit = usize::from(frames).clamp(1, SLOTS);
    }

    /// Frames under way.
    pub fn len(&self) -> usize {
        self.slots.iter().filter(|slot| slot.length > 0).count()
    }

    /// No frame is under way.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// No other frame may be taken now.
    pub fn is_full(&self) -> bool {
        self.len() >= self.limit
    }

    /// How often frames went out again so far.
    pub const fn repeated(&self) -> u32 {
        self.repeated
    }

    /// Takes a frame. It is due at once.
    ///
    /// # Errors
    /// The frame does not fit; nothing has changed.
    pub fn push(&mut self, frame: &Frame<'_>) -> Result<(), WindowError> {
        if self.is_full() {
            return Err(WindowError::Full);
        }
        let slot = self.slots.iter_mut().find(|slot| slot.length == 0).ok_or(WindowError::Full)?;
        let length = encode(frame, &mut slot.bytes).map_err(WindowError::Encode)?;
        (slot.seq, slot.length, slot.due_us, slot.backoff) = (frame.address.seq, length, 0, 0);
        Ok(())
    }

    /// The oldest frame that is due, if there is one. It counts as sent, and is due again later.
    pub fn due(&mut self, now_us: u64) -> Option<&[u8]> {
        let due = self.slots.iter_mut().filter(|slot| slot.length > 0 && slot.due_us <= now_us);
        let slot = due.min_by_key(|slot| slot.seq)?;
        if slot.backoff > 0 {
            self.repeated = self.repeated.saturating_add(1);
        }
        slot.backoff = (slot.backoff * 2).clamp(1, BACKOFF_MAX);
        slot.due_us = now_us.saturating_add(self.repeat_us.saturating_mul(u64::from(slot.backoff)));
        slot.bytes.get(..slot.length)
    }

    /// The gateway has this frame, or will not have it: it is forgotten. Says whether it was under way.
    pub fn settle(&mut self, seq: u32) -> bool {
        let slot = self.slots.iter_mut().find(|slot| slot.length > 0 && slot.seq == seq);
        slot.map(|slot| slot.length = 0).is_some()
    }

    /// The gateway cannot take this frame now: it is due again after the longest wait.
    pub fn put_off(&mut self, seq: u32, now_us: u64) -> bool {
        let slot = self.slots.iter_mut().find(|slot| slot.length > 0 && slot.seq == seq);
        let wait_us = self.repeat_us.saturating_mul(u64::from(BACKOFF_MAX));
        slot.map(|slot| (slot.backoff, slot.due_us) = (BACKOFF_MAX, now_us.saturating_add(wait_us))).is_some()
    }

    /// All frames are due now: the gateway is there again.
    pub fn all_due(&mut self) {
        for slot in &mut self.slots {
            (slot.due_us, slot.backoff) = (0, slot.backoff.min(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Address, Body, NodeId};

    fn frame(seq: u32) -> Frame<'static> {
        Frame { address: Address { node: NodeId(1), boot: 2, seq }, body: Body::Receipt { seq, revision: 1 } }
    }

    #[test]
    fn repeats_until_it_is_acknowledged_and_ever_more_seldom() {
        let mut window = Window::<2, 32>::new(100);
        window.push(&frame(1)).unwrap();
        let mut times = std::vec::Vec::new();
        for now in 0..3_000 {
            if window.due(now).is_some() {
                times.push(now);
            }
        }
        assert_eq!(times, [0, 100, 300, 700, 1_500, 2_300]);
        assert_eq!(window.repeated(), 5);
        assert!(window.settle(1) && !window.settle(1));
        assert!(window.due(u64::MAX).is_none());
    }

    #[test]
    fn takes_no_more_than_the_gateway_allows() {
        let mut window = Window::<3, 32>::new(100);
        window.limit(0);
        window.push(&frame(1)).unwrap();
        assert_eq!(window.push(&frame(2)), Err(WindowError::Full));
        window.limit(200);
        window.push(&frame(2)).unwrap();
        window.push(&frame(3)).unwrap();
        assert_eq!(window.push(&frame(4)), Err(WindowError::Full));
        assert_eq!(window.len(), 3);
    }

    #[test]
    fn a_frame_that_does_not_fit_takes_no_slot() {
        let mut window = Window::<1, 8>::new(100);
        assert_eq!(window.push(&frame(1)), Err(WindowError::Encode(EncodeError::BufferTooShort)));
        assert!(window.is_empty() && window.due(0).is_none());
    }

    #[test]
    fn the_oldest_goes_first_and_what_is_put_off_waits() {
        let mut window = Window::<3, 32>::new(100);
        for seq in [3, 1, 2] {
            window.push(&frame(seq)).unwrap();
        }
        let mut expected = [0; 32];
        let length = encode(&frame(1), &mut expected).unwrap();
        assert_eq!(window.due(0), expected.get(..length));
        assert!(window.put_off(1, 0));
        window.settle(2);
        window.settle(3);
        assert!(window.due(799).is_none());
        assert!(window.due(800).is_some());
        window.all_due();
        assert!(window.due(801).is_some());
    }
}
