//! What one clock shows when another one shows something. Pure arithmetic: no clock is read here.
//!
//! A node asks (Hello at `sent`), the gateway answers with its time (`peer`), and the answer is there at `received`. The
//! gateway's time belongs to a moment in between, so half way is wrong by at most half the round trip (Cristian, 1989).

/// Makes a long counter of a chip's short one, which has `BITS` bits and counts upwards: read it at least once in each of
/// its rounds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ticks<const BITS: u32> {
    total: u64,
}

impl<const BITS: u32> Ticks<BITS> {
    const MASK: u64 = u64::MAX >> (64 - BITS);

    /// A counter at zero.
    pub const fn new() -> Self {
        Self { total: 0 }
    }

    /// All ticks so far, now that the chip's counter shows this.
    pub const fn at(&mut self, counter: u32) -> u64 {
        let passed = (counter as u64).wrapping_sub(self.total) & Self::MASK;
        self.total = self.total.wrapping_add(passed);
        self.total
    }
}

/// How far two crystals may drift apart, in millionths: ±50 each.
const DRIFT_PPM: u64 = 100;

/// How far the peer's clock is ahead of ours, and how wrong that may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockOffset {
    /// Peer's time less our time, in µs.
    offset_us: i64,
    /// At most so much is it wrong at `measured_us`, in µs.
    error_us: u64,
    /// Our time of the measurement.
    measured_us: u64,
}

impl ClockOffset {
    /// From a question and its answer: our times of both, and the peer's time in the answer.
    pub const fn from_round_trip(sent_us: u64, received_us: u64, peer_us: u64) -> Self {
        let half_us = received_us.saturating_sub(sent_us) / 2;
        let middle_us = sent_us.saturating_add(half_us);
        Self { offset_us: peer_us.wrapping_sub(middle_us) as i64, error_us: half_us + 1, measured_us: received_us }
    }

    /// From a message that carries the peer's time and took at most `delay_max_us`: what a gateway has of a node's Hello.
    pub const fn from_one_way(received_us: u64, peer_us: u64, delay_max_us: u64) -> Self {
        let half_us = delay_max_us / 2;
        let offset_us = peer_us.wrapping_add(half_us).wrapping_sub(received_us) as i64;
        Self { offset_us, error_us: half_us + 1, measured_us: received_us }
    }

    /// Of two measurements, the one that is less wrong at the time of the newer one.
    #[must_use]
    pub const fn or_better(self, newer: Self) -> Self {
        if newer.error_us <= self.error_us_at(newer.measured_us) { newer } else { self }
    }

    /// How wrong the offset may be at our time `now_us`: it grows as the crystals drift.
    pub const fn error_us_at(self, now_us: u64) -> u64 {
        let age_us = now_us.saturating_sub(self.measured_us);
        self.error_us.saturating_add(age_us / 1_000_000 * DRIFT_PPM)
    }

    /// The peer's time when ours is `our_us`.
    pub const fn peer_us(self, our_us: u64) -> u64 {
        our_us.saturating_add_signed(self.offset_us)
    }

    /// Our time when the peer's is `peer_us`.
    pub const fn our_us(self, peer_us: u64) -> u64 {
        peer_us.saturating_sub_signed(self.offset_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GATEWAY_US: u64 = 1_800_000_000_000_000;

    #[test]
    fn half_the_round_trip_is_the_most_that_it_is_wrong() {
        // The answer left 300 µs after the question did, and took 700 µs: the truth is off the middle by 200 µs.
        let truth = ClockOffset::from_round_trip(5_000, 5_000, GATEWAY_US);
        let measured = ClockOffset::from_round_trip(5_000, 6_000, GATEWAY_US + 300);
        assert_eq!(truth.peer_us(9_000).abs_diff(measured.peer_us(9_000)), 200);
        assert!(measured.error_us_at(6_000) >= 200);
        assert_eq!(measured.our_us(measured.peer_us(9_000)), 9_000);
    }

    #[test]
    fn a_quick_answer_beats_a_slow_one_until_the_crystals_have_drifted() {
        let quick = ClockOffset::from_round_trip(0, 400, GATEWAY_US);
        let slow = |at| ClockOffset::from_round_trip(at, at + 2_000, GATEWAY_US + at + 1_900);
        assert_eq!(quick.or_better(slow(1_000_000)), quick);
        assert_eq!(quick.or_better(slow(9_000_000)), slow(9_000_000), "200 µs + 9 s · 100 ppm > 1 ms");
    }

    #[test]
    fn a_gateway_learns_from_one_message() {
        let node = ClockOffset::from_one_way(GATEWAY_US, 7_000, 500);
        assert_eq!(node.our_us(7_000), GATEWAY_US - 250);
        assert!(node.our_us(7_000).abs_diff(GATEWAY_US - 500) <= node.error_us_at(GATEWAY_US));
    }

    #[test]
    fn a_short_counter_counts_on_after_its_end() {
        let mut ticks = Ticks::<24>::new();
        assert_eq!(ticks.at(0x00ff_fff0), 0x00ff_fff0);
        assert_eq!(ticks.at(0x0000_0010), 0x0100_0010);
        assert_eq!(ticks.at(0x0000_0010), 0x0100_0010);
        let mut ticks = Ticks::<32>::new();
        ticks.at(u32::MAX);
        assert_eq!(ticks.at(1), (1 << 32) + 1);
    }

    #[test]
    fn nothing_overflows() {
        for (sent, received, peer) in [(u64::MAX, 0, 0), (0, u64::MAX, u64::MAX), (u64::MAX, u64::MAX, u64::MAX)] {
            let offset = ClockOffset::from_round_trip(sent, received, peer);
            let _ = (offset.peer_us(u64::MAX), offset.our_us(0), offset.error_us_at(u64::MAX));
            let offset = ClockOffset::from_one_way(received, peer, u64::MAX);
            let _ = (offset.peer_us(0), offset.our_us(u64::MAX), offset.or_better(offset));
        }
    }
}
