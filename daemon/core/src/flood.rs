//! The same complaint over and over: the first ones are heard, the others are counted.

use std::collections::BTreeMap;

use crate::{limits, time::Moment};

/// What was not said, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsaid<K> {
    pub what: K,
    pub times: u64,
}

struct Window {
    began: Moment,
    said: u32,
    unsaid: u64,
}

/// Per complaint, [`limits::LOG_BURST`] are said in each window of [`limits::LOG_WINDOW`] from its first one on. A window
/// with some that were not said is followed by their number.
pub struct Flood<K> {
    windows: BTreeMap<K, Window>,
    /// Of complaints that found no place in the table.
    others: u64,
}

impl<K> Default for Flood<K> {
    fn default() -> Self {
        Self { windows: BTreeMap::new(), others: 0 }
    }
}

impl<K: Clone + Ord> Flood<K> {
    /// Is it said? A window that is over, and has nothing to tell any more, begins anew.
    pub fn says(&mut self, now: Moment, what: &K) -> bool {
        if let Some(window) = self.windows.get_mut(what) {
            if window.unsaid == 0 && is_over(window.began, now) {
                *window = Window { began: now, said: 0, unsaid: 0 };
            }
            let says = window.said < limits::LOG_BURST;
            window.said += u32::from(says);
            window.unsaid += u64::from(!says);
            return says;
        }
        if self.windows.len() >= limits::LOG_COMPLAINTS {
            self.windows.retain(|_, window| window.unsaid > 0 || !is_over(window.began, now));
        }
        if self.windows.len() >= limits::LOG_COMPLAINTS {
            self.others += 1;
            return false;
        }
        self.windows.insert(what.clone(), Window { began: now, said: 1, unsaid: 0 });
        true
    }

    /// Takes what was not said in windows that are over, and how many others found no place.
    pub fn unsaid(&mut self, now: Moment) -> (Vec<Unsaid<K>>, u64) {
        let mut told = Vec::new();
        self.windows.retain(|what, window| {
            let over = is_over(window.began, now);
            if over && window.unsaid > 0 {
                told.push(Unsaid { what: what.clone(), times: window.unsaid });
            }
            !over
        });
        (told, std::mem::take(&mut self.others))
    }

    /// When [`Self::unsaid`] has something, at the earliest.
    pub fn next_due(&self) -> Option<Moment> {
        let windows =
            self.windows.values().filter(|window| window.unsaid > 0).map(|window| window.began + limits::LOG_WINDOW);
        windows.min()
    }
}

fn is_over(began: Moment, now: Moment) -> bool {
    now.since(began) >= limits::LOG_WINDOW
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Span;

    fn at(seconds: u64) -> Moment {
        Moment::ZERO + Span::from_millis(seconds * 1_000)
    }

    #[test]
    fn a_flood_is_ten_lines_and_a_number_a_minute() {
        let mut flood = Flood::default();
        let mut said = 0;
        let mut told = Vec::new();
        // A thousand a second for two minutes.
        for second in 0..120 {
            said += (0..1_000).filter(|_| flood.says(at(second), &"input/not-json")).count();
            told.extend(flood.unsaid(at(second + 1)).0);
        }
        assert_eq!(said, 2 * limits::LOG_BURST as usize);
        let times: Vec<u64> = told.iter().map(|unsaid| unsaid.times).collect();
        assert_eq!(times, [59_990, 59_990], "every one is said or counted");
        assert_eq!(flood.next_due(), None);
    }

    #[test]
    fn complaints_do_not_silence_one_another() {
        let mut flood = Flood::default();
        while flood.says(at(0), &"mqtt/not-authorised") {}
        assert!(flood.says(at(1), &"store/full"));
        assert_eq!(flood.next_due(), Some(at(60)), "only what was silenced has something to tell");
        assert_eq!(flood.unsaid(at(59)), (Vec::new(), 0));
        assert_eq!(flood.unsaid(at(60)).0, [Unsaid { what: "mqtt/not-authorised", times: 1 }]);
    }

    #[test]
    fn what_comes_now_and_then_is_always_said() {
        let mut flood = Flood::default();
        for minute in 0..100 {
            assert!(flood.says(at(minute * 60), &"mqtt/disconnected"));
        }
    }

    #[test]
    fn a_window_that_has_something_to_tell_waits_for_its_end_to_be_told() {
        let mut flood = Flood::default();
        while flood.says(at(0), &"a/b") {}
        assert!(!flood.says(at(300), &"a/b"), "nobody has asked for the number yet");
        assert_eq!(flood.unsaid(at(300)).0, [Unsaid { what: "a/b", times: 2 }]);
        assert!(flood.says(at(300), &"a/b"));
    }

    #[test]
    fn the_table_is_bounded_and_what_finds_no_place_is_counted() {
        let mut flood = Flood::default();
        for number in 0..limits::LOG_COMPLAINTS {
            assert!(flood.says(at(0), &number));
        }
        assert!(!flood.says(at(1), &usize::MAX));
        assert_eq!(flood.unsaid(at(1)), (Vec::new(), 1));
        assert!(flood.says(at(61), &usize::MAX), "windows that are over make room");
    }
}
