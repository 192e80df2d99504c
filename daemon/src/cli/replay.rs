//! `picket replay`: are the decisions in the log the ones that this version would make, and what would another policy have
//! made of the same jobs?

mod what_if;

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::bail;
use clap::Args;
use picket_core::escalation::{
    budget::Cost,
    decide::{Decision, Reason, Verdict, decide},
    money::Money,
};
use serde::Serialize;
use serde_json::json;

use self::what_if::WhatIf;
use crate::decisions::{
    record::{Judged, Said},
    story::{self, Story, Told},
};

#[derive(Debug, Args)]
pub struct Replay {
    /// The store's folder, the log's folder in it, or one file of the log.
    log: PathBuf,
    /// What would have been decided with these keys instead; the README lists them.
    #[arg(long)]
    policy: Option<PathBuf>,
}

/// Differing decisions that are named.
const NAMED: usize = 10;

pub fn run(replay: &Replay, as_json: bool) -> anyhow::Result<()> {
    let told = story::tell(&replay.log, None)?;
    match &replay.policy {
        None => again(&told, as_json),
        Some(path) => {
            let what_if = WhatIf::read(path)?;
            let (mut before, mut after) = (Sum::default(), Sum::default());
            for story in &told.stories {
                let (_, judged) = story.first();
                let (policy, around) = what_if.applied(&story.setting, &judged.around)?;
                let decision = decide(&judged.seen, &policy, &around);
                before.add(story, judged, &judged.decision);
                after.add(story, &Judged { around, ..judged.clone() }, &decision);
            }
            compare(&told, &before, &after, as_json);
            Ok(())
        }
    }
}

/// Every decision once more, compared bit for bit.
fn again(told: &Told, as_json: bool) -> anyhow::Result<()> {
    let mut decisions = 0_u64;
    let mut differing = Vec::new();
    for story in &told.stories {
        for (_, judged) in &story.judged {
            decisions += 1;
            let decision = decide(&judged.seen, &story.setting.policy, &judged.around);
            // As bytes: NaN is not equal to itself, and 0.0 is equal to -0.0.
            if postcard::to_stdvec(&decision)? != postcard::to_stdvec(&judged.decision)? {
                differing.push(judged.job.as_str());
            }
        }
    }
    let count = differing.len();
    differing.truncate(NAMED);
    let unreadable = told.reading.unreadable + told.without_setting;
    if as_json {
        println!(
            "{}",
            json!({
                "decisions": decisions, "differing": count, "first": differing, "unreadable": unreadable,
                "unfinished_bytes": told.reading.unfinished,
            })
        );
    } else {
        println!("{decisions} decisions, {} of them the same bit for bit", decisions - count as u64);
        if unreadable > 0 {
            println!("{unreadable} records are missing or cannot be read");
        }
    }
    if count > 0 {
        bail!(
            "error[replay/differs]: {count} of {decisions} decisions come out differently now, first: {}; another version, or \
             another machine's arithmetic, has made them",
            differing.join(", ")
        );
    }
    Ok(())
}

/// What a policy makes of all jobs.
#[derive(Debug, Default, Serialize)]
struct Sum {
    jobs: u64,
    local: u64,
    certified: u64,
    unusable: u64,
    calls: u64,
    money: Money,
    bytes: u64,
    reasons: BTreeMap<&'static str, u64>,
    /// Jobs whose upstream label the log knows and the local answer is another.
    wrong: u64,
    /// Of these: the provider's answer goes out …
    corrected: u64,
    /// … or comes afterwards …
    amended: u64,
    /// … or never.
    lost: u64,
    labelled: u64,
    /// Jobs that would be asked about, and of which the log knows no label.
    unknown: u64,
}

impl Sum {
    /// As decided, as if whoever is asked answers.
    fn add(&mut self, story: &Story, judged: &Judged, decision: &Decision) {
        self.jobs += 1;
        self.certified += u64::from(decision.certified);
        let asked = match &decision.verdict {
            Verdict::AnswerLocal(reason) => {
                self.local += 1;
                *self.reasons.entry(reason.code()).or_default() += 1;
                decision.later.as_ref().and(judged.around.providers.first()).map(|view| view.id)
            }
            Verdict::Escalate { provider, reason, .. } => {
                *self.reasons.entry(reason.code()).or_default() += 1;
                Some(*provider)
            }
            Verdict::Reuse { .. } => {
                *self.reasons.entry(Reason::LocalDuplicate.code()).or_default() += 1;
                None
            }
            Verdict::Fail(_) => {
                self.unusable += 1;
                None
            }
        };
        if let Some(view) = judged.around.providers.iter().find(|view| Some(view.id) == asked) {
            let Cost { money, bytes } = view.cost;
            self.calls += 1;
            self.money = self.money + money;
            self.bytes += bytes;
        }
        let (local, said) = (&decision.said, story.said());
        self.labelled += u64::from(said.is_some());
        self.unknown += u64::from(said.is_none() && asked.is_some());
        let measure = &story.setting.policy.measure;
        let agrees = |said: &Said| local.as_ref().is_some_and(|local| local.agrees(&said.answer, measure));
        if said.is_none_or(agrees) {
            return;
        }
        self.wrong += 1;
        match (&decision.verdict, asked) {
            (Verdict::Escalate { .. }, _) => self.corrected += 1,
            (_, Some(_)) => self.amended += 1,
            (_, None) => self.lost += 1,
        }
    }

    fn share(&self, part: u64) -> String {
        format!("{:.1} %", 100.0 * part as f64 / self.jobs.max(1) as f64)
    }
}

fn compare(told: &Told, before: &Sum, after: &Sum, as_json: bool) {
    if as_json {
        let unreadable = told.reading.unreadable + told.without_setting;
        println!("{}", json!({ "before": before, "after": after, "unreadable": unreadable }));
        return;
    }
    let row = |what: &str, before: String, after: String| println!("{what:<36}{before:>14}{after:>14}");
    row(&format!("{} jobs", before.jobs), "as it was".to_owned(), "instead".to_owned());
    row("answered locally", before.share(before.local), after.share(after.local));
    row("certified", before.share(before.certified), after.share(after.certified));
    row("calls", before.calls.to_string(), after.calls.to_string());
    row("money at most", before.money.to_string(), after.money.to_string());
    row("bytes at most", before.bytes.to_string(), after.bytes.to_string());
    let codes: std::collections::BTreeSet<_> = before.reasons.keys().chain(after.reasons.keys()).collect();
    for code in codes {
        let count = |sum: &Sum| sum.reasons.get(code).copied().unwrap_or(0).to_string();
        row(&format!("  {code}"), count(before), count(after));
    }
    println!(
        "{} jobs have a provider's label; the local model says something else in {}",
        before.labelled, before.wrong
    );
    row("  corrected in time", before.corrected.to_string(), after.corrected.to_string());
    row("  corrected afterwards", before.amended.to_string(), after.amended.to_string());
    row("  never corrected", before.lost.to_string(), after.lost.to_string());
    println!("{} calls would be about jobs of which the log knows no label", after.unknown);
    println!("As decided: as if whoever is asked answers, and the provider's label is right.");
}
