//! `picket bench`: what a bundle costs on this machine.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use serde_json::json;

use super::Trial;
use crate::{
    bundle::Bundle,
    inference::served::Served,
    ports::TensorSpec,
    telemetry::peak_rss_kib,
    tensor::{Tensor, elements},
};

/// Runs that are not counted: caches and page tables warm up.
const WARM_UP: usize = 5;
const MOST_RUNS: usize = 1_000_000;

pub fn run(path: &Path, seconds: f64, trial: &Trial, as_json: bool) -> anyhow::Result<()> {
    anyhow::ensure!(seconds > 0.0 && seconds <= 600.0, "error[cli/invalid]: --seconds is between 0 and 600");
    let start = Instant::now();
    let bundle = Bundle::read(path)?;
    let served = trial.load(bundle)?;
    let load_ms = millis(start.elapsed());
    let mut runner = served.runner().map_err(|failure| super::failure_error(&failure))?;
    let inputs = sample(&served)?;
    for _ in 0..WARM_UP {
        runner.run(inputs.clone())?;
    }
    let mut times = Vec::new();
    let begin = Instant::now();
    while begin.elapsed().as_secs_f64() < seconds && times.len() < MOST_RUNS {
        let start = Instant::now();
        runner.run(inputs.clone())?;
        times.push(millis(start.elapsed()));
    }
    let per_second = times.len() as f64 / begin.elapsed().as_secs_f64();
    times.sort_by(f64::total_cmp);
    let quantile = |q: f64| times[((times.len() - 1) as f64 * q) as usize];
    let rss_kib = peak_rss_kib(None).unwrap_or(0);
    let (name, runs) = (&served.bundle.name, times.len());
    if as_json {
        let report = json!({
            "model": name, "proven": served.proven, "load_ms": round(load_ms), "runs": runs, "min_ms": round(times[0]),
            "p50_ms": round(quantile(0.5)), "p99_ms": round(quantile(0.99)), "jobs_per_second_per_core": per_second.round(),
            "rss_kib": rss_kib,
        });
        println!("{report}");
    } else {
        println!("{name}: loaded and proven in {load_ms:.1} ms, {runs} runs on one core");
        println!("  p50 {:.4} ms   p99 {:.4} ms   {per_second:.0} per second and core", quantile(0.5), quantile(0.99));
        println!("  peak memory {rss_kib} KiB");
    }
    Ok(())
}

/// The first golden vector, or zeros.
fn sample(served: &Served) -> anyhow::Result<Vec<Tensor>> {
    if let Some(vector) = served.bundle.golden.first() {
        return Ok(vector.inputs.clone());
    }
    let zeros = |spec: &TensorSpec| {
        let shape: Vec<usize> = spec.shape.iter().map(|dim| dim.unwrap_or(1)).collect();
        let count =
            elements(&shape).ok_or_else(|| anyhow::anyhow!("error[model/invalid]: {} is too large", spec.kind()))?;
        Ok(Tensor::new(spec.name.as_str(), spec.dtype, shape, vec![0; count * spec.dtype.size()])?)
    };
    served.model.signature().inputs.iter().map(zeros).collect()
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Four decimals: a tenth of a microsecond.
fn round(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}
