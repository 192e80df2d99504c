//! `picket calibrate`: labelled cases in, `calibration.json` out.

use std::{
    collections::BTreeMap,
    io::{IsTerminal, Write as _},
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use anyhow::Context;
use clap::Args;
use picket_core::{
    escalation::{
        anomaly,
        calibration::{Calibration, ClassPromise, LabelSource, Question},
        certificate::{Case, Promise},
        rating, regression,
        score::ScoreRule,
    },
    said::Measure,
};
use serde_json::json;

use crate::{
    bundle::{Bundle, Task, calibration, files},
    inference::served::Served,
    labelled::{self, Input, Labelled},
};

#[derive(Debug, Args)]
pub struct Calibrate {
    /// A bundle's folder.
    bundle: PathBuf,
    /// Labelled cases that the model was not trained on: a `.csv` or `.npz` file, or a folder with a folder for each label.
    data: PathBuf,
    /// At most this share of requests is to be answered by the local model and wrong.
    #[arg(long, default_value_t = 0.01, value_parser = share)]
    alpha: f64,
    /// The chance that the promise does not hold, over the draw of the cases.
    #[arg(long, default_value_t = 0.05, value_parser = share)]
    delta: f64,
    /// A promise of its own for one class, as LABEL=ALPHA: of the requests answered so, at most ALPHA are wrong. Repeatable.
    #[arg(long = "class", value_name = "LABEL=ALPHA")]
    classes: Vec<String>,
    /// Number of this certificate among those of this model; by default one more than that of the file that is there,
    /// unless the cases and the promise are the same.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    round: Option<u32>,
    /// Where the file goes; by default into the bundle.
    #[arg(long)]
    out: Option<PathBuf>,
}

fn share(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "it is no number".to_owned())?;
    if number > 0.0 && number < 1.0 { Ok(number) } else { Err("it lies between 0 and 1, both excluded".to_owned()) }
}

pub fn run(asked: &Calibrate, as_json: bool) -> anyhow::Result<()> {
    let bundle = Bundle::read(&asked.bundle)?;
    anyhow::ensure!(
        bundle.task != Task::Tensor,
        "error[calibration/no-classes]: {}: nothing judges the outputs of task `tensor`; there are classify, anomaly and regress",
        asked.bundle.display()
    );
    let classes = class_promises(&asked.classes, &bundle)?;
    let data = labelled::read(&asked.data, &bundle.labels, &bundle.inputs)?;
    let served = Served::load(bundle).map_err(|failure| super::failure_error(&failure))?;
    let rule = rating::rule(&served.bundle.measure, served.bundle.temperature);
    let cases = one_per_group(&data, judge(&served, &rule, &data)?);
    let question = Question {
        created: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        task: served.bundle.task.name().to_owned(),
        model_sha256: served.bundle.sha256.clone(),
        preprocess_sha256: calibration::preprocess_sha256(&served.bundle),
        labels: served.bundle.labels.to_vec(),
        score: rule,
        promise: Promise { alpha: asked.alpha, delta: asked.delta },
        round: 1,
        classes,
        given: data.cases.len() as u64,
        data_sha256: data.sha256.clone(),
        label_source: LabelSource::Human,
    };
    let round = asked.round.unwrap_or_else(|| next_round(&served.bundle, &question));
    let question = Question { round, ..question };
    let mut file = Calibration::issue(&question, &cases)
        .map_err(|few| anyhow::anyhow!("error[calibration/too-few]: {}: {few}", asked.data.display()))?;
    file.sentence.push_str(&what_is_meant(&served.bundle, &file));
    let out = asked.out.clone().unwrap_or_else(|| asked.bundle.join(calibration::FILE));
    write(&out, &file)?;
    report(&file, &cases, &out, as_json);
    Ok(())
}

fn class_promises(given: &[String], bundle: &Bundle) -> anyhow::Result<Vec<ClassPromise>> {
    let mut found: BTreeMap<usize, f64> = BTreeMap::new();
    for text in given {
        let wrong = |why: &str| anyhow::anyhow!("error[cli/invalid]: --class {text:?}: {why}");
        let (label, alpha) = text.rsplit_once('=').ok_or_else(|| wrong("write LABEL=ALPHA"))?;
        let class = bundle.labels.iter().position(|known| known == label);
        let class = class.ok_or_else(|| wrong("the bundle has no such label"))?;
        let alpha = share(alpha).map_err(|why| wrong(&format!("ALPHA: {why}")))?;
        anyhow::ensure!(found.insert(class, alpha).is_none(), wrong("this label is there twice"));
    }
    Ok(found.into_iter().map(|(class, alpha)| ClassPromise { class, alpha }).collect())
}

/// What the local model makes of every case, in their order.
fn judge(served: &Served, rule: &ScoreRule, data: &Labelled) -> anyhow::Result<Vec<Case>> {
    let mut runner = served.runner().map_err(|failure| super::failure_error(&failure))?;
    let mut cases = Vec::with_capacity(data.cases.len());
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
        let inferred = result
            .map_err(|failure| anyhow::anyhow!("error[{}]: {}: {}", failure.code, labelled.place, failure.message))?;
        let measure = &served.bundle.measure;
        let rated = rating::rate(&inferred.observation, measure, rule);
        // An unusable answer is the least sure of all, and wrong.
        cases.push(match rated {
            Some((said, rated)) => {
                Case { s: rated.s, class: said.class(), wrong: !said.agrees(&labelled.label, measure) }
            }
            None => Case { s: f32::NAN, class: labelled.label.class(), wrong: true },
        });
        progress.step();
    }
    progress.end();
    Ok(cases)
}

