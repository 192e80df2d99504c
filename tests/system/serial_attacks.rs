//! What a line brings that is no node's doing, or a mad one's: floods, other speeds, power that fails in the middle of a
//! window. The real binary at one end of a pty.

use std::{collections::BTreeMap, ops::RangeInclusive, thread, time::Instant};

use firmware_profiles::{
    nodes::HYDRAULIC_RIG,
    wire::{Address, Body, Counters, ENCODED_MAX, Frame, NodeId, Receiver, Samples, encode},
};
use picket_core::limits;
use picket_tests::{
    free_port,
    node::{Node, Told, Trouble},
    pty::Pty,
    rig::{MODEL, ask, check, cycle, metric, own_answers, start, until},
    uart::misread,
};
use rand::{Rng, RngCore, SeedableRng, rngs::StdRng};

const QUIET: u64 = 0x386;
const MAD: u64 = 0xbad;
/// Memory that a flood may leave behind, in KiB: what the allocator keeps, and the answers to a second of jobs.
const GROWTH_KIB: u64 = 2_048;

fn frame(node: u64, boot: u32, seq: u32, body: Body<'_>) -> Vec<u8> {
    let mut buffer = [0; ENCODED_MAX];
    let length = encode(&Frame { address: Address { node: NodeId(node), boot, seq }, body }, &mut buffer).unwrap();
    buffer[..length].to_vec()
}

fn hello(node: u64, boot: u32) -> Vec<u8> {
    let fingerprint = HYDRAULIC_RIG.fingerprint();
    frame(node, boot, 1, Body::Hello { profile: HYDRAULIC_RIG.name, fingerprint, t_us: 0 })
}

/// What a receiver of the wire makes of these bytes.
fn received(mut bytes: &[u8]) -> Counters {
    let mut receiver = Box::new(Receiver::<ENCODED_MAX>::new());
    while receiver.receive(&mut bytes).is_some() {}
    receiver.counters()
}

fn http(port: u16) -> String {
    format!("[http]\nlisten = \"127.0.0.1:{port}\"\n")
}

fn counted(http: u16, code: &str) -> u64 {
    metric(http, &format!("picket_link_failures_total{{code=\"{code}\"}}")) as u64
}

fn accepted(http: u16) -> u64 {
    metric(http, "picket_jobs_now{state=\"accepted\"}") as u64
}

