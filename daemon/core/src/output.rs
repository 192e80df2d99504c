//! What a line to the outside does about an answer: a reject gate, a lamp. Pure; who owns the line tells the time.

use crate::{
    limits,
    said::Said,
    time::{Moment, Span},
};

/// Which answers count, and what is done about one.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Indices among the model's labels.
    pub classes: Vec<usize>,
    /// An answer that is less sure does not count, nor does one that does not say how sure it is.
    pub min_confidence: Option<f32>,
    /// Only certified answers count.
    pub certified: bool,
    /// From the job's arrival; what is later does not move the line.
    pub deadline: Option<Span>,
    pub act: Act,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Active for so long. One more begins it anew.
    Pulse(Span),
    /// As long as the newest answer counts; back after `hold` without any answer.
    Set { hold: Option<Span> },
}

/// An answer, or that there is none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen<'a> {
    /// `None`: the job failed.
    pub said: Option<&'a Said>,
    pub confidence: Option<f32>,
    pub certified: bool,
    /// Since the job's arrival. `None`: it arrived in an earlier process.
    pub age: Option<Span>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Counts,
    /// It would count, but comes too late.
    Late,
    /// The line has nothing to do with it.
    Other,
}

impl Rule {
    pub fn judge(&self, seen: &Seen<'_>) -> Verdict {
        let is_meant = match seen.said {
            None | Some(Said::Value(_)) => false,
            Some(Said::Class(class)) => self.classes.contains(class) && self.is_sure(seen.confidence),
            // One box of them is enough, by its own score.
            Some(Said::Boxes(boxes)) => {
                boxes.iter().any(|found| self.classes.contains(&found.class) && self.is_sure(Some(found.score)))
            }
        };
        if !is_meant || (self.certified && !seen.certified) {
            return Verdict::Other;
        }
        let in_time = match (self.deadline, seen.age) {
            // Nobody knows how long ago that was.
            (_, None) => false,
            (Some(deadline), Some(age)) => age <= deadline,
            (None, Some(_)) => true,
        };
        if in_time { Verdict::Counts } else { Verdict::Late }
    }

    fn is_sure(&self, confidence: Option<f32>) -> bool {
        self.min_confidence.is_none_or(|least| confidence.is_some_and(|confidence| confidence >= least))
    }
}

/// Whether the line is active. It is not in the beginning, and not after anything that is not clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Switch {
    act: Act,
    /// `None`: in the safe state. [`FOREVER`] where nothing ends it but another answer.
    until: Option<Moment>,
}

const FOREVER: Moment = Moment::from_micros(u64::MAX);

impl Switch {
    pub const fn new(act: Act) -> Self {
        Self { act, until: None }
    }

    pub fn hear(&mut self, now: Moment, verdict: Verdict) {
        self.until = match (self.act, verdict) {
            (Act::Pulse(span), Verdict::Counts) => Some(now + span),
            // A pulse under way belongs to an earlier part.
            (Act::Pulse(_), Verdict::Late | Verdict::Other) => self.until,
            (Act::Set { hold }, Verdict::Counts) => Some(hold.map_or(FOREVER, |hold| now + hold)),
            (Act::Set { .. }, Verdict::Late | Verdict::Other) => None,
        };
    }

    /// Whether the line is to be active. `attended`: when whoever decides was seen last. One that hangs says nothing any
    /// more, so the line goes back after [`limits::OUTPUT_PATIENCE`], and comes when it is seen again, if it is still time.
    pub fn is_active(&self, now: Moment, attended: Moment) -> bool {
        self.end(attended).is_some_and(|end| now < end)
    }

    /// It would be active, if whoever decides had been seen.
    pub fn is_unattended(&self, now: Moment, attended: Moment) -> bool {
        self.until.is_some_and(|until| now < until) && !self.is_active(now, attended)
    }

    /// When it goes back by itself.
    pub fn next_deadline(&self, now: Moment, attended: Moment) -> Option<Moment> {
        self.end(attended).filter(|end| now < *end)
    }

