//! How long a network fault goes unnoticed, and how long it is felt after it is over, by the real daemon and mosquitto.
//!
//! Every round has a broker, a proxy and a daemon of its own; the faults run side by side, because they mostly wait. A round
//! begins at a random phase of the keep-alive. *Detected* is the time from the fault to the daemon's word on it in its log;
//! *recovered* the time from the end of the fault to the answer of a job.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a benchmark ends where it fails")]

use std::time::{Duration, Instant};

use clap::Parser;
use picket_tests::{
    broker::Mosquitto,
    client::{Client, Job},
    daemon::Daemon,
    proxy::{End, Flow, Proxy, Weather},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::sleep,
};

const TOPIC: &str = "picket/v1/press-4/job/digits";
const STATE: &str = "picket/v1/press-4/state";
/// How exactly the log is watched.
const LOOK: Duration = Duration::from_millis(2);
/// An outage that people notice.
const OUTAGE: Duration = Duration::from_secs(30);
/// A daemon that has not recovered by then never does.
const HOPELESS: Duration = Duration::from_secs(150);

#[derive(Clone, Parser)]
#[command(about = "Time to detect and to recover, per network fault")]
struct Options {
    /// Rounds of each fault; those with an outage of half a minute get a quarter.
    #[arg(long, default_value_t = 60)]
    rounds: usize,
    /// `[mqtt] keep_alive_s`.
    #[arg(long, default_value_t = 5)]
    keep_alive: u64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    Reset,
    Closed,
    HalfOpen(Weather),
    SilentConnect,
    IdTaken,
    NoNetwork,
    BrokerRestarted,
    BrokerAway,
}

const HOLE: Flow = Flow::BlackHole;
const FAULTS: [(&str, Fault); 10] = [
    ("connection reset", Fault::Reset),
    ("connection closed", Fault::Closed),
    ("half open, both ways", Fault::HalfOpen(Weather { up: HOLE, down: HOLE })),
    ("half open, from us", Fault::HalfOpen(Weather { up: HOLE, down: Flow::Pass })),
    ("half open, to us", Fault::HalfOpen(Weather { up: Flow::Pass, down: HOLE })),
    ("CONNECT unanswered", Fault::SilentConnect),
    ("client id taken, and given back", Fault::IdTaken),
    ("broker restarted, session lost", Fault::BrokerRestarted),
    ("no network for 30 s", Fault::NoNetwork),
    ("broker down for 30 s", Fault::BrokerAway),
];

/// One fault's daemon and what surrounds it.
struct Scene {
    broker: Mosquitto,
    proxy: Proxy,
    daemon: Daemon,
    client: Client,
    jobs: usize,
}

impl Scene {
    async fn start(keep_alive: u64) -> Self {
        let broker = Mosquitto::start();
        let proxy = Proxy::start(broker.port);
        let daemon = Daemon::start(&format!(
            "[device]\nid = \"press-4\"\n[mqtt]\nurl = \"mqtt://127.0.0.1:{}\"\nkeep_alive_s = {keep_alive}\n\
             [[model]]\nname = \"digits\"\nbundle = \"{{models}}/digits\"\ndeadline_ms = 600000\n",
            proxy.port
        ));
        let mut client = Client::connect(broker.port, &[STATE]).await;
        client.wait_online("press-4").await;
        Self { broker, proxy, daemon, client, jobs: 0 }
    }

    async fn ask(&mut self) {
        self.jobs += 1;
        let id = format!("job-{}", self.jobs);
        self.client.send(TOPIC, &Job::raw(&[3.0; 64]).with("id", &id)).await;
        let begin = Instant::now();
        loop {
            assert!(begin.elapsed() < HOPELESS, "{id} is not answered:\n{}", self.daemon.log());
            let Ok(answer) = tokio::time::timeout(Duration::from_secs(1), self.client.answer()).await else { continue };
            if answer.json()["id"] == *id {
                return;
            }
        }
    }

    /// Waits until the log says one of these more often than `before`.
    async fn noticed(&self, codes: &[&str], before: usize) {
        let begin = Instant::now();
        while self.said(codes) <= before {
            assert!(begin.elapsed() < HOPELESS, "nothing noticed:\n{}", self.daemon.log());
            sleep(LOOK).await;
        }
    }

    fn said(&self, codes: &[&str]) -> usize {
        let log = self.daemon.log();
        codes.iter().map(|code| log.matches(code).count()).sum()
    }

    /// How long it went unnoticed, and how long it was felt afterwards.
    async fn suffer(&mut self, fault: Fault) -> (Duration, Duration) {
        const ANY: &[&str] = &["mqtt/disconnected", "mqtt/stalled"];
        let before = self.said(ANY);
        let begin = Instant::now();
        match fault {
            Fault::Reset => self.proxy.end(End::Reset),
            Fault::Closed => self.proxy.end(End::Slowly(Duration::from_millis(100))),
            Fault::HalfOpen(weather) => self.proxy.set(weather),
            Fault::NoNetwork => self.proxy.set(Weather { up: HOLE, down: HOLE }),
            Fault::BrokerRestarted | Fault::BrokerAway => self.broker.kill(),
            Fault::IdTaken => take_id(self.broker.port).await,
            Fault::SilentConnect => return self.suffer_silence().await,
        }
        self.noticed(ANY, before).await;
        let detected = begin.elapsed();
        if matches!(fault, Fault::NoNetwork | Fault::BrokerAway) {
            sleep(OUTAGE.saturating_sub(begin.elapsed())).await;
        }
        let over = Instant::now();
        if matches!(fault, Fault::BrokerRestarted | Fault::BrokerAway) {
            let connections = self.said(&["mqtt connected"]);
            self.broker.run();
            self.noticed(&["mqtt connected"], connections).await;
            // The client lost its session as well, and a job before the daemon is back would have no subscriber.
            self.client = Client::connect(self.broker.port, &[STATE]).await;
            self.client.wait_online("press-4").await;
        } else {
            self.proxy.set(Weather::default());
        }
        self.ask().await;
        (detected, over.elapsed())
    }

