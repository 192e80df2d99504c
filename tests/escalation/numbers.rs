//! E9: do the promises of numbers and of anomaly scores hold? As E1, on sets whose answers are no classes; of anomaly scores,
//! each side has a promise of its own, and one that does not hold breaks the draw.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use picket_core::{
    escalation::{anomaly, certificate::Case, decide::Observation, rating, sides},
    said::{Measure, Said},
};
use rand::{SeedableRng as _, rngs::StdRng};
use serde::Deserialize;

use crate::{
    promise::{self, ALPHAS, Cell, DELTA, Effort, Population, RULES, SIZES},
    rows::Groups,
    rules,
    stats::{Frequency, Mean},
};

/// What is right; as the file has it.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    Value { tolerance: f64 },
    Anomaly { threshold: f64 },
}

/// What the file says of itself.
#[derive(Clone, Debug, Deserialize)]
pub struct Head {
    format: String,
    pub name: String,
    rows: usize,
    columns: Vec<(String, String)>,
    pub task: Task,
    pub source: String,
    pub licence: String,
    pub local: String,
    pub group: String,
}

/// All that was measured on one set.
pub struct Found {
    pub head: Head,
    pub population: Population,
    /// Rules by the places of [`RULES`] for numbers, of [`SIDED`] for anomaly scores.
    pub cells: Vec<Cell>,
    /// By side: share of the answers, and of them wrong ones.
    pub sides: Vec<(f64, f64)>,
}

impl Found {
    pub fn rules(&self) -> Vec<&'static str> {
        match self.head.task {
            Task::Value { .. } => RULES.iter().map(|rule| rule.name).collect(),
            Task::Anomaly { .. } => SIDED.iter().map(|(name, _)| *name).collect(),
        }
    }
}

/// `None`: there is no such file, because its data was absent.
///
/// # Errors
/// When the file is not what this version reads.
pub fn load(path: &Path) -> Result<Option<(Head, Groups<Case>, usize)>> {
    if !path.exists() {
        return Ok(None);
    }
    let file = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let end = file.iter().position(|byte| *byte == b'\n').context("no head")?;
    let head: Head = serde_json::from_slice(&file[..end]).with_context(|| format!("head of {}", path.display()))?;
    ensure!(head.format == "picket-numbers/1", "{}: format {}", path.display(), head.format);
    let mut rest = &file[end + 1..];
    let mut columns: BTreeMap<&str, Vec<[u8; 4]>> = BTreeMap::new();
    for (name, _) in &head.columns {
        let (bytes, behind) = rest.split_at_checked(4 * head.rows).context("the file is cut off")?;
        rest = behind;
        columns.insert(name, bytes.as_chunks::<4>().0.to_vec());
    }
    let column = |name: &str| columns.get(name).with_context(|| format!("no column {name}"));
    let number = |name: &str| -> Result<Vec<f64>> {
        Ok(column(name)?.iter().map(|bytes| f32::from_le_bytes(*bytes).into()).collect())
    };
    let (values, sigmas, truths) = (number("value")?, number("sigma")?, number("truth")?);
    let cases = (0..head.rows).map(|at| case(head.task, values[at], sigmas[at], truths[at]));
    let groups = column("group")?.iter().map(|bytes| u32::from_le_bytes(*bytes));
    let groups = Groups::new(groups.zip(cases.collect::<Result<Vec<Case>>>()?));
    let rows = head.rows;
    Ok(Some((head, groups, rows)))
}

/// An output as a certificate sees it.
fn case(task: Task, value: f64, sigma: f64, truth: f64) -> Result<Case> {
    let (measure, seen, truth) = match task {
        Task::Value { tolerance } => {
            (Measure::Value { tolerance }, Observation::Value { value, sigma: Some(sigma) }, Said::Value(truth))
        }
        Task::Anomaly { threshold } => {
            let class = if truth > 0.5 { anomaly::ANOMALY } else { anomaly::NORMAL };
            (Measure::Anomaly { threshold }, Observation::Anomaly(value), Said::Class(class))
        }
    };
    let rated = rating::rate(&seen, &measure, &rating::rule(&measure, 1.0));
    let (said, rated) = rated.with_context(|| format!("{seen:?} cannot be rated"))?;
    Ok(Case { s: rated.s, class: said.class(), wrong: !said.agrees(&truth, &measure) })
}

