//! What the local model makes of labelled cases: which of them choose the score, and which a certificate is made of.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::IsTerminal,
    time::{Duration, Instant},
};

use picket_core::{
    escalation::{
        certificate::{Case, Promise},
        decide::Observation,
        division::{Division, divide},
        fit::{Chosen, LabelledLogits, choose},
        rating,
        score::ScoreRule,
    },
    said::Measure,
};

use crate::{
    bundle::files,
    inference::served::Served,
    labelled::{self, Input, Labelled},
};

/// Labelled cases, each with the model's output.
pub struct Judged<'d> {
    data: &'d Labelled,
    outputs: Vec<Observation>,
    measure: Measure,
    /// What is independent of what, as numbers that are a lottery's.
    groups: Vec<u64>,
    plain: ScoreRule,
}

/// Cases of a certificate, scored.
pub struct Sample {
    pub rule: ScoreRule,
    /// One of each group.
    pub cases: Vec<Case>,
    /// Inputs that chose the score, and are none of the cases.
    pub choosing: u64,
    pub choice: Choice,
}

/// How a score came to be the one.
#[derive(Clone, Debug, PartialEq)]
pub enum Choice {
    /// The bundle's own; nobody wanted another.
    Kept,
    /// The bundle's own: with fewer groups than this, or too few of a class, all of them go into the certificate.
    TooFew {
        needed: Option<u64>,
    },
    Chosen(Chosen),
}

impl<'d> Judged<'d> {
    /// Runs the model on every case.
    pub fn new(served: &Served, data: &'d Labelled) -> anyhow::Result<Self> {
        let mut runner = served.runner().map_err(|failure| crate::cli::failure_error(&failure))?;
        let mut outputs = Vec::with_capacity(data.cases.len());
        let mut progress = Progress::new(data.cases.len());
        for labelled in &data.cases {
            let read;
            let content = match &labelled.input {
                Input::Ready(content) => content,
                Input::File(path) => {
                    read = labelled::content(path)?;
                    &read
                }
            };
            let (result, ..) = served.infer(runner.as_mut(), content);
            let inferred = result.map_err(|failure| {
                anyhow::anyhow!("error[{}]: {}: {}", failure.code, labelled.place, failure.message)
            })?;
            anyhow::ensure!(
                inferred.observation != Observation::WindowOpen,
                "error[calibration/bad-data]: {}: too short for one window; each case stands alone",
                labelled.place
            );
            outputs.push(inferred.observation);
            progress.step();
        }
        progress.end();
        let measure = served.bundle.measure;
        let plain = rating::rule(&measure, served.bundle.temperature);
        let groups = data.cases.iter().enumerate().map(|(at, case)| match &case.group {
            Some(group) => number(&format!("group {group}")),
            None => number(&format!("case {at}")),
        });
        Ok(Self { groups: groups.collect(), data, outputs, measure, plain })
    }

    /// The bundle's own score, and all cases for the certificate.
    pub fn plain(&self, choice: Choice) -> Sample {
        Sample { rule: self.plain.clone(), cases: self.scored(&self.plain), choosing: 0, choice }
    }

    /// A third of the groups choose the score, where there is a choice and there are enough for this promise.
    pub fn divided(&self, promise: Promise) -> Sample {
        if self.measure != Measure::Classes {
            return self.plain(Choice::Kept);
        }
        let all: BTreeSet<u64> = self.groups.iter().copied().collect();
        let division = divide(&all, promise);
        if let Division::Together { needed } = division {
            return self.plain(Choice::TooFew { needed: Some(needed) });
        }
        let choosing: Vec<usize> = (0..self.groups.len()).filter(|at| division.chooses(self.groups[*at])).collect();
        let select: Vec<LabelledLogits> = choosing
            .iter()
            .filter_map(|at| {
                let Observation::Scores(logits) = self.outputs[*at].clone() else { return None };
                Some(LabelledLogits { logits, label: self.data.cases[*at].label.class(), group: self.groups[*at] })
            })
            .collect();
        let chosen = choose(&select);
        Sample {
            cases: self.cases(&chosen.rule, |at| !division.chooses(self.groups[at])),
            rule: chosen.rule.clone(),
            choosing: choosing.len() as u64,
            choice: Choice::Chosen(chosen),
        }
    }

    /// All cases, one of each group, by this score.
    pub fn scored(&self, rule: &ScoreRule) -> Vec<Case> {
        self.cases(rule, |_| true)
    }

    /// Of the cases that are wanted, one of each group. Frames of one part are no independent cases. Which of them counts
    /// is decided by a hash of its place, so that neither the order of the data nor the model's answer has a say.
    fn cases(&self, rule: &ScoreRule, wanted: impl Fn(usize) -> bool) -> Vec<Case> {
        let mut kept: Vec<Case> = Vec::new();
        let mut groups: BTreeMap<&str, (String, usize)> = BTreeMap::new();
        for (at, labelled) in self.data.cases.iter().enumerate().filter(|(at, _)| wanted(*at)) {
            let Some(group) = labelled.group.as_deref() else {
                kept.push(self.case(rule, at));
                continue;
            };
            let lot = files::sha256(format!("{group}\n{at}").as_bytes());
            match groups.get(group) {
                Some((least, _)) if *least <= lot => {}
                _ => {
                    groups.insert(group, (lot, at));
                }
            }
        }
        kept.extend(groups.into_values().map(|(_, at)| self.case(rule, at)));
        kept
    }

    fn case(&self, rule: &ScoreRule, at: usize) -> Case {
        let label = &self.data.cases[at].label;
        match rating::rate(&self.outputs[at], &self.measure, rule) {
            Some((said, rated)) => Case { s: rated.s, class: said.class(), wrong: !said.agrees(label, &self.measure) },
            // An unusable answer is the least sure of all, and wrong.
            None => Case { s: f32::NAN, class: label.class(), wrong: true },
        }
    }
}

/// The first 64 bits of its SHA-256.
fn number(text: &str) -> u64 {
    u64::from_str_radix(files::sha256(text.as_bytes()).get(..16).unwrap_or_default(), 16).unwrap_or_default()
}

/// A line on the terminal that says how far it is.
struct Progress {
    done: usize,
    all: usize,
    shown: Option<Instant>,
}

const SHOWN_EVERY: Duration = Duration::from_millis(200);

impl Progress {
    fn new(all: usize) -> Self {
        Self { done: 0, all, shown: std::io::stderr().is_terminal().then(Instant::now) }
    }

    fn step(&mut self) {
        self.done += 1;
        if self.shown.is_some_and(|at| at.elapsed() >= SHOWN_EVERY) {
            self.shown = Some(Instant::now());
            eprint!("\r{} of {} cases", self.done, self.all);
        }
    }

    fn end(self) {
        if self.shown.is_some() {
            eprint!("\r\x1b[K");
        }
    }
}
