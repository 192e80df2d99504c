//! `picket-load`: closed-loop MQTT 5 load. Keeps a number of jobs outstanding, checks that each is answered exactly once,
//! and says how fast that went. With `--echo` it is the other side: a responder that does nothing, to measure the broker.
//!
//! One thread, one task: an answer is counted and the next job handed over while the same batch of packets is read.

use std::{
    collections::HashMap,
    process::ExitCode,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use clap::Parser;
use rumqttc::{
    AsyncClient, Event, EventLoop, MqttOptions, NetworkOptions, Packet, Publish, PublishOptions, PublishProperties,
    SubscribeReasonCode, mqttbytes::QoS,
};

/// Requests that may wait in the client library: more than any window.
const REQUESTS: usize = 65_536;
const MAX_PACKET: u32 = 16 << 20;
/// Packets that the library handles before it looks at its sockets again.
const BATCH: usize = 256;

#[derive(Parser)]
#[command(about = "Closed-loop MQTT 5 load: W jobs outstanding, each must be answered once")]
struct Args {
    /// The broker's port on 127.0.0.1
    #[arg(long, default_value_t = 1883)]
    port: u16,
    /// Where jobs go (with --echo: where they come from)
    #[arg(long)]
    topic: String,
    /// Size of a job: little-endian f32 between 0 and 1, the same in every job
    #[arg(long, default_value_t = 256)]
    bytes: usize,
    /// Counted jobs
    #[arg(long, default_value_t = 10_000)]
    jobs: usize,
    /// Jobs that come first and are not counted in the figures
    #[arg(long, default_value_t = 500)]
    warm_up: usize,
    /// Jobs outstanding
    #[arg(long, default_value_t = 64)]
    window: usize,
    #[arg(long, default_value = "application/octet-stream")]
    content_type: String,
    /// User property k=v, repeatable
    #[arg(long)]
    user: Vec<String>,
    /// Answers are JSON; one with an "error" counts as an error
    #[arg(long)]
    expect_json: bool,
    /// Answers are Picket's; says also how long a job was in the house beside its inference (total - infer)
    #[arg(long)]
    timing: bool,
    /// Seconds without any answer after which the outstanding jobs are lost
    #[arg(long, default_value_t = 20.0)]
    timeout: f64,
    /// Figures as one line of JSON
    #[arg(long)]
    json: bool,
    /// Answer every job with its own payload, until killed
    #[arg(long)]
    echo: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = runtime.context("no runtime").and_then(|runtime| {
        runtime.block_on(async { if args.echo { echo(&args).await.map(|()| true) } else { load(&args).await } })
    });
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Connects, subscribes, and returns when the broker has confirmed the subscription.
async fn connect(port: u16, role: &str, filter: &str) -> anyhow::Result<(AsyncClient, EventLoop)> {
    let mut options = MqttOptions::new(format!("{role}-{}", unique()), ("127.0.0.1".to_owned(), port));
    let mut network = NetworkOptions::default();
    network.set_tcp_nodelay(true);
    options.set_network_options(network);
    options.set_max_packet_size(Some(MAX_PACKET));
    options.set_receive_maximum(Some(u16::MAX));
    options.set_max_request_batch(BATCH);
    options.set_read_batch_size(BATCH);
    let (client, mut events) = AsyncClient::builder(options).capacity(REQUESTS).try_build()?;
    client.try_subscribe(filter.to_owned(), QoS::AtLeastOnce)?;
    loop {
        if let Event::Incoming(Packet::SubAck(ack)) = events.poll().await.context("no broker")? {
            let granted = ack.return_codes.iter().all(|code| matches!(code, SubscribeReasonCode::Success(_)));
            ensure!(granted, "the broker refused the subscription to {filter}");
            return Ok((client, events));
        }
    }
}

/// Different in every process and run.
fn unique() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos())
}

async fn echo(args: &Args) -> anyhow::Result<()> {
    let (client, mut events) = connect(args.port, "echo", &args.topic).await?;
    loop {
        let Event::Incoming(Packet::Publish(job)) = events.poll().await? else { continue };
        let Some(properties) = job.properties else { continue };
        let Some(reply) = properties.response_topic else { continue };
        let properties = PublishProperties { correlation_data: properties.correlation_data, ..Default::default() };
        let options = PublishOptions::at_least_once().properties(properties);
        client.try_publish(reply, job.payload, options)?;
    }
}

/// The same input in every job and in every load generator.
fn input(bytes: usize) -> Bytes {
    let value = |i: u64| ((i * 1_103_515_245 + 12_345) % (1 << 31)) as f64 / f64::from(1u32 << 31);
    let values = (0..(bytes / 4).max(1) as u64).flat_map(|i| (value(i) as f32).to_le_bytes());
    values.take(bytes).collect()
}

