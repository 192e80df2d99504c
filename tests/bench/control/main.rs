//! `picket-control`: a control loop's client. Asks a model over HTTP at a fixed rate, one request after the other on one
//! connection, and says how long the answers took and how regularly they came.
//!
//! A latency counts from the moment at which the loop wanted to ask, so a slow answer is felt by the requests behind it,
//! as a machine would feel it. An answer after the end of its period is late.

#![allow(clippy::print_stdout, reason = "standard output is its interface")]

#[path = "../http.rs"]
mod http;

use std::time::{Duration, Instant};

use anyhow::ensure;
use clap::Parser;

/// So long before a tick the thread wakes up, and waits for it awake: sleeping is not exact.
const AWAKE: Duration = Duration::from_micros(120);

#[derive(Parser)]
#[command(about = "Asks a model at a fixed rate over HTTP, as a control loop does")]
struct Args {
    /// unix:/path or 127.0.0.1:port
    #[arg(long)]
    connect: String,
    #[arg(long)]
    model: String,
    /// Name of the model's input
    #[arg(long, default_value = "obs")]
    input: String,
    /// Elements of its input, FP32, shape 1xN
    #[arg(long)]
    elements: usize,
    /// Requests in a second
    #[arg(long, default_value_t = 50.0)]
    hertz: f64,
    /// Counted requests
    #[arg(long, default_value_t = 500)]
    requests: usize,
    /// Requests before, at the same rate
    #[arg(long, default_value_t = 20)]
    warm_up: usize,
    /// The tensor as JSON instead of as bytes
    #[arg(long)]
    json: bool,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    ensure!(args.hertz > 0.0 && args.requests > 0 && args.elements > 0, "nothing to do");
    let mut stream = http::connect(&args.connect)?;
    let values: Vec<f32> = (0..args.elements).map(|i| (i as f32 * 0.618_034).fract() - 0.5).collect();
    let request = http::request(&args.model, &args.input, &values, args.json);
    let period = Duration::from_secs_f64(1.0 / args.hertz);
    let begin = Instant::now() + period;
    let (mut latencies, mut starts) = (Vec::new(), Vec::new());
    for number in 0..args.warm_up + args.requests {
        let tick = begin + period.mul_f64(number as f64);
        let asked = wait_for(tick);
        stream.write_all(&request)?;
        http::answer(stream.as_mut())?;
        if number >= args.warm_up {
            latencies.push(tick.elapsed().as_secs_f64());
            starts.push((asked - tick).as_secs_f64());
        }
    }
    report(&args, period, latencies, &starts);
    Ok(())
}

/// The moment at which it is `tick`, or now if that is past.
#[expect(clippy::disallowed_methods, reason = "this is the only thread, and the clock is what is measured")]
fn wait_for(tick: Instant) -> Instant {
    if let Some(left) = tick.checked_duration_since(Instant::now() + AWAKE) {
        std::thread::sleep(left);
    }
    loop {
        let now = Instant::now();
        if now >= tick {
            return now;
        }
        std::hint::spin_loop();
    }
}

fn report(args: &Args, period: Duration, mut latencies: Vec<f64>, starts: &[f64]) {
    let late = latencies.iter().filter(|latency| **latency > period.as_secs_f64()).count();
    let mean = latencies.iter().sum::<f64>() / latencies.len() as f64;
    let deviation = (latencies.iter().map(|l| (l - mean).powi(2)).sum::<f64>() / latencies.len() as f64).sqrt();
    latencies.sort_by(f64::total_cmp);
    let millis = |q: f64| (1e6 * latencies[((latencies.len() - 1) as f64 * q) as usize]).round() / 1e3;
    let figures = serde_json::json!({
        "hertz": args.hertz, "requests": latencies.len(), "p50_ms": millis(0.5), "p99_ms": millis(0.99),
        "p999_ms": millis(0.999), "max_ms": millis(1.0), "jitter_ms": (1e6 * deviation).round() / 1e3, "late": late,
        "waited_ms": (1e6 * starts.iter().sum::<f64>() / starts.len() as f64).round() / 1e3,
    });
    println!("{figures}");
}
