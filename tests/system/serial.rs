//! Nodes over a wire: the real binary at one end of a pty, the node's side of `firmware-profiles` at the other.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Lines},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

use firmware_profiles::{
    nodes::HYDRAULIC_RIG,
    wire::{Outcome, RejectCode, Samples},
};
use picket_tests::{
    daemon::picket,
    free_port,
    node::{Node, Told, Trouble},
    pty::Pty,
    rig::{MODEL, ask, check, cycle, metric, own_answers, own_documents, start, until},
    root,
};
use serde_json::Value;

#[test]
fn every_verdict_on_the_wire_is_the_model_s_own_answer() {
    let own = own_answers();
    let folder = tempfile::tempdir().unwrap();
    let port = folder.path().join("port");
    let pty = Pty::plug(&port);
    let daemon = start(&[&port], "");
    let mut node = Node::new(0x386, 7, &HYDRAULIC_RIG, pty, 1);
    node.until("a welcome", Node::is_welcome);
    let asked = ask(&mut node, 60);
    node.until("all verdicts", |node| node.verdicts.len() == 60);
    check(&node, &asked, &own);
    // Where this machine is slower than the line, some had to come again.
    assert!(node.rejected.iter().all(|(_, code)| *code == RejectCode::BUSY), "{:?}", node.rejected);

    let unknown = node.job("no-such-model", cycle(0));
    node.until("a refusal", |node| node.rejected.contains(&(unknown, RejectCode::MODEL)));
    node.until("room", Node::has_room);
    let short = node.job(MODEL, &cycle(0)[4..]);
    node.until("an error", |node| node.verdicts.contains_key(&short));
    let failed = format!("{:?}", Outcome::Failed { code: "input/shape-mismatch" });
    assert_eq!(node.verdicts[&short], [Told { revision: 1, last: true, outcome: failed }], "{}", daemon.log());
}

/// As cables beside motors are.
const BAD: Trouble =
    Trouble { lost: 0.1, doubled: 0.1, flipped: 0.05, noise: 0.1, glued: 0.05, late: 0.1, deaf: false };

#[test]
fn a_line_that_loses_doubles_and_garbles_changes_no_answer() {
    let own = own_answers();
    let seed = 20_261;
    println!("seed {seed}");
    let folder = tempfile::tempdir().unwrap();
    let port = folder.path().join("port");
    let pty = Pty::plug(&port);
    let daemon = start(&[&port], "");
    let mut node = Node::new(0x386, 7, &HYDRAULIC_RIG, pty, seed);
    node.trouble(BAD);
    let asked = ask(&mut node, 40);
    node.until("all verdicts", |node| node.verdicts.len() == 40 && node.under_way() == 0);
    check(&node, &asked, &own);
    assert!(!daemon.log().contains("panicked"));
}

#[test]
fn a_node_that_is_unplugged_and_comes_back_has_all_its_verdicts() {
    let own = own_answers();
    let folder = tempfile::tempdir().unwrap();
    let port = folder.path().join("port");
    let pty = Pty::plug(&port);
    let daemon = start(&[&port], "");
    let mut node = Node::new(0x386, 7, &HYDRAULIC_RIG, pty, 3);
    let mut asked = BTreeMap::new();
    for round in 1..=3 {
        asked.extend(ask(&mut node, 6));
        // Some are asked, some answered, and some of the answers are on the wire.
        node.unplug();
        until(|| daemon.log().matches("serial/lost").count() == round);
        node.plug(Pty::plug(&port));
    }
    node.until("all verdicts", |node| node.verdicts.len() == asked.len());
    check(&node, &asked, &own);
}

#[test]
fn after_kill_9_every_job_of_a_node_has_one_verdict() {
    let own = own_answers();
    let folder = tempfile::tempdir().unwrap();
    let port = folder.path().join("port");
    let pty = Pty::plug(&port);
    let mut daemon = start(&[&port], "");
    let mut node = Node::new(0x386, 7, &HYDRAULIC_RIG, pty, 4);
    let mut asked = BTreeMap::new();
    for _ in 0..3 {
        asked.extend(ask(&mut node, 8));
        let acknowledged = node.acknowledged.len();
        node.until("one more Ack", |node| node.acknowledged.len() > acknowledged || node.under_way() == 0);
        daemon.kill();
        daemon.run_again(&[]);
    }
    node.until("all verdicts", |node| node.verdicts.len() == asked.len());
    check(&node, &asked, &own);
    assert!(node.acknowledged.len() > 3);
}