/// What has come back so far.
struct Ledger {
    sent: Vec<Instant>,
    answered: Vec<bool>,
    answers: usize,
    duplicates: usize,
    errors: HashMap<String, usize>,
    /// Seconds, of counted jobs.
    latencies: Vec<f64>,
    /// Seconds inferring and beside it, of counted jobs, as the answers say.
    infers: Vec<f64>,
    besides: Vec<f64>,
    warm_up: usize,
    counted_from: Option<Instant>,
    last: Instant,
}

impl Ledger {
    fn new(jobs: usize, warm_up: usize) -> Self {
        Self {
            sent: Vec::with_capacity(jobs),
            answered: vec![false; jobs],
            answers: 0,
            duplicates: 0,
            errors: HashMap::new(),
            latencies: Vec::with_capacity(jobs),
            infers: Vec::new(),
            besides: Vec::new(),
            warm_up,
            counted_from: None,
            last: Instant::now(),
        }
    }

    /// Whether this was a first answer, that is: whether the next job may go.
    fn answer(&mut self, answer: &Publish, args: &Args) -> bool {
        let correlation = answer.properties.as_ref().and_then(|properties| properties.correlation_data.as_ref());
        let number = correlation.and_then(|data| <[u8; 4]>::try_from(&**data).ok()).map(u32::from_be_bytes);
        let Some(job) = number.map(|n| n as usize).filter(|n| *n < self.sent.len()) else {
            *self.errors.entry("answer to no job of ours".to_owned()).or_default() += 1;
            return false;
        };
        self.last = Instant::now();
        if std::mem::replace(&mut self.answered[job], true) {
            self.duplicates += 1;
            return false;
        }
        self.answers += 1;
        if self.answers == self.warm_up {
            self.counted_from = Some(self.last);
        }
        if job >= self.warm_up {
            self.latencies.push(self.last.duration_since(self.sent[job]).as_secs_f64());
            if args.timing
                && let Some((infer, total)) = timing_of(&answer.payload)
            {
                self.infers.push(infer);
                self.besides.push(total - infer);
            }
        }
        if args.expect_json
            && let Some(error) = error_of(&answer.payload)
        {
            *self.errors.entry(error).or_default() += 1;
        }
        true
    }
}

/// The error code of a result document; what is no JSON is an error as well.
fn error_of(payload: &[u8]) -> Option<String> {
    // Looking for the word first keeps the parser away from every good answer.
    if payload.first() == Some(&b'{') && !payload.windows(7).any(|window| window == b"\"error\"") {
        return None;
    }
    match serde_json::from_slice::<serde_json::Value>(payload) {
        Ok(document) => {
            let error = document.get("error")?;
            Some(error.get("code").and_then(|code| code.as_str()).unwrap_or("error").to_owned())
        }
        Err(_) => Some("no JSON".to_owned()),
    }
}

/// Seconds that a result says it took: inferring, and altogether.
fn timing_of(payload: &[u8]) -> Option<(f64, f64)> {
    let document: serde_json::Value = serde_json::from_slice(payload).ok()?;
    let timing = document.get("timing_ms")?;
    Some((timing.get("infer")?.as_f64()? / 1e3, timing.get("total")?.as_f64()? / 1e3))
}

async fn load(args: &Args) -> anyhow::Result<bool> {
    let total = args.jobs + args.warm_up;
    ensure!((1..=60_000).contains(&args.window) && args.jobs > 0, "--window is 1 to 60000, --jobs at least 1");
    ensure!(u32::try_from(total).is_ok(), "too many jobs");
    let reply = format!("load/{}", unique());
    let (client, mut events) = connect(args.port, "load", &reply).await?;
    let job = Job::new(args, reply)?;
    let mut ledger = Ledger::new(total, args.warm_up);
    let start = Instant::now();
    (ledger.counted_from, ledger.last) = ((args.warm_up == 0).then_some(start), start);
    for _ in 0..args.window.min(total) {
        job.send(&client, &mut ledger)?;
    }
    let patience = Duration::from_secs_f64(args.timeout);
    while ledger.answers < total {
        let left = patience.saturating_sub(ledger.last.elapsed());
        match tokio::time::timeout(left, events.poll()).await {
            Err(_) => break,
            Ok(Err(error)) => bail!("the connection broke after {} answers: {error}", ledger.answers),
            Ok(Ok(Event::Incoming(Packet::Publish(answer)))) => {
                if ledger.answer(&answer, args) && ledger.sent.len() < total {
                    job.send(&client, &mut ledger)?;
                }
            }
            Ok(Ok(_)) => {}
        }
    }
    let took = ledger.counted_from.map_or(Duration::ZERO, |from| ledger.last.duration_since(from));
    late_duplicates(&mut events, &mut ledger, args).await;
    Ok(report(args, &mut ledger, took))
}

