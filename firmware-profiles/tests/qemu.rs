//! The firmware of `firmware/mps2-an386` in QEMU, over its pty, against a small gateway made of this very crate that loses
//! every third message in each direction. `firmware/mps2-an386/try` builds the firmware and runs this.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test panics where it is broken")]

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Read, Write},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver as Messages, RecvTimeoutError, SyncSender, sync_channel},
    thread,
    time::{Duration, Instant},
};

use firmware_profiles::{
    nodes::{HYDRAULIC_RIG, Profile},
    units::Ratio,
    wire::{self, Address, Body, Frame, Outcome, Receiver, RejectCode, Samples, Verdict},
};

/// What the node plays; the job of each must come to the gateway as it stands here.
static CYCLES: &[u8] = include_bytes!("../firmware/mps2-an386/cycles/cycles.bin");
const CYCLE_BYTES: usize = 8 * 60 * 4;
const JOBS: usize = 12;
/// Not a measurement: a node that says nothing for so long has hung.
const HUNG: Duration = Duration::from_secs(120);
const REPEAT: Duration = Duration::from_millis(300);

enum Event {
    Bytes(Vec<u8>),
    Line(String),
}

/// QEMU with the firmware; ended with the test.
struct Node {
    qemu: Child,
    port: File,
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

fn start(firmware: &str, events: SyncSender<Event>) -> Node {
    let mut qemu = Command::new("qemu-system-arm")
        .args(["-M", "mps2-an386", "-display", "none", "-monitor", "none", "-serial", "pty", "-serial", "stdio"])
        .args(["-semihosting-config", "enable=on,target=native", "-kernel", firmware])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("qemu-system-arm is not installed");
    let mut lines = BufReader::new(qemu.stdout.take().unwrap()).lines();
    let pty = loop {
        let line = lines.next().expect("QEMU names its pty").unwrap();
        if let Some(path) = line.strip_prefix("char device redirected to ").and_then(|rest| rest.split(' ').next()) {
            break path.to_owned();
        }
    };
    assert!(Command::new("stty").args(["-F", &pty, "raw", "-echo"]).status().unwrap().success());
    let port = OpenOptions::new().read(true).write(true).open(&pty).unwrap();
    let (mut reader, to_events) = (port.try_clone().unwrap(), events.clone());
    thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok(length @ 1..) = reader.read(&mut buffer) {
            if to_events.send(Event::Bytes(buffer[..length].to_vec())).is_err() {
                return;
            }
        }
    });
    thread::spawn(move || {
        while let Some(Ok(line)) = lines.next() {
            if events.send(Event::Line(line)).is_err() {
                return;
            }
        }
    });
    Node { qemu, port }
}

/// A gateway that forgets every third message.
struct Gateway {
    receiver: Receiver,
    /// Messages so far, also those that were lost; of each direction on its own.
    heard: u32,
    sent: u32,
    node: Option<Address>,
    /// Cycle of each job, by the job's number.
    jobs: BTreeMap<u32, usize>,
    readings: BTreeMap<(u64, u8), Vec<f32>>,
    /// Verdicts without a receipt, and when they go out next.
    owed: BTreeMap<(u32, u16), Instant>,
    receipts: BTreeSet<(u32, u16)>,
    repetitions: u32,
}

impl Gateway {
    fn send(&mut self, port: &mut File, body: Body<'_>) {
        self.sent += 1;
        if self.sent.is_multiple_of(3) {
            return;
        }
        let address = Address { seq: self.sent, ..self.node.unwrap() };
        let mut buffer = [0; wire::ENCODED_MAX];
        let length = wire::encode(&Frame { address, body }, &mut buffer).unwrap();
        port.write_all(&buffer[..length]).unwrap();
    }

    fn hear(&mut self, port: &mut File, mut bytes: &[u8]) {
        let mut receiver = std::mem::take(&mut self.receiver);
        while let Some(result) = receiver.receive(&mut bytes) {
            let frame = result.expect("a pty garbles nothing");
            self.heard += 1;
            if !self.heard.is_multiple_of(3) {
                self.answer(port, frame);
            }
        }
        self.receiver = receiver;
    }

    fn answer(&mut self, port: &mut File, Frame { address, body }: Frame<'_>) {
        let seq = address.seq;
        if self.node.is_none_or(|node| node.boot != address.boot) && !matches!(body, Body::Hello { .. }) {
            self.node.get_or_insert(address);
            return self.send(port, Body::Reject { seq, code: RejectCode::HELLO_FIRST });
        }
        match body {
            Body::Hello { profile, fingerprint, .. } => {
                assert_eq!(Profile::by_name(profile).unwrap().fingerprint(), fingerprint);
                self.node = Some(address);
                self.send(port, Body::Welcome { seq, now_us: 1_800_000_000_000_000, window: 3 });
            }
            Body::Reading { channel, t_us, samples } => {
                let full_scale = HYDRAULIC_RIG.channels[usize::from(channel)].full_scale;
                let known = self.readings.insert((t_us, channel), samples.values(full_scale).collect());
                self.repetitions += u32::from(known.is_some());
                self.send(port, Body::Ack { seq });
            }
            Body::Job { model, input } => {
                assert_eq!(model, "hydraulic-pump");
                let Samples::Floats(bytes) = input else { panic!("{input:?}") };
                let cycle = CYCLES.chunks(CYCLE_BYTES).position(|cycle| cycle == bytes).expect("a cycle, bit for bit");
                if let Some(known) = self.jobs.insert(seq, cycle) {
                    assert_eq!(known, cycle, "job {seq} changed");
                    self.repetitions += 1;
                } else {
                    self.owed.insert((seq, 1), Instant::now());
                    if amended(cycle) {
                        self.owed.insert((seq, 2), Instant::now() + REPEAT);
                    }
                }
                self.send(port, Body::Ack { seq });
            }
            Body::Receipt { seq, revision } => {
                self.owed.remove(&(seq, revision));
                self.receipts.insert((seq, revision));
            }
            other => panic!("{other:?}"),
        }
    }

