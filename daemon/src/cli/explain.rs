//! `picket explain`: why an answer is what it is, in words. Reads only, also while the daemon runs.

mod document;
mod words;

use std::{
    collections::HashMap,
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::Args;
use picket_core::{
    escalation::decide::{Observation, ProviderView, Reason, Verdict},
    job::Privacy,
    limits,
};
use serde::Serialize;
use serde_json::{Value, json};

use self::words::{Facts, Promise, percent};
use crate::{
    config::Config,
    decisions::{
        record::{self, Alarm, At, End, How, Said},
        story::{self, Story},
    },
    ledger::{
        line::{Leaving, Settled, What},
        read,
    },
};

#[derive(Debug, Args)]
pub struct Explain {
    /// A job's id; or a result as it was published: a `.json` file, or `-` for standard input.
    what: String,
    /// The daemon's configuration, which says where its store is.
    #[arg(long, default_value = "/etc/picket/picket.toml", conflicts_with = "store")]
    config: PathBuf,
    /// The store's folder itself.
    #[arg(long)]
    store: Option<PathBuf>,
}

/// An explanation.
#[derive(Debug, Default, Serialize)]
struct Telling {
    id: String,
    /// Of the answer's reason, or of the error.
    code: Option<String>,
    certified: Option<bool>,
    facts: Facts,
    sentences: Vec<String>,
    /// As the log has it.
    #[serde(skip_serializing_if = "Value::is_null")]
    log: Value,
    /// Requests that left.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ledger: Vec<Call>,
}

pub fn run(explain: &Explain, as_json: bool) -> anyhow::Result<()> {
    let path = Path::new(&explain.what);
    let telling = if explain.what == "-" {
        let mut text = Vec::new();
        std::io::stdin().take(limits::MAX_BODY_BYTES as u64).read_to_end(&mut text)?;
        document::tell(&text, "standard input")?
    } else if path.extension().is_some_and(|extension| extension == "json") && path.is_file() {
        let whence = path.display().to_string();
        let text = std::fs::read(path).with_context(|| format!("error[explain/no-result]: {whence}"))?;
        document::tell(&text, &whence)?
    } else {
        let store = match &explain.store {
            Some(store) => store.clone(),
            None => Config::load(&explain.config)?.store.path,
        };
        from_log(&store, &explain.what)?
    };
    if as_json {
        println!("{}", json!(telling));
        return Ok(());
    }
    println!("{}", telling.id);
    for sentence in &telling.sentences {
        println!("  {sentence}");
    }
    Ok(())
}

fn from_log(store: &Path, id: &str) -> anyhow::Result<Telling> {
    let told = story::tell(store, Some(id))?;
    let times = told.stories.len();
    let Some(story) = told.stories.into_iter().next_back() else {
        let lost = told.reading.unreadable + told.without_setting;
        let lost = if lost > 0 { format!("; {lost} records cannot be read") } else { String::new() };
        bail!(
            "error[explain/unknown-job]: no decision about a job {id} is in the log: there was no such job, it got an error \
             before anything was decided, or its record is older than what is kept{lost}"
        );
    };
    let calls = calls(store, id).unwrap_or_default();
    let mut telling = from_story(&story, calls);
    if times > 1 {
        telling.sentences.push(format!("The log knows {times} jobs of this id; this is the last one."));
    }
    Ok(telling)
}

/// A request that left, and what became of it.
#[derive(Clone, Debug, Serialize)]
struct Call {
    line: u64,
    leaving: Leaving,
    settled: Option<Settled>,
}

/// # Errors
/// The ledger cannot be read.
fn calls(store: &Path, id: &str) -> std::io::Result<Vec<Call>> {
    let (mut calls, mut settled) = (Vec::new(), HashMap::new());
    read::read(store, None, |line| match &line.what {
        What::Leaves(leaving) if leaving.job == id => {
            calls.push(Call { line: line.seq, leaving: (**leaving).clone(), settled: None });
        }
        What::Settled(outcome) => {
            settled.insert(outcome.of, outcome.clone());
        }
        _ => {}
    })?;
    Ok(calls.into_iter().map(|call| Call { settled: settled.remove(&call.line), ..call }).collect())
}

fn from_story(story: &Story, ledger: Vec<Call>) -> Telling {
    let facts = facts(story);
    let mut sentences = vec![head(story)];
    sentences.extend(story.instead_of.as_ref().map(|wanted| words::stood_in(wanted, &story.setting.model)));
    sentences.push(facts.said());
    sentences.extend(facts.threshold());
    let (last, certified) = (ending(story), story.judged[story.judged.len() - 1].1.decision.certified);
    sentences.push(match &last {
        Ok(reason) => format!("{}: {}", reason.code(), facts.because(*reason)),
        Err(why) => why.clone(),
    });
    if story.judged.iter().any(|(_, judged)| matches!(judged.decision.verdict, Verdict::Escalate { .. })) {
        sentences.extend(facts.worth());
    }
    sentences.extend(story.alarm.as_ref().map(alarm));
    sentences.extend(came_back(story));
    sentences.extend(ledger.iter().map(left));
    if ledger.is_empty() {
        sentences.push("Nothing about this job left the device, as the ledger says.".to_owned());
    }
    sentences.push(facts.lottery());
    let log = json!({
        "setting": *story.setting, "judged": story.judged, "faults": story.faults, "ended": story.ended,
        "closed": story.closed, "alarm": story.alarm, "instead_of": story.instead_of,
    });
    let id = story.first().1.job.clone();
    let code = last.ok().map(|reason| reason.code().to_owned());
    Telling { id, code, certified: Some(certified), facts, sentences, log, ledger }
}

fn head(story: &Story) -> String {
    let (at, _) = story.first();
    let setting = &story.setting;
    format!("{} version {}, {}", setting.model, setting.version, time(*at))
}

fn time(at: At) -> String {
    let text = record::time(at.wall).unwrap_or_else(|| "at a time that no calendar has".to_owned());
    let doubt = if at.trusted { "" } else { " by a clock that no time service vouched for" };
    format!("{text}{doubt}")
}

fn facts(story: &Story) -> Facts {
    let (_, judged) = story.first();
    let evidence = &judged.decision.evidence;
    let rated = judged.decision.rated;
    Facts {
        id: judged.job.clone(),
        model: story.setting.model.clone(),
        local: judged.decision.said.as_ref().map(|said| story.setting.label(said)),
        confidence: rated.map(|rated| wide(rated.confidence)),
        s: evidence.s.map(wide),
        lambda: evidence.lambda.map(wide),
        p_wrong: evidence.p_wrong.map(wide),
        gain: evidence.gain,
        audit: judged.around.audit,
        audit_rate: Some(story.setting.audit_rate),
        promise: evidence.promise.map(|promise| Promise {
            n: promise.cases,
            alpha: promise.alpha,
            delta: promise.delta,
            round: Some(promise.round.into()),
        }),
        obstacles: obstacles(story),
    }
}

fn wide(number: f32) -> f64 {
    f64::from(number)
}

/// What stood in the way of asking.
fn obstacles(story: &Story) -> Vec<String> {
    let around = &story.judged[story.judged.len() - 1].1.around;
    let policy = &story.setting.policy;
    let mut found: Vec<String> =
        story.faults.iter().map(|fault| format!("{} did not help: {}", fault.provider, fault.code)).collect();
    if !around.privacy.may_leave(policy.redacts) {
        found.push(match around.privacy {
            Privacy::Redacted => "its privacy class is `redacted`, and there are no redaction steps".to_owned(),
            other => format!("its privacy class is `{}`", other.name()),
        });
    }
    if around.providers.is_empty() {
        found.push("nobody is configured to be asked".to_owned());
    }
    if policy.at_once {
        found.push("this model answers at once, and is corrected later: answer = \"amend\"".to_owned());
    }
    let (left, whole) = (around.left.as_millis_f64(), around.whole.as_millis_f64());
    if left <= whole * 0.5 {
        found.push(format!("{left:.0} ms of {whole:.0} ms were left"));
    }
    let gain = story.first().1.decision.evidence.gain;
    found.extend(around.providers.iter().filter_map(|view| {
        let provider = story.setting.provider(view.id);
        unwilling(view, gain, around.rich).map(|why| format!("{provider} {why}"))
    }));
    found
}

/// Why this provider was not asked.
fn unwilling(view: &ProviderView, gain: Option<f64>, rich: bool) -> Option<String> {
    if !view.admits {
        return Some("was left alone after failures, or was busy".to_owned());
    }
    if view.on_time < 0.5 {
        return Some(format!("answers in time in {} of the cases", percent(view.on_time)));
    }
    if !view.affordable {
        return Some(format!("costs up to {} a call, and so much is not left of the budget", view.cost.money));
    }
    let gain = gain.filter(|gain| !rich && *gain < view.threshold)?;
    Some(if view.threshold.is_finite() {
        format!("must bring a gain of {:.3} for the budget to last, and this question brings {gain:.3}", view.threshold)
    } else {
        "cannot be paid: what is left of the budget is for the lottery".to_owned()
    })
}

/// The reason that the answer gave, or what there was instead.
fn ending(story: &Story) -> Result<Reason, String> {
    if let Some(ended) = &story.ended {
        return match &ended.how {
            How::Answered { reason, .. } => Ok(*reason),
            How::Failed(code) => Err(format!("There was no answer: {code}.")),
        };
    }
    let (_, judged) = &story.judged[story.judged.len() - 1];
    match (&judged.decision.verdict, &judged.seen) {
        (Verdict::AnswerLocal(reason), _) => Ok(*reason),
        (Verdict::Reuse { .. }, _) => Ok(Reason::LocalDuplicate),
        (Verdict::Fail(why), _) | (_, Observation::Malformed(why)) => {
            Err(format!("There was no answer: the local model's output was unusable ({why}), model/invalid-output."))
        }
        (Verdict::Escalate { provider, reason, .. }, _) => Err(format!(
            "{}: {} was asked; how that ended is not in the log: it is under way, or the daemon ended meanwhile.",
            reason.code(),
            story.setting.provider(*provider)
        )),
    }
}

/// What a provider said, in time or afterwards.
fn came_back(story: &Story) -> Vec<String> {
    let local = story.first().1.decision.said.as_ref();
    let same = |said: &Said| local.is_some_and(|local| local.agrees(&said.answer, &story.setting.policy.measure));
    let answer = |said: &Said| {
        let sure =
            said.confidence.map(|confidence| format!(", {} sure", percent(wide(confidence)))).unwrap_or_default();
        let model = if said.model.is_empty() { String::new() } else { format!(" ({})", said.model) };
        format!("{}{model} said \"{}\"{sure}", said.provider, story.setting.label(&said.answer))
    };
    let mut sentences = Vec::new();
    if let Some(How::Answered { by, later, .. }) = story.ended.as_ref().map(|ended| &ended.how) {
        sentences.extend(by.as_ref().map(|said| {
            let compared = if same(said) { "the same as the local model" } else { "the local model was corrected" };
            format!("{}, in time: that is the answer that went out ({compared}).", answer(said))
        }));
        if *later && story.closed.is_none() {
            sentences.push("Somebody is asked afterwards; no answer to that is in the log yet.".to_owned());
        }
    } else if story.closed.is_none() && story.judged[story.judged.len() - 1].1.decision.later.is_some() {
        sentences.push("Somebody is asked afterwards; no answer to that is in the log yet.".to_owned());
    }
    if let Some(closed) = &story.closed {
        let late = closed.age.as_millis_f64() / 1e3;
        let why = closed.reason.code();
        sentences.push(match &closed.end {
            End::Amended(said) => format!(
                "{} {late:.1} s later, asked for {why}: revision 2 amends the answer, the local model was corrected.",
                answer(said)
            ),
            End::Agreed(said) => {
                format!("{} {late:.1} s later, asked for {why}: the same, so the answer stands.", answer(said))
            }
            End::Dropped(code) => format!("It was to be asked about afterwards ({why}), and nobody was: {code}."),
        });
    }
    sentences
}

fn alarm(alarm: &Alarm) -> String {
    let evidence = &alarm.evidence;
    let seen = match evidence.trials {
        trials if evidence.wrong > 0 => {
            format!("{} of {trials} were wrong, {:.1} may have been", evidence.wrong, evidence.allowed)
        }
        trials => format!("the last {trials} scores are distributed differently"),
    };
    format!(
        "The certificate was suspended by the {} alarm: {seen}; it rang at {:.2}, its limit is {:.2}.",
        evidence.kind.name(),
        evidence.value,
        evidence.limit
    )
}

fn left(call: &Call) -> String {
    let Leaving { provider, region, bytes, redaction, reserved_nanos, .. } = &call.leaving;
    let region = region.as_ref().map(|region| format!(" in {region}")).unwrap_or_default();
    let redacted = match redaction.len() {
        0 => String::new(),
        _ => format!(", redacted by {}", redaction.join(", ")),
    };
    let (outcome, cost) = match &call.settled {
        Some(settled) => (settled.outcome.as_str(), format!("cost {} at most", settled.cost_nanos)),
        None => ("outcome unknown", format!("cost {reserved_nanos} at most")),
    };
    match outcome {
        "egress/withheld" => format!("Ledger line {}: prepared for {provider}, and did not leave.", call.line),
        _ => format!(
            "{bytes} bytes left for {provider}{region}{redacted}: {outcome}, {cost} (ledger line {}).",
            call.line
        ),
    }
}
