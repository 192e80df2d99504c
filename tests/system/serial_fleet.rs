//! Many nodes at once, news of their ports over a real broker, and answers that are amended on the wire.

use std::{collections::BTreeMap, fs, mem::MaybeUninit, path::Path};

use firmware_profiles::{
    nodes::HYDRAULIC_RIG,
    wire::{NodeId, RejectCode},
};
use picket_core::limits;
use picket_tests::{
    broker::Mosquitto,
    client::Client,
    daemon::Daemon,
    free_port,
    node::{Node, Told, Trouble, all_until},
    pty::Pty,
    rig::{MODEL, ask, check, cycle, infer, metric, outcome, own_answers, section, start, until},
    until_ready,
};
use rustix::fs::inotify;
use serde_json::Value;

use crate::{
    escalation::{escalating_to, upstream},
    support::digits,
};

const JOBS: usize = 6;

#[test]
fn as_many_nodes_as_there_may_be_have_their_own_answers_and_one_more_waits() {
    assert_eq!(limits::NODES, limits::SERIAL_PORTS, "a port for each");
    let (folder, own) = (tempfile::tempdir().unwrap(), own_answers());
    let paths: Vec<_> = (0..limits::NODES).map(|number| folder.path().join(format!("port{number}"))).collect();
    let lines: Vec<Pty> = paths.iter().map(|path| Pty::plug(path)).collect();
    let paths: Vec<&Path> = paths.iter().map(AsRef::as_ref).collect();
    let daemon = start(&paths, "");
    let node = |(number, line)| Node::new(0x100 + number, 7, &HYDRAULIC_RIG, line, number);
    let mut nodes: Vec<Node> = (0..).zip(lines).map(node).collect();
    all_until(&mut nodes, "all welcome", |nodes| nodes.iter().all(Node::is_welcome));
    let mut asked = vec![BTreeMap::new(); nodes.len()];
    while asked.iter().any(|asked| asked.len() < JOBS) {
        for (number, (node, asked)) in nodes.iter_mut().zip(&mut asked).enumerate() {
            if node.has_room() && asked.len() < JOBS {
                // The first jobs of any two neighbours differ.
                let which = (number + asked.len()) % 6;
                asked.insert(node.job(MODEL, cycle(which)), which);
            }
        }
        nodes.iter_mut().for_each(Node::turn);
    }
    all_until(&mut nodes, "all verdicts", |nodes| {
        nodes.iter().all(|node| node.verdicts.len() == JOBS && node.under_way() == 0)
    });
    nodes.iter().zip(&asked).for_each(|(node, asked)| check(node, asked, &own));

    // Another chip in the first one's place: that one was there a moment ago, and its place is kept.
    let line = nodes.remove(0).into_line();
    let mut stranger = Node::new(0x200, 1, &HYDRAULIC_RIG, line, 17);
    stranger.until("a refusal", |node| !node.rejected.is_empty());
    assert_eq!(stranger.rejected.iter().map(|(_, code)| *code).collect::<Vec<_>>(), [RejectCode::BUSY]);
    assert!(!stranger.is_welcome());
    // The chip of before is none too many.
    let mut first = Node::new(0x100, 8, &HYDRAULIC_RIG, stranger.into_line(), 18);
    let asked = ask(&mut first, JOBS);
    first.until("all verdicts", |node| node.verdicts.len() == JOBS);
    check(&first, &asked, &own);
    assert!(!daemon.log().contains("panicked"));
}

/// The next event of a serial port: which, and of which port.
async fn event(client: &mut Client) -> (String, String) {
    let event =
        client.next_where(|heard| heard.json()["code"].as_str().is_some_and(|code| code.starts_with("serial/")));
    let event: Value = event.await.json();
    assert_eq!(event["code"].as_str().unwrap().replace('/', "-"), event["event"], "{event}");
    assert_eq!(event["why"].is_string(), event["event"] == "serial-lost", "{event}");
    (event["code"].as_str().unwrap().to_owned(), event["port"].as_str().unwrap().to_owned())
}

