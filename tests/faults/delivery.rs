//! Results on their way out: nothing is forgotten before the broker said that it has it.

use bytes::BytesMut;
use picket_tests::{
    broker::Mosquitto,
    client::{Client, Job},
    free_port,
    proxy::{Flow, Proxy, Weather},
};
use rumqttc::Packet;

use crate::support::{Answers, DIGITS, Dice, NEW, Picket, RESUMED, digit, pixels, start};

/// Row 1, with a real broker.
#[tokio::test]
async fn a_broker_that_is_killed_again_and_again_gets_every_result() {
    let mut dice = Dice::new(7);
    let mut broker = Mosquitto::start();
    let picket = Picket::start(broker.port, "keep_alive_s = 5");
    let jobs: Vec<String> = (0..60).map(|number| format!("kill-{number}")).collect();
    let mut answers = Answers::default();
    for cycle in 0.. {
        let mut client = Client::connect(broker.port, &["picket/v1/press-4/state"]).await;
        client.wait_online("press-4").await;
        // What this broker took with it is asked again: an asker that got no answer does that.
        for (number, id) in jobs.iter().enumerate().filter(|(_, id)| !answers.0.contains_key(*id)) {
            let values: Vec<f32> =
                digit(number).chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
            client.send(DIGITS, &Job::raw(&values).with("id", id.clone())).await;
        }
        let left = jobs.len() - answers.0.len();
        let enough = if cycle < 4 { dice.roll(left.min(20)) } else { left };
        let before = answers.0.len();
        while answers.0.len() < before + enough {
            answers.take(&client.answer().await.payload);
        }
        if answers.0.len() == jobs.len() {
            break;
        }
        broker.kill();
        broker.run();
    }
    let status = picket.status().await;
    assert_eq!(status["jobs"]["accepted"], jobs.len(), "each job was run once: {status}");
    assert!(picket.logged("mqtt/disconnected") <= 4, "said once per outage:\n{}", picket.daemon.log());
}

