//! SIGKILL at random moments and at named points, under load, with a real broker that stays: whatever it took is answered.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use bytes::Bytes;
use picket_tests::{
    broker::Mosquitto,
    client::{Client, Job, PATIENCE},
    daemon::Daemon,
};
use rand::{Rng, SeedableRng, rngs::StdRng};

/// Jobs that are sent and not answered, at most.
const WINDOW: usize = 40;
const TOPIC: &str = "picket/v1/press-4/job/digits";
/// Points in a job's life; see `daemon/src/failpoint.rs`.
const POINTS: [&str; 9] = [
    "store-transact",
    "store-commit",
    "store-committed",
    "accepted",
    "inferred",
    "finish",
    "finished",
    "confirm",
    "run-loop",
];

fn config(port: u16) -> String {
    format!(
        "[device]\nid = \"press-4\"\n[mqtt]\nurl = \"mqtt://127.0.0.1:{port}\"\n\
         [[model]]\nname = \"digits\"\nbundle = \"{{models}}/digits\"\nqueue = 2000\ndeadline_ms = 600000\n"
    )
}

/// What was sent and what came back.
struct Audit {
    client: Client,
    sent: usize,
    answers: HashMap<String, Bytes>,
    duplicates: usize,
}

impl Audit {
    async fn send(&mut self) {
        let pixels: Vec<f32> = (0..64).map(|place| ((self.sent * 7 + place) % 17) as f32).collect();
        self.client.send(TOPIC, &Job::raw(&pixels).with("id", format!("kill-{}", self.sent))).await;
        self.sent += 1;
    }

    fn hear(&mut self, payload: &Bytes) {
        let document: serde_json::Value = serde_json::from_slice(payload).unwrap();
        assert!(document["error"].is_null(), "{document}");
        let id = document["id"].as_str().unwrap().to_owned();
        match self.answers.get(&id) {
            None => drop(self.answers.insert(id, payload.clone())),
            Some(before) => {
                assert_eq!(before, payload, "two results of {id}");
                self.duplicates += 1;
            }
        }
    }

    /// Keeps the window full until `until`.
    async fn load(&mut self, until: Instant) {
        while Instant::now() < until {
            while self.sent - self.answers.len() < WINDOW {
                self.send().await;
            }
            if let Ok(answer) = tokio::time::timeout_at(until.into(), self.client.answer()).await {
                self.hear(&answer.payload);
            }
        }
    }
}

#[tokio::test]
async fn whatever_the_broker_took_is_answered_however_often_the_daemon_is_killed() {
    let (seed, cycles) = (super::number("PICKET_KILL_SEED", 1), super::number("PICKET_KILL_CYCLES", 100));
    println!("seed {seed}; repeat with PICKET_KILL_SEED={seed} PICKET_KILL_CYCLES={cycles}");
    let mut dice = StdRng::seed_from_u64(seed);
    let broker = Mosquitto::start();
    let mut daemon = Daemon::start(&config(broker.port));
    let mut client = Client::connect(broker.port, &["picket/v1/press-4/state"]).await;
    client.wait_online("press-4").await;
    let mut audit = Audit { client, sent: 0, answers: HashMap::new(), duplicates: 0 };
    let mut at_points = 0;
    for _ in 0..cycles {
        audit.load(Instant::now() + Duration::from_millis(dice.random_range(5..250))).await;
        at_points += usize::from(!daemon.is_running());
        daemon.kill();
        let point = POINTS[dice.random_range(0..POINTS.len())];
        let failpoint = format!("{point}=kill:{}", dice.random_range(1..40));
        let environment: &[_] = if dice.random_bool(0.5) { &[("PICKET_FAILPOINT", failpoint.as_str())] } else { &[] };
        daemon.run_again(environment);
    }
    daemon.kill();
    daemon.run_again(&[]);
    while audit.answers.len() < audit.sent {
        let answer = tokio::time::timeout(PATIENCE, audit.client.answer()).await;
        let lost = audit.sent - audit.answers.len();
        audit.hear(&answer.unwrap_or_else(|_| panic!("seed {seed}: {lost} of {} jobs lost", audit.sent)).payload);
    }
    println!(
        "{cycles} kills, {at_points} of them at named points; {} jobs, 0 lost, {} delivered again",
        audit.sent, audit.duplicates
    );
}