/// Runs E9 on one set.
pub fn run(head: Head, groups: Groups<Case>, rows: usize, effort: Effort) -> Found {
    let sides: Vec<Side> = [anomaly::NORMAL, anomaly::ANOMALY].map(|class| Side::new(&groups, class, rows)).into();
    let shares = sides.iter().map(|side| (side.share, side.population.base())).collect();
    let population = Population::of(groups, rows, |_| true);
    let cells = match head.task {
        Task::Value { .. } => promise::cells(&population, effort),
        Task::Anomaly { .. } => {
            let sizes = SIZES.into_iter().filter(|n| *n <= rows);
            let each = |n| (0..SIDED.len()).map(move |place| (n, place));
            sizes.flat_map(each).flat_map(|(n, place)| recalibrate(&population, &sides, place, n, effort)).collect()
        }
    };
    Found { head, population, cells, sides: shares }
}

/// Answers of one kind.
struct Side {
    class: usize,
    /// Of all answers.
    share: f64,
    population: Population,
}

impl Side {
    fn new(groups: &Groups<Case>, class: usize, rows: usize) -> Self {
        let own = groups.weighted().into_iter().filter(|(case, _)| case.class == class);
        let share = own.map(|(_, weight)| weight).sum();
        Self { class, share, population: Population::of(groups.clone(), rows, |case| case.class == class) }
    }
}

/// Thresholds of both sides, of cases and α.
type Sided = fn(&[Case], f64) -> [f32; 2];

pub const SIDED: [(&str, Sided); 2] = [("**Picket's certificate**", certified), ("empirical, each side", empirical)];

fn certified(cases: &[Case], alpha: f64) -> [f32; 2] {
    sides::certify(cases, &[alpha; 2], DELTA).map_or([rules::NEVER; 2], |sides| {
        [0, 1].map(|class| sides.get(class).map_or(rules::NEVER, sides::Side::lambda))
    })
}

fn empirical(cases: &[Case], alpha: f64) -> [f32; 2] {
    [anomaly::NORMAL, anomaly::ANOMALY].map(|class| {
        let own: Vec<Case> = cases.iter().filter(|case| case.class == class).copied().collect();
        rules::empirical_joint(&own, alpha)
    })
}

/// One rule at one size, at all promises on the same draws.
fn recalibrate(population: &Population, sides: &[Side], place: usize, n: usize, effort: Effort) -> Vec<Cell> {
    let keeps = |joint: f64, alpha: f64| joint <= alpha + 1e-9;
    let oracle = |alpha| sides.iter().map(|side| side.share * side.population.oracle(|e| keeps(e.joint, alpha))).sum();
    let cell = |alpha| Cell {
        rule: place,
        n,
        alpha,
        broken: Frequency::default(),
        nothing: Frequency::default(),
        local: Mean::default(),
        oracle: oracle(alpha),
    };
    let mut cells: Vec<Cell> = ALPHAS.into_iter().map(cell).collect();
    for seed in 0..effort.seeds {
        let mut dice = StdRng::seed_from_u64(seed);
        let mut shares = [0.0; ALPHAS.len()];
        for _ in 0..effort.draws {
            let cases: Vec<Case> = (0..n).map(|_| population.groups.draw(&mut dice)).collect();
            for (cell, share) in cells.iter_mut().zip(&mut shares) {
                let lambdas = SIDED[place].1(&cases, cell.alpha);
                let effects = sides.iter().map(|side| (side.share, side.population.at(lambdas[side.class])));
                cell.broken.count(effects.clone().any(|(_, effect)| !keeps(effect.joint, cell.alpha)));
                let local: f64 = effects.map(|(share, effect)| share * effect.local).sum();
                cell.nothing.count(local == 0.0);
                *share += local / f64::from(effort.draws);
            }
        }
        for (cell, share) in cells.iter_mut().zip(shares) {
            cell.local.add(share);
        }
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_side_is_a_population_of_its_own() {
        let case = |class, s, wrong| Case { s, class, wrong };
        let items =
            [(0, case(0, 0.9, false)), (1, case(0, 0.8, true)), (1, case(1, 0.7, true)), (2, case(1, 0.6, false))];
        let groups = Groups::new(items.into_iter());
        let sides = [0, 1].map(|class| Side::new(&groups, class, 4));
        // Each group weighs a third; the second one gives half of it to each side.
        assert!(sides.iter().all(|side| (side.share - 0.5).abs() < 1e-12));
        let [normal, anomaly] = sides.map(|side| side.population.base());
        assert!((normal - 1.0 / 3.0).abs() < 1e-12 && (anomaly - 1.0 / 3.0).abs() < 1e-12);
    }
}