/// Row 1, byte by byte: where in the daemon's PUBLISH a connection ends makes no difference. All of the header, all of the
/// end, some places between; a daemon for each, four at a time.
#[tokio::test]
async fn a_connection_that_ends_anywhere_in_a_publish_loses_nothing() {
    let mut dice = Dice::new(11);
    let mut places: Vec<Place> = (0..6).map(Place::Start).chain((0..3).map(Place::End)).collect();
    places.extend((0..7).map(|_| Place::Part(dice.roll(1_000))));
    for four in places.chunks(4) {
        let cuts: Vec<_> = four.iter().map(|place| tokio::spawn(cut_at(*place))).collect();
        for cut in cuts {
            cut.await.unwrap();
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Place {
    /// So many bytes came.
    Start(usize),
    /// All but so many.
    End(usize),
    /// So many thousandths.
    Part(usize),
}

async fn cut_at(place: Place) {
    let (broker, picket, mut link) = start("").await;
    link.job(DIGITS, "cut", pixels()).await;
    let waiting = link.result().await;
    link.cut();
    let length = Packet::Publish(waiting.clone()).write(&mut BytesMut::new(), None).unwrap();
    let mut link = broker.welcome(RESUMED).await;
    link.until_up().await;
    link.swallow(match place {
        Place::Start(count) => count,
        Place::End(missing) => length - missing,
        Place::Part(thousandths) => length * thousandths / 1_000,
    })
    .await;
    link.cut();
    let mut link = broker.welcome(RESUMED).await;
    let again = link.result().await;
    assert_eq!((&again.topic, &again.payload), (&waiting.topic, &waiting.payload), "{place:?} of {length}");
    link.ack(again.pkid).await;
    picket.until_status("it is confirmed", |status| status["outbox_rows"] == 0).await;
    assert_eq!(picket.status().await["jobs"]["accepted"], 1, "and was not run again");
}

/// Row 1, the other half: the daemon sent everything, and the broker's PUBACK is torn.
#[tokio::test]
async fn a_torn_puback_confirms_nothing() {
    let (broker, _picket, mut link) = start("").await;
    link.job(DIGITS, "torn", pixels()).await;
    let mut result = link.result().await;
    for length in 1..4 {
        let ack = rumqttc::PubAck { pkid: result.pkid, reason: rumqttc::PubAckReason::Success, properties: None };
        link.send_part(Packet::PubAck(ack), length).await;
        link.cut();
        link = broker.welcome(RESUMED).await;
        let again = link.result().await;
        assert_eq!(again.payload, result.payload, "after {length} bytes of the PUBACK");
        result = again;
    }
}

/// Row 2.
#[tokio::test]
async fn a_broker_that_forgot_us_is_subscribed_before_results_come_again_from_the_oldest() {
    let (broker, picket, mut link) = start("").await;
    let mut results = Vec::new();
    for number in 0..5 {
        link.job(DIGITS, &format!("forgot-{number}"), digit(number)).await;
        results.push(link.result().await.payload);
    }
    link.cut();
    // `welcome` takes nothing but CONNECT and SUBSCRIBE before it grants the subscription.
    let mut link = broker.welcome(NEW).await;
    for result in &results {
        assert_eq!(link.result().await.payload, result, "in the order of finishing");
    }
    picket.until_logged("mqtt/session-lost").await;
    assert_eq!(picket.counter("dropped_total{reason=\"session-lost\"}").await, 1);
}

/// Row 2, again and again.
#[tokio::test]
async fn a_session_that_comes_and_goes_costs_no_result() {
    let (broker, picket, mut link) = start("").await;
    for (round, welcome) in [RESUMED, NEW, RESUMED, NEW].into_iter().enumerate() {
        link.job(DIGITS, &format!("flip-{round}"), digit(round)).await;
        let before = link.result().await;
        link.cut();
        link = broker.welcome(welcome).await;
        let again = link.result().await;
        assert_eq!(again.payload, before.payload);
        link.ack(again.pkid).await;
        picket.until_status("the result is confirmed", |status| status["outbox_rows"] == 0).await;
    }
    assert_eq!(picket.counter("dropped_total{reason=\"session-lost\"}").await, 2, "two of them were lost");
}

/// A PUBACK that never comes.
#[tokio::test]
async fn a_puback_that_is_withheld_ends_the_connection_and_the_result_comes_again() {
    let (broker, picket, mut link) = start("keep_alive_s = 1").await;
    link.job(DIGITS, "withheld", pixels()).await;
    let withheld = link.result().await;
    link.job(DIGITS, "confirmed", pixels()).await;
    let confirmed = link.result().await;
    link.ack(confirmed.pkid).await;
    link.closed().await;
    picket.until_logged("mqtt/stalled").await;
    let mut link = broker.welcome(RESUMED).await;
    let again = link.result().await;
    assert_eq!(again.payload, withheld.payload, "the confirmed one is not sent again");
    link.ack(again.pkid).await;
    picket.until_status("everything is confirmed", |status| status["outbox_rows"] == 0).await;
}

/// PUBACKs in another order than MQTT wants.
#[tokio::test]
async fn pubacks_in_any_order_confirm_each_its_own() {
    let (_broker, picket, mut link) = start("").await;
    let mut ids = Vec::new();
    for number in 0..6 {
        link.job(DIGITS, &format!("order-{number}"), digit(number)).await;
        ids.push(link.result().await.pkid);
    }
    for (done, place) in [5, 0, 3, 1, 4, 2].into_iter().enumerate() {
        link.ack(ids[place]).await;
        let left = 5 - done;
        picket.until_status("one less", |status| status["outbox_rows"] == left).await;
    }
    assert_eq!(picket.logged("mqtt/"), picket.logged("mqtt/session-lost"), "no failure:\n{}", picket.daemon.log());
}

/// A PUBACK twice; the second one confirms nothing that was not confirmed.
#[tokio::test]
async fn a_puback_that_comes_twice_confirms_one_result_only() {
    let (broker, picket, mut link) = start("").await;
    link.job(DIGITS, "twice-0", digit(0)).await;
    let first = link.result().await;
    link.job(DIGITS, "twice-1", digit(1)).await;
    let second = link.result().await;
    link.ack(first.pkid).await;
    picket.until_status("the first is confirmed", |status| status["outbox_rows"] == 1).await;
    link.ack(first.pkid).await;
    link.closed().await;
    picket.until_logged("mqtt/protocol-error").await;
    let mut link = broker.welcome(RESUMED).await;
    let again = link.result().await;
    assert_eq!(again.payload, second.payload, "the second result still waits for its own");
    link.ack(again.pkid).await;
    picket.until_status("everything is confirmed", |status| status["outbox_rows"] == 0).await;
}

/// Row 1 through a proxy: a real broker, and the connection cut in the middle of packets.
#[tokio::test]
async fn results_survive_connections_that_are_cut_in_the_middle() {
    let mut dice = Dice::new(13);
    let broker = Mosquitto::start_on(free_port());
    let proxy = Proxy::start(broker.port);
    let picket = Picket::start(proxy.port, "");
    let mut client = Client::connect(broker.port, &["picket/v1/press-4/state"]).await;
    client.wait_online("press-4").await;
    let mut answers = Answers::default();
    for round in 0..5 {
        let connections = proxy.accepted();
        proxy.set(Weather { up: Flow::CutAfter(1_000 + dice.roll(4_000)), ..Weather::default() });
        for number in 0..10 {
            let values: Vec<f32> =
                digit(number).chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
            client.send(DIGITS, &Job::raw(&values).with("id", format!("mid-{round}-{number}"))).await;
        }
        picket_tests::until("a cut", || async { proxy.accepted() > connections }).await;
        proxy.set(Weather::default());
        while answers.0.len() < (round + 1) * 10 {
            answers.take(&client.answer().await.payload);
        }
    }
    assert_eq!(picket.status().await["jobs"]["accepted"], 50, "each was run once");
}
