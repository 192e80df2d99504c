//! Who got what, and what it was worth.

use std::{
    collections::HashMap,
    fmt,
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde::Serialize;

use crate::{telemetry::BudgetStatus, transport::mqtt::asker::Heard};

/// Where the demo is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Up,
    Cut,
    Back,
}

impl Phase {
    pub const ALL: [Self; 3] = [Self::Up, Self::Cut, Self::Back];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Up => "link up",
            Self::Cut => "link cut",
            Self::Back => "link back",
        }
    }
}

struct Job {
    label: u8,
    phase: Phase,
    sent: Instant,
    /// Every different result of each revision, as it came.
    results: Vec<(u64, Bytes)>,
    latency: Option<Duration>,
    right: bool,
    local: bool,
    certified: bool,
    audit: bool,
    /// A later revision said something else; was that right?
    amended: Option<bool>,
}

/// What a call upstream costs in the demo.
pub const CALL_PRICE: f64 = 0.0001;

/// Accuracies of the two models on their own.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone {
    pub local: f64,
    pub upstream: f64,
}

pub struct Score {
    jobs: HashMap<String, Job>,
    redelivered: usize,
    errors: usize,
    pub accuracy_alone: Alone,
    /// Questions that waited for the link at once, at most.
    pub most_waiting: usize,
    pub budget: BudgetStatus,
}

/// One line of the table: jobs of a phase.
#[derive(Clone, Copy, Debug, Default)]
pub struct Line {
    pub sent: usize,
    pub answered: usize,
    pub local: usize,
    pub right: usize,
}

impl Score {
    pub fn new(jobs: usize) -> Self {
        Self {
            jobs: HashMap::with_capacity(jobs),
            redelivered: 0,
            errors: 0,
            accuracy_alone: Alone::default(),
            most_waiting: 0,
            budget: BudgetStatus::default(),
        }
    }

    pub fn id(job: usize) -> String {
        format!("demo-{job}")
    }

    pub fn sent(&mut self, job: usize, label: u8, phase: Phase) {
        let sent = Instant::now();
        let job_state = Job {
            label,
            phase,
            sent,
            results: Vec::new(),
            latency: None,
            right: false,
            local: false,
            certified: false,
            audit: false,
            amended: None,
        };
        self.jobs.insert(Self::id(job), job_state);
    }

    pub fn heard(&mut self, message: &Heard) {
        let document: serde_json::Value = serde_json::from_slice(&message.payload).unwrap_or_default();
        let Some(job) = document["id"].as_str().and_then(|id| self.jobs.get_mut(id)) else { return };
        let revision = document["revision"].as_u64().unwrap_or(0);
        if job.results.iter().any(|(known, bytes)| *known == revision && *bytes == message.payload) {
            self.redelivered += 1;
            return;
        }
        job.results.push((revision, message.payload.clone()));
        let right = document["answer"]["label"].as_str() == Some(job.label.to_string().as_str());
        if revision > 1 {
            job.amended = Some(right);
        }
        if job.latency.is_some() {
            return;
        }
        job.latency = Some(job.sent.elapsed());
        job.right = right;
        job.local = document["source"] == "local";
        job.certified = document["certified"] == true;
        job.audit = document["evidence"]["audit"] == true;
        self.errors += usize::from(document.get("error").is_some());
    }

    /// Jobs without a result.
    pub fn open(&self) -> usize {
        self.jobs.values().filter(|job| job.results.is_empty()).count()
    }

    pub fn line(&self, phase: Option<Phase>) -> Line {
        let mut line = Line::default();
        for job in self.jobs.values().filter(|job| phase.is_none_or(|phase| job.phase == phase)) {
            line.sent += 1;
            line.answered += usize::from(job.latency.is_some());
            line.local += usize::from(job.local);
            line.right += usize::from(job.right);
        }
        line
    }

    /// Latency in milliseconds at these quantiles, over all answered jobs.
    pub fn latency_ms(&self, quantiles: [f64; 2]) -> [f64; 2] {
        let mut times: Vec<Duration> = self.jobs.values().filter_map(|job| job.latency).collect();
        times.sort();
        quantiles.map(|q| {
            let place = (times.len().saturating_sub(1) as f64 * q) as usize;
            times.get(place).map_or(0.0, |time| round(time.as_secs_f64() * 1e3, 1e3))
        })
    }

    fn count(&self, which: impl Fn(&Job) -> bool) -> usize {
        self.jobs.values().filter(|job| which(job)).count()
    }

