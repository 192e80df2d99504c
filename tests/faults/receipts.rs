//! Receipt mode, for those who cannot trust their broker's memory.

use picket_tests::{
    broker::Mosquitto,
    client::{Client, Job},
};

use crate::support::{DIGITS, Picket, pixels};

const STATE: &str = "picket/v1/press-4/state";
const RECEIPT: &str = "picket/v1/press-4/receipt";

fn job() -> Job {
    Job { payload: pixels().into(), content_type: Some("application/octet-stream"), ..Job::default() }
}

/// Row 8: the broker acknowledged the result and died before anybody had it.
#[tokio::test]
async fn a_result_that_the_broker_forgot_is_sent_again_until_its_receipt() {
    let mut broker = Mosquitto::start();
    let mut picket = Picket::start(broker.port, "confirm = \"receipt\"");
    let mut client = Client::connect(broker.port, &[STATE]).await;
    client.wait_online("press-4").await;
    client.send(DIGITS, &job().with("id", "forgotten")).await;
    let first = client.answer().await;
    picket.until_status("the broker has acknowledged it", |status| status["outbox_rows"] == 1).await;
    // No receipt, the broker forgets everything, and the daemon dies on top of it.
    let topic = first.topic.clone();
    drop(client);
    picket.daemon.kill();
    broker.kill();
    broker.run();
    let mut consumer = Client::connect(broker.port, &[&topic]).await;
    picket.daemon.run_again(&[]);
    let again = consumer.next_where(|message| message.topic == topic).await;
    assert_eq!(again.payload, first.payload, "the stored bytes, always");
    consumer.publish(RECEIPT, "forgotten").await;
    picket.until_status("the receipt has come", |status| status["outbox_rows"] == 0).await;
}

/// Anything may be published on the receipt topic.
#[tokio::test]
async fn a_receipt_for_nothing_changes_nothing() {
    let broker = Mosquitto::start();
    let picket = Picket::start(broker.port, "confirm = \"receipt\"");
    let mut client = Client::connect(broker.port, &[STATE]).await;
    client.wait_online("press-4").await;
    for nonsense in ["", "no such job", "no-such-job", "\u{0}\u{1}"] {
        client.publish(RECEIPT, nonsense).await;
    }
    client.send(DIGITS, &job().with("id", "kept")).await;
    client.answer().await;
    assert_eq!(picket.status().await["outbox_rows"], 1, "no receipt for this one yet");
    client.publish(RECEIPT, "kept").await;
    picket.until_status("the receipt has come", |status| status["outbox_rows"] == 0).await;
}