/// Waits until a file was opened so many times since the watch began.
fn opened(watch: &impl std::os::fd::AsFd, times: usize) {
    let mut buffer = [MaybeUninit::uninit(); 4_096];
    let mut reader = inotify::Reader::new(watch, &mut buffer);
    for _ in 0..times {
        assert!(reader.next().unwrap().events().contains(inotify::ReadFlags::OPEN));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn each_outage_of_a_port_is_told_once_and_so_is_its_end() {
    let own = own_answers();
    let (broker, folder) = (Mosquitto::start(), tempfile::tempdir().unwrap());
    let paths = ["one", "two"].map(|name| folder.path().join(name));
    let [line, _other] = paths.each_ref().map(|path| Pty::plug(path));
    let mqtt = format!("[mqtt]\nurl = \"mqtt://127.0.0.1:{}\"\n", broker.port);
    let _daemon = start(&[&paths[0], &paths[1]], &mqtt);
    let mut client = Client::connect(broker.port, &["picket/v1/press-4/state", "picket/v1/press-4/event"]).await;
    client.wait_online("press-4").await;
    let mut node = Node::new(0x386, 7, &HYDRAULIC_RIG, line, 1);
    let mut asked = ask(&mut node, 1);
    node.until("a verdict", |node| node.verdicts.len() == 1);
    let this_port = |code: &str| (code.to_owned(), paths[0].display().to_string());
    for outage in 1..=2 {
        node.unplug();
        // What stands there is no serial port, and is tried as one again and again.
        fs::write(&paths[0], "").unwrap();
        let watch = inotify::init(inotify::CreateFlags::CLOEXEC).unwrap();
        inotify::add_watch(&watch, &paths[0], inotify::WatchFlags::OPEN).unwrap();
        opened(&watch, 2);
        node.plug(Pty::plug(&paths[0]));
        // Nothing between them, and nothing of the first outage after its end.
        assert_eq!(event(&mut client).await, this_port("serial/lost"), "outage {outage}");
        assert_eq!(event(&mut client).await, this_port("serial/back"), "outage {outage}");
        asked.extend(ask(&mut node, 1));
        node.until("another verdict", |node| node.verdicts.len() == asked.len());
    }
    assert!(asked.values().all(|cycle| *cycle == 0));
    check(&node, &asked, &own);
    // One more, so that a word too many of the second would have come before it.
    node.unplug();
    assert_eq!(event(&mut client).await, this_port("serial/lost"));
}

/// Digits that the small model is not certain of, and that the large one reads otherwise: with both models' answers.
fn contested(most: usize) -> Vec<(Vec<u8>, Value, Value)> {
    let bytes = |pixels: Vec<f32>| pixels.into_iter().flat_map(f32::to_le_bytes).collect();
    let inputs: Vec<Vec<u8>> = digits().into_iter().map(|(_, pixels)| bytes(pixels)).collect();
    let [small, large] = ["digits", "digits-large"].map(|model| infer(model, inputs.iter().map(Vec::as_slice)));
    let all = inputs.into_iter().zip(small.into_iter().zip(large)).map(|(input, (small, large))| (input, small, large));
    all.filter(|(_, small, large)| small["certified"] == false && small["answer"]["label"] != large["answer"]["label"])
        .take(most)
        .collect()
}

#[test]
fn a_node_is_told_at_once_and_told_better_when_the_upstream_is_there_each_once() {
    let seed = 20_269;
    println!("seed {seed}");
    let contested = contested(6);
    assert!(contested.len() > 2, "{} digits are contested", contested.len());
    let (folder, http, far) = (tempfile::tempdir().unwrap(), free_port(), free_port());
    let path = folder.path().join("port");
    let line = Pty::plug(&path);
    let _daemon = Daemon::start(&format!(
        "[device]\nid = \"press-4\"\n{}[http]\nlisten = \"127.0.0.1:{http}\"\n\
         [[model]]\nname = \"digits\"\nbundle = \"{{models}}/digits\"\nanswer = \"amend\"\n{}",
        section(&[&path]),
        escalating_to(far)
    ));
    let mut node = Node::new(0x386, 7, &HYDRAULIC_RIG, line, seed);
    node.trouble(Trouble { lost: 0.1, doubled: 0.3, ..Trouble::default() });
    let mut jobs = Vec::new();
    for (input, ..) in &contested {
        node.until("room for a job", Node::has_room);
        jobs.push(node.job("digits", input));
    }
    node.until("the own answers", |node| node.verdicts.len() == jobs.len() && node.under_way() == 0);
    let first = |small: &Value| Told { revision: 1, last: false, outcome: outcome(small) };
    for (seq, (_, small, _)) in jobs.iter().zip(&contested) {
        assert_eq!(node.verdicts[seq], [first(small)], "{}", NodeId(0x386));
    }

    let _upstream = upstream(far);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(until_ready(far));
    node.until("the amendments", |node| node.verdicts.values().all(|told| told.len() > 1));
    until(|| {
        node.turn();
        metric(http, "picket_outbox_rows") == 0.0
    });
    for (seq, (_, small, large)) in jobs.iter().zip(&contested) {
        let [own, amended] = node.verdicts[seq].as_slice() else { panic!("{:?}", node.verdicts[seq]) };
        assert_eq!(*own, first(small));
        // What upstream says stands under no certificate here.
        let mut large = large.clone();
        large["certified"] = false.into();
        assert_eq!(*amended, Told { revision: 2, last: true, outcome: outcome(&large) });
    }
    assert_eq!(metric(http, "picket_dropped_total{reason=\"undeliverable\"}"), 0.0);
}
