//! Jobs that are answered.

use std::{collections::BTreeMap, process::Command};

use picket_tests::{
    broker::Mosquitto,
    client::{Client, Job},
    daemon::Daemon,
    free_port, get, shared, until,
};
use serde_json::json;

use crate::support::{DIGITS, digits, request, start};

#[tokio::test]
async fn mosquitto_rr_gets_a_digit_right() {
    let (broker, _daemon, _client) = start("", &[]).await;
    let (label, pixels) = &digits()[0];
    let output = Command::new("mosquitto_rr")
        .args([
            "-V",
            "5",
            "-p",
            &broker.port.to_string(),
            "-q",
            "1",
            "-W",
            "20",
            "-t",
            DIGITS,
            "-e",
            "me/answers",
            "-m",
        ])
        .arg(request("press-4/1", pixels).to_string())
        .output()
        .unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["id"], "press-4/1");
    assert_eq!(answer["answer"]["label"], label.to_string());
    assert_eq!(answer["source"], "local");
    assert_eq!((&answer["reason"], &answer["certified"]), (&"LOCAL_CERTIFIED".into(), &true.into()));
    assert_eq!(answer["proven"], true);
    assert!(answer["timing_ms"]["total"].as_f64().unwrap() > 0.0);
}

#[tokio::test]
async fn a_raw_tensor_is_answered_with_its_correlation_data() {
    let (_broker, _daemon, mut client) = start("", &[]).await;
    let (label, pixels) = &digits()[1];
    let job = Job { correlation: Some(b"\x00\x07"), ..Job::raw(pixels).with("id", "a/1").with("outputs", "true") };
    client.send(DIGITS, &job).await;
    let heard = client.answer().await;
    assert_eq!(heard.correlation.as_deref(), Some(&b"\x00\x07"[..]));
    assert_eq!(heard.content_type.as_deref(), Some("application/json"));
    let answer = heard.json();
    assert_eq!(answer["answer"]["label"], label.to_string());
    assert_eq!(answer["outputs"][0]["shape"], json!([1, 10]));
}

#[tokio::test]
async fn clients_without_mqtt_5_name_their_reply_in_json() {
    let (_broker, _daemon, mut client) = start("", &["my/answers", "picket/v1/press-4/result/digits"]).await;
    let (label, pixels) = &digits()[2];
    let mut document = request("b/1", pixels);
    document["reply_to"] = "my/answers".into();
    let plain = Job { content_type: None, no_response_topic: true, ..Job::json(&document) };
    client.send(DIGITS, &plain).await;
    let heard = client.next_where(|message| message.topic == "my/answers").await;
    assert_eq!(heard.json()["answer"]["label"], label.to_string());

    let nowhere = Job { content_type: None, no_response_topic: true, ..Job::json(&request("b/2", pixels)) };
    client.send(DIGITS, &nowhere).await;
    let heard = client.next_where(|message| message.topic == "picket/v1/press-4/result/digits").await;
    assert_eq!(heard.json()["id"], "b/2");
}

#[tokio::test]
async fn a_known_job_is_not_run_again_but_its_result_comes_again() {
    let http = free_port();
    let (_broker, _daemon, mut client) = start(&format!("[http]\nlisten = \"127.0.0.1:{http}\"\n"), &[]).await;
    let (_, pixels) = &digits()[3];
    let job = Job::json(&request("c/1", pixels));
    client.send(DIGITS, &job).await;
    let first = client.answer().await;
    // While the result is not confirmed, a repetition adds nothing: it is on its way already.
    let url = format!("http://127.0.0.1:{http}/status");
    let confirmed = || async {
        let status = get(&url).await.unwrap().text().await.unwrap();
        serde_json::from_str::<serde_json::Value>(&status).unwrap()["outbox_rows"] == 0
    };
    until("the result is confirmed", confirmed).await;
    client.send(DIGITS, &job).await;
    let second = client.answer().await;
    assert_eq!(first.payload, second.payload, "the stored bytes are what is sent, always");

    let other = client.ask(DIGITS, &Job::json(&request("c/1", &digits()[4].1))).await;
    assert_eq!(other["error"]["code"], "job/id-reused");
}

#[tokio::test]
async fn the_hydraulic_model_answers_real_cycles() {
    let Some(data) = shared("data/ts-hydraulic") else { return };
    let more = "[[model]]\nname = \"pump\"\nbundle = \"{models}/hydraulic-pump\"\n";
    let (_broker, _daemon, mut client) = start(more, &[]).await;
    let read = |name: &str| -> Vec<Vec<f32>> {
        let text = std::fs::read_to_string(data.join(format!("{name}.txt"))).unwrap();
        let numbers = |line: &str| line.split_whitespace().map(|n| n.parse().unwrap()).collect();
        text.lines().map(numbers).collect()
    };
    let sensors = ["TS1", "TS2", "TS3", "TS4", "VS1", "CE", "CP", "SE"].map(read);
    let conditions = read("profile");
    let (mut right, mut asked) = (0, 0);
    for cycle in (0..conditions.len()).step_by(21) {
        let values: Vec<f32> = sensors.iter().flat_map(|sensor| sensor[cycle].clone()).collect();
        let job = Job::raw(&values).with("id", format!("cycle-{cycle}"));
        let answer = client.ask("picket/v1/press-4/job/pump", &job).await;
        let want = ["none", "weak", "severe"][conditions[cycle][2] as usize];
        asked += 1;
        right += usize::from(answer["answer"]["label"] == want);
    }
    assert!(asked >= 100 && right * 100 >= asked * 97, "{right} of {asked} cycles right");
}

#[tokio::test]
async fn a_group_shares_its_jobs() {
    let broker = Mosquitto::start();
    let member = |device: &str| {
        Daemon::start(&format!(
            "[device]\nid = \"{device}\"\ngroup = \"line-2\"\n[mqtt]\nurl = \"mqtt://127.0.0.1:{}\"\n\
             [[model]]\nname = \"digits\"\nbundle = \"{{models}}/digits\"\n",
            broker.port
        ))
    };
    let (_one, _two) = (member("one"), member("two"));
    let mut client = Client::connect(broker.port, &["picket/v1/+/state"]).await;
    client.wait_online("one").await;
    // The retained state of the other may have come before.
    let mut other = Client::connect(broker.port, &["picket/v1/two/state"]).await;
    other.wait_online("two").await;

    let jobs = 40;
    for (number, (_, pixels)) in digits().iter().take(jobs).enumerate() {
        let job = Job::raw(pixels).with("id", format!("shared-{number}"));
        client.send("picket/v1/group/line-2/job/digits", &job).await;
    }
    let mut answers: BTreeMap<String, usize> = BTreeMap::new();
    while answers.len() < jobs {
        let answer = client.answer().await.json();
        *answers.entry(answer["id"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    assert!(answers.values().all(|count| *count == 1), "each job is answered by one of the group: {answers:?}");
}