/// An answer that came twice may come a moment after the last one.
async fn late_duplicates(events: &mut EventLoop, ledger: &mut Ledger, args: &Args) {
    let all = async {
        while let Ok(event) = events.poll().await {
            if let Event::Incoming(Packet::Publish(answer)) = event {
                ledger.answer(&answer, args);
            }
        }
    };
    let _ = tokio::time::timeout(Duration::from_millis(100), all).await;
}

/// What all jobs have in common.
struct Job {
    topic: String,
    payload: Bytes,
    properties: PublishProperties,
    reply: String,
}

impl Job {
    fn new(args: &Args, reply: String) -> anyhow::Result<Self> {
        let pair = |text: &String| {
            let (key, value) = text.split_once('=').with_context(|| format!("--user {text} is not k=v"))?;
            anyhow::Ok((key.to_owned(), value.to_owned()))
        };
        let properties = PublishProperties {
            response_topic: Some(reply.clone()),
            content_type: Some(args.content_type.clone()),
            user_properties: args.user.iter().map(pair).collect::<Result<_, _>>()?,
            ..PublishProperties::default()
        };
        Ok(Self { topic: args.topic.clone(), payload: input(args.bytes), properties, reply })
    }

    fn send(&self, client: &AsyncClient, ledger: &mut Ledger) -> anyhow::Result<()> {
        let number = u32::try_from(ledger.sent.len())?;
        let mut properties = self.properties.clone();
        properties.correlation_data = Some(Bytes::copy_from_slice(&number.to_be_bytes()));
        properties.user_properties.push(("id".to_owned(), format!("{}-{number}", self.reply)));
        let options = PublishOptions::at_least_once().properties(properties);
        ledger.sent.push(Instant::now());
        Ok(client.try_publish(self.topic.as_str(), self.payload.clone(), options)?)
    }
}

/// Milliseconds below which the share `q` of these seconds lies.
fn quantile(seconds: &mut [f64], q: f64) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds.get((seconds.len().saturating_sub(1) as f64 * q) as usize).map_or(f64::NAN, |value| 1e3 * value)
}

/// Prints the figures; whether nothing was lost.
fn report(args: &Args, ledger: &mut Ledger, took: Duration) -> bool {
    let lost = args.jobs + args.warm_up - ledger.answers;
    let (p50, p99) = (quantile(&mut ledger.latencies, 0.5), quantile(&mut ledger.latencies, 0.99));
    let (infer, beside) = (quantile(&mut ledger.infers, 0.5), quantile(&mut ledger.besides, 0.5));
    let rate =
        if took.is_zero() { 0.0 } else { ledger.answers.saturating_sub(args.warm_up) as f64 / took.as_secs_f64() };
    let errors: usize = ledger.errors.values().sum();
    if args.json {
        let figures = serde_json::json!({
            "jobs": args.jobs, "warm_up": args.warm_up, "window": args.window, "bytes": args.bytes, "rate": rate,
            "p50_ms": p50, "p99_ms": p99, "lost": lost, "duplicates": ledger.duplicates, "errors": errors,
            "error_codes": ledger.errors, "seconds": took.as_secs_f64(), "infer_p50_ms": infer, "beside_p50_ms": beside,
        });
        println!("{figures}");
    } else {
        println!("{rate:.0} jobs/s   p50 {p50:.3} ms   p99 {p99:.3} ms   ({} jobs, window {})", args.jobs, args.window);
        println!("lost {lost}   duplicates {}   errors {errors} {:?}", ledger.duplicates, ledger.errors);
        if args.timing {
            println!("in the house, p50: inferring {infer:.3} ms, beside that {beside:.3} ms");
        }
    }
    lost == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_input_is_that_of_the_python_generator() {
        let bytes = input(12);
        let values: Vec<f32> = bytes.chunks(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        assert_eq!(values, [5.748_588_6e-6, 0.513_870_06, 0.027_734_408]);
        assert_eq!(input(3).len(), 3);
    }

    #[test]
    fn errors_are_told_from_answers() {
        assert_eq!(error_of(br#"{"id":"a","answer":{}}"#), None);
        assert_eq!(error_of(br#"{"id":"\"error\"","answer":{}}"#), None);
        assert_eq!(error_of(br#"{"id":"a","error":{"code":"job/shed"}}"#), Some("job/shed".to_owned()));
        assert_eq!(error_of(b"\x00"), Some("no JSON".to_owned()));
    }
}
