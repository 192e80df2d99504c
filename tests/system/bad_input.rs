//! Bad input of any kind: a clear error with its stable code, counted, nothing lost, the daemon goes on.

use bytes::Bytes;
use picket_tests::{client::Job, free_port, get};
use serde_json::json;

use crate::support::{DIGITS, digits, request, start};

#[tokio::test]
async fn every_bad_job_gets_its_code_and_the_next_good_one_its_answer() {
    let http = free_port();
    let more = format!("[http]\nlisten = \"127.0.0.1:{http}\"\n");
    let (_broker, mut daemon, mut client) = start(&more, &["picket/v1/press-4/dead"]).await;
    let pixels = &digits()[0].1;
    let nan: Vec<f32> = (0..64).map(|i| if i == 5 { f32::NAN } else { 1.0 }).collect();
    let wrong_type =
        json!({ "inputs": [{ "name": "pixels", "shape": [1, 64], "datatype": "INT32", "data": vec![1; 64] }] });
    let text = |text: &str| Job { payload: Bytes::copy_from_slice(text.as_bytes()), ..Job::json(&json!({})) };
    let raw = |bytes: usize| Job { payload: vec![0u8; bytes].into(), ..Job::raw(&[]) };
    let jpeg = Job { content_type: Some("image/jpeg"), ..Job::raw(pixels) };
    let film = Job { content_type: Some("video/mp4"), ..Job::raw(pixels) };
    let cases = [
        ("a model that is not there", "picket/v1/press-4/job/nothing", Job::raw(pixels), "model/unknown"),
        ("one value too few", DIGITS, Job::raw(&pixels[..63]), "input/shape-mismatch"),
        ("another shape", DIGITS, Job::raw(pixels).with("shape", "8x8"), "input/shape-mismatch"),
        ("another type", DIGITS, Job::json(&wrong_type), "input/dtype-mismatch"),
        ("a type that the bytes are not", DIGITS, Job::raw(pixels).with("dtype", "INT32"), "input/dtype-mismatch"),
        ("broken JSON", DIGITS, text("{\"inputs\": ["), "input/undecodable"),
        ("JSON of something else", DIGITS, text("[1, 2, 3]"), "input/undecodable"),
        ("an empty tensor", DIGITS, raw(0), "input/undecodable"),
        ("empty JSON", DIGITS, text(""), "input/undecodable"),
        ("too large", DIGITS, raw((1 << 20) + 1), "input/too-large"),
        ("not a number", DIGITS, Job::raw(&nan), "input/non-finite"),
        ("no such content type", DIGITS, film, "input/undecodable"),
        ("an image where none is taken", DIGITS, jpeg, "input/dtype-mismatch"),
        ("a deadline before now", DIGITS, Job::raw(pixels).with("deadline-ms", "0.001"), "job/expired"),
        ("a priority beyond 9", DIGITS, Job::raw(pixels).with("priority", "10"), "job/invalid-option"),
        ("an id with a space", DIGITS, Job::raw(pixels).with("id", "a b"), "job/invalid-option"),
    ];
    for (what, topic, job, code) in cases {
        client.send(topic, &job).await;
        let answer = client.answer().await.json();
        assert_eq!(answer["error"]["code"], code, "{what}: {answer}");
        assert!(!answer["error"]["message"].as_str().unwrap().is_empty(), "{what}");

        let good = client.ask(DIGITS, &Job::json(&request(&format!("after {what}").replace(' ', "-"), pixels))).await;
        assert_eq!(good["answer"]["label"], "0", "after {what}: {good}");
    }
    assert!(daemon.is_running());

    let metrics = get(&format!("http://127.0.0.1:{http}/metrics")).await.unwrap().text().await.unwrap();
    for (model, code) in [("unknown", "model/unknown"), ("digits", "input/shape-mismatch"), ("digits", "job/expired")] {
        let line = format!("picket_jobs_total{{model=\"{model}\",outcome=\"{code}\"}}");
        assert!(metrics.contains(&line), "{line} is missing in\n{metrics}");
    }
}

#[tokio::test]
async fn an_error_says_what_was_wanted_and_its_dead_letter_what_came() {
    let (_broker, _daemon, mut client) = start("", &["picket/v1/press-4/dead"]).await;
    let pixels = &digits()[0].1;
    client.send(DIGITS, &Job::raw(&pixels[..63]).with("id", "d/1")).await;
    let error = client.answer().await.json();
    assert_eq!(error["id"], "d/1");
    assert_eq!((&error["error"]["want"], &error["error"]["got"]), (&json!("1x64 FP32"), &json!("1x63 FP32")));

    client.send(DIGITS, &Job::raw(&pixels[..62]).with("id", "d/2")).await;
    let fits =
        |id: &'static str| move |m: &picket_tests::client::Heard| m.topic.ends_with("/dead") && m.json()["id"] == id;
    let letter = client.next_where(fits("d/2")).await.json();
    assert_eq!(letter["error"]["code"], "input/shape-mismatch");
    assert_eq!(letter["input"]["bytes"], 62 * 4);
    assert!(letter["digest"].as_str().unwrap().starts_with("sha256:"));
}