    fn end(&self, attended: Moment) -> Option<Moment> {
        self.until.map(|until| until.min(attended + limits::OUTPUT_PATIENCE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boxes::Found;

    fn ms(span: u64) -> Span {
        Span::from_millis(span)
    }

    fn at(millis: u64) -> Moment {
        Moment::ZERO + ms(millis)
    }

    fn rule() -> Rule {
        Rule {
            classes: vec![3],
            min_confidence: Some(0.9),
            certified: false,
            deadline: Some(ms(50)),
            act: Act::Pulse(ms(200)),
        }
    }

    const SEEN: Seen<'_> =
        Seen { said: Some(&Said::Class(3)), confidence: Some(0.9), certified: false, age: Some(Span::ZERO) };

    #[test]
    fn an_answer_counts_when_it_is_meant_sure_enough_and_in_time() {
        let judged = |seen: Seen<'_>| rule().judge(&seen);
        assert_eq!(judged(SEEN), Verdict::Counts);
        assert_eq!(judged(Seen { age: Some(ms(50)), ..SEEN }), Verdict::Counts);
        assert_eq!(judged(Seen { age: Some(ms(51)), ..SEEN }), Verdict::Late);
        assert_eq!(judged(Seen { age: None, ..SEEN }), Verdict::Late, "it was accepted before a restart");
        for other in [
            Seen { said: Some(&Said::Class(2)), ..SEEN },
            Seen { said: Some(&Said::Value(3.0)), ..SEEN },
            Seen { said: None, ..SEEN },
            Seen { confidence: Some(0.89), ..SEEN },
            Seen { confidence: Some(f32::NAN), ..SEEN },
            Seen { confidence: None, ..SEEN },
        ] {
            assert_eq!(judged(other), Verdict::Other, "{other:?}");
        }
        let certified = Rule { certified: true, ..rule() };
        assert_eq!(certified.judge(&SEEN), Verdict::Other);
        assert_eq!(certified.judge(&Seen { certified: true, ..SEEN }), Verdict::Counts);
    }

    #[test]
    fn one_sure_box_is_enough() {
        let found = |class, score| Found { class, score, x: 0.0, y: 0.0, w: 1.0, h: 1.0 };
        let judged = |boxes| rule().judge(&Seen { said: Some(&Said::Boxes(boxes)), confidence: None, ..SEEN });
        assert_eq!(judged(vec![found(1, 1.0), found(3, 0.95)]), Verdict::Counts);
        assert_eq!(judged(vec![found(1, 1.0), found(3, 0.5)]), Verdict::Other);
        assert_eq!(judged(vec![]), Verdict::Other);
    }

    #[test]
    fn a_pulse_ends_by_itself_and_begins_anew_with_the_next() {
        let mut switch = Switch::new(Act::Pulse(ms(200)));
        assert!(!switch.is_active(at(0), at(0)) && switch.next_deadline(at(0), at(0)).is_none());
        switch.hear(at(0), Verdict::Counts);
        switch.hear(at(100), Verdict::Other);
        assert!(switch.is_active(at(199), at(199)) && !switch.is_active(at(200), at(200)));
        switch.hear(at(150), Verdict::Counts);
        assert_eq!((switch.is_active(at(349), at(349)), switch.next_deadline(at(349), at(349))), (true, Some(at(350))));
        assert!(!switch.is_active(at(350), at(350)));
    }

    #[test]
    fn what_is_set_goes_back_with_any_other_answer_and_when_none_comes() {
        let mut switch = Switch::new(Act::Set { hold: None });
        for unclear in [Verdict::Other, Verdict::Late] {
            switch.hear(at(0), Verdict::Counts);
            assert!(switch.is_active(at(1_000_000), at(1_000_000)));
            switch.hear(at(1), unclear);
            assert!(!switch.is_active(at(1), at(1)));
        }
        let mut switch = Switch::new(Act::Set { hold: Some(ms(500)) });
        switch.hear(at(0), Verdict::Counts);
        assert!(switch.is_active(at(499), at(499)) && !switch.is_active(at(500), at(500)));
    }

    #[test]
    fn a_line_goes_back_when_nobody_looks_after_it_and_comes_when_somebody_does() {
        let patience = limits::OUTPUT_PATIENCE.as_micros() / 1_000;
        let mut switch = Switch::new(Act::Set { hold: None });
        switch.hear(at(0), Verdict::Counts);
        assert_eq!(switch.next_deadline(at(5), at(5)), Some(at(5 + patience)));
        assert!(switch.is_active(at(4 + patience), at(5)) && !switch.is_active(at(5 + patience), at(5)));
        assert!(switch.is_unattended(at(5 + patience), at(5)));
        assert_eq!(switch.next_deadline(at(5 + patience), at(5)), None, "it would turn for ever");
        assert!(switch.is_active(at(6 + patience), at(6 + patience)), "the newest answer still stands");
        switch.hear(at(7 + patience), Verdict::Other);
        assert!(!switch.is_unattended(at(9 * patience), at(5)), "there is nothing to look after");
    }
}