#[test]
fn results_wait_in_the_store_for_a_node_that_is_away_and_not_for_another_start_of_it() {
    let own = own_answers();
    let (folder, http) = (tempfile::tempdir().unwrap(), free_port());
    let port = folder.path().join("port");
    let pty = Pty::plug(&port);
    let mut daemon = start(&[&port], &format!("[http]\nlisten = \"127.0.0.1:{http}\"\n"));
    let mut node = Node::new(0x386, 7, &HYDRAULIC_RIG, pty, 5);
    let mut asked = ask(&mut node, 3);
    node.until("all Acks", |node| node.under_way() == 0);
    node.unplug();
    daemon.kill();
    daemon.run_again(&[]);
    node.plug(Pty::plug(&port));
    node.until("the verdicts of before", |node| node.verdicts.len() == 3);
    check(&node, &asked, &own);

    // The next start of the node is told nothing of this one's jobs.
    node.trouble(Trouble { deaf: true, ..Trouble::default() });
    asked.extend(ask(&mut node, 2));
    node.until("both results", |_| metric(http, "picket_outbox_rows") == 2.0);
    let mut next = node.start_anew(8, 6);
    next.until("a welcome", Node::is_welcome);
    until(|| metric(http, "picket_outbox_rows") == 0.0);
    assert_eq!(metric(http, "picket_dropped_total{reason=\"undeliverable\"}"), 2.0);
    assert!(next.verdicts.is_empty());
}

#[test]
fn two_nodes_with_one_id_are_told_so_and_the_first_goes_on() {
    let own = own_answers();
    let folder = tempfile::tempdir().unwrap();
    let ports = [folder.path().join("one"), folder.path().join("two")];
    let ptys = [Pty::plug(&ports[0]), Pty::plug(&ports[1])];
    let daemon = start(&[&ports[0], &ports[1]], "");
    let [one, two] = ptys;
    let mut first = Node::new(0x386, 7, &HYDRAULIC_RIG, one, 7);
    first.until("a welcome", Node::is_welcome);
    let mut second = Node::new(0x386, 9, &HYDRAULIC_RIG, two, 8);
    second.until("a refusal", |node| node.rejected.iter().any(|(_, code)| *code == RejectCode::NODE_TAKEN));
    assert!(daemon.log().contains("serial/two-nodes-one-id"), "{}", daemon.log());
    let asked = ask(&mut first, 6);
    first.until("all verdicts", |node| node.verdicts.len() == 6);
    check(&first, &asked, &own);
}

#[test]
fn readings_fill_windows_and_each_window_is_answered_like_a_job() {
    let own = own_answers();
    let folder = tempfile::tempdir().unwrap();
    let port = folder.path().join("port");
    let pty = Pty::plug(&port);
    let node_section = format!("[[serial.node]]\nprofile = \"hydraulic-rig\"\nreadings = \"{MODEL}\"\n");
    let _daemon = start(&[&port], &node_section);
    let mut node = Node::new(0x386, 7, &HYDRAULIC_RIG, pty, 9);
    // Half a window at a time, channel after channel.
    let mut last = Vec::new();
    for number in 0..6_u64 {
        for half in 0..2_u64 {
            for channel in 0..8_u8 {
                node.until("room for a reading", Node::has_room);
                let at = usize::from(channel) * 240 + usize::try_from(half).unwrap() * 120;
                let samples = Samples::floats(&cycle(usize::try_from(number).unwrap())[at..at + 120]).unwrap();
                last.push(node.reading(channel, (number * 60 + half * 30) * 1_000_000, samples));
            }
        }
    }
    node.until("six verdicts", |node| node.verdicts.len() == 6);
    for (number, seq) in last.chunks(16).map(|readings| readings.iter().max().unwrap()).enumerate() {
        let told = Told { revision: 1, last: true, outcome: own[number].clone() };
        assert_eq!(node.verdicts.get(seq), Some(&vec![told]), "window {number}: {:?}", node.verdicts);
    }
}

/// QEMU with the firmware; ended with the test.
struct Board {
    qemu: Child,
    console: Lines<BufReader<ChildStdout>>,
    pty: String,
}