/// Frames of one part are no independent cases. Which of them counts is decided by a hash of its place, so that neither the
/// order of the data nor the model's answer has a say.
fn one_per_group(data: &Labelled, cases: Vec<Case>) -> Vec<Case> {
    let mut kept: Vec<Case> = Vec::new();
    let mut groups: BTreeMap<&str, (String, Case)> = BTreeMap::new();
    for (at, (labelled, case)) in data.cases.iter().zip(cases).enumerate() {
        let Some(group) = labelled.group.as_deref() else {
            kept.push(case);
            continue;
        };
        let lot = files::sha256(format!("{group}\n{at}").as_bytes());
        match groups.get(group) {
            Some((least, _)) if *least <= lot => {}
            _ => {
                groups.insert(group, (lot, case));
            }
        }
    }
    kept.extend(groups.into_values().map(|(_, case)| case));
    kept
}

/// Each look at new cases is a new chance to be lucky, so each certificate of a model uses up a part of δ.
fn next_round(bundle: &Bundle, question: &Question) -> u32 {
    let Some(file) = &bundle.calibration.file else { return 1 };
    if !file.fits(&question.model_sha256, &question.preprocess_sha256) {
        return 1; // of another model
    }
    let classes: BTreeMap<&str, f64> =
        file.per_class.iter().map(|(label, section)| (label.as_str(), section.alpha)).collect();
    let asked =
        question.classes.iter().filter_map(|c| Some((question.labels.get(c.class)?.as_str(), c.alpha))).collect();
    let same = file.sample.data_sha256 == question.data_sha256
        && (file.promise.alpha, file.promise.delta) == (question.promise.alpha, question.promise.delta)
        && classes == asked;
    if same { file.promise.round } else { file.promise.round.saturating_add(1) }
}

/// In the model's own unit: what is wrong, and which answers are covered.
fn what_is_meant(bundle: &Bundle, file: &Calibration) -> String {
    match bundle.measure {
        Measure::Classes => String::new(),
        Measure::Anomaly { threshold } => {
            let lambda = |label: &str| file.per_class.get(label).map_or(f32::INFINITY, |side| side.lambda);
            let (lo, hi) = anomaly::band(anomaly::LABELS.map(lambda), threshold);
            let covered = [("up to", lo, anomaly::LABELS[0]), ("from", hi, anomaly::LABELS[1])];
            let covered = covered.into_iter().filter(|(_, end, _)| end.is_finite());
            covered.map(|(from, end, label)| format!(" Scores {from} {end:.4} are covered as '{label}'.")).collect()
        }
        Measure::Value { tolerance } => {
            let unit = bundle.unit.as_ref().map_or_else(String::new, |unit| format!(" {unit}"));
            let sigma = regression::largest_sigma(file.promise.lambda, tolerance);
            let covered = if file.monitor.scores.is_one_value() {
                " The model says the same of all its answers, so all of them are covered or none.".to_owned()
            } else {
                format!(" Answers with a sigma of at most {sigma:.4}{unit} are covered.")
            };
            format!(" Wrong is what is off by more than {tolerance}{unit}.{covered}")
        }
    }
}

/// Whole or not at all.
fn write(out: &Path, file: &Calibration) -> anyhow::Result<()> {
    let folder = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = || format!("error[calibration/unwritable]: {}", out.display());
    let mut text = serde_json::to_vec_pretty(file)?;
    text.push(b'\n');
    let mut draft = tempfile::Builder::new().permissions(readable()).tempfile_in(folder).with_context(failed)?;
    draft.write_all(&text).and_then(|()| draft.as_file().sync_all()).with_context(failed)?;
    draft.persist(out).with_context(failed)?;
    Ok(())
}

/// The daemon may be another user than the one who calibrates.
fn readable() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o644)
}

fn report(file: &Calibration, cases: &[Case], out: &Path, as_json: bool) {
    let wrong = cases.iter().filter(|case| case.wrong).count();
    if as_json {
        println!(
            "{}",
            json!({
                "file": out, "n": file.sample.n, "given": file.sample.given, "wrong": wrong, "promise": file.promise,
                "per_class": file.per_class, "sentence": file.sentence,
            })
        );
        return;
    }
    let one_of = if file.sample.given == file.sample.n {
        String::new()
    } else {
        format!(" (one of each group; {} inputs were given)", file.sample.given)
    };
    println!("{} cases{one_of}, {wrong} answered wrong by the model alone\n", file.sample.n);
    println!("  promise   threshold   answered locally");
    for entry in &file.promise.menu {
        let mark = if entry.alpha == file.promise.alpha { '→' } else { ' ' };
        println!("{mark} {:>6}%     {:.4}   {:>6.1} %", entry.alpha * 100.0, entry.lambda, entry.local_share * 100.0);
    }
    for (label, class) in &file.per_class {
        println!("  {label}: at most {}% of {} cases, threshold {:.4}", class.alpha * 100.0, class.n, class.lambda);
    }
    println!("\n{}", file.sentence);
    println!("\nwritten to {} (certificate {} of this model)", out.display(), file.promise.round);
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
