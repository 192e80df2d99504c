//! A wall clock that jumps: boards without a battery come up in 1970, and NTP sets them right at any moment.
//!
//! libfaketime gives the process another wall clock; the clocks that nobody can set stay as they are.

use picket_tests::{client::Job, until};

use crate::support::{DIGITS, digits, start};

fn faketime() -> String {
    let libraries = std::fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path());
    let found = libraries.map(|path| path.join("faketime/libfaketime.so.1")).find(|path| path.exists());
    found.expect("libfaketime is installed by tests/run").to_str().unwrap().to_owned()
}

fn job(id: &str) -> Job {
    Job::raw(&digits()[0].1).with("id", id).with("deadline-ms", "600000")
}

/// Row 19 of the fault model: what waits is answered, what was answered is not run again.
#[tokio::test]
async fn a_jump_of_ten_years_expires_nothing() {
    for jump in ["+3652d", "-3652d", "@1970-01-02 00:00:00"] {
        let (_broker, mut daemon, mut client) = start("", &[]).await;
        client.send(DIGITS, &job("answered")).await;
        let answered = client.answer().await.payload;
        daemon.kill();
        // It takes the job, writes it down, and is gone.
        daemon.run_again(&[("PICKET_FAILPOINT", "accepted=kill")]);
        let mut waiting = job("waiting");
        waiting.expiry_s = Some(600);
        client.send(DIGITS, &waiting).await;
        until("it is gone", || std::future::ready(!daemon.is_running())).await;

        daemon.run_again(&[("LD_PRELOAD", &faketime()), ("FAKETIME", jump), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")]);
        // The first result may come once more: it was killed before anybody could confirm that.
        let answer = client.next_where(|heard| heard.json()["id"] == "waiting").await.json();
        assert_eq!(answer["error"], serde_json::Value::Null, "{jump}");
        client.send(DIGITS, &job("answered")).await;
        let again = client.next_where(|heard| heard.json()["id"] == "answered").await;
        assert_eq!(again.payload, answered, "{jump}: the same bytes, timing and all");
    }
}
