//! Jobs that take the process along: three deaths at most, then the job is answered with an error. Nobody else suffers.

use std::collections::HashMap;

use bytes::Bytes;
use picket_tests::{
    broker::Mosquitto,
    client::{Client, Job, PATIENCE},
    daemon::Daemon,
};
use tokio::time::{Duration, Instant, timeout};

const TOPIC: &str = "picket/v1/press-4/job/digits";
const POISON: (&str, &str) = ("PICKET_FAILPOINT", "poison=on");
/// Innocent jobs before the poison and behind it.
const AROUND: usize = 20;
/// What the allocator may have; the daemon needs a fraction of it.
const ADDRESS_SPACE_KIB: u64 = 1 << 20;
/// How often it is looked whether the daemon lives.
const LOOK: Duration = Duration::from_millis(20);

async fn deaths_by(action: &str) -> usize {
    let broker = Mosquitto::start();
    let mut daemon = Daemon::start_with(
        &format!(
            "[device]\nid = \"press-4\"\n[mqtt]\nurl = \"mqtt://127.0.0.1:{}\"\n\
             [[model]]\nname = \"digits\"\nbundle = \"{{models}}/digits\"\nqueue = 2000\ndeadline_ms = 600000\n",
            broker.port
        ),
        &[POISON],
    );
    let mut client = Client::connect(broker.port, &["picket/v1/press-4/state"]).await;
    client.wait_online("press-4").await;
    // Under its limit before anything poisonous is there.
    daemon.kill();
    daemon.address_space = Some(ADDRESS_SPACE_KIB);
    daemon.run_again(&[POISON]);
    let poison = format!("poison-{action}-1");
    let innocent = |number: usize| format!("innocent-{number}");
    let ids: Vec<String> =
        (0..AROUND).map(innocent).chain([poison.clone()]).chain((AROUND..2 * AROUND).map(innocent)).collect();
    for id in &ids {
        client.send(TOPIC, &Job::raw(&[3.0; 64]).with("id", id)).await;
    }

    let mut answers: HashMap<String, Bytes> = HashMap::new();
    let mut deaths = 0;
    let limit = Instant::now() + 3 * PATIENCE;
    while answers.len() < ids.len() {
        assert!(Instant::now() < limit, "{} of {} answers", answers.len(), ids.len());
        if let Ok(answer) = timeout(LOOK, client.answer()).await {
            let id = answer.json()["id"].as_str().unwrap().to_owned();
            let before = answers.insert(id.clone(), answer.payload.clone());
            assert!(before.is_none_or(|before| before == answer.payload), "two results of {id}");
        } else if !daemon.is_running() {
            deaths += 1;
            assert!(deaths <= 3, "the daemon dies again and again:\n{}", daemon.log());
            daemon.run_again(&[POISON]);
        }
    }
    for (id, answer) in &answers {
        let answer: serde_json::Value = serde_json::from_slice(answer).unwrap();
        let code = if *id == poison { "job/poison".into() } else { serde_json::Value::Null };
        assert_eq!(answer["error"]["code"], code, "{answer}");
    }
    assert!(daemon.is_running());
    deaths
}

#[tokio::test]
async fn a_job_that_aborts_the_process_does_so_three_times() {
    assert_eq!(deaths_by("abort").await, 3);
}

#[tokio::test]
async fn a_job_that_gets_the_process_killed_does_so_three_times() {
    assert_eq!(deaths_by("kill").await, 3);
}

#[tokio::test]
async fn a_job_that_takes_all_memory_does_so_three_times() {
    assert_eq!(deaths_by("oom").await, 3);
}
