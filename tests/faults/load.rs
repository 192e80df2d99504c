//! More than somebody can take.

use std::collections::BTreeMap;

use bytes::Bytes;
use picket::telemetry::peak_rss_kib;
use picket_tests::{
    broker::Mosquitto,
    client::{Client, Job},
    fake_broker::FakeBroker,
    free_port,
};
use rumqttc::Packet;
use serde_json::Value;

use crate::support::{Answers, DIGITS, NEW, Picket, RESUMED, digit, pixels};

/// Row 17: more jobs at once than the queue takes.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_burst_of_jobs_is_answered_or_shed_and_takes_no_more_memory() {
    const JOBS: usize = 10_000;
    let broker = Mosquitto::start_with(free_port(), "max_queued_messages 0");
    let picket = Picket::start_with_queue(broker.port, "", 64);
    let mut client = Client::connect(broker.port, &["picket/v1/press-4/state"]).await;
    client.wait_online("press-4").await;
    let values: Vec<f32> = pixels().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    let mut heard: BTreeMap<String, u32> = BTreeMap::new();
    let mut shed = 0;
    for number in 0..JOBS {
        client.send(DIGITS, &Job::raw(&values).with("id", format!("burst-{number}"))).await;
    }
    while heard.len() < JOBS {
        let answer: Value = client.answer().await.json();
        match answer["error"]["code"].as_str() {
            None => {}
            Some("job/shed") => shed += 1,
            Some(other) => panic!("{other}: {answer}"),
        }
        *heard.entry(answer["id"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    assert!(heard.values().all(|times| *times == 1), "each job once");
    println!("{shed} of {JOBS} were shed");
    let peak = peak_rss_kib(Some(picket.daemon.pid())).unwrap();
    assert!(peak < 200 * 1024, "{peak} KiB");
    picket.until_status("all is confirmed", |status| status["outbox_rows"] == 0).await;
}

/// Rows 4 and 18: the broker reads nothing, so writes block and every channel towards it fills up.
#[tokio::test]
async fn a_broker_that_reads_nothing_stops_neither_the_daemon_nor_a_result() {
    const JOBS: usize = 400;
    let broker = FakeBroker::start_narrow().await;
    let picket = Picket::start(broker.port, "keep_alive_s = 1");
    let mut link = broker.welcome(NEW).await;
    // Results carry their correlation data, so these are too large for all the buffers on the way.
    let correlation = Bytes::from(vec![b'c'; 40_000]);
    let id = |number: usize| format!("blocked-{number}");
    for number in 0..JOBS {
        let job = link.make_job(DIGITS, &id(number), digit(number % 50), Some(correlation.clone()));
        link.send(Packet::Publish(job)).await;
    }
    picket.until_logged("mqtt/stalled").await;
    let status = picket.status().await;
    assert!(status["outbox_rows"].as_u64().unwrap() > 10, "results wait in the outbox: {status}");
    drop(link);
    let mut answers = Answers::default();
    let mut link = broker.welcome(RESUMED).await;
    for number in 0..JOBS {
        while !answers.0.contains_key(&id(number)) {
            // What was acknowledged is not run again, what was not comes again from a broker.
            let job = link.make_job(DIGITS, &id(number), digit(number % 50), Some(correlation.clone()));
            link.send(Packet::Publish(job)).await;
            while !answers.0.contains_key(&id(number)) {
                let Some(result) = link.publish().await else {
                    link = broker.welcome(RESUMED).await;
                    break;
                };
                link.ack(result.pkid).await;
                answers.take(&result.payload);
            }
        }
    }
    let status = picket.status().await;
    assert_eq!(status["jobs"]["accepted"], JOBS, "each was run once: {status}");
}
