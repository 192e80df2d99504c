//! Every decision is written down, told in words, and made again.

use std::process::Output;

use picket_tests::{
    client::{Client, Job},
    daemon::{Daemon, picket},
    free_port, until_ready,
};
use serde_json::Value;

use crate::{
    escalation::{escalating_to, upstream},
    support::{DIGITS, digits, start},
};

fn text(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    out.into_owned()
}

fn store(daemon: &Daemon) -> String {
    daemon.folder.path().join("store").to_str().unwrap().to_owned()
}

/// Records are written without anybody waiting for them: asks until it is there.
pub fn explained(daemon: &Daemon, id: &str) -> String {
    let end = std::time::Instant::now() + picket_tests::client::PATIENCE;
    loop {
        let output = picket(&["explain", id, "--store", &store(daemon)]);
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        let is_whole = output.status.success()
            && !["not in the log", "in the log yet", "outcome unknown"].iter().any(|open| told.contains(open));
        if is_whole {
            return told;
        }
        assert!(std::time::Instant::now() < end, "{told}{}", String::from_utf8_lossy(&output.stderr));
    }
}

fn stop(daemon: &mut Daemon) {
    daemon.terminate();
    daemon.wait(std::time::Duration::from_secs(20));
}

#[tokio::test]
async fn a_certified_and_an_escalated_answer_are_explained_and_replayed() {
    let port = free_port();
    let _upstream = upstream(port);
    until_ready(port).await;
    let (_broker, mut daemon, mut client) = start(&escalating_to(port), &[]).await;
    let mut ids = std::collections::BTreeMap::new();
    for (number, (_, pixels)) in digits().iter().take(120).enumerate() {
        let id = format!("x-{number}");
        let answer = client.ask(DIGITS, &Job::raw(pixels).with("id", &id)).await;
        let corrected = answer["source"] == "hq" && answer["answer"]["label"] != answer["evidence"]["local"]["label"];
        ids.insert((answer["reason"].as_str().unwrap().to_owned(), corrected), (id, answer));
    }
    // While the daemon runs.
    let (id, answer) = &ids[&("LOCAL_CERTIFIED".to_owned(), false)];
    let told = explained(&daemon, id);
    let label = answer["answer"]["label"].as_str().unwrap();
    assert!(told.contains(&format!("The local model said \"{label}\"")), "{told}");
    assert!(told.contains("LOCAL_CERTIFIED: The certificate covers this answer"), "{told}");
    assert!(told.contains("not below the threshold 0.7144, which was measured on 297 labelled cases"), "{told}");
    assert!(told.contains("at most 2 % of all requests get a wrong answer"), "{told}");
    assert!(told.contains("Nothing about this job left the device"), "{told}");

    let (id, answer) = &ids[&("ESC_BELOW_LAMBDA".to_owned(), true)];
    let told = explained(&daemon, id);
    let (local, given) = (&answer["evidence"]["local"]["label"], &answer["answer"]["label"]);
    assert!(told.contains(&format!("The local model said {local}")), "{told}");
    assert!(told.contains("ESC_BELOW_LAMBDA: The score was below the threshold"), "{told}");
    assert!(told.contains(&format!("hq (digits-large 1) said {given}")), "{told}");
    assert!(told.contains("the answer that went out (the local model was corrected)"), "{told}");
    assert!(told.contains("256 bytes left for hq: answered"), "{told}");

    // The published result tells most of it, too.
    let file = daemon.folder.path().join("result.json");
    std::fs::write(&file, answer.to_string()).unwrap();
    let of_result = text(&picket(&["explain", file.to_str().unwrap()]));
    assert!(of_result.contains("ESC_BELOW_LAMBDA: The score was below the threshold"), "{of_result}");
    assert!(of_result.contains(&format!("hq said {given}")), "{of_result}");

    let unknown = picket(&["explain", "nobody/1", "--store", &store(&daemon)]);
    let why = String::from_utf8_lossy(&unknown.stderr);
    assert!(!unknown.status.success() && why.starts_with("error[explain/unknown-job]: "), "{why}");

    stop(&mut daemon);
    let replayed: Value = serde_json::from_str(&text(&picket(&["replay", &store(&daemon), "--json"]))).unwrap();
    assert_eq!(replayed["decisions"], 120, "{replayed}");
    assert_eq!((&replayed["differing"], &replayed["unreadable"]), (&0.into(), &0.into()), "{replayed}");
    another_policy(&daemon);
}

/// What a threshold that nothing reaches would have done, and one that everything does.
fn another_policy(daemon: &Daemon) {
    let file = daemon.folder.path().join("policy.toml");
    let what_if = |policy: &str| -> Value {
        std::fs::write(&file, policy).unwrap();
        let output = picket(&["replay", &store(daemon), "--policy", file.to_str().unwrap(), "--json"]);
        serde_json::from_str(&text(&output)).unwrap()
    };
    let all = what_if("threshold = 1.0\n");
    assert_eq!((&all["after"]["jobs"], &all["after"]["certified"]), (&120.into(), &0.into()), "{all}");
    assert!(all["after"]["calls"].as_u64() > all["before"]["calls"].as_u64(), "{all}");
    let none = what_if("threshold = 0.0\n");
    assert_eq!((&none["after"]["calls"], &none["after"]["local"]), (&0.into(), &120.into()), "{none}");
    assert!(none["before"]["corrected"].as_u64() > Some(0), "{none}");
    assert_eq!(none["after"]["lost"], none["before"]["corrected"], "{none}");
}

#[tokio::test]
async fn an_amendment_and_a_refusal_are_explained() {
    let port = free_port();
    let _upstream = upstream(port);
    until_ready(port).await;
    let config = escalating_to(port).replace("[escalation]", "answer = \"amend\"\n[escalation]");
    let (broker, daemon, mut client) = start(&config, &[]).await;
    let mut listener = Client::connect(broker.port, &["picket/v1/press-4/amend/digits"]).await;
    let mut private = None;
    for (number, (_, pixels)) in digits().iter().enumerate() {
        let class = if number % 2 == 0 { "ok" } else { "never" };
        let id = format!("m-{number}");
        let answer = client.ask(DIGITS, &Job::raw(pixels).with("id", &id).with("privacy", class)).await;
        if answer["reason"] == "LOCAL_POLICY_NO_EGRESS" {
            private = Some(id);
        }
    }
    let amended = listener.next().await.json();
    let told = explained(&daemon, amended["id"].as_str().unwrap());
    assert!(told.contains("LOCAL_UNCERTIFIED_DEADLINE: "), "{told}");
    assert!(told.contains(&format!("hq (digits-large 1) said {}", amended["answer"]["label"])), "{told}");
    assert!(told.contains("revision 2 amends the answer"), "{told}");

    let told = explained(&daemon, &private.expect("some of the private ones were doubtful"));
    assert!(told.contains("LOCAL_POLICY_NO_EGRESS: The answer was doubtful, but this job must not leave"), "{told}");
    assert!(told.contains("its privacy class is `never`"), "{told}");
    assert!(told.contains("Nothing about this job left the device"), "{told}");
}

#[tokio::test]
async fn a_log_that_is_switched_off_says_so() {
    let (_broker, daemon, mut client) = start("[decisions]\nmax = \"off\"\n", &[]).await;
    let (_, pixels) = &digits()[0];
    client.ask(DIGITS, &Job::raw(pixels).with("id", "o-1")).await;
    let none = picket(&["explain", "o-1", "--store", &store(&daemon)]);
    let why = String::from_utf8_lossy(&none.stderr);
    assert!(!none.status.success() && why.starts_with("error[decisions/none]: "), "{why}");
}
