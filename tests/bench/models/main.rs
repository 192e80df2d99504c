//! Picket's side of `tests/bench/models/run`: loads one golden model as `picket infer` does, and times it on request.
//!
//! `picket-models SHARED MODEL` prints one JSON line when the model is loaded and has answered once: `load_ms`,
//! `first_ms`, `rss_kib` (peak until then), `verdict` (the answer beside ONNX Runtime's golden one), or `refused`. Then it reads a number of milliseconds from each line of
//! standard input, infers for so long, and prints the times of the single inferences in microseconds as a JSON array.
//!
//! `picket-models SHARED MODEL N`, for `tests/bench/models/arm`, infers N times more and ends.

#![allow(clippy::print_stdout, reason = "standard output is its interface")]

use std::{
    io::BufRead,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use picket::{
    bundle::Bundle,
    inference::served::Served,
    ports::{Constant, Runner, TensorSpec},
    telemetry::peak_rss_kib,
    tensor::Tensor,
};
use picket_tests::{
    golden::{self, Entry},
    judge::Judge,
};
use serde_json::json;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(shared), Some(model)) = (arguments.next().map(PathBuf::from), arguments.next()) else {
        anyhow::bail!("usage: picket-models SHARED MODEL [N]");
    };
    let times: Option<u32> = arguments.next().map(|times| times.parse()).transpose()?;
    let entries = golden::entries(&shared);
    let Some(entry) = entries.iter().find(|entry| entry.model == model) else {
        anyhow::bail!("golden/spec.json does not know {model}");
    };
    let (mut runner, inputs) = match first(&shared, entry) {
        Ok(ready) => ready,
        Err(why) => {
            println!("{}", json!({ "refused": format!("{why:#}") }));
            return Ok(());
        }
    };
    let Some(times) = times else { return answer(runner, &inputs) };
    for _ in 0..times {
        runner.run(inputs.clone())?;
    }
    Ok(())
}

/// Loads, infers once, reports.
fn first(shared: &Path, entry: &Entry) -> anyhow::Result<(Box<dyn Runner>, Vec<Tensor>)> {
    // Inputs without dimensions are the bundle's to say, like a sample rate.
    let (fixed, inputs): (Vec<Tensor>, Vec<Tensor>) =
        entry.tensors().into_iter().partition(|tensor| tensor.shape().is_empty());
    let start = Instant::now();
    let mut bundle = Bundle::read(&shared.join(&entry.model))?;
    // What a bundle's manifest would declare.
    let declared = |input: &Tensor| TensorSpec {
        name: input.name.clone(),
        dtype: input.dtype(),
        shape: input.shape().iter().copied().map(Some).collect(),
    };
    bundle.inputs = inputs.iter().map(declared).collect();
    bundle.constants =
        fixed.iter().map(|tensor| Constant { input: tensor.name.clone(), values: tensor.to_f64() }).collect();
    bundle.prepared.clone_from(&bundle.inputs);
    let served = Served::load(bundle).map_err(|failure| anyhow::anyhow!("{}: {}", failure.code, failure.message))?;
    let mut runner = served.runner().map_err(|failure| anyhow::anyhow!("{}: {}", failure.code, failure.message))?;
    let load = start.elapsed();
    let start = Instant::now();
    let outputs = runner.run(inputs.clone())?;
    let first = start.elapsed();
    let rss_kib = peak_rss_kib(None).unwrap_or(0);
    let verdict = Judge::of(&entry.model).says(&entry.outputs(shared), &outputs);
    let report = json!({
        "load_ms": millis(load),
        "first_ms": millis(first),
        "rss_kib": rss_kib,
        "verdict": verdict.unwrap_or_else(|why| format!("WRONG: {why}")),
    });
    println!("{report}");
    Ok((runner, inputs))
}

fn answer(mut runner: Box<dyn Runner>, inputs: &[Tensor]) -> anyhow::Result<()> {
    for line in std::io::stdin().lock().lines() {
        let span = Duration::from_millis(line?.trim().parse()?);
        let (begin, mut times) = (Instant::now(), Vec::new());
        while begin.elapsed() < span {
            let given = inputs.to_vec();
            let start = Instant::now();
            runner.run(given)?;
            times.push((start.elapsed().as_secs_f64() * 1e7).round() / 10.0);
        }
        println!("{}", serde_json::to_string(&times)?);
    }
    Ok(())
}

fn millis(span: Duration) -> f64 {
    (span.as_secs_f64() * 1e5).round() / 100.0
}
