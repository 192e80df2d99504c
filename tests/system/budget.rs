//! What escalation may cost, and that no restart gives it back.

use picket_tests::{
    client::{Client, Job},
    daemon::Daemon,
    free_port, get, until_ready,
};
use serde_json::Value;

use crate::support::{DIGITS, digits, start};

const EVENT: &str = "picket/v1/press-4/event";

async fn status(port: u16) -> Value {
    let text = get(&format!("http://127.0.0.1:{port}/status")).await.unwrap().text().await.unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The reasons of so many digits, by whether they were doubtful.
async fn ask(client: &mut Client, name: &str) -> Vec<(bool, String)> {
    let mut reasons = Vec::new();
    for (number, (_, pixels)) in digits().iter().take(60).enumerate() {
        let answer = client.ask(DIGITS, &Job::raw(pixels).with("id", format!("{name}-{number}"))).await;
        let evidence = &answer["evidence"];
        let doubtful = evidence["s"].as_f64().unwrap() < evidence["lambda"].as_f64().unwrap();
        reasons.push((doubtful, answer["reason"].as_str().unwrap().to_owned()));
    }
    reasons
}

/// Five calls are paid for. The lottery wants all of them; whoever is killed meanwhile has spent what he has spent.
#[tokio::test]
async fn a_budget_is_never_overspent_whatever_becomes_of_the_process() {
    let (port, http) = (free_port(), free_port());
    let _upstream = Daemon::start(&format!(
        "[device]\nid = \"upstream\"\n[http]\nlisten = \"127.0.0.1:{port}\"\n\
         [[model]]\nname = \"digits-large\"\nbundle = \"{{models}}/digits-large\"\n"
    ));
    until_ready(port).await;
    let config = format!(
        "[http]\nlisten = \"127.0.0.1:{http}\"\n\
         [escalation]\nproviders = [\"hq\"]\naudit_rate = 1.0\nbudget = {{ money_per_day = 0.05 }}\n\
         [[provider]]\nname = \"hq\"\nkind = \"oip\"\nurl = \"http://127.0.0.1:{port}\"\nmodel = \"digits-large\"\n\
         cost = {{ call = 0.01 }}\n"
    );
    let (broker, mut daemon, mut client) = start(&config, &[]).await;
    let mut events = Client::connect(broker.port, &[EVENT]).await;
    ask(&mut client, "first").await;
    let gone = events.next_where(|heard| heard.json()["event"] == "budget-exhausted").await.json();
    assert_eq!((&gone["code"], &gone["of"][0]), (&"escalation/budget".into(), &"money".into()), "{gone}");

    daemon.kill();
    daemon.run_again(&[]);
    let again = ask(&mut client, "second").await;
    assert!(again.iter().any(|(doubtful, _)| *doubtful), "none of them was doubtful");
    for (doubtful, reason) in again {
        let expected = if doubtful { "LOCAL_UNCERTIFIED_BUDGET" } else { "LOCAL_CERTIFIED" };
        assert_eq!(reason, expected);
    }
    let asked = &status(port).await["jobs"]["accepted"];
    assert_eq!(asked, 5, "so many calls are paid for");
    let budget = &status(http).await["budget"];
    assert_eq!((&budget["money_left"], &budget["money_per_day"]), (&0.0.into(), &0.05.into()), "{budget}");
}
