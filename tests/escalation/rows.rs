//! The rows that `train.py` wrote.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result, bail, ensure};
use picket_core::escalation::{
    certificate::Case,
    fit::LabelledLogits,
    score::{Rated, ScoreRule},
};
use rand::{Rng as _, rngs::StdRng};
use serde::Deserialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Split {
    Select,
    Certify,
    Stream,
}

/// One request: what the local model said, what the upstream model would say, and what is true.
#[derive(Clone, Debug)]
pub struct Row {
    pub logits: Vec<f32>,
    pub local: u16,
    pub upstream: u16,
    pub truth: u16,
    pub split: Split,
    pub phase: usize,
    pub group: u32,
    pub time: u32,
    pub bytes: u32,
}

impl Row {
    pub fn local_wrong(&self) -> bool {
        self.local != self.truth
    }

    pub fn upstream_right(&self) -> bool {
        self.upstream == self.truth
    }
}

/// What the file says of itself.
#[derive(Clone, Debug, Deserialize)]
pub struct Head {
    format: String,
    pub name: String,
    rows: usize,
    pub labels: Vec<String>,
    pub phases: Vec<String>,
    columns: Vec<(String, String)>,
    pub source: String,
    pub licence: String,
    pub local: String,
    pub upstream: String,
    pub group: String,
    pub note: String,
}

#[derive(Clone, Debug)]
pub struct DataSet {
    pub head: Head,
    pub rows: Vec<Row>,
}

impl DataSet {
    /// `None`: there is no such file, because its data was absent.
    ///
    /// # Errors
    /// When the file is not what this version reads.
    pub fn load(path: &Path) -> Result<Option<Self>> {
        if !path.exists() {
            return Ok(None);
        }
        let file = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let end = file.iter().position(|byte| *byte == b'\n').context("no head")?;
        let head: Head = serde_json::from_slice(&file[..end]).with_context(|| format!("head of {}", path.display()))?;
        ensure!(head.format == "picket-rows/1", "{}: format {}", path.display(), head.format);
        let mut rest = &file[end + 1..];
        let mut columns: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        for (name, kind) in &head.columns {
            let width = if kind == "u2" { 2 } else { 4 };
            let per_row = if name == "logits" { head.labels.len() } else { 1 };
            let (bytes, behind) = rest.split_at_checked(width * per_row * head.rows).context("the file is cut off")?;
            rest = behind;
            // Floats keep their bits.
            let number = |b: &[u8]| b.iter().rev().fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte));
            columns.insert(name.clone(), bytes.chunks(width).map(number).collect());
        }
        let column = |name: &str| columns.get(name).with_context(|| format!("no column {name}"));
        let short = |name: &str, at: usize| -> Result<u16> { Ok(u16::try_from(column(name)?[at])?) };
        let rows = (0..head.rows).map(|at| -> Result<Row> {
            let logits = column("logits")?.chunks(head.labels.len()).nth(at).unwrap_or_default();
            Ok(Row {
                logits: logits.iter().map(|bits| f32::from_bits(*bits)).collect(),
                local: short("local", at)?,
                upstream: short("upstream", at)?,
                truth: short("truth", at)?,
                split: match short("split", at)? {
                    0 => Split::Select,
                    1 => Split::Certify,
                    2 => Split::Stream,
                    other => bail!("split {other}"),
                },
                phase: short("phase", at)?.into(),
                group: column("group")?[at],
                time: column("time")?[at],
                bytes: column("bytes")?[at],
            })
        });
        let rows = rows.collect::<Result<Vec<Row>>>()?;
        Ok(Some(Self { head, rows }))
    }

    /// Number of a phase, if this set has it.
    pub fn phase(&self, name: &str) -> Option<usize> {
        self.head.phases.iter().position(|phase| phase == name)
    }

    /// Rows of a split; of its first phase, which is that of the calibration, unless another is given.
    pub fn of(&self, split: Split, phase: usize) -> Vec<&Row> {
        self.rows.iter().filter(|row| row.split == split && row.phase == phase).collect()
    }

    /// The cases that choose the score.
    pub fn select(&self) -> Vec<LabelledLogits> {
        let labelled = |row: &&Row| LabelledLogits {
            logits: row.logits.clone(),
            label: row.truth.into(),
            group: row.group.into(),
        };
        self.of(Split::Select, 0).iter().map(labelled).collect()
    }
}

/// A row as a certificate sees it.
pub fn case(row: &Row, rule: &ScoreRule) -> Case {
    let rated = rule.rate(&row.logits).unwrap_or(Rated { class: 0, confidence: 0.0, s: f32::NAN, p_wrong: 1.0 });
    Case { s: rated.s, class: rated.class, wrong: rated.class != usize::from(row.truth) }
}

/// Rows by their groups, from which cases are drawn: a group first, then one of its rows. That is the population whose risk a
/// certificate bounds.
#[derive(Clone)]
pub struct Groups<T> {
    groups: Vec<Vec<T>>,
}

impl<T: Copy> Groups<T> {
    pub fn new(items: impl Iterator<Item = (u32, T)>) -> Self {
        let mut groups: BTreeMap<u32, Vec<T>> = BTreeMap::new();
        for (group, item) in items {
            groups.entry(group).or_default().push(item);
        }
        Self { groups: groups.into_values().collect() }
    }

    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// One row of one group, by chance.
    pub fn draw(&self, dice: &mut StdRng) -> T {
        let group = self.draw_group(dice);
        group[dice.random_range(0..group.len())]
    }

    pub fn draw_group(&self, dice: &mut StdRng) -> &[T] {
        &self.groups[dice.random_range(0..self.groups.len())]
    }

    /// Each row with the chance that [`Groups::draw`] draws it.
    pub fn weighted(&self) -> Vec<(T, f64)> {
        let each = |group: &Vec<T>| {
            let weight = 1.0 / (self.groups.len() * group.len()) as f64;
            group.iter().map(move |item| (*item, weight)).collect::<Vec<_>>()
        };
        self.groups.iter().flat_map(each).collect()
    }

    /// One row of every group, by chance: the sample that a user would certify with.
    pub fn one_of_each(&self, dice: &mut StdRng) -> Vec<T> {
        self.groups.iter().map(|group| group[dice.random_range(0..group.len())]).collect()
    }
}