impl Drop for Board {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

fn board(firmware: &str) -> Option<Board> {
    let started = Command::new("qemu-system-arm")
        .args(["-M", "mps2-an386", "-display", "none", "-monitor", "none", "-serial", "pty", "-serial", "stdio"])
        .args(["-semihosting-config", "enable=on,target=native", "-kernel", firmware])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut qemu) = started else {
        eprintln!("skipped: qemu-system-arm is not installed");
        return None;
    };
    let mut console = BufReader::new(qemu.stdout.take().unwrap()).lines();
    let pty = loop {
        let line = console.next().expect("QEMU names its pty").unwrap();
        if let Some(path) = line.strip_prefix("char device redirected to ").and_then(|rest| rest.split(' ').next()) {
            break path.to_owned();
        }
    };
    Some(Board { qemu, console, pty })
}

/// A verdict as the node's console says it; `firmware-profiles/firmware/mps2-an386/src/handlers.rs`.
fn on_the_console(document: &Value) -> String {
    let permille = (document["answer"]["confidence"].as_f64().unwrap() * 1000.0).round();
    format!("class={} confidence_permille={permille} certified={}", document["answer"]["index"], document["certified"])
}

/// `tests/run` builds the firmware and names it in `PICKET_FIRMWARE`.
#[test]
fn a_microcontroller_in_qemu_hears_the_model_s_own_answers() {
    let Ok(firmware) = std::env::var("PICKET_FIRMWARE") else {
        eprintln!("skipped: PICKET_FIRMWARE names no firmware; tests/run builds it");
        return;
    };
    let own: Vec<String> = own_documents().iter().map(on_the_console).collect();
    let Some(mut board) = board(&firmware) else { return };
    let _daemon = start(&[Path::new(&board.pty)], "");
    let (mut jobs, mut verdicts) = (BTreeMap::new(), BTreeMap::new());
    // Two rounds through the six cycles.
    while verdicts.len() < 12 {
        let line = board.console.next().expect("the node goes on").unwrap();
        println!("node: {line}");
        let words: BTreeMap<&str, &str> = line.split(' ').filter_map(|word| word.split_once('=')).collect();
        if line.starts_with("job ") {
            jobs.insert(words["seq"].to_owned(), words["cycle"].parse::<usize>().unwrap());
        } else if let Some((_, said)) = line.strip_prefix("verdict ").and_then(|rest| rest.split_once(" last=true ")) {
            assert_eq!(said, own[jobs[words["seq"]]], "{line}");
            assert_eq!(verdicts.insert(words["seq"].to_owned(), line.clone()), None, "one verdict each");
        }
    }
}

#[test]
fn mistakes_in_the_section_are_found_before_a_port_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let check = |section: &str| {
        let file = folder.path().join("picket.toml");
        let bundle = root().join("models").join(MODEL);
        let model = format!("[[model]]\nname = \"{MODEL}\"\nbundle = \"{}\"\n", bundle.display());
        let store = "[store]\npath = \"store\"\n";
        fs::write(&file, format!("[serial]\n{section}{model}{store}")).unwrap();
        let output = picket(&["check", "--config", file.to_str().unwrap()]);
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let port = "[[serial.port]]\npath = \"/dev/serial/by-id/none\"\n";
    for (section, message) in [
        ("".to_owned(), "`[[serial.port]]` is missing"),
        (format!("{port}boud = 9600\n"), "picket.toml:4:1: unknown key `boud`; did you mean `baud`?"),
        (format!("{port}baud = 1\n"), "picket.toml:4:8: `baud` is between"),
        (format!("{port}{port}"), "this port is there already"),
        (format!("rate = 0\n{port}"), "`rate` is 1 to 100000"),
        (
            format!("{port}[[serial.node]]\nprofile = \"hydraulic-rigg\"\nmodel = \"x\"\n"),
            "did you mean `hydraulic-rig`?",
        ),
        (format!("{port}[[serial.node]]\nid = \"0x386\"\nmodel = \"x\"\n"), "`0x386` is no node's id"),
        (format!("{port}[[serial.node]]\nid = \"386\"\n"), "needs `model`, `readings` or both"),
        (
            format!("{port}[[serial.node]]\nid = \"386\"\nmodel = \"hydraulic-pumb\"\n"),
            "picket.toml:6:9: unknown model `hydraulic-pumb`; did you mean `hydraulic-pump`?",
        ),
    ] {
        let (code, said) = check(&section);
        assert_eq!((code, said.contains(message)), (Some(78), true), "{section}\n{said}");
    }
    assert_eq!(check(port), (Some(0), String::new()));
}
