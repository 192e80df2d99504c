//! What a device knows of its model: a calibration, and rows as the device sees them.

use picket_core::escalation::{
    certificate::{Case, Promise, certify},
    fit::Chosen,
    gain::{Accuracy, gain},
    platt::Platt,
    score::ScoreRule,
    score::softmax,
    shift::Reference,
};
use rand::{rngs::StdRng, seq::SliceRandom as _};

use crate::{
    rows::{DataSet, Groups, Row, Split, case},
    rules,
};

/// A row, scored.
#[derive(Clone, Copy, Debug)]
pub struct Scored {
    pub s: f32,
    pub class: usize,
    /// The largest probability as the network gives it.
    pub raw: f32,
    pub sedna: bool,
    pub local_right: bool,
    pub upstream_right: bool,
    pub agree: bool,
    pub truth: u16,
    pub bytes: u32,
}

impl Scored {
    pub fn new(row: &Row, rule: &ScoreRule) -> Self {
        let Case { s, class, .. } = case(row, rule);
        Self {
            s,
            class,
            raw: softmax(&row.logits, 1.0).into_iter().fold(0.0, f32::max),
            sedna: rules::sedna_entropy(row),
            local_right: !row.local_wrong(),
            upstream_right: row.upstream_right(),
            agree: row.local == row.upstream,
            truth: row.truth,
            bytes: row.bytes,
        }
    }

    pub fn case(&self) -> Case {
        Case { s: self.s, class: self.class, wrong: !self.local_right }
    }

    /// The same if only the upstream model says what is right.
    pub fn case_by_upstream(&self) -> Case {
        Case { wrong: !self.agree, ..self.case() }
    }

    /// Errors that asking upstream mends, or makes: 1, 0 or -1.
    pub fn mends(&self) -> f64 {
        f64::from(i8::from(self.upstream_right) - i8::from(self.local_right))
    }
}

/// Rows of a phase, to draw requests from.
pub fn pool(set: &DataSet, chosen: &Chosen, splits: &[Split], phase: usize) -> Groups<Scored> {
    let rows = splits.iter().flat_map(|split| set.of(*split, phase));
    Groups::new(rows.map(|row| (row.group, Scored::new(row, &chosen.rule))))
}

/// What a user would calibrate with: one row of each group, by chance, and no more groups than anybody would label.
pub fn sample(groups: &Groups<Scored>, dice: &mut StdRng) -> Vec<Scored> {
    let mut cases = groups.one_of_each(dice);
    cases.shuffle(dice);
    cases.truncate(LABELLED);
    cases
}

const LABELLED: usize = 1_500;

/// What is known of a model from labelled cases.
#[derive(Clone)]
pub struct Calibrated {
    pub lambda: f32,
    pub platt: Platt,
    pub reference: Reference,
    pub accuracy: Accuracy,
    /// Expected gains of the cases.
    pub gains: Vec<f64>,
}

impl Calibrated {
    /// On `n` independent draws, as if there were that many groups.
    pub fn draw(pool: &Groups<Scored>, n: usize, promise: Promise, dice: &mut StdRng) -> Self {
        let drawn: Vec<Scored> = (0..n).map(|_| pool.draw(dice)).collect();
        Self::of(&drawn, promise, false)
    }

    /// `by_upstream`: nobody but the upstream model says what is right.
    pub fn of(drawn: &[Scored], promise: Promise, by_upstream: bool) -> Self {
        let case = |scored: &Scored| if by_upstream { scored.case_by_upstream() } else { scored.case() };
        let cases: Vec<Case> = drawn.iter().map(case).collect();
        let classes = drawn.iter().map(|scored| scored.class + 1).max().unwrap_or(1);
        let mut accuracy = Accuracy::new(None, classes);
        for scored in drawn {
            accuracy.judged(scored.class, by_upstream || scored.upstream_right);
        }
        let mut calibrated = Self {
            lambda: certify(&cases, promise).map_or(rules::NEVER, |found| found.lambda),
            platt: Platt::fit(&cases),
            reference: Reference::of(cases.iter().map(|case| case.s)),
            accuracy,
            gains: Vec::new(),
        };
        calibrated.gains = drawn.iter().map(|scored| calibrated.gain(scored)).collect();
        calibrated
    }

    /// What asking upstream is expected to bring.
    pub fn gain(&self, scored: &Scored) -> f64 {
        gain(1.0, self.accuracy.of(scored.class), self.platt.p_wrong(scored.s))
    }
}
