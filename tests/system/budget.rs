//! What escalation may cost, and that no restart gives it back.

use picket_tests::{
    broker::Mosquitto,
    client::{Client, Job},
    daemon::Daemon,
    free_port, get, until_ready,
};
use serde_json::Value;

use crate::{
    explain::explained,
    support::{DIGITS, config, digits, start},
};

const EVENT: &str = "picket/v1/press-4/event";

async fn status(port: u16) -> Value {
    let text = get(&format!("http://127.0.0.1:{port}/status")).await.unwrap().text().await.unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The reasons of so many digits, by whether they were doubtful.
async fn ask(client: &mut Client, name: &str) -> Vec<(bool, String)> {
    let mut reasons = Vec::new();
    for (number, (_, pixels)) in digits().iter().take(60).enumerate() {
        let id = format!("{name}-{number}");
        client.send(DIGITS, &Job::raw(pixels).with("id", &id)).await;
        // After a kill, results that nobody had confirmed come once more.
        let answer = client.next_where(|heard| heard.json()["id"] == *id).await.json();
        let evidence = &answer["evidence"];
        let doubtful = evidence["s"].as_f64().unwrap() < evidence["lambda"].as_f64().unwrap();
        reasons.push((doubtful, answer["reason"].as_str().unwrap().to_owned()));
    }
    reasons
}

fn upstream(port: u16) -> Daemon {
    Daemon::start(&format!(
        "[device]\nid = \"upstream\"\n[http]\nlisten = \"127.0.0.1:{port}\"\n\
         [[model]]\nname = \"digits-large\"\nbundle = \"{{models}}/digits-large\"\n"
    ))
}

fn asking(port: u16, http: u16, budget: &str) -> String {
    format!(
        "[http]\nlisten = \"127.0.0.1:{http}\"\n\
         [escalation]\nproviders = [\"hq\"]\naudit_rate = 0.0\nbudget = {{ {budget} }}\n\
         [[provider]]\nname = \"hq\"\nkind = \"oip\"\nurl = \"http://127.0.0.1:{port}\"\nmodel = \"digits-large\"\n\
         cost = {{ call = 0.01 }}\n"
    )
}

async fn spent(port: u16) -> f64 {
    status(port).await["budget"]["money_today"].as_f64().unwrap()
}

/// Enough for every doubtful one of so few: what matters is that each is paid once, and stays paid.
#[tokio::test]
async fn what_was_spent_stays_spent_whatever_becomes_of_the_process() {
    let (port, http) = (free_port(), free_port());
    let _upstream = upstream(port);
    until_ready(port).await;
    let (_broker, mut daemon, mut client) = start(&asking(port, http, "money_per_day = 5000.0"), &[]).await;
    let first = ask(&mut client, "first").await;
    let doubtful = first.iter().filter(|(doubtful, _)| *doubtful).count();
    assert!(doubtful > 0, "none of them was doubtful");
    let before = spent(http).await;
    assert!((before - 0.01 * doubtful as f64).abs() < 1e-9, "{before} for {doubtful} calls");

    daemon.kill();
    daemon.run_again(&[]);
    until_ready(http).await;
    assert!((spent(http).await - before).abs() < 1e-9, "a restart gave something back");
    let again = ask(&mut client, "second").await;
    assert_eq!(again, first);
    let asked = status(port).await["jobs"]["accepted"].as_u64().unwrap();
    assert_eq!(asked, 2 * doubtful as u64);
    assert!((spent(http).await - 0.01 * asked as f64).abs() < 1e-9, "{asked} calls");

    // Who cannot read any more what was spent, spends nothing.
    daemon.kill();
    let ledger = daemon.folder.path().join("store/ledger.jsonl");
    let text = std::fs::read_to_string(&ledger).unwrap().replacen("first-", "other-", 1);
    std::fs::write(&ledger, text).unwrap();
    daemon.run_again(&[]);
    until_ready(http).await;
    for (doubtful, reason) in ask(&mut client, "third").await {
        let expected = if doubtful { "LOCAL_UNCERTIFIED_BUDGET" } else { "LOCAL_CERTIFIED" };
        assert_eq!(reason, expected, "{}", daemon.log());
    }
    assert_eq!(status(port).await["jobs"]["accepted"], asked, "nothing was left to spend");
    assert!(daemon.log().contains("escalation/budget"), "{}", daemon.log());
}

#[tokio::test]
async fn a_budget_that_is_too_small_for_one_call_pays_for_none() {
    let (port, http) = (free_port(), free_port());
    let _upstream = upstream(port);
    until_ready(port).await;
    let (_broker, daemon, mut client) = start(&asking(port, http, "money_per_day = 0.009"), &[]).await;
    let answers = ask(&mut client, "poor").await;
    let first = answers.iter().position(|(doubtful, _)| *doubtful).expect("some of them are doubtful");
    for (doubtful, reason) in answers {
        let expected = if doubtful { "LOCAL_UNCERTIFIED_BUDGET" } else { "LOCAL_CERTIFIED" };
        assert_eq!(reason, expected);
    }
    assert_eq!(status(port).await["jobs"]["accepted"], 0);
    let told = explained(&daemon, &format!("poor-{first}"));
    let why = "hq costs up to 0.01 a call, and so much is not left of the budget";
    assert!(told.contains("LOCAL_UNCERTIFIED_BUDGET") && told.contains(why), "{told}");
}

#[tokio::test]
async fn that_nothing_is_left_is_said() {
    let (port, http) = (free_port(), free_port());
    let broker = Mosquitto::start();
    let mut events = Client::connect(broker.port, &[EVENT]).await;
    let _daemon = Daemon::start(&config(broker.port, &asking(port, http, "calls_per_hour = 0")));
    let gone = events.next_where(|heard| heard.json()["event"] == "budget-exhausted").await.json();
    assert_eq!((&gone["code"], &gone["of"][0]), (&"escalation/budget".into(), &"calls".into()), "{gone}");
}
