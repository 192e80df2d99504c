//! E1: does the promise hold? A certificate is issued again and again, each time on cases that are drawn anew, and each
//! time the true risk is looked up. The population is what the set has of the calibration's phase, certify and stream
//! together; so the true risk is known exactly, and only the number of draws limits how well the frequency is known.

use picket_core::escalation::{
    certificate::{Case, Promise, certify},
    fit::{Chosen, choose},
};
use rand::{SeedableRng as _, rngs::StdRng};

use crate::{
    rows::{DataSet, Groups, Row, Split, case},
    rules,
    stats::{Frequency, Mean},
};

pub const ALPHAS: [f64; 4] = [0.005, 0.01, 0.02, 0.05];
pub const DELTA: f64 = 0.05;
pub const SIZES: [usize; 3] = [300, 1_000, 3_000];

/// How often everything is repeated.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    pub seeds: u64,
    /// Recalibrations of each seed.
    pub draws: u32,
}

/// What a threshold does to the population.
#[derive(Clone, Copy, Debug, Default)]
pub struct Effect {
    /// Share of requests that are answered locally.
    pub local: f64,
    /// … and wrong.
    pub joint: f64,
}

impl Effect {
    /// Wrong among the local answers.
    pub fn selective(self) -> f64 {
        if self.local > 0.0 { self.joint / self.local } else { 0.0 }
    }
}

/// Scored rows whose risk at every threshold is known.
pub struct Population {
    pub groups: Groups<Case>,
    /// Scores from the surest on, each with what a threshold there does.
    curve: Vec<(f32, Effect)>,
    pub rows: usize,
}

impl Population {
    pub fn new(rows: &[&Row], chosen: &Chosen) -> Self {
        let groups = Groups::new(rows.iter().map(|row| (row.group, case(row, &chosen.rule))));
        Self::of(groups, rows.len(), |_| true)
    }

    /// Of these cases only; their shares are shares among themselves, while draws are of all.
    pub fn of(groups: Groups<Case>, rows: usize, is_of_it: impl Fn(&Case) -> bool) -> Self {
        let mut weighted = groups.weighted();
        weighted.retain(|(case, _)| is_of_it(case));
        let whole = weighted.iter().map(|(_, weight)| weight).sum::<f64>();
        // A sum of many weights is not exact to the last digit.
        let whole = if (whole - 1.0).abs() < 1e-9 { 1.0 } else { whole };
        weighted.sort_by(|a, b| b.0.s.total_cmp(&a.0.s));
        let mut sum = Effect::default();
        let mut curve: Vec<(f32, Effect)> = Vec::new();
        for (case, weight) in weighted {
            let weight = weight / whole;
            sum.local += weight;
            sum.joint += if case.wrong { weight } else { 0.0 };
            match curve.last_mut() {
                Some(last) if last.0 == case.s => last.1 = sum,
                _ => curve.push((case.s, sum)),
            }
        }
        Self { groups, curve, rows }
    }

    pub fn at(&self, lambda: f32) -> Effect {
        let above = self.curve.partition_point(|(s, _)| *s >= lambda);
        above.checked_sub(1).map_or(Effect::default(), |last| self.curve[last].1)
    }

    /// The largest local share that keeps a risk, for one who knows it.
    pub fn oracle(&self, keeps: impl Fn(Effect) -> bool) -> f64 {
        self.curve.iter().map(|(_, effect)| *effect).filter(|e| keeps(*e)).map(|e| e.local).fold(0.0, f64::max)
    }

    pub fn curve(&self) -> impl Iterator<Item = Effect> + '_ {
        self.curve.iter().map(|(_, effect)| *effect)
    }

    /// Share of all requests that the local model gets wrong.
    pub fn base(&self) -> f64 {
        self.curve.last().map_or(0.0, |(_, effect)| effect.joint)
    }

    fn draw(&self, n: usize, dice: &mut StdRng) -> Vec<Case> {
        (0..n).map(|_| self.groups.draw(dice)).collect()
    }

    /// The mistake that is easily made: whole groups, each row counted as a case of its own.
    fn draw_whole_groups(&self, n: usize, dice: &mut StdRng) -> Vec<Case> {
        let mut cases = Vec::new();
        while cases.len() < n {
            cases.extend_from_slice(self.groups.draw_group(dice));
        }
        cases.truncate(n);
        cases
    }
}

/// What a rule promises of its threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Of all requests.
    Joint,
    /// Of the local answers.
    Selective,
}

/// A way to a threshold.
pub struct Rule {
    pub name: &'static str,
    pub form: Form,
    whole_groups: bool,
    threshold: fn(&[Case], f64) -> f32,
}

