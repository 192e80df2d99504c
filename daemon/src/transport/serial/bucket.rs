//! How many frames a node may send: so many a second on average, and a second's worth at once.

use picket_core::time::Moment;

/// A token bucket. Time is an argument.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    per_second: u32,
    /// In microtokens: one microsecond brings `per_second` of them.
    level: u64,
    filled: Moment,
}

const TOKEN: u64 = 1_000_000;

impl Bucket {
    /// A full one.
    pub fn new(per_second: u32, now: Moment) -> Self {
        Self { per_second, level: u64::from(per_second) * TOKEN, filled: now }
    }

    /// Takes one frame's token. `false`: there is none, and nothing has changed.
    pub fn take(&mut self, now: Moment) -> bool {
        let full = u64::from(self.per_second) * TOKEN;
        let gained = now.since(self.filled).as_micros().saturating_mul(u64::from(self.per_second));
        self.level = self.level.saturating_add(gained).min(full);
        self.filled = now;
        match self.level.checked_sub(TOKEN) {
            Some(left) => {
                self.level = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use picket_core::time::Span;

    use super::*;

    #[test]
    fn a_second_s_worth_at_once_and_then_the_rate() {
        let mut now = Moment::ZERO;
        let mut bucket = Bucket::new(10, now);
        assert_eq!((0..20).filter(|_| bucket.take(now)).count(), 10);
        let mut taken = 0;
        for _ in 0..2_000 {
            now += Span::from_millis(1);
            taken += usize::from(bucket.take(now));
        }
        assert_eq!(taken, 20, "two seconds");
        now += Span::from_millis(3_600_000);
        assert_eq!(
            (0..20).filter(|_| bucket.take(now)).count(),
            10,
            "an hour's silence saves up no more than a second"
        );
    }
}