    pub fn summary(&self, rss_kib: u64) -> Summary {
        let all = self.line(None);
        let different =
            |job: &&Job| (1..job.results.len()).any(|i| job.results[..i].iter().any(|r| r.0 == job.results[i].0));
        let [p50_ms, p99_ms] = self.latency_ms([0.5, 0.99]);
        Summary {
            jobs: all.sent,
            answered: all.answered,
            lost: all.sent - all.answered,
            duplicates: self.jobs.values().filter(different).count(),
            redelivered: self.redelivered,
            errors: self.errors,
            local_share: share(all.local, all.answered),
            accuracy_local: round(self.accuracy_alone.local, 1e4),
            accuracy_upstream: round(self.accuracy_alone.upstream, 1e4),
            certified_share: share(self.count(|job| job.certified), all.answered),
            certified: self.count(|job| job.certified),
            audited: self.count(|job| job.audit),
            waited: self.most_waiting,
            calls: (self.budget.money_today / CALL_PRICE).round() as u64,
            spent: round(self.budget.money_today, 1e6),
            budget: self.budget.money_per_day.unwrap_or_default(),
            certified_wrong: self.count(|job| job.certified && !job.right),
            amended: self.count(|job| job.amended.is_some()),
            accuracy_final: share(all.right, all.answered),
            accuracy_amended: share(self.count(|job| job.amended.unwrap_or(job.right)), all.answered),
            p50_ms,
            p99_ms,
            rss_kib,
        }
    }
}

/// What the demo ends with.
#[derive(Debug, Serialize)]
pub struct Summary {
    pub jobs: usize,
    pub answered: usize,
    pub lost: usize,
    /// Jobs that got two different results of one revision.
    pub duplicates: usize,
    /// Results that came again, byte for byte, as QoS 1 allows.
    pub redelivered: usize,
    /// Answers that were errors.
    pub errors: usize,
    pub local_share: f64,
    /// Share of the jobs whose local answer the certificate covers, and how many of these were wrong.
    pub certified_share: f64,
    pub certified: usize,
    pub certified_wrong: usize,
    /// Jobs that the lottery drew for a second opinion.
    pub audited: usize,
    /// Questions that waited at once, at most: while the link was cut nobody could be asked.
    pub waited: usize,
    /// Calls upstream, what they cost, and what a day may cost.
    pub calls: u64,
    pub spent: f64,
    pub budget: f64,
    /// Answers that the upstream Picket corrected afterwards.
    pub amended: usize,
    pub accuracy_local: f64,
    pub accuracy_upstream: f64,
    pub accuracy_final: f64,
    /// With the corrections.
    pub accuracy_amended: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// Peak resident memory of the local Picket.
    pub rss_kib: u64,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "jobs                 {:>8}", self.jobs)?;
        writeln!(
            f,
            "answered             {:>8}   lost {}, duplicates {}, errors {}",
            self.answered, self.lost, self.duplicates, self.errors
        )?;
        writeln!(f, "answered locally     {:>7.1}%", self.local_share * 100.0)?;
        writeln!(
            f,
            "certified            {:>7.1}%   of the jobs; {} of these answers were wrong",
            self.certified_share * 100.0,
            self.certified_wrong
        )?;
        writeln!(
            f,
            "accuracy             {:>7.1}%   local alone {:.1} %, upstream alone {:.1} %",
            self.accuracy_final * 100.0,
            self.accuracy_local * 100.0,
            self.accuracy_upstream * 100.0
        )?;
        writeln!(
            f,
            "amended later        {:>8}   with these {:.1} % are right",
            self.amended,
            self.accuracy_amended * 100.0
        )?;
        writeln!(f, "waited for the link  {:>8}   questions at once, at most", self.waited)?;
        writeln!(
            f,
            "spent                {:>8.4}   of {:.2} a day, for {} calls upstream",
            self.spent, self.budget, self.calls
        )?;
        writeln!(f, "latency p50, p99     {:>8.2}   {:.2} ms", self.p50_ms, self.p99_ms)?;
        writeln!(f, "peak memory          {:>8}   KiB, the local Picket", self.rss_kib)?;
        if self.redelivered > 0 {
            writeln!(f, "redelivered          {:>8}   the same bytes again, as QoS 1 allows", self.redelivered)?;
        }
        Ok(())
    }
}

fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { round(part as f64 / whole as f64, 1e4) }
}

fn round(value: f64, to: f64) -> f64 {
    (value * to).round() / to
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(payload: &str) -> Heard {
        Heard { topic: "demo/answers".into(), payload: payload.to_owned().into() }
    }

    #[test]
    fn tells_redelivery_from_duplicates_and_loss() {
        let mut score = Score::new(3);
        for job in 0..3 {
            score.sent(job, 7, Phase::Up);
        }
        let right = r#"{"id":"demo-0","revision":1,"source":"local","answer":{"label":"7"}}"#;
        score.heard(&heard(right));
        score.heard(&heard(right));
        score.heard(&heard(r#"{"id":"demo-1","revision":1,"source":"up","answer":{"label":"1"}}"#));
        score.heard(&heard(r#"{"id":"demo-1","revision":1,"source":"up","answer":{"label":"2"}}"#));
        let summary = score.summary(0);
        assert_eq!((summary.answered, summary.lost, summary.duplicates, summary.redelivered), (2, 1, 1, 1));
        assert_eq!((summary.local_share, summary.accuracy_final), (0.5, 0.5));
    }
}
