//! `picket plan`: what each promise would cost a day, so that promise and budget are chosen with open eyes.
//!
//! With labelled data every promise is looked at as `picket calibrate` would; without, only those that the bundle's
//! calibration file lists, and nothing can be said of how often the whole would be right.

mod table;

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use picket_core::escalation::{
    calibration::{Calibration, MENU, State},
    certificate::{self, Promise, TooFew},
    money::Money,
    plan::{self, Ends, Question, Row},
};

use super::calibrate::{
    self,
    sample::{Choice, Judged},
    share,
};
use crate::{
    bundle::{Bundle, Task, calibration},
    config::{self, Config},
    labelled,
};

#[derive(Debug, Args)]
pub struct Plan {
    /// A bundle's folder.
    bundle: PathBuf,
    /// Labelled cases, as `picket calibrate` takes them; without them the bundle's calibration file has to do.
    data: Option<PathBuf>,
    /// Promises to compare: at most this share of requests is answered by the local model and wrong. Repeatable, or with
    /// commas.
    #[arg(long = "alpha", value_name = "ALPHA", value_delimiter = ',', value_parser = share)]
    alphas: Vec<f64>,
    /// The chance that a promise does not hold; 0.05 unless given. Needs DATA.
    #[arg(long, value_parser = share, requires = "data")]
    delta: Option<f64>,
    #[arg(long, default_value_t = 10_000.0, value_parser = positive)]
    requests_per_day: f64,
    /// In units of money; by default what `--config` says.
    #[arg(long, value_parser = money, allow_negative_numbers = true)]
    cost_per_call: Option<Money>,
    /// A configuration whose first provider of `[escalation]` says cost and accuracy, and whose `audit_rate` counts.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Share of the requests that get a second opinion by lottery.
    #[arg(long, value_parser = rate)]
    audit_rate: Option<f64>,
    /// Share of the provider's answers that are right.
    #[arg(long, value_parser = rate)]
    provider_accuracy: Option<f64>,
    /// Draws calls and money against the promise into this file.
    #[arg(long)]
    svg: Option<PathBuf>,
}

fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|n: &f64| n.is_finite() && *n > 0.0);
    number.ok_or_else(|| "it is a number above 0".to_owned())
}

fn rate(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|n| (0.0..=1.0).contains(n));
    number.ok_or_else(|| "it is a share, 0 to 1".to_owned())
}

fn money(text: &str) -> Result<Money, String> {
    let units: Option<f64> = text.parse().ok();
    units.and_then(Money::from_units).ok_or_else(|| "a price is a number of at least 0, in units of money".to_owned())
}

/// What is assumed of the traffic and of the provider.
struct Assumed {
    question: Question,
    /// `None`: nobody says what a call costs.
    cost: Option<Money>,
    accuracy: f64,
    /// Whose cost and accuracy these are.
    provider: Option<String>,
}

/// A promise and what it would mean, or why nobody can tell.
type Line = (f64, Result<Row, Lack>);

enum Lack {
    TooFew(TooFew),
    /// The calibration file does not list it.
    NotListed,
}

/// What is printed.
struct Found {
    model: String,
    /// Labelled cases that the promises rest on.
    cases: u64,
    delta: f64,
    lines: Vec<Line>,
    /// `None`: from a calibration file, which does not keep its cases.
    ends: Option<Ends>,
    /// The promise that the bundle's calibration makes now.
    now: Option<f64>,
}

pub fn run(asked: &Plan, as_json: bool) -> anyhow::Result<()> {
    let bundle = calibrate::read_bundle(&asked.bundle)?;
    anyhow::ensure!(
        bundle.task == Task::Classify,
        "error[calibration/no-plan]: {}: only promises of task `classify` can be planned so far",
        asked.bundle.display()
    );
    let assumed = assume(asked)?;
    let found = match &asked.data {
        Some(_) => of_data(asked, bundle, &assumed)?,
        None => of_file(asked, &bundle, &assumed)?,
    };
    if let Some(out) = &asked.svg {
        std::fs::write(out, table::svg(&found, &assumed))
            .with_context(|| format!("error[plan/unwritable]: {}", out.display()))?;
    }
    if as_json {
        println!("{}", table::document(&found, &assumed));
    } else {
        print!("{}", table::text(&found, &assumed));
    }
    Ok(())
}

