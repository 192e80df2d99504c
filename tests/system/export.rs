//! Cases that a provider has labelled become data, with the lottery's kept apart.

use std::collections::BTreeSet;

use picket_tests::{client::Job, daemon::picket, free_port, until_ready};
use serde_json::Value;

use crate::{
    escalation::{escalating_to, upstream},
    support::{DIGITS, digits, start},
};

fn rows(path: &std::path::Path) -> Vec<Value> {
    std::fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn what_was_escalated_is_trained_on_and_the_lottery_measures() {
    let port = free_port();
    let _upstream = upstream(port);
    until_ready(port).await;
    let config = escalating_to(port).replace("audit_rate = 0.0", "audit_rate = 0.5") + "[export]\nkeep = \"16MiB\"\n";
    let (_broker, mut daemon, mut client) = start(&config, &[]).await;
    let (mut drawn, mut escalated, mut pixels_of) =
        (BTreeSet::new(), BTreeSet::new(), std::collections::BTreeMap::new());
    for (number, (_, pixels)) in digits().iter().take(160).enumerate() {
        let id = format!("k-{number}");
        // Two frames of each part.
        let job = Job::raw(pixels).with("id", &id).with("group-key", format!("part-{}", number / 2));
        let answer = client.ask(DIGITS, &job).await;
        if answer["evidence"]["audit"] == true {
            drawn.insert(id.clone());
        } else if answer["source"] == "hq" {
            escalated.insert(id.clone());
        }
        pixels_of.insert(id, pixels.clone());
    }
    // Second opinions come when there is time: all of the lottery have one when nothing is open any more.
    let store = daemon.folder.path().join("store");
    let all = store.join("export/holdout");
    let end = std::time::Instant::now() + picket_tests::client::PATIENCE;
    while std::fs::read_dir(&all).map_or(0, Iterator::count) < drawn.len() {
        assert!(std::time::Instant::now() < end, "{} were drawn", drawn.len());
        tokio::task::yield_now().await;
    }
    daemon.terminate();
    daemon.wait(std::time::Duration::from_secs(20));

    let to = daemon.folder.path().join("data");
    let output = picket(&["export", to.to_str().unwrap(), "--store", store.to_str().unwrap(), "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let manifest: Value = serde_json::from_slice(&output.stdout).unwrap();
    let (train, holdout) = (rows(&to.join("train.jsonl")), rows(&to.join("holdout.jsonl")));
    assert_eq!(manifest["splits"]["train"]["rows"], train.len(), "{manifest}");
    assert!(!train.is_empty() && !holdout.is_empty(), "{manifest}");
    let mut parts = BTreeSet::new();
    for row in &holdout {
        assert!(drawn.contains(row["id"].as_str().unwrap()) && row["audit"] == true, "{row}");
        let pi = if row["reason"] == "ESC_AUDIT" { 0.5 } else { 1.0 };
        assert_eq!(row["pi"], pi, "{row}");
        parts.insert(row["group"].as_str().unwrap().to_owned());
    }
    for row in &train {
        assert!(escalated.contains(row["id"].as_str().unwrap()) && row["audit"] == false, "{row}");
        assert_eq!((&row["pi"], &row["reason"]), (&1.0.into(), &"ESC_BELOW_LAMBDA".into()), "{row}");
        assert!(parts.insert(row["group"].as_str().unwrap().to_owned()), "a second frame of one part: {row}");
    }
    let disagreements = train.iter().take_while(|row| row["agree"] == false).count();
    assert!(train[disagreements..].iter().all(|row| row["agree"] == true), "disagreements come first");
    for row in train.iter().chain(&holdout) {
        let bytes = std::fs::read(to.join(row["input"]["file"].as_str().unwrap())).unwrap();
        let pixels: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        assert_eq!(pixels, pixels_of[row["id"].as_str().unwrap()], "{row}");
        assert_eq!((&row["provider"], &row["provider_model"]), (&"hq".into(), &"digits-large 1".into()), "{row}");
    }
    let again = picket(&["export", to.to_str().unwrap(), "--store", store.to_str().unwrap()]);
    assert!(String::from_utf8_lossy(&again.stderr).starts_with("error[export/not-empty]: "));
}

#[test]
fn nothing_kept_says_which_key_to_set() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("data");
    let output = picket(&["export", to.to_str().unwrap(), "--store", folder.path().to_str().unwrap()]);
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && why.starts_with("error[export/nothing-kept]: "), "{why}");
    assert!(why.contains("[export] keep = \"256MiB\""), "{why}");
}