/// A flood, and how much of it must be counted under which codes.
struct Flood {
    what: &'static str,
    bytes: Vec<u8>,
    counted: Vec<(&'static str, RangeInclusive<u64>)>,
}

const fn exactly(frames: u32) -> RangeInclusive<u64> {
    frames as u64..=frames as u64
}

fn noise(chance: &mut StdRng, length: usize) -> Flood {
    let mut bytes = vec![0; length];
    chance.fill_bytes(&mut bytes);
    // Some without a 0x00 for longer than any frame.
    let run = length / 8;
    bytes[length / 2..][..run].fill(0xa5);
    bytes.push(0);
    let Counters { frames, noise, too_long, .. } = received(&bytes);
    assert_eq!((frames, too_long), (0, 1), "no frame by chance");
    Flood { what: "noise", bytes, counted: vec![("wire/noise", exactly(noise)), ("wire/too-long", exactly(too_long))] }
}

/// Sound frames of ever other nodes that never said Hello.
fn strangers(chance: &mut StdRng, frames: u32) -> Flood {
    let input = Samples::Floats(&[0; 16]);
    let one = |seq| frame(chance.random(), chance.random(), seq, Body::Job { model: MODEL, input });
    Flood {
        what: "strangers",
        bytes: (0..frames).flat_map(one).collect(),
        counted: vec![("node/hello-first", exactly(frames))],
    }
}

/// A node that is welcome, and asks more than anybody may. Some of what was taken before is taken again: it comes to nothing.
fn greedy(jobs: u32) -> Flood {
    let one = |seq| frame(MAD, 1, seq, Body::Job { model: MODEL, input: Samples::Floats(cycle(0)) });
    let taken = 2 * limits::NODE_JOBS as u64;
    Flood {
        what: "a node that asks too much",
        bytes: hello(MAD, 1).into_iter().chain((2..2 + jobs).flat_map(one)).collect(),
        counted: vec![("node/busy", u64::from(jobs) - taken..=u64::MAX)],
    }
}

/// A node that is welcome, and says the same for ever. Half of it at least is more than its rate, unless this machine takes
/// a quarter of a minute for it.
fn chatty(readings: u32) -> Flood {
    let reading = Body::Reading { channel: 0, t_us: 0, samples: Samples::Floats(&[0; 40]) };
    let one = |seq| frame(MAD + 1, 1, seq, reading);
    Flood {
        what: "a node that never stops",
        bytes: hello(MAD + 1, 1).into_iter().chain((2..2 + readings).flat_map(one)).collect(),
        counted: vec![("node/busy", u64::from(readings) / 2..=u64::MAX)],
    }
}

/// Pours it into one line while the node on the other one asks jobs; at least one.
fn under(flood: &Flood, line: &mut Pty, node: &mut Node, asked: &mut BTreeMap<u32, usize>) {
    thread::scope(|scope| {
        let start = Instant::now();
        let pouring = scope.spawn(|| line.pour(&flood.bytes));
        loop {
            asked.extend(ask(node, 1));
            let wanted = asked.len();
            node.until("a verdict under the flood", |node| node.verdicts.len() == wanted);
            if pouring.is_finished() {
                break;
            }
        }
        // A byte takes ten bits. Not judged: how fast it goes is this machine's business.
        let mbaud = flood.bytes.len() as f64 * 10.0 / start.elapsed().as_secs_f64() / 1e6;
        println!("{}: {} bytes, at least {mbaud:.1} Mbaud", flood.what, flood.bytes.len());
    });
}

#[test]
fn a_flood_on_one_line_takes_no_verdict_from_another_and_no_memory() {
    let (seed, own) = (20_267, own_answers());
    println!("seed {seed}");
    let mut chance = StdRng::seed_from_u64(seed);
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    let paths = [folder.path().join("flooded"), folder.path().join("quiet")];
    let [mut flooded, quiet] = paths.each_ref().map(|path| Pty::plug(path));
    let readings = format!("[[serial.node]]\nprofile = \"hydraulic-rig\"\nreadings = \"{MODEL}\"\n");
    let daemon = start(&[&paths[0], &paths[1]], &format!("{readings}{}", http(port)));
    let mut node = Node::new(QUIET, 7, &HYDRAULIC_RIG, quiet, 1);
    let mut asked = ask(&mut node, 12);
    let rounds = [1, 4].map(|size| {
        let n = size as u32;
        let floods =
            [noise(&mut chance, size << 19), strangers(&mut chance, n * 8_000), greedy(n * 500), chatty(n * 6_000)];
        for flood in &floods {
            let before: Vec<u64> = flood.counted.iter().map(|(code, _)| counted(port, code)).collect();
            under(flood, &mut flooded, &mut node, &mut asked);
            for ((code, more), before) in flood.counted.iter().zip(before) {
                until(|| counted(port, code) - before >= *more.start());
                assert!(more.contains(&(counted(port, code) - before)), "{}: {code}", flood.what);
            }
        }
        (daemon.resident_kib(), daemon.open_files())
    });
    println!("KiB resident and files open after each round: {rounds:?}");
    let [(warm_kib, warm_files), (end_kib, _)] = rounds;
    assert!(end_kib <= warm_kib + GROWTH_KIB, "{warm_kib} KiB grew to {end_kib} KiB");
    until(|| daemon.open_files() <= warm_files);
    assert!(counted(port, "serial/no-room") > 0, "nobody read what they were told");
    // The greedy one's are as many as one node may have.
    assert_eq!(accepted(port), (asked.len() + limits::NODE_JOBS) as u64);
    check(&node, &asked, &own);

    // The line is as good as before, for another node that is plugged in there.
    let mut next = Node::new(MAD, 2, &HYDRAULIC_RIG, flooded, 2);
    let asked = ask(&mut next, 6);
    next.until("all verdicts", |node| node.verdicts.len() == 6);
    check(&next, &asked, &own);
    assert!(!daemon.log().contains("panicked"));
}

#[test]
fn a_node_at_another_speed_is_noise_and_is_heard_when_it_has_the_right_one() {
    let own = own_answers();
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    let path = folder.path().join("port");
    let mut line = Pty::plug(&path);
    let _daemon = start(&[&path], &http(port));
    let jobs = |number| frame(QUIET, 7, 2, Body::Job { model: MODEL, input: Samples::Floats(cycle(number)) });
    let said: Vec<u8> = (0..6).flat_map(|number| [hello(QUIET, 7), jobs(number)].concat()).collect();
    let speeds = [9_600.0, 57_600.0, 115_200.0, 125_000.0, 230_400.0, 1_000_000.0];
    let pairs = speeds.iter().flat_map(|sent| speeds.iter().map(move |read| (*sent, *read)));
    let mut bytes: Vec<u8> =
        pairs.filter(|(sent, read)| sent != read).flat_map(|(s, r)| misread(&said, s, r)).collect();
    // A line that is held low: one break after another. One that is held high rests; a receiver that sees start bits in
    // it reads this.
    for byte in [0x00, 0xff, 0x80, 0xfe] {
        bytes.extend([byte; 100_000]);
        bytes.extend([0, 0]);
    }
    let expected = received(&bytes);
    println!("{} bytes: {expected:?}", bytes.len());
    assert_eq!((expected.frames, expected.too_long > 2, expected.noise > 100), (0, true, true), "{expected:?}");
    line.pour(&bytes);
    let wire = || (counted(port, "wire/noise"), counted(port, "wire/too-long"), counted(port, "wire/malformed"));
    let wanted = (expected.noise.into(), expected.too_long.into(), expected.malformed.into());
    until(|| wire() == wanted);
    assert_eq!(accepted(port), 0);
    assert!(line.read().iter().all(|byte| *byte == 0), "noise has no answer");

    let mut node = Node::new(QUIET, 7, &HYDRAULIC_RIG, line, 3);
    let asked = ask(&mut node, 6);
    node.until("all verdicts", |node| node.verdicts.len() == 6);
    check(&node, &asked, &own);
}

/// Readings of half a cycle, the channels in order; returns their numbers.
fn half(node: &mut Node, number: usize, half: usize, t_s: u64, channels: std::ops::Range<u8>) -> Vec<u32> {
    let mut sent = Vec::new();
    for channel in channels {
        node.until("room for a reading", Node::has_room);
        let at = usize::from(channel) * 240 + half * 120;
        let samples = Samples::floats(&cycle(number)[at..at + 120]).unwrap();
        sent.push(node.reading(channel, t_s * 1_000_000, samples));
    }
    sent
}

#[test]
fn a_node_that_starts_anew_in_the_middle_of_a_window_has_windows_of_one_start_only() {
    let own = own_answers();
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    let path = folder.path().join("port");
    let readings = format!("[[serial.node]]\nprofile = \"hydraulic-rig\"\nreadings = \"{MODEL}\"\n");
    let line = Pty::plug(&path);
    let _daemon = start(&[&path], &format!("{readings}{}", http(port)));
    let mut node = Node::new(QUIET, 7, &HYDRAULIC_RIG, line, 4);
    let mut windows = 0;
    // It ends after half a window, and after a window and half the channels of the next half.
    for (boot, (whole, begun)) in [(8, (0, 0..8)), (9, (1, 0..5)), (10, (1, 0..3))] {
        // Its clock goes on where it was, as one with a battery does: nothing but the start tells the halves apart.
        let mut t_s = 0;
        for number in 0..whole {
            half(&mut node, number, 0, t_s, 0..8);
            half(&mut node, number, 1, t_s + 30, 0..8);
            t_s += 60;
        }
        windows += whole;
        half(&mut node, 0, 0, t_s, begun.clone());
        node.until("all Acks", |node| node.under_way() == 0);
        node.until("the windows so far", |node| node.verdicts.len() == whole);
        node = node.start_anew(boot, u64::from(boot));
        // What would complete the block, or the window, of the start before.
        let rest =
            if begun.end == 8 { half(&mut node, 5, 0, 30, 0..8) } else { half(&mut node, 5, 0, t_s, begun.end..8) };
        node.until("all Acks", |node| node.under_way() == 0);
        assert!(
            rest.iter().all(|seq| !node.rejected.iter().any(|(rejected, _)| rejected == seq)),
            "{:?}",
            node.rejected
        );
        node = node.start_anew(boot + 100, u64::from(boot));
    }
    let mut last = Vec::new();
    for number in 0..6 {
        let t_s = number as u64 * 60;
        last.push([half(&mut node, number, 0, t_s, 0..8), half(&mut node, number, 1, t_s + 30, 0..8)].concat());
    }
    node.until("six verdicts", |node| node.verdicts.len() == 6);
    for (number, seq) in last.iter().map(|readings| readings.iter().max().unwrap()).enumerate() {
        let told = Told { revision: 1, last: true, outcome: own[number].clone() };
        assert_eq!(node.verdicts.get(seq), Some(&vec![told]), "window {number}: {:?}", node.verdicts);
    }
    assert_eq!(accepted(port), windows as u64 + 6, "no window of two halves");
}

#[test]
fn readings_that_are_lost_doubled_and_out_of_order_fill_the_same_windows() {
    let (seed, own) = (20_268, own_answers());
    println!("seed {seed}");
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    let path = folder.path().join("port");
    let readings = format!("[[serial.node]]\nprofile = \"hydraulic-rig\"\nreadings = \"{MODEL}\"\n");
    let line = Pty::plug(&path);
    let _daemon = start(&[&path], &format!("{readings}{}", http(port)));
    let mut node = Node::new(QUIET, 7, &HYDRAULIC_RIG, line, seed);
    node.trouble(Trouble { lost: 0.05, doubled: 0.3, late: 0.3, flipped: 0.02, ..Trouble::default() });
    let mut sent = Vec::new();
    for number in 0..6 {
        let t_s = number as u64 * 60;
        sent.push([half(&mut node, number, 0, t_s, 0..8), half(&mut node, number, 1, t_s + 30, 0..8)].concat());
    }
    node.until("six verdicts", |node| node.verdicts.len() == 6 && node.under_way() == 0);
    for (number, readings) in sent.iter().enumerate() {
        let told: Vec<&Told> = readings.iter().filter_map(|seq| node.verdicts.get(seq)).flatten().collect();
        assert_eq!(told, [&Told { revision: 1, last: true, outcome: own[number].clone() }], "window {number}");
    }
    assert_eq!(accepted(port), 6);
}
