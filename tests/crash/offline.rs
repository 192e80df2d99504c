//! A broker that was away for long: everything that waited leaves in order, live jobs are served meanwhile, memory is flat.

use std::{collections::BTreeSet, time::Instant};

use bytes::Bytes;
use picket::{
    config::OnFull,
    ports::{Message, Store, Write, Written},
    store::redb::RedbStore,
};
use picket_core::job::{JobId, Key};
use picket_tests::{
    broker::Mosquitto,
    client::{Client, Job},
    daemon::Daemon,
    free_port,
    script::{message, setup},
};

const ANSWERS: &str = "offline/answers";
const MIB: u64 = 1 << 20;

/// Results as a daemon without a broker leaves them.
fn fill(folder: &std::path::Path, rows: u64) {
    let mut store = RedbStore::open(setup(folder, 1 << 30, OnFull::Reject)).unwrap();
    store.recover();
    let numbers: Vec<u64> = (0..rows).collect();
    for group in numbers.chunks(500) {
        let refuse = |number: &u64| {
            let id = JobId::new(&format!("offline-{number}")).unwrap();
            let payload = format!(r#"{{"id":"{id}","number":{number},"rest":"{}"}}"#, "x".repeat(500));
            let mut row: Message = message(&id, Bytes::from(payload), true);
            row.to.to = ANSWERS.into();
            Write::Refuse { key: Key(*number), messages: vec![row] }
        };
        let written = store.transact(group.iter().map(refuse).collect());
        assert!(written.iter().all(|written| matches!(written, Written::Finished { .. })));
    }
}

/// Proportional set size, bytes.
fn pss(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = text.lines().find(|line| line.starts_with("Pss:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[tokio::test]
async fn what_waited_for_the_broker_leaves_in_order_while_live_jobs_are_answered() {
    let rows = super::number("PICKET_OFFLINE_ROWS", 20_000);
    let store = tempfile::tempdir().unwrap();
    fill(store.path(), rows);

    let broker = Mosquitto::start_with(free_port(), "max_queued_messages 1000000\nmax_inflight_messages 1000\n");
    let mut consumer = Client::connect(broker.port, &[ANSWERS]).await;
    let mut asker = Client::connect(broker.port, &["picket/v1/press-4/state"]).await;
    let begin = Instant::now();
    let daemon = Daemon::start(&format!(
        "[device]\nid = \"press-4\"\n[store]\npath = \"{}\"\nmax_bytes = \"1GiB\"\n[mqtt]\nurl = \"mqtt://127.0.0.1:{}\"\n\
         [[model]]\nname = \"digits\"\nbundle = \"{{models}}/digits\"\n",
        store.path().display(),
        broker.port
    ));
    asker.wait_online("press-4").await;
    let (mut heard, mut next, mut live, mut peak) = (BTreeSet::new(), 0, 0, pss(daemon.pid()));
    while heard.len() < usize::try_from(rows).unwrap() {
        let number = consumer.next_where(|message| message.topic == ANSWERS).await.json()["number"].as_u64().unwrap();
        if heard.insert(number) {
            assert_eq!(number, next, "out of order");
            next += 1;
        }
        if next % (rows / 10) == 0 && live < next / (rows / 10) {
            live += 1;
            peak = peak.max(pss(daemon.pid()));
            let job = Job::raw(&[0.0; 64]).with("id", format!("live-{live}"));
            asker.ask("picket/v1/press-4/job/digits", &job).await;
        }
    }
    let took = begin.elapsed();
    println!(
        "{rows} rows in {took:.1?} from the daemon's start, {live} live jobs answered meanwhile; PSS at most {:.1} MiB",
        peak as f64 / MIB as f64
    );
    assert!(peak < 64 * MIB, "{peak} bytes");
}