fn assume(asked: &Plan) -> anyhow::Result<Assumed> {
    let (mut cost, mut accuracy, mut audit_rate, mut name) = (None, config::ACCURACY, config::AUDIT_RATE, None);
    if let Some(path) = &asked.config {
        let config = Config::load(path)?;
        let missing =
            || anyhow::anyhow!("error[plan/no-provider]: {}: `[escalation]` names no provider", path.display());
        let escalation = config.escalation.as_ref().ok_or_else(missing)?;
        let first = escalation.providers.first().and_then(|id| config.providers.get(id.0)).ok_or_else(missing)?;
        (cost, accuracy, audit_rate) =
            (Some(first.setup.cost), first.accuracy.other, escalation.audit_rate.unwrap_or(config::AUDIT_RATE));
        name = Some(first.setup.name.to_string());
    }
    let cost = asked.cost_per_call.or(cost);
    let question = Question {
        requests_per_day: asked.requests_per_day,
        audit_rate: asked.audit_rate.unwrap_or(audit_rate),
        cost_per_call: cost.unwrap_or(Money::ZERO),
    };
    Ok(Assumed { question, cost, accuracy: asked.provider_accuracy.unwrap_or(accuracy), provider: name })
}

/// The promises that are asked for, else those of a menu, from the strictest on.
fn alphas(asked: &Plan, more: Option<f64>) -> Vec<f64> {
    let mut alphas =
        if asked.alphas.is_empty() { MENU.into_iter().chain(more).collect() } else { asked.alphas.clone() };
    alphas.sort_unstable_by(f64::total_cmp);
    alphas.dedup();
    alphas
}

/// Each promise as `picket calibrate` would make it with this data: with its choice of the score, and with the part of δ
/// that its certificate would have.
fn of_data(asked: &Plan, bundle: Bundle, assumed: &Assumed) -> anyhow::Result<Found> {
    let path = asked.data.as_deref().unwrap_or(&asked.bundle);
    let data = labelled::read(path, &bundle.labels, &bundle.inputs)?;
    let served = super::Trial::default().load(bundle)?;
    let judged = Judged::new(&served, &data)?;
    let delta = asked.delta.unwrap_or(DELTA);
    let provider = |_| assumed.accuracy;
    let line = |alpha| {
        let sample = judged.divided(Promise { alpha, delta });
        let question = calibrate::question(&served.bundle, &data, &sample, Promise { alpha, delta }, &[]);
        let promise = Promise { alpha, delta: certificate::delta_of_round(delta, question.round) };
        let row = plan::row(&assumed.question, promise, &sample.cases, provider).map(|row| {
            // Over all cases, as the two ends are: those that chose the score are requests like the others.
            let accuracy = plan::accuracy(&judged.scored(&sample.rule), row.lambda, provider);
            Row { accuracy: Some(accuracy), ..row }
        });
        (alpha, row.map_err(Lack::TooFew))
    };
    let now = certified(&served.bundle).map(|file| file.promise.alpha);
    let all = judged.plain(Choice::Kept).cases;
    Ok(Found {
        model: served.bundle.name.to_string(),
        cases: all.len() as u64,
        delta,
        lines: alphas(asked, now).into_iter().map(line).collect(),
        ends: Some(plan::ends(&all, provider)),
        now,
    })
}

/// As long as nobody says otherwise; the same as that of `picket calibrate`.
const DELTA: f64 = 0.05;

/// The promises that the calibration file lists.
fn of_file(asked: &Plan, bundle: &Bundle, assumed: &Assumed) -> anyhow::Result<Found> {
    let place = asked.bundle.join(calibration::FILE);
    let place = place.display();
    anyhow::ensure!(
        bundle.calibration.file.is_some(),
        "error[plan/no-calibration]: {place} is not there; give labelled cases: picket plan BUNDLE DATA"
    );
    let Some(file) = certified(bundle) else {
        anyhow::bail!(
            "error[plan/model-mismatch]: {place} is of another model, or of other steps around it; calibrate again, or \
             give labelled cases: picket plan BUNDLE DATA"
        );
    };
    let line = |alpha: f64| {
        if let Some(entry) = file.promise.menu.iter().find(|entry| entry.alpha == alpha) {
            return (alpha, Ok(plan::row_of_menu(&assumed.question, entry)));
        }
        let needed = certificate::cases_needed(Promise { alpha, delta: file.promise.delta_round });
        let cases = file.sample.n;
        (alpha, Err(if needed > cases { Lack::TooFew(TooFew { cases, needed }) } else { Lack::NotListed }))
    };
    Ok(Found {
        model: bundle.name.to_string(),
        cases: file.sample.n,
        delta: file.promise.delta,
        lines: alphas(asked, Some(file.promise.alpha)).into_iter().map(line).collect(),
        ends: None,
        now: Some(file.promise.alpha),
    })
}

/// The calibration of this model.
fn certified(bundle: &Bundle) -> Option<&Calibration> {
    bundle.calibration.file.as_ref().filter(|_| matches!(bundle.calibration.state, State::Valid(_)))
}
