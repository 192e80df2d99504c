//! `picket calibrate`: labelled cases in, `calibration.json` out.

pub mod sample;

use std::{
    collections::BTreeMap,
    io::Write as _,
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::Context;
use clap::{Args, ValueEnum};
use picket_core::{
    escalation::{
        anomaly,
        calibration::{Calibration, ClassPromise, LabelSource, Question},
        certificate::{Promise, TooFew},
        rating, regression,
        score::{ScoreRule, ScoreSection},
    },
    said::Measure,
};
use serde_json::{Value, json};

use self::sample::{Choice, Judged, Sample};
use crate::{
    bundle::{Bundle, Task, calibration},
    labelled::{self, Labelled},
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
    /// `auto`: a third of the cases choose the score, where there are enough of them. `softmax`: the bundle's own score, and
    /// all cases go into the certificate.
    #[arg(long, value_enum, default_value_t = Score::Auto)]
    score: Score,
    /// Number of this certificate among those of this model; by default one more than that of the file that is there,
    /// unless the cases and the promise are the same.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    round: Option<u32>,
    /// Where the file goes; by default into the bundle.
    #[arg(long)]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Score {
    Auto,
    Softmax,
}

pub fn share(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "it is no number".to_owned())?;
    if number > 0.0 && number < 1.0 { Ok(number) } else { Err("it lies between 0 and 1, both excluded".to_owned()) }
}

pub fn run(asked: &Calibrate, as_json: bool) -> anyhow::Result<()> {
    let bundle = read_bundle(&asked.bundle)?;
    let classes = class_promises(&asked.classes, &bundle)?;
    let data = labelled::read(&asked.data, &bundle.labels, &bundle.inputs)?;
    let served = super::Trial::default().load(bundle)?;
    let judged = Judged::new(&served, &data)?;
    let promise = Promise { alpha: asked.alpha, delta: asked.delta };
    let issue = |sample: &Sample| {
        let question = question(&served.bundle, &data, sample, promise, &classes);
        let round = asked.round.unwrap_or(question.round);
        Calibration::issue(&Question { round, ..question }, &sample.cases)
    };
    let mut sample = match asked.score {
        Score::Auto => judged.divided(promise),
        Score::Softmax => judged.plain(Choice::Kept),
    };
    let mut issued = issue(&sample);
    if issued.is_err() && sample.choosing > 0 {
        // A promise for a class may need the cases that chose the score.
        sample = judged.plain(Choice::TooFew { needed: None });
        issued = issue(&sample);
    }
    let too_few = |few: TooFew| anyhow::anyhow!("error[calibration/too-few]: {}: {few}", asked.data.display());
    let mut file = issued.map_err(too_few)?;
    file.sentence.push_str(&what_is_meant(&served.bundle, &file));
    let out = asked.out.clone().unwrap_or_else(|| asked.bundle.join(calibration::FILE));
    write(&out, &file)?;
    report(&file, &sample, &out, as_json);
    Ok(())
}

/// A bundle whose answers can be certified.
pub fn read_bundle(path: &Path) -> anyhow::Result<Bundle> {
    let bundle = Bundle::read(path)?;
    anyhow::ensure!(
        bundle.task != Task::Tensor,
        "error[calibration/no-classes]: {}: nothing judges the outputs of task `tensor`; there are classify, anomaly and regress",
        path.display()
    );
    anyhow::ensure!(
        bundle.task != Task::Detect,
        "error[calibration/not-yet]: {}: labelled boxes cannot be read yet",
        path.display()
    );
    Ok(bundle)
}

/// What is to be certified of these cases, with the number that the certificate would have.
pub fn question(
    bundle: &Bundle,
    data: &Labelled,
    sample: &Sample,
    promise: Promise,
    classes: &[ClassPromise],
) -> Question {
    let question = Question {
        created: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        task: bundle.task.name().to_owned(),
        model_sha256: bundle.sha256.clone(),
        preprocess_sha256: calibration::preprocess_sha256(bundle),
        labels: rating::kinds(&bundle.measure, &bundle.labels),
        score: sample.rule.clone(),
        promise,
        round: 1,
        classes: classes.to_vec(),
        given: data.cases.len() as u64,
        choosing: sample.choosing,
        data_sha256: data.sha256.clone(),
        label_source: LabelSource::Human,
    };
    let round = next_round(bundle, &question);
    Question { round, ..question }
}

