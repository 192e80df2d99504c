//! `picket-control`: a control loop's client. Asks a model over HTTP at a fixed rate, one request after the other on one
//! connection, and says how long the answers took and how regularly they came.
//!
//! A latency counts from the moment at which the loop wanted to ask, so a slow answer is felt by the requests behind it,
//! as a machine would feel it. An answer after the end of its period is late.

#![allow(clippy::print_stdout, reason = "standard output is its interface")]

use std::{
    io::{Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use clap::Parser;

/// So long before a tick the thread wakes up, and waits for it awake: sleeping is not exact.
const AWAKE: Duration = Duration::from_micros(120);
const MOST_ANSWER_BYTES: usize = 1 << 20;

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

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    ensure!(args.hertz > 0.0 && args.requests > 0 && args.elements > 0, "nothing to do");
    let mut stream = connect(&args.connect)?;
    let request = request(&args);
    let period = Duration::from_secs_f64(1.0 / args.hertz);
    let begin = Instant::now() + period;
    let (mut latencies, mut starts) = (Vec::new(), Vec::new());
    for number in 0..args.warm_up + args.requests {
        let tick = begin + period.mul_f64(number as f64);
        let asked = wait_for(tick);
        stream.write_all(&request)?;
        answer(stream.as_mut())?;
        if number >= args.warm_up {
            latencies.push(tick.elapsed().as_secs_f64());
            starts.push((asked - tick).as_secs_f64());
        }
    }
    report(&args, period, latencies, &starts);
    Ok(())
}

fn connect(to: &str) -> anyhow::Result<Box<dyn Stream>> {
    if let Some(path) = to.strip_prefix("unix:") {
        let stream = UnixStream::connect(path).with_context(|| format!("connecting to {to}"))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        return Ok(Box::new(stream));
    }
    let stream = TcpStream::connect(to).with_context(|| format!("connecting to {to}"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    Ok(Box::new(stream))
}

/// A request of the Open Inference Protocol, the tensor as bytes behind the document or in it.
fn request(args: &Args) -> Vec<u8> {
    let values: Vec<f32> = (0..args.elements).map(|i| (i as f32 * 0.618_034).fract() - 0.5).collect();
    let tensor = |rest: serde_json::Value| {
        let mut tensor = serde_json::json!({ "name": args.input, "shape": [1, args.elements], "datatype": "FP32" });
        let (Some(to), Some(from)) = (tensor.as_object_mut(), rest.as_object()) else { return tensor };
        to.extend(from.clone());
        tensor
    };
    let (document, bytes) = if args.json {
        (serde_json::json!({ "inputs": [tensor(serde_json::json!({ "data": values }))] }), Vec::new())
    } else {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let input = tensor(serde_json::json!({ "parameters": { "binary_data_size": bytes.len() } }));
        (serde_json::json!({ "inputs": [input], "parameters": { "binary_data_output": true } }), bytes)
    };
    let document = document.to_string();
    let split =
        if args.json { String::new() } else { format!("Inference-Header-Content-Length: {}\r\n", document.len()) };
    let head = format!(
        "POST /v2/models/{}/infer HTTP/1.1\r\nHost: picket\r\nContent-Type: {}\r\n{split}Content-Length: {}\r\n\r\n",
        args.model,
        if args.json { "application/json" } else { "application/octet-stream" },
        document.len() + bytes.len()
    );
    [head.into_bytes(), document.into_bytes(), bytes].concat()
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

/// Reads one answer to its end.
fn answer(stream: &mut dyn Stream) -> anyhow::Result<()> {
    let (mut got, mut chunk) = (Vec::new(), [0; 16 * 1024]);
    loop {
        let count = stream.read(&mut chunk).context("no answer")?;
        ensure!(count > 0, "the connection was closed");
        got.extend_from_slice(&chunk[..count]);
        ensure!(got.len() <= MOST_ANSWER_BYTES, "the answer does not end");
        let Some(end) = got.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&got[..end]).to_ascii_lowercase();
        if !head.starts_with("http/1.1 200") {
            bail!("{}", String::from_utf8_lossy(&got));
        }
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length.context("an answer without length")?.trim().parse()?;
        if got.len() >= end + 4 + length {
            return Ok(());
        }
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
