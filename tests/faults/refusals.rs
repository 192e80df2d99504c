//! A broker that does not take what it is sent.

use picket_tests::fake_broker::Welcome;
use rumqttc::PubAckReason;
use serde_json::Value;

use crate::support::{DIGITS, NEW, digit, id_of, pixels, start, start_as};

/// Row 6.
#[tokio::test]
async fn a_broker_over_its_quota_gets_the_same_result_later() {
    let (_broker, picket, mut link) = start("").await;
    link.job(DIGITS, "quota", pixels()).await;
    let first = link.result().await;
    link.ack_with(first.pkid, PubAckReason::QuotaExceeded).await;
    let second = link.result().await;
    assert_eq!(second.payload, first.payload);
    link.ack_with(second.pkid, PubAckReason::QuotaExceeded).await;
    let third = link.result().await;
    assert_eq!(third.payload, first.payload);
    assert_eq!(picket.status().await["outbox_rows"], 1, "it is kept");
    link.ack(third.pkid).await;
    picket.until_status("it is confirmed", |status| status["outbox_rows"] == 0).await;
    assert_eq!(picket.logged("mqtt/quota-exceeded"), 1, "said once per outage");
    assert_eq!(picket.counter("link_failures_total{code=\"mqtt/quota-exceeded\"}").await, 1);
}

/// Row 7, 0x87.
#[tokio::test]
async fn a_result_that_may_not_be_published_lets_others_pass_and_is_given_up_in_the_end() {
    let (_broker, picket, mut link) = start("").await;
    link.job(DIGITS, "forbidden", pixels()).await;
    let mut tries = 0;
    let mut passed = false;
    link.job(DIGITS, "allowed", pixels()).await;
    while tries < 5 || !passed {
        let result = link.result().await;
        if id_of(&result) == "forbidden" {
            tries += 1;
            link.ack_with(result.pkid, PubAckReason::NotAuthorized).await;
        } else {
            passed = true;
            assert!(tries < 5, "the others do not wait until it is given up");
            link.ack(result.pkid).await;
        }
    }
    picket.until_status("it is given up", |status| status["jobs"]["buried"] == 1).await;
    assert_eq!(picket.status().await["outbox_rows"], 0);
    assert_eq!(picket.counter("dropped_total{reason=\"mqtt/not-authorised\"}").await, 1);
    link.loss_with("buried", 1).await;
    assert_eq!(tries, 5);
}

/// Row 7, 0x10.
#[tokio::test]
async fn a_result_that_nobody_listens_to_counts_as_delivered_and_is_counted() {
    let (_broker, picket, mut link) = start("").await;
    link.job(DIGITS, "unheard", pixels()).await;
    let result = link.result().await;
    link.ack_with(result.pkid, PubAckReason::NoMatchingSubscribers).await;
    picket.until_status("it is confirmed", |status| status["outbox_rows"] == 0).await;
    assert_eq!(picket.counter("dropped_total{reason=\"no-subscribers\"}").await, 1);
}

/// A topic that the broker will never take.
#[tokio::test]
async fn a_result_that_can_never_be_published_is_dropped_and_counted() {
    let (_broker, picket, mut link) = start("").await;
    link.job(DIGITS, "never", pixels()).await;
    let result = link.result().await;
    link.ack_with(result.pkid, PubAckReason::TopicNameInvalid).await;
    picket.until_status("it is dropped", |status| status["jobs"]["undeliverable"] == 1).await;
    assert_eq!(picket.counter("link_failures_total{code=\"mqtt/message-invalid\"}").await, 1);
    link.loss_with("undeliverable", 1).await;
}

/// Row 14.
#[tokio::test]
async fn a_result_that_is_too_large_for_the_broker_is_an_error_before_it_is_queued() {
    let welcome = Welcome { max_packet: Some(700), ..NEW };
    let (_broker, picket, mut link) = start_as("", welcome).await;
    for number in 0..3 {
        link.job(DIGITS, &format!("large-{number}"), digit(number)).await;
        let result = link.result().await;
        let document: Value = serde_json::from_slice(&result.payload).unwrap();
        assert_eq!(
            (&document["error"]["code"], id_of(&result)),
            (&"result/too-large".into(), format!("large-{number}"))
        );
        link.ack(result.pkid).await;
    }
    assert_eq!(picket.logged("mqtt/"), 0, "the connection stands:\n{}", picket.daemon.log());
}
