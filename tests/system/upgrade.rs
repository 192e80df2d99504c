//! Two versions, one store: what an older one has left is finished, what a newer one has left is not touched.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use ::redb::{Database, TableDefinition};
use picket_tests::{
    broker::Mosquitto,
    client::{Client, Job, PATIENCE},
    daemon::{Daemon, picket},
    free_port, get, until,
};
use serde_json::Value;

use crate::support::{DIGITS, config, digits};

const META: TableDefinition<'static, &'static str, &'static [u8]> = TableDefinition::new("meta");
const STATE: &str = "picket/v1/press-4/state";

fn file_of(daemon: &Daemon) -> PathBuf {
    daemon.folder.path().join("store/picket.redb")
}

/// As the store writes it: the number, and its CRC-32.
fn set_schema(file: &Path, version: u8) {
    let db = Database::open(file).unwrap();
    let mut transaction = db.begin_write().unwrap();
    transaction.set_quick_repair(true);
    let mut value = vec![version];
    value.extend_from_slice(&crc32fast::hash(&[version]).to_le_bytes());
    transaction.open_table(META).unwrap().insert("schema", value.as_slice()).unwrap();
    transaction.commit().unwrap();
}

fn job(id: &str) -> Job {
    Job::raw(&digits()[0].1).with("id", id).with("deadline-ms", "600000")
}

#[tokio::test]
async fn an_upgrade_that_is_killed_again_and_again_finishes_what_the_older_version_has_left() {
    let broker = Mosquitto::start();
    let http = free_port();
    let face = format!("confirm = \"receipt\"\n[http]\nlisten = \"127.0.0.1:{http}\"\n[[model]]");
    let receipts = config(broker.port, "workers = 1").replace("[[model]]", &face);
    let mut daemon = Daemon::start_with(&receipts, &[("PICKET_FAILPOINT", "poison=on")]);
    let mut client = Client::connect(broker.port, &[STATE]).await;
    client.wait_online("press-4").await;
    // A result that nobody has confirmed, a job that is running, and jobs that wait behind it.
    client.send(DIGITS, &job("finished")).await;
    let first = client.answer().await;
    assert_eq!(first.json()["id"], "finished");
    client.send(DIGITS, &job("poison-hang-1")).await;
    for id in ["waits-1", "waits-2"] {
        client.send(DIGITS, &job(id)).await;
    }
    let accepted = || async {
        let status = get(&format!("http://127.0.0.1:{http}/status")).await.unwrap().bytes().await.unwrap();
        let status: Value = serde_json::from_slice(&status).unwrap();
        status["jobs"]["accepted"] == 4
    };
    until("all is accepted", accepted).await;
    daemon.kill();
    set_schema(&file_of(&daemon), 1);

    for failpoint in ["store-migrate=kill", "store-migrate=kill", "store-migrated=kill"] {
        daemon.run_again(&[("PICKET_FAILPOINT", failpoint)]);
        assert!(!daemon.wait(PATIENCE).success(), "{failpoint}");
    }
    daemon.run_again(&[]);
    let mut answers = BTreeMap::new();
    while answers.len() < 4 {
        let answer = client.answer().await;
        let id = answer.json()["id"].as_str().unwrap().to_owned();
        assert!(answer.json()["error"].is_null(), "{:?}", answer.json());
        answers.insert(id, answer.payload);
    }
    let ids: Vec<&str> = answers.keys().map(String::as_str).collect();
    assert_eq!(ids, ["finished", "poison-hang-1", "waits-1", "waits-2"]);
    assert_eq!(answers["finished"], first.payload, "the stored bytes, always");
}

#[tokio::test]
async fn a_store_of_a_newer_version_is_refused_with_a_code_that_is_not_tried_again() {
    let broker = Mosquitto::start();
    let mut daemon = Daemon::start(&config(broker.port, ""));
    let mut client = Client::connect(broker.port, &[STATE]).await;
    client.wait_online("press-4").await;
    client.send(DIGITS, &job("finished")).await;
    client.answer().await;
    daemon.terminate();
    assert!(daemon.wait(Duration::from_secs(20)).success());
    let file = file_of(&daemon);
    set_schema(&file, 99);
    let (before, names) = (fs::read(&file).unwrap(), names(&daemon));

    let config = daemon.folder.path().join("picket.toml");
    for command in [&["run"][..], &["dead", "list"]] {
        let output = picket(&[command, &["--config", config.to_str().unwrap()]].concat());
        let said = String::from_utf8(output.stderr).unwrap();
        let last = said.lines().last().unwrap();
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(last.starts_with("error[store/newer-version]: ") && last.contains("schema 99"), "{said}");
        assert!(last.contains("install that version again"), "what to do: {said}");
    }
    assert!(fs::read(&file).unwrap() == before, "not a byte of it is changed");
    assert_eq!(self::names(&daemon), names, "nothing is moved aside");

    // Back to the version that wrote it.
    set_schema(&file, 2);
    daemon.run_again(&[]);
    client.wait_online("press-4").await;
    client.send(DIGITS, &job("finished")).await;
    assert_eq!(client.answer().await.json()["id"], "finished");
}

fn names(daemon: &Daemon) -> Vec<String> {
    let folder = fs::read_dir(daemon.folder.path().join("store")).unwrap();
    let mut names: Vec<String> =
        folder.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