    /// The connection ends, and the next one is taken without a word.
    async fn suffer_silence(&mut self) -> (Duration, Duration) {
        const SILENT: &[&str] = &["mqtt/connect-timeout"];
        let (before, connections) = (self.said(SILENT), self.proxy.accepted());
        // Both ways: a broker that got the CONNECT would itself give up on us after one and a half keep-alives.
        self.proxy.set(Weather { up: HOLE, down: HOLE });
        self.proxy.end(End::Reset);
        while self.proxy.accepted() == connections {
            sleep(LOOK).await;
        }
        let begin = Instant::now();
        self.noticed(SILENT, before).await;
        let detected = begin.elapsed();
        let over = Instant::now();
        self.proxy.set(Weather::default());
        self.ask().await;
        (detected, over.elapsed())
    }
}

/// Another client has the daemon's id for a moment, and leaves its session as it is.
async fn take_id(port: u16) {
    const ID: &[u8] = b"picket-press-4";
    const DAY_S: u32 = 86_400;
    // CONNECT, MQTT 5, no clean start; a library would throw the session away or refuse to go on with it.
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 5, 0, 0, 60, 5, 0x11];
    body.extend(DAY_S.to_be_bytes());
    body.extend([0, ID.len() as u8]);
    body.extend(ID);
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(&[0x10, body.len() as u8]).await.unwrap();
    stream.write_all(&body).await.unwrap();
    let mut answer = [0; 2];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer[0], 0x20, "a CONNACK");
}

struct Row {
    name: &'static str,
    detected: Vec<Duration>,
    recovered: Vec<Duration>,
}

async fn measure(name: &'static str, fault: Fault, options: Options, seed: u64) -> Row {
    let mut dice = StdRng::seed_from_u64(seed);
    let long = matches!(fault, Fault::NoNetwork | Fault::BrokerAway);
    let rounds = if long { options.rounds.div_ceil(4) } else { options.rounds };
    let mut row = Row { name, detected: Vec::new(), recovered: Vec::new() };
    for round in 1..=rounds {
        // Anew: to a daemon that has lost its connection again and again, the waits between its attempts grow.
        let mut scene = Scene::start(options.keep_alive).await;
        scene.ask().await;
        sleep(Duration::from_millis(dice.random_range(0..options.keep_alive * 1_000))).await;
        let (detected, recovered) = scene.suffer(fault).await;
        row.detected.push(detected);
        row.recovered.push(recovered);
        eprintln!("{name}: {round}/{rounds}");
    }
    row.detected.sort_unstable();
    row.recovered.sort_unstable();
    row
}

/// By nearest rank, seconds.
fn quantile(sorted: &[Duration], part: f64) -> f64 {
    let rank = (sorted.len() as f64 * part).ceil().max(1.0) as usize;
    sorted[rank.min(sorted.len()) - 1].as_secs_f64()
}

#[tokio::main]
async fn main() {
    let options = Options::parse();
    let tasks = FAULTS
        .iter()
        .zip(options.seed..)
        .map(|((name, fault), seed)| tokio::spawn(measure(name, *fault, options.clone(), seed)));
    let tasks: Vec<_> = tasks.collect();
    let mut rows = Vec::new();
    for task in tasks {
        rows.push(task.await.expect("the daemon recovers from every fault"));
    }
    if options.json {
        let rows: Vec<_> = rows.iter().map(json).collect();
        println!(
            "{:#}",
            serde_json::json!({ "keep_alive_s": options.keep_alive, "seed": options.seed, "faults": rows })
        );
        return;
    }
    println!("| fault | rounds | detected p50 | p99 | recovered p50 | p99 |\n|---|---|---|---|---|---|");
    for row in rows {
        let [d50, d99, r50, r99] = figures(&row);
        println!("| {} | {} | {d50:.3} s | {d99:.3} s | {r50:.3} s | {r99:.3} s |", row.name, row.detected.len());
    }
}

fn figures(row: &Row) -> [f64; 4] {
    let of = |times: &[Duration]| [quantile(times, 0.5), quantile(times, 0.99)];
    let ([d50, d99], [r50, r99]) = (of(&row.detected), of(&row.recovered));
    [d50, d99, r50, r99]
}

fn json(row: &Row) -> serde_json::Value {
    let [d50, d99, r50, r99] = figures(row);
    serde_json::json!({
        "fault": row.name,
        "rounds": row.detected.len(),
        "detected_s": { "p50": d50, "p99": d99 },
        "recovered_s": { "p50": r50, "p99": r99 },
    })
}
