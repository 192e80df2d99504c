//! The hydraulic rig as nodes of the serial transport: its cycles, the model's own answers to them, a daemon with ports.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use firmware_profiles::{units::Ratio, wire::Outcome};
use serde_json::Value;

use crate::{
    daemon::{Daemon, picket},
    get,
    node::{Node, Told},
    root,
};

/// Six cycles of the rig, 8 channels × 60 samples of FP32 each.
const CYCLES: &[u8] = include_bytes!("../../firmware-profiles/firmware/mps2-an386/cycles/cycles.bin");
const CYCLE_BYTES: usize = 8 * 60 * 4;
pub const MODEL: &str = "hydraulic-pump";

/// One of the six.
pub fn cycle(number: usize) -> &'static [u8] {
    let at = number % (CYCLES.len() / CYCLE_BYTES) * CYCLE_BYTES;
    &CYCLES[at..at + CYCLE_BYTES]
}

/// The model's own answer to each cycle, as a verdict says it.
pub fn own_answers() -> Vec<String> {
    own_documents().iter().map(outcome).collect()
}

/// What `picket infer` prints of each cycle.
pub fn own_documents() -> Vec<Value> {
    infer(MODEL, CYCLES.chunks(CYCLE_BYTES))
}

/// What `picket infer` prints of each of these tensors.
pub fn infer<'a>(model: &str, inputs: impl Iterator<Item = &'a [u8]>) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let files: Vec<String> = inputs
        .enumerate()
        .map(|(number, input)| {
            let file = folder.path().join(format!("{number}.bin"));
            fs::write(&file, input).unwrap();
            file.to_str().unwrap().to_owned()
        })
        .collect();
    let bundle = root().join("models").join(model);
    let mut arguments = vec!["infer", bundle.to_str().unwrap()];
    arguments.extend(files.iter().map(String::as_str));
    arguments.push("--json");
    let output = picket(&arguments);
    let text = String::from_utf8(output.stdout).unwrap();
    let answers: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), files.len(), "{}", String::from_utf8_lossy(&output.stderr));
    answers
}

/// A document's answer as a verdict says it.
#[expect(clippy::cast_possible_truncation, reason = "an index is small, and a confidence was an f32")]
pub fn outcome(document: &Value) -> String {
    let class = document["answer"]["index"].as_u64().unwrap() as u16;
    let confidence = Ratio::of(document["answer"]["confidence"].as_f64().unwrap() as f32);
    let certified = document["certified"].as_bool().unwrap();
    format!("{:?}", Outcome::Class { class, confidence, certified })
}

/// The section `[serial]`.
pub fn section(ports: &[&Path]) -> String {
    let ports = ports.iter().map(|port| format!("[[serial.port]]\npath = \"{}\"\nbaud = 1_000_000\n", port.display()));
    format!("[serial]\n{}", ports.collect::<String>())
}

/// A daemon with these ports and the rig's model; `more` is more configuration.
pub fn start(ports: &[&Path], more: &str) -> Daemon {
    let ports = section(ports);
    Daemon::start(&format!(
        "[device]\nid = \"press-4\"\n{ports}{more}\n[[model]]\nname = \"{MODEL}\"\nbundle = \"{{models}}/{MODEL}\"\n"
    ))
}

/// Hands over so many jobs, cycle after cycle; returns which job is which cycle.
pub fn ask(node: &mut Node, jobs: usize) -> BTreeMap<u32, usize> {
    let mut asked = BTreeMap::new();
    for number in 0..jobs {
        node.until("room for a job", Node::has_room);
        asked.insert(node.job(MODEL, cycle(number)), number % 6);
    }
    asked
}

/// Each job has exactly one verdict, and it is the model's own answer.
pub fn check(node: &Node, asked: &BTreeMap<u32, usize>, own: &[String]) {
    assert_eq!(node.verdicts.len(), asked.len());
    for (seq, cycle) in asked {
        let told = Told { revision: 1, last: true, outcome: own[*cycle].clone() };
        assert_eq!(node.verdicts[seq], [told], "job {seq}, cycle {cycle}");
    }
}

/// The limit is for hanging tests only.
pub fn until(mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < end, "not in time");
        std::thread::yield_now();
    }
}

/// What a metric of the daemon behind this HTTP port says; 0 where it says nothing.
pub fn metric(port: u16, name: &str) -> f64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let text = runtime
        .block_on(async { get(&format!("http://127.0.0.1:{port}/metrics")).await.unwrap().text().await.unwrap() });
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.unwrap_or_default()
}