fn class_promises(given: &[String], bundle: &Bundle) -> anyhow::Result<Vec<ClassPromise>> {
    let mut found: BTreeMap<usize, f64> = BTreeMap::new();
    let labels = rating::kinds(&bundle.measure, &bundle.labels);
    for text in given {
        let wrong = |why: &str| anyhow::anyhow!("error[cli/invalid]: --class {text:?}: {why}");
        let (label, alpha) = text.rsplit_once('=').ok_or_else(|| wrong("write LABEL=ALPHA"))?;
        let class = labels.iter().position(|known| known == label);
        let class = class.ok_or_else(|| wrong("the bundle has no such label"))?;
        let alpha = share(alpha).map_err(|why| wrong(&format!("ALPHA: {why}")))?;
        anyhow::ensure!(found.insert(class, alpha).is_none(), wrong("this label is there twice"));
    }
    Ok(found.into_iter().map(|(class, alpha)| ClassPromise { class, alpha }).collect())
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
        && file.score == ScoreSection::from(&question.score)
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
        Measure::Boxes { iou, .. } => {
            format!(
                " Wrong is an image of which a box is missed or spurious; two boxes are the same from an IoU of {iou} on."
            )
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

fn report(file: &Calibration, sample: &Sample, out: &Path, as_json: bool) {
    let wrong = sample.cases.iter().filter(|case| case.wrong).count();
    if as_json {
        println!(
            "{}",
            json!({
                "file": out, "n": file.sample.n, "given": file.sample.given, "choosing": sample.choosing, "wrong": wrong,
                "score": score_document(sample), "promise": file.promise, "per_class": file.per_class,
                "sentence": file.sentence,
            })
        );
        return;
    }
    let n = file.sample.n;
    let one_of = match (sample.choosing, file.sample.given == n + sample.choosing) {
        (0, true) => String::new(),
        (0, false) => format!(" (one of each group; {} inputs were given)", file.sample.given),
        (choosing, true) => format!(" for the certificate, {choosing} others for the choice of the score"),
        (choosing, false) => format!(
            " for the certificate (one of each group), {choosing} other inputs for the choice of the score; {} were given",
            file.sample.given
        ),
    };
    println!("{n} cases{one_of}, {wrong} answered wrong by the model alone");
    println!("score: {}\n", score_in_words(sample));
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

/// Which score it is, and why.
fn score_in_words(sample: &Sample) -> String {
    let temperature = sample.rule.temperature();
    let plain = format!("largest probability at the bundle's temperature {temperature}");
    let chosen = match &sample.choice {
        Choice::Kept => {
            return match sample.rule {
                ScoreRule::Distance => "distance from the operating threshold".to_owned(),
                ScoreRule::Spread => "the model's own sigma".to_owned(),
                ScoreRule::Boxes => "the least sure box, and what was nearly one".to_owned(),
                ScoreRule::Softmax { .. } | ScoreRule::Logistic { .. } => plain,
            };
        }
        Choice::TooFew { needed: Some(needed) } => {
            return format!("{plain}; from {needed} independent cases on, a part of them would choose a better one");
        }
        Choice::TooFew { needed: None } => {
            return format!("{plain}; a class has too few cases to spare some for the choice of a better one");
        }
        Choice::Chosen(chosen) => chosen,
    };
    let name = match sample.rule {
        ScoreRule::Logistic { .. } => "logistic regression of four features".to_owned(),
        _ => format!("largest probability at temperature {temperature:.2}"),
    };
    let why = match chosen.logistic {
        Some(logistic) => format!(
            "held-out AUGRC {:.4} for the probability, {:.4} for the logistic regression, standard error of the \
             difference {:.4}",
            chosen.augrc_msp, logistic.augrc, logistic.standard_error
        ),
        None => "a logistic regression could not be fitted on so few mistakes".to_owned(),
    };
    format!("{name} ({why})")
}

fn score_document(sample: &Sample) -> Value {
    let mut document = json!({ "kind": ScoreSection::from(&sample.rule).kind, "T": sample.rule.temperature() });
    match &sample.choice {
        Choice::Kept => {}
        Choice::TooFew { needed } => document["chosen_from"] = json!(needed),
        Choice::Chosen(chosen) => {
            document["augrc_softmax"] = json!(chosen.augrc_msp);
            if let Some(logistic) = chosen.logistic {
                document["augrc_logistic"] = json!(logistic.augrc);
                document["standard_error"] = json!(logistic.standard_error);
            }
        }
    }
    document
}