fn picket(cases: &[Case], alpha: f64) -> f32 {
    certify(cases, Promise { alpha, delta: DELTA }).map_or(rules::NEVER, |found| found.lambda)
}

pub const RULES: [Rule; 6] = [
    Rule { name: "**Picket's certificate**", form: Form::Joint, whole_groups: false, threshold: picket },
    Rule { name: "empirical, all requests", form: Form::Joint, whole_groups: false, threshold: rules::empirical_joint },
    Rule { name: "CRC (on average only)", form: Form::Joint, whole_groups: false, threshold: rules::crc },
    Rule {
        name: "empirical, of local answers",
        form: Form::Selective,
        whole_groups: false,
        threshold: rules::empirical,
    },
    Rule { name: "SGR", form: Form::Selective, whole_groups: false, threshold: |c, r| rules::sgr(c, r, DELTA) },
    Rule {
        name: "the certificate, misused: copies counted as cases",
        form: Form::Joint,
        whole_groups: true,
        threshold: picket,
    },
];

/// One rule at one number of cases and one promise.
pub struct Cell {
    pub rule: usize,
    pub n: usize,
    pub alpha: f64,
    /// Draws whose true risk is above α.
    pub broken: Frequency,
    /// Draws that certified nothing at all.
    pub nothing: Frequency,
    pub local: Mean,
    pub oracle: f64,
}

pub struct Found {
    pub chosen: Chosen,
    pub population: Population,
    pub cells: Vec<Cell>,
}

/// Runs E1 on one set.
pub fn run(set: &DataSet, effort: Effort) -> Found {
    let chosen = choose(&set.select());
    let mut rows = set.of(Split::Certify, 0);
    rows.extend(set.of(Split::Stream, 0));
    let population = Population::new(&rows, &chosen);
    let cells = cells(&population, effort);
    Found { chosen, population, cells }
}

/// All rules at all sizes that the population has rows for.
pub fn cells(population: &Population, effort: Effort) -> Vec<Cell> {
    let mut cells = Vec::new();
    for (place, rule) in RULES.iter().enumerate() {
        if rule.whole_groups && population.groups.len() == population.rows {
            continue;
        }
        for n in SIZES.into_iter().filter(|n| *n <= population.rows) {
            cells.extend(recalibrate(population, place, n, effort));
        }
    }
    cells
}

/// One rule at one size, at all promises on the same draws.
fn recalibrate(population: &Population, place: usize, n: usize, effort: Effort) -> Vec<Cell> {
    let rule = &RULES[place];
    let risk = |effect: Effect| if rule.form == Form::Joint { effect.joint } else { effect.selective() };
    // A sum of many weights is not exact to the last digit.
    let keeps = |effect: Effect, alpha: f64| risk(effect) <= alpha + 1e-9;
    let cell = |alpha| Cell {
        rule: place,
        n,
        alpha,
        broken: Frequency::default(),
        nothing: Frequency::default(),
        local: Mean::default(),
        oracle: population.oracle(|effect| keeps(effect, alpha)),
    };
    let mut cells: Vec<Cell> = ALPHAS.into_iter().map(cell).collect();
    for seed in 0..effort.seeds {
        let mut dice = StdRng::seed_from_u64(seed);
        let mut local = [0.0; ALPHAS.len()];
        for _ in 0..effort.draws {
            let cases = if rule.whole_groups {
                population.draw_whole_groups(n, &mut dice)
            } else {
                population.draw(n, &mut dice)
            };
            for (cell, local) in cells.iter_mut().zip(&mut local) {
                let effect = population.at((rule.threshold)(&cases, cell.alpha));
                cell.broken.count(!keeps(effect, cell.alpha));
                cell.nothing.count(effect.local == 0.0);
                *local += effect.local / f64::from(effort.draws);
            }
        }
        for (cell, local) in cells.iter_mut().zip(local) {
            cell.local.add(local);
        }
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two groups of one and of three rows: each group weighs a half.
    #[test]
    fn groups_weigh_the_same_however_many_rows_they_have() {
        let case = |s, wrong| Case { s, class: 0, wrong };
        let items = [(0, case(0.9, false)), (1, case(0.8, true)), (1, case(0.7, false)), (1, case(0.7, true))];
        let groups = Groups::new(items.into_iter());
        let total: f64 = groups.weighted().iter().filter(|(case, _)| case.wrong).map(|(_, weight)| weight).sum();
        assert!((total - 2.0 / 6.0).abs() < 1e-12);
    }
}
