//! `picket ledger`: what left this device, and whether the record of it is whole. Reads only, also while the daemon runs.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    time::{Duration, SystemTime},
};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use picket_core::escalation::money::Money;
use serde::Serialize;
use serde_json::json;

use crate::{
    config::Config,
    ledger::{
        line::{Leaving, Line, Settled, What},
        read::{self, Verdict},
    },
};

#[derive(Debug, Args)]
pub struct Ledger {
    #[command(subcommand)]
    what: Sub,
    /// The daemon's configuration, which says where its store is.
    #[arg(long, global = true, default_value = "/etc/picket/picket.toml", conflicts_with = "store")]
    config: PathBuf,
    /// The store's folder itself.
    #[arg(long, global = true)]
    store: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Sub {
    /// One line for each request that left, oldest first, and what they add up to.
    Show(Filter),
    /// Check every line. Exit code 1 and the first bad line if the ledger is not what was written.
    Verify {
        /// A line's hash that was kept elsewhere; the ledger must still have that line.
        #[arg(long)]
        expect_head: Option<String>,
        /// A ledger that says it began after a damaged one was moved aside is good from there on.
        #[arg(long)]
        accept_restart: bool,
    },
}

#[derive(Debug, Args)]
struct Filter {
    /// Only this job.
    #[arg(long)]
    job: Option<String>,
    /// Only what went to this provider.
    #[arg(long)]
    provider: Option<String>,
    /// Only what left since then: `2026-03-01T06:00:00Z`, `2026-03-01`, or how long ago: `36h`, `7days`.
    #[arg(long, value_parser = moment)]
    since: Option<SystemTime>,
}

pub fn run(ledger: &Ledger, as_json: bool) -> anyhow::Result<()> {
    let folder = match &ledger.store {
        Some(folder) if !folder.is_dir() => bail!("error[ledger/unreadable]: there is no folder {}", folder.display()),
        Some(folder) => folder.clone(),
        None => Config::load(&ledger.config)?.store.path,
    };
    let unreadable = || format!("error[ledger/unreadable]: {}", folder.display());
    match &ledger.what {
        Sub::Show(filter) => {
            let mut calls = Vec::new();
            let mut settled = HashMap::new();
            let verdict = read::read(&folder, None, |line| take(line, filter, &mut calls, &mut settled))
                .with_context(unreadable)?;
            let calls: Vec<Call> =
                calls.into_iter().map(|call| Call { settled: settled.remove(&call.seq), ..call }).collect();
            show(&calls, &verdict, as_json)
        }
        Sub::Verify { expect_head, accept_restart } => {
            let expect = expect_head.as_deref().map(|hash| hash.trim().to_ascii_lowercase());
            let verdict = read::read(&folder, expect.as_deref(), |_| {}).with_context(unreadable)?;
            verify(&verdict, expect.as_deref(), *accept_restart, as_json)
        }
    }
}

/// A request that left, with what became of it.
#[derive(Serialize)]
struct Call {
    seq: u64,
    time: String,
    time_trusted: bool,
    #[serde(flatten)]
    leaving: Leaving,
    settled: Option<Settled>,
}

fn take(line: &Line, filter: &Filter, calls: &mut Vec<Call>, settled: &mut HashMap<u64, Settled>) {
    match &line.what {
        What::Leaves(leaving) => {
            let fits = filter.job.as_ref().is_none_or(|job| *job == leaving.job)
                && filter.provider.as_ref().is_none_or(|provider| *provider == leaving.provider)
                && filter
                    .since
                    .is_none_or(|since| humantime::parse_rfc3339(&line.time).is_ok_and(|time| time >= since));
            if fits {
                let (time, leaving) = (line.time.clone(), (**leaving).clone());
                calls.push(Call { seq: line.seq, time, time_trusted: line.time_trusted, leaving, settled: None });
            }
        }
        What::Settled(outcome) => {
            settled.insert(outcome.of, outcome.clone());
        }
        What::Begins(_) | What::Dropped(_) => {}
    }
}

/// What went to one provider.
#[derive(Default, Serialize)]
struct Total {
    calls: u64,
    bytes: u64,
    /// As far as it is known; otherwise what was reserved.
    cost_nanos: Money,
    unanswered: u64,
    outcome_unknown: u64,
}

impl Call {
    fn withheld(&self) -> bool {
        self.settled.as_ref().is_some_and(|settled| settled.outcome == picket_core::ProviderFault::Withheld.code())
    }

