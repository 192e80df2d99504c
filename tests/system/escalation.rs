//! Doubtful answers are asked again upstream: the same daemon over the Open Inference Protocol.

use picket_tests::{
    client::{Client, Job},
    daemon::Daemon,
    free_port, get, until_ready,
};

use crate::support::{DIGITS, digits, start};

pub fn upstream(port: u16) -> Daemon {
    Daemon::start(&format!(
        "[device]\nid = \"upstream\"\n[http]\nlisten = \"127.0.0.1:{port}\"\n\
         [[model]]\nname = \"digits-large\"\nbundle = \"{{models}}/digits-large\"\n"
    ))
}

pub fn escalating_to(port: u16) -> String {
    format!(
        "[escalation]\nproviders = [\"hq\"]\naudit_rate = 0.0\n[[provider]]\nname = \"hq\"\nkind = \"oip\"\n\
         url = \"http://127.0.0.1:{port}\"\nmodel = \"digits-large\"\n"
    )
}

#[tokio::test]
async fn exactly_the_doubtful_digits_are_asked_upstream() {
    let port = free_port();
    let _upstream = upstream(port);
    until_ready(port).await;
    let (_broker, _daemon, mut client) = start(&escalating_to(port), &[]).await;
    let (mut escalated, mut right, digits) = (0, 0, digits());
    for (number, (label, pixels)) in digits.iter().enumerate() {
        let answer = client.ask(DIGITS, &Job::raw(pixels).with("id", format!("e-{number}"))).await;
        let evidence = &answer["evidence"];
        let doubtful = evidence["s"].as_f64().unwrap() < evidence["lambda"].as_f64().unwrap();
        let (source, reason) = if doubtful { ("hq", "ESC_BELOW_LAMBDA") } else { ("local", "LOCAL_CERTIFIED") };
        assert_eq!((answer["source"].as_str(), answer["reason"].as_str()), (Some(source), Some(reason)), "{answer}");
        assert_eq!(answer["certified"], !doubtful, "{answer}");
        escalated += usize::from(doubtful);
        right += usize::from(answer["answer"]["label"].as_str() == Some(label.to_string().as_str()));
    }
    let share = escalated as f64 / digits.len() as f64;
    assert!((0.1..0.5).contains(&share), "{share} of the digits are doubtful");
    let accuracy = right as f64 / digits.len() as f64;
    assert!(accuracy > 0.96, "together they are right in {accuracy}");
    // I10: what is certified makes no call.
    let asked = get(&format!("http://127.0.0.1:{port}/status")).await.unwrap().text().await.unwrap();
    let status: serde_json::Value = serde_json::from_str(&asked).unwrap();
    assert_eq!(status["jobs"]["accepted"], escalated, "the upstream Picket heard of others");
}

/// Doubtful answers leave at once, and the upstream Picket's come later.
#[tokio::test]
async fn what_upstream_says_later_amends_the_answer() {
    let port = free_port();
    let _upstream = upstream(port);
    until_ready(port).await;
    let config = escalating_to(port).replace("[escalation]", "answer = \"amend\"\n[escalation]");
    let (broker, _daemon, mut client) = start(&config, &[]).await;
    let mut listener = Client::connect(broker.port, &["picket/v1/press-4/amend/digits"]).await;
    let mut open = std::collections::BTreeMap::new();
    for (number, (_, pixels)) in digits().iter().enumerate() {
        let answer = client.ask(DIGITS, &Job::raw(pixels).with("id", format!("l-{number}"))).await;
        assert_eq!(answer["source"], "local", "{answer}");
        assert_eq!(answer["final"], answer["certified"], "{answer}");
        open.insert(answer["id"].as_str().unwrap().to_owned(), answer);
    }
    let amended = listener.next().await.json();
    let first = &open[amended["id"].as_str().unwrap()];
    assert_eq!((&amended["revision"], &amended["source"]), (&2.into(), &"hq".into()), "{amended}");
    assert_eq!(amended["was"]["label"], first["answer"]["label"], "{amended}");
    assert_ne!(amended["answer"]["label"], first["answer"]["label"], "{amended}");
}

#[tokio::test]
async fn a_provider_that_is_away_never_blocks_the_local_answer() {
    let (_broker, _daemon, mut client) = start(&escalating_to(free_port()), &["picket/v1/press-4/event"]).await;
    let mut reasons = std::collections::BTreeMap::new();
    for (number, (_, pixels)) in digits().iter().take(100).enumerate() {
        let answer = client.ask(DIGITS, &Job::raw(pixels).with("id", format!("f-{number}"))).await;
        assert_eq!(answer["source"], "local");
        *reasons.entry(answer["reason"].as_str().unwrap().to_owned()).or_insert(0) += 1;
    }
    assert!(reasons.get("LOCAL_UNCERTIFIED_LINK").is_some_and(|n| *n > 10), "{reasons:?}");
    assert!(!reasons.contains_key("ESC_BELOW_LAMBDA"), "{reasons:?}");
}

/// Two frames of one part are one question, and the answer to the first is that to the second.
#[tokio::test]
async fn frames_of_the_same_part_are_asked_about_once() {
    let port = free_port();
    let _upstream = upstream(port);
    until_ready(port).await;
    let (_broker, _daemon, mut client) = start(&escalating_to(port), &[]).await;
    let mut doubtful = 0;
    for (number, (_, pixels)) in digits().iter().take(60).enumerate() {
        let frame = |eye: &str| {
            let job = Job::raw(pixels).with("id", format!("p-{number}-{eye}"));
            job.with("group-key", format!("part-{number}"))
        };
        let first = client.ask(DIGITS, &frame("left")).await;
        let second = client.ask(DIGITS, &frame("right")).await;
        assert_eq!(second["answer"]["label"], first["answer"]["label"], "{second}");
        assert_eq!(second["source"], first["source"], "{second}");
        let again = if first["reason"] == "ESC_BELOW_LAMBDA" { "LOCAL_DUPLICATE" } else { "LOCAL_CERTIFIED" };
        assert_eq!(second["reason"], again, "{second}");
        doubtful += usize::from(first["reason"] == "ESC_BELOW_LAMBDA");
    }
    assert!(doubtful > 0, "some of them were doubtful");
    let asked = get(&format!("http://127.0.0.1:{port}/status")).await.unwrap().text().await.unwrap();
    let status: serde_json::Value = serde_json::from_str(&asked).unwrap();
    assert_eq!(status["jobs"]["accepted"], doubtful, "each part once");
}

#[tokio::test]
async fn a_private_job_stays_here() {
    let port = free_port();
    let _upstream = upstream(port);
    until_ready(port).await;
    let (_broker, _daemon, mut client) = start(&escalating_to(port), &[]).await;
    let mut kept = 0;
    for (number, (_, pixels)) in digits().iter().take(60).enumerate() {
        let job = Job::raw(pixels).with("id", format!("g-{number}")).with("privacy", "never");
        let answer = client.ask(DIGITS, &job).await;
        assert_eq!(answer["source"], "local");
        kept += usize::from(answer["reason"] == "LOCAL_POLICY_NO_EGRESS");
    }
    assert!(kept > 0, "some of them were doubtful");
    let asked = get(&format!("http://127.0.0.1:{port}/status")).await.unwrap().text().await.unwrap();
    let status: serde_json::Value = serde_json::from_str(&asked).unwrap();
    assert_eq!(status["jobs"]["accepted"], 0, "the upstream Picket never heard of them");
}