    fn pay(&mut self, port: &mut File) {
        let due: Vec<_> = self.owed.iter().filter(|(_, at)| **at <= Instant::now()).map(|(owed, _)| *owed).collect();
        for (seq, revision) in due {
            self.owed.insert((seq, revision), Instant::now() + REPEAT);
            self.send(port, Body::Verdict(verdict(seq, revision, self.jobs[&seq])));
        }
    }
}

fn amended(cycle: usize) -> bool {
    cycle % 3 == 1
}

fn verdict(seq: u32, revision: u16, cycle: usize) -> Verdict<'static> {
    let class = Outcome::Class {
        class: (cycle % 3) as u16,
        confidence: Ratio::of(0.5 + cycle as f32 / 100.0),
        certified: revision == 2,
    };
    let outcome = if cycle == 5 { Outcome::Failed { code: "job/expired" } } else { class };
    Verdict { seq, revision, last: revision == 2 || !amended(cycle), outcome }
}

/// What the node's console says about it; `firmware/mps2-an386/src/handlers.rs`.
fn shown(verdict: Verdict<'_>) -> String {
    let Verdict { seq, revision, last, outcome } = verdict;
    let outcome = match outcome {
        Outcome::Class { class, confidence, certified } => {
            format!("class={class} confidence_permille={:.0} certified={certified}", confidence.get() * 1000.0)
        }
        Outcome::Failed { code } => format!("failed={code}"),
        other => panic!("{other:?}"),
    };
    format!("verdict seq={seq} revision={revision} last={last} {outcome}")
}

/// Runs the gateway until so many jobs have all their receipts; returns what the console said.
fn serve(gateway: &mut Gateway, node: &mut Node, events: &Messages<Event>) -> Vec<String> {
    let (mut console, mut last) = (Vec::new(), Instant::now());
    while gateway.jobs.len() < JOBS || !gateway.owed.is_empty() {
        match events.recv_timeout(Duration::from_millis(20)) {
            Ok(Event::Bytes(bytes)) => {
                last = Instant::now();
                gateway.hear(&mut node.port, &bytes);
            }
            Ok(Event::Line(line)) => {
                println!("node: {line}");
                console.push(line);
            }
            Err(RecvTimeoutError::Timeout) => assert!(last.elapsed() < HUNG, "the node says nothing any more"),
            Err(RecvTimeoutError::Disconnected) => panic!("QEMU has ended"),
        }
        gateway.pay(&mut node.port);
    }
    // The last receipt may overtake its line on the console.
    while let Ok(event) = events.recv_timeout(REPEAT) {
        if let Event::Line(line) = event {
            console.push(line);
        }
    }
    console
}

#[test]
#[ignore = "needs qemu-system-arm and the firmware: firmware-profiles/firmware/mps2-an386/try"]
fn a_node_in_qemu_loses_nothing_over_a_line_that_loses_every_third_message() {
    let firmware = env::var("PICKET_FIRMWARE").expect("PICKET_FIRMWARE names the firmware's ELF file");
    let (sender, events) = sync_channel(1024);
    let mut node = start(&firmware, sender);
    let mut gateway = Gateway {
        receiver: Receiver::new(),
        heard: 0,
        sent: 0,
        node: None,
        jobs: BTreeMap::new(),
        readings: BTreeMap::new(),
        owed: BTreeMap::new(),
        receipts: BTreeSet::new(),
        repetitions: 0,
    };
    let console = serve(&mut gateway, &mut node, &events);

    for (seq, revision) in &gateway.receipts {
        let line = shown(verdict(*seq, *revision, gateway.jobs[seq]));
        let count = console.iter().filter(|said| **said == line).count();
        // A first answer that comes after its amendment is not told any more.
        let overtaken = *revision == 1 && amended(gateway.jobs[seq]);
        assert!(count == 1 || (count == 0 && overtaken), "{count} times: {line}");
    }
    for (seq, cycle) in &gateway.jobs {
        assert!(gateway.receipts.contains(&(*seq, 1)), "job {seq} has no receipt");
        assert!(!amended(*cycle) || gateway.receipts.contains(&(*seq, 2)), "job {seq} has no amendment");
    }
    // Readings are the cycles too, to a count of the channel's full scale.
    for ((t_us, channel), values) in &gateway.readings {
        let channel = usize::from(*channel);
        let tolerance = HYDRAULIC_RIG.channels[channel].full_scale / 65_536.0 * 1.01;
        let is_this = |cycle: &[u8]| {
            let exact = Samples::floats(&cycle[channel * 240..][..240]).unwrap().values(1.0);
            values.len() == 60 && exact.zip(values).all(|(exact, value)| (exact - value).abs() <= tolerance)
        };
        assert!(CYCLES.chunks(CYCLE_BYTES).any(is_this), "reading of channel {channel} at {t_us} µs");
    }
    assert!(gateway.readings.len() >= 8 * (JOBS - 1), "{} readings", gateway.readings.len());
    assert!(gateway.repetitions > 0, "a lost Ack brings the frame again");
    println!(
        "{} jobs, {} verdicts, {} readings; {} messages of which every third was lost; {} frames came again",
        gateway.jobs.len(),
        gateway.receipts.len(),
        gateway.readings.len(),
        gateway.heard + gateway.sent,
        gateway.repetitions
    );
}
