//! Frames of the same part need one second opinion, not one each: what was asked about a group key a short while ago is not
//! asked again.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::{
    limits,
    time::{Moment, Span},
};

/// What is known of a group that was escalated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Known<A> {
    /// The provider was asked, and has not answered yet.
    Asked,
    Answered(A),
}

#[derive(Clone, Debug)]
struct Entry<A> {
    known: Known<A>,
    /// Which call this is about: a group may be forgotten and asked about again.
    serial: u64,
    until: Moment,
}

/// The last escalated groups and their answers. `K` is a model with a group key: the same part is another question to another
/// model. Bounded by [`limits::DUPLICATE_GROUPS`]; the oldest goes first.
#[derive(Clone, Debug)]
pub struct Duplicates<K, A> {
    keep: Span,
    groups: BTreeMap<K, Entry<A>>,
    /// In the order in which they were asked about.
    order: VecDeque<(u64, K)>,
    serial: u64,
}

impl<K: Ord + Clone, A> Duplicates<K, A> {
    /// `keep`: so long after it was asked about, a group may be asked about again.
    pub const fn new(keep: Span) -> Self {
        Self { keep, groups: BTreeMap::new(), order: VecDeque::new(), serial: 0 }
    }

    /// `None`: it is not a duplicate.
    pub fn get(&self, group: &K, now: Moment) -> Option<&Known<A>> {
        self.groups.get(group).filter(|entry| now < entry.until).map(|entry| &entry.known)
    }

    /// A provider is asked about this group.
    pub fn asked(&mut self, group: K, now: Moment) {
        self.serial += 1;
        self.groups.insert(group.clone(), Entry { known: Known::Asked, serial: self.serial, until: now + self.keep });
        self.order.push_back((self.serial, group));
        self.tidy(now);
    }

    /// It answered. A group that has been forgotten meanwhile stays forgotten.
    pub fn answered(&mut self, group: &K, answer: A) {
        if let Some(entry) = self.groups.get_mut(group) {
            entry.known = Known::Answered(answer);
        }
    }

    /// It did not: the next frame may try again.
    pub fn failed(&mut self, group: &K) {
        if self.groups.get(group).is_some_and(|entry| matches!(entry.known, Known::Asked)) {
            self.groups.remove(group);
        }
    }

    pub fn len(&self) -> usize {
        self.groups.len()
    }

    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Each group is as old as its place in the order, so the expired ones are in front.
    fn tidy(&mut self, now: Moment) {
        while let Some((serial, group)) = self.order.front() {
            let current = self.groups.get(group).filter(|entry| entry.serial == *serial);
            let stays = current.is_some_and(|entry| now < entry.until);
            if stays && self.order.len() <= limits::DUPLICATE_GROUPS {
                break;
            }
            if current.is_some() {
                self.groups.remove(group);
            }
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    const KEEP: Span = Span::from_millis(10_000);

    const fn at(seconds: u64) -> Moment {
        Moment::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn a_part_is_asked_about_once_until_its_time_is_over() {
        let mut seen = Duplicates::new(KEEP);
        assert_eq!(seen.get(&"part-1", at(0)), None);
        seen.asked("part-1", at(0));
        assert_eq!(seen.get(&"part-1", at(1)), Some(&Known::Asked));
        seen.answered(&"part-1", "scratch");
        assert_eq!(seen.get(&"part-1", at(9)), Some(&Known::Answered("scratch")));
        assert_eq!(seen.get(&"part-2", at(9)), None);
        assert_eq!(seen.get(&"part-1", at(10)), None, "it may look different by now");
    }

    #[test]
    fn a_failed_call_may_be_repeated_and_an_answer_stays() {
        let mut seen = Duplicates::new(KEEP);
        seen.asked(1, at(0));
        seen.failed(&1);
        assert_eq!(seen.get(&1, at(0)), None);
        seen.asked(1, at(1));
        seen.answered(&1, 'a');
        seen.failed(&1);
        assert_eq!(seen.get(&1, at(2)), Some(&Known::Answered('a')), "another provider failed later");
    }

    /// Against a list without bounds that forgets nothing.
    #[test]
    fn it_stays_within_its_bounds_and_never_invents_a_duplicate() {
        let seed = 47;
        println!("seed {seed}");
        let mut dice = StdRng::seed_from_u64(seed);
        let mut seen = Duplicates::new(KEEP);
        let mut asked = BTreeMap::new();
        for step in 0..200_000_u64 {
            let now = Moment::from_micros(step * 2_000);
            let group: u32 = dice.random_range(0..20_000);
            match dice.random_range(0..4) {
                0 => {
                    seen.failed(&group);
                    asked.remove(&group);
                }
                1 => seen.answered(&group, group),
                _ => {
                    if seen.get(&group, now).is_none() {
                        seen.asked(group, now);
                        asked.insert(group, now);
                    }
                }
            }
            if let Some(known) = seen.get(&group, now) {
                assert!(matches!(known, Known::Answered(answer) if *answer == group) || asked.contains_key(&group));
                assert!(now.since(*asked.get(&group).unwrap_or(&now)) < KEEP, "group {group} at {now:?}");
            }
            assert!(seen.len() <= limits::DUPLICATE_GROUPS && seen.order.len() <= limits::DUPLICATE_GROUPS);
        }
        assert!(seen.len() > limits::DUPLICATE_GROUPS / 2, "{}", seen.len());
    }
}
