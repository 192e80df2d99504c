//! Jobs on their way in: acknowledged once durable, in order, and run once.

use rumqttc::Packet;

use crate::support::{DIGITS, NEW, RESUMED, digit, id_of, start};

/// Row 9.
#[tokio::test]
async fn a_job_that_comes_twice_is_acknowledged_twice_and_run_once() {
    let (_broker, picket, mut link) = start("").await;
    let job = link.job(DIGITS, "again", digit(0)).await;
    let result = link.result().await;
    // The same packet again, as after a reconnect, and the same job in a packet of its own.
    let mut resent = job.clone();
    resent.dup = true;
    link.acks(1).await;
    link.send(Packet::Publish(resent)).await;
    let other = link.job(DIGITS, "again", digit(0)).await;
    assert_eq!(link.acks(3).await, [job.pkid, job.pkid, other.pkid]);
    link.ack(result.pkid).await;
    picket.until_status("all is confirmed", |status| status["outbox_rows"] == 0).await;
    let status = picket.status().await;
    assert_eq!((&status["jobs"]["accepted"], &status["jobs"]["duplicates"]), (&1.into(), &2.into()), "{status}");
    // Once delivered, a repetition brings the same bytes again.
    link.job(DIGITS, "again", digit(0)).await;
    assert_eq!(link.result().await.payload, result.payload);
}

/// Row 11, the order.
#[tokio::test]
async fn acknowledgements_leave_in_the_order_of_receipt() {
    let (_broker, _picket, mut link) = start("").await;
    let mut sent = Vec::new();
    for number in 0..60 {
        // Some take a transaction, some only a look (a repetition), some are refused.
        let id = format!("order-{}", number - number % 3);
        let payload = if number % 5 == 4 { vec![1, 2, 3] } else { digit(number - number % 3) };
        sent.push(link.job(DIGITS, &id, payload).await.pkid);
    }
    assert_eq!(link.acks(sent.len()).await, sent);
}

/// Row 11, the connection.
#[tokio::test]
async fn an_old_connections_acknowledgement_never_leaves_on_a_new_one() {
    let (broker, picket, mut link) = start("").await;
    // Never read: whatever of them was acknowledged is lost with the connection.
    let mut jobs = Vec::new();
    for number in 0..50 {
        jobs.push(link.job(DIGITS, &format!("old-{number}"), digit(number)).await);
    }
    link.cut();
    for welcome in [RESUMED, NEW] {
        let mut link = broker.welcome(welcome).await;
        // Ids that a new connection has not used, so every acknowledgement of an old one would show.
        let mut sent = Vec::new();
        for (number, job) in jobs.iter().enumerate().take(20) {
            let mut job = job.clone();
            job.pkid = 1_000 + number as u16;
            job.dup = true;
            sent.push(job.pkid);
            link.send(Packet::Publish(job)).await;
        }
        assert_eq!(link.acks(sent.len()).await, sent, "these and no others");
        link.cut();
    }
    let mut link = broker.welcome(RESUMED).await;
    let mut ids: Vec<String> = Vec::new();
    link.job(DIGITS, "last", digit(0)).await;
    while ids.last().is_none_or(|id| id != "last") {
        let result = link.result().await;
        link.ack(result.pkid).await;
        ids.push(id_of(&result));
    }
    let status = picket.status().await;
    let all = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), all, "each result once on this connection");
    assert_eq!(status["jobs"]["accepted"], all, "and each job was run once: {status}");
}