    fn outcome(&self) -> &str {
        self.settled.as_ref().map_or("unknown", |settled| &settled.outcome)
    }

    fn cost(&self) -> Money {
        self.settled.as_ref().map_or(self.leaving.reserved_nanos, |settled| settled.cost_nanos)
    }
}

fn totals(calls: &[Call]) -> BTreeMap<&str, Total> {
    let mut totals: BTreeMap<&str, Total> = BTreeMap::new();
    for call in calls.iter().filter(|call| !call.withheld()) {
        let total = totals.entry(&call.leaving.provider).or_default();
        total.calls += 1;
        total.bytes += call.leaving.bytes;
        total.cost_nanos = total.cost_nanos + call.cost();
        total.outcome_unknown += u64::from(call.settled.is_none());
        total.unanswered += u64::from(call.settled.is_some() && call.outcome() != "answered");
    }
    totals
}

fn show(calls: &[Call], verdict: &Verdict, as_json: bool) -> anyhow::Result<()> {
    let totals = totals(calls);
    let wrong = verdict.wrong.as_ref().map(ToString::to_string);
    if as_json {
        println!("{}", json!({ "calls": calls, "totals": totals, "wrong": wrong, "head": verdict.last }));
        return Ok(());
    }
    if calls.is_empty() {
        println!("nothing has left");
    } else {
        println!(
            "{:>6}  {:<25}  {:<16}  {:<6}  {:<20}  {:<8}  {:>9}  {:>12}  {:<20}  job",
            "line", "time", "provider", "region", "reason", "privacy", "bytes", "cost", "outcome"
        );
    }
    for call in calls {
        let Leaving { provider, region, reason, privacy, bytes, job, .. } = &call.leaving;
        // A clock that nobody vouches for.
        let time = format!("{}{}", call.time, if call.time_trusted { "" } else { "?" });
        println!(
            "{:>6}  {time:<25}  {provider:<16}  {:<6}  {reason:<20}  {privacy:<8}  {bytes:>9}  {:>12}  {:<20}  {job}",
            call.seq,
            region.as_deref().unwrap_or("-"),
            call.cost().to_string(),
            call.outcome(),
        );
    }
    for (provider, Total { calls, bytes, cost_nanos, unanswered, outcome_unknown }) in &totals {
        println!(
            "{provider}: {calls} calls, {bytes} bytes, cost {cost_nanos} at most; {unanswered} without an answer, \
             {outcome_unknown} of unknown outcome"
        );
    }
    if let Some(wrong) = wrong {
        println!("This ledger is not what was written: {wrong}");
    }
    Ok(())
}

fn verify(verdict: &Verdict, expect: Option<&str>, accept_restart: bool, as_json: bool) -> anyhow::Result<()> {
    let Verdict { lines, last, wrong, restarted, begins_at, unfinished, expected_at } = verdict;
    let complaint = match (wrong, restarted, expect) {
        (Some(wrong), ..) => Some(format!("error[ledger/corrupt]: {wrong}")),
        (None, Some(after), _) if !accept_restart => Some(format!(
            "error[ledger/restarted]: it began after a damaged one was moved to {} ({}); if that is known: --accept-restart",
            after.moved_to, after.why
        )),
        (None, _, Some(hash)) if expected_at.is_none() => {
            Some(format!("error[ledger/unexpected]: no line of it has the hash {hash}"))
        }
        _ => None,
    };
    if as_json {
        println!(
            "{}",
            json!({
                "ok": complaint.is_none(),
                "complaint": complaint,
                "lines": lines,
                "begins_at": begins_at,
                "head": last,
                "unfinished_bytes": unfinished,
                "restarted": restarted,
                "expected_at": expected_at,
            })
        );
    }
    if let Some(complaint) = complaint {
        bail!("{complaint}");
    }
    if as_json {
        return Ok(());
    }
    let Some(last) = last else {
        println!("there is no ledger here: nothing has left, or everything was deleted");
        return Ok(());
    };
    println!("{lines} lines, {begins_at} to {}, each as it was written", last.seq);
    if let Some(at) = expected_at {
        println!("the hash that you kept is that of line {at}");
    }
    if *unfinished > 0 {
        println!("an unfinished line of {unfinished} bytes at the end: it is being written, or a crash left it");
    }
    println!("head {}", last.hash);
    println!("Keep the head elsewhere: who can write these files can write all of them anew, and only it would tell.");
    Ok(())
}

fn moment(text: &str) -> Result<SystemTime, String> {
    let ago = |ago: Duration| SystemTime::now().checked_sub(ago);
    humantime::parse_rfc3339_weak(text)
        .or_else(|_| humantime::parse_rfc3339_weak(&format!("{text}T00:00:00Z")))
        .ok()
        .or_else(|| humantime::parse_duration(text).ok().and_then(ago))
        .ok_or_else(|| "a time such as 2026-03-01T06:00:00Z or 2026-03-01, or how long ago, such as 36h".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{line::After, read::Wrong};

    fn call(seq: u64, provider: &str, settled: Option<(&str, u64)>) -> Call {
        let leaving = Leaving {
            provider: provider.to_owned(),
            bytes: 256,
            reserved_nanos: Money::from_nanos(100),
            ..Leaving::default()
        };
        let settled = settled.map(|(outcome, cost)| Settled {
            of: seq,
            outcome: outcome.to_owned(),
            cost_nanos: Money::from_nanos(cost),
            sent: None,
        });
        Call { seq, time: String::new(), time_trusted: true, leaving, settled }
    }

    #[test]
    fn what_did_not_leave_is_not_added_up() {
        let calls = [
            call(1, "hq", Some(("answered", 70))),
            call(3, "hq", Some(("provider/timeout", 100))),
            call(5, "hq", None),
            call(6, "hq", Some(("egress/withheld", 0))),
            call(8, "far", Some(("answered", 5))),
        ];
        let totals = totals(&calls);
        let hq = &totals["hq"];
        assert_eq!((hq.calls, hq.bytes, hq.cost_nanos), (3, 768, Money::from_nanos(270)));
        assert_eq!((hq.unanswered, hq.outcome_unknown), (1, 1));
        assert_eq!((totals.len(), totals["far"].calls), (2, 1));
    }

    #[test]
    fn verify_complains_of_what_is_wrong() {
        let good = Verdict { lines: 3, expected_at: Some(2), ..Verdict::default() };
        let wrong = Wrong { file: "ledger.jsonl".to_owned(), line: Some(7), why: "it was changed".to_owned() };
        let after = After { moved_to: "ledger.corrupt-1".to_owned(), why: "it is gone".to_owned(), last_good: None };
        let damaged = Verdict { wrong: Some(wrong), ..good.clone() };
        let restarted = Verdict { restarted: Some(after), ..good.clone() };
        let lost = Verdict { expected_at: None, ..good.clone() };
        let code = |verdict: &Verdict, expect: Option<&str>, accept| match verify(verdict, expect, accept, true) {
            Ok(()) => "good".to_owned(),
            Err(error) => error.to_string(),
        };
        assert_eq!(code(&good, Some("3fa9"), false), "good");
        assert_eq!(code(&lost, None, false), "good", "nobody asked for a hash");
        assert_eq!(code(&lost, Some("3fa9"), false), "error[ledger/unexpected]: no line of it has the hash 3fa9");
        assert_eq!(code(&damaged, None, true), "error[ledger/corrupt]: ledger.jsonl:7: it was changed");
        assert!(code(&restarted, None, false).starts_with("error[ledger/restarted]: it began after a damaged one"));
        assert_eq!(code(&restarted, None, true), "good");
    }

    #[test]
    fn since_when_is_a_date_a_time_or_how_long_ago() {
        let day = moment("2026-03-01").unwrap();
        assert_eq!(moment("2026-03-01T00:00:00Z").unwrap(), day);
        assert_eq!(moment("2026-03-01 06:00:00").unwrap(), day + Duration::from_secs(6 * 3_600));
        let ago = moment("36h").unwrap();
        assert!(ago < SystemTime::now() && ago > SystemTime::now() - Duration::from_secs(37 * 3_600));
        assert!(moment("yesterday").is_err());
    }
}
