//! `picket infer`: answers on the spot, by the same way that a job takes, without broker and store.

use std::{path::Path, time::Instant};

use bytes::Bytes;
use picket_core::{
    Answer, Source, Timing,
    escalation::decide::{self, Circumstances, Observation, Verdict},
    job::{Failure, JobId},
    time::Span,
};

use super::Trial;
use crate::{
    answer::{
        self, Facts,
        boxes::{self, BoxDocument},
    },
    bundle::Bundle,
    inference::{
        served::Served,
        streams::{Place, Streams},
    },
    labelled,
    ports::{Content, Face, Runner},
};

pub fn run(bundle: &Path, inputs: &[std::path::PathBuf], trial: &Trial, as_json: bool) -> anyhow::Result<()> {
    let bundle = Bundle::read(bundle)?;
    for warning in &bundle.warnings {
        eprintln!("warning: {warning}");
    }
    let served = trial.load(bundle)?;
    let mut runner = served.runner().map_err(|failure| super::failure_error(&failure))?;
    // The inputs are one stream, in their order.
    let mut streams = Streams::default();
    let mut failed = 0;
    for input in inputs {
        let content = labelled::content(input)?;
        let id = id_of(input);
        match infer(&served, runner.as_mut(), &mut streams, &content, &id) {
            Ok(document) if as_json => println!("{}", String::from_utf8_lossy(&document)),
            Ok(document) => println!("{}: {}", input.display(), in_words(&document)),
            Err(failure) => {
                failed += 1;
                if as_json {
                    let face = Face::Message { outputs: false };
                    println!("{}", String::from_utf8_lossy(&answer::error(id.as_str(), &failure, &face).payload));
                }
                eprintln!("error[{}]: {}: {}", failure.code, input.display(), failure.message);
            }
        }
    }
    anyhow::ensure!(failed == 0, "error[input/failed]: {failed} of {} inputs got no answer", inputs.len());
    Ok(())
}

/// The file's name, as far as it makes an id.
fn id_of(path: &Path) -> JobId {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    JobId::new(&name).unwrap_or_else(|_| JobId::from_digest(&[0; 32]))
}

fn infer(
    served: &Served,
    runner: &mut dyn Runner,
    streams: &mut Streams,
    content: &Content,
    id: &JobId,
) -> Result<Bytes, Failure> {
    let place = Place { key: "", seq: None, now: Instant::now() };
    let (result, prepare, infer) = served.infer_in(runner, streams, content, place);
    let inferred = result?;
    let policy = served.bundle.policy(Vec::new(), false);
    let decision = decide::decide(&inferred.observation, &policy, &Circumstances::ALONE);
    let reason = match decision.verdict {
        Verdict::AnswerLocal(reason) => reason,
        Verdict::Fail(why) => return Err(Failure::new("model/invalid-output", why)),
        Verdict::Escalate { .. } | Verdict::Reuse { .. } => {
            return Err(Failure::new("provider/unreachable", "there is no provider here"));
        }
    };
    let total = Span::from_micros(prepare.as_micros() + infer.as_micros());
    let timing = Timing { queue: Span::ZERO, prepare, infer, provider: None, total };
    let answer = Answer {
        source: Source::Local,
        certified: decision.certified,
        reason,
        evidence: decision.evidence,
        timing,
        later: None,
        reused: None,
    };
    let outputs = inferred.observation == Observation::Opaque;
    let facts = Facts {
        id,
        model: &served.bundle.name,
        served,
        outputs: &inferred.outputs,
        seen: Some(&inferred.observation),
        stream: inferred.stream.as_ref(),
        upstream: None,
        provider: None,
        instead_of: None,
    };
    Ok(answer::result(&answer, &facts, &Face::Message { outputs }).payload)
}

/// A result document as one line for people.
fn in_words(document: &[u8]) -> String {
    let value: serde_json::Value = serde_json::from_slice(document).unwrap_or_default();
    let millis = value["timing_ms"]["infer"].as_f64().unwrap_or_default();
    let certified = if value["certified"] == true { ", certified" } else { "" };
    if value["reason"] == "LOCAL_WINDOW_OPEN" {
        return format!("no window yet: {} samples, {} more needed", value["stream"]["have"], value["stream"]["need"]);
    }
    if let Ok(found) = serde_json::from_value::<Vec<BoxDocument>>(value["answer"]["boxes"].clone()) {
        return format!("{}{certified}, {millis:.3} ms", boxes::in_words(&found));
    }
    if let Some(number) = value["answer"]["value"].as_f64() {
        let unit = value["answer"]["unit"].as_str().map_or_else(String::new, |unit| format!(" {unit}"));
        let sigma = value["answer"]["sigma"].as_f64().map_or_else(String::new, |sigma| format!(" ± {sigma:.4}"));
        return format!("{number:.4}{sigma}{unit}{certified}, {millis:.3} ms");
    }
    if let (Some(label), Some(score)) = (value["answer"]["label"].as_str(), value["answer"]["score"].as_f64()) {
        return format!("{label} (score {score:.4}{certified}), {millis:.3} ms");
    }
    if let Some(label) = value["answer"]["label"].as_str() {
        let confidence = value["answer"]["confidence"].as_f64().unwrap_or_default();
        let doubt = match value["evidence"]["lambda"].as_f64() {
            Some(threshold) if confidence < threshold => ", doubtful: below the bundle's threshold",
            _ => "",
        };
        return format!("{label} (confidence {confidence:.3}{doubt}), {millis:.3} ms");
    }
    let outputs = value["outputs"].as_array().cloned().unwrap_or_default();
    let shown: Vec<String> = outputs
        .iter()
        .map(|output| {
            let data = output["data"].as_array().cloned().unwrap_or_default();
            let first: Vec<String> = data.iter().take(8).map(ToString::to_string).collect();
            let more = if data.len() > first.len() { ", …" } else { "" };
            format!("{} {} {}: [{}{more}]", output["name"], output["datatype"], output["shape"], first.join(", "))
        })
        .collect();
    format!("{}, {millis:.3} ms", shown.join("; "))
}
