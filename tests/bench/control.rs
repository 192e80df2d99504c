//! A control loop at a fixed rate: asks a policy at every tick over the local socket or the loopback, and says how late the answers are.
//!
//! `picket-control (--unix PATH | --port PORT) --model NAME --input NAME --width N [--hz 200] [--seconds 10]`; prints one JSON object.
//! Latency counts from the tick, not from the moment the question left: an answer that makes the next tick late costs it, too.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark that cannot measure shall stop")]

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use clap::Parser;
use picket::tensor::Tensor;
use picket_tests::caller::Caller;

#[derive(Parser)]
struct Arguments {
    #[arg(long, conflicts_with = "port")]
    unix: Option<PathBuf>,
    #[arg(long)]
    port: Option<u16>,
    #[arg(long)]
    model: String,
    /// Name of the model's input …
    #[arg(long)]
    input: String,
    /// … which is 1 × so many FP32.
    #[arg(long)]
    width: usize,
    #[arg(long, default_value_t = 200)]
    hz: u32,
    #[arg(long, default_value_t = 10)]
    seconds: u32,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let mut caller = match (&arguments.unix, arguments.port) {
        (Some(path), _) => Caller::unix(path)?,
        (None, Some(port)) => Caller::tcp(port)?,
        (None, None) => anyhow::bail!("--unix or --port says where Picket listens"),
    };
    let values: Vec<f32> = (0..arguments.width).map(|at| (at as f32 * 0.37).sin() * 0.5).collect();
    let input = Tensor::from_f32(arguments.input.as_str(), vec![1, arguments.width], &values)?;
    for _ in 0..50 {
        anyhow::ensure!(caller.infer(&arguments.model, &input)?.status == 200, "the model does not answer");
    }
    let period = Duration::from_secs(1) / arguments.hz;
    let ticks = arguments.hz * arguments.seconds;
    let (mut latencies, mut intervals) = (Vec::with_capacity(ticks as usize), Vec::with_capacity(ticks as usize));
    let (start, mut missed, mut last) = (Instant::now(), 0_u32, None);
    for tick in 0..ticks {
        let due = start + period * tick;
        // The timer's own lateness is part of what a control loop sees.
        if let Some(wait) = due.checked_duration_since(Instant::now()) {
            std::thread::sleep(wait);
        }
        let reply = caller.infer(&arguments.model, &input)?;
        anyhow::ensure!(reply.status == 200, "tick {tick}: {}", String::from_utf8_lossy(&reply.body));
        let now = Instant::now();
        latencies.push(now.duration_since(due));
        missed += u32::from(now > due + period);
        intervals.extend(last.map(|last: Instant| now.duration_since(last).abs_diff(period)));
        last = Some(now);
    }
    let micros = |sorted: &[Duration], share: f64| {
        let at = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
        sorted.get(at).map_or(0, Duration::as_micros)
    };
    latencies.sort();
    intervals.sort();
    let result = serde_json::json!({
        "hz": arguments.hz,
        "ticks": ticks,
        "missed": missed,
        "p50_us": micros(&latencies, 0.5),
        "p99_us": micros(&latencies, 0.99),
        "p999_us": micros(&latencies, 0.999),
        "max_us": micros(&latencies, 1.0),
        "jitter_p50_us": micros(&intervals, 0.5),
        "jitter_p99_us": micros(&intervals, 0.99),
    });
    println!("{result}");
    Ok(())
}
