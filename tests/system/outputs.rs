//! Lines that move when a model answers. The lines are files here; the chip of one is not there.

use std::{fs, path::Path, time::Duration};

use picket_tests::{
    broker::Mosquitto,
    client::{Client, Job},
    daemon::{Daemon, picket},
    free_port, get,
    proxy::{Flow, Proxy, Weather},
    root, until, until_ready,
};

use crate::support::{DIGITS, config, digits, start};

/// The levels of a line, oldest first; its times never go back.
fn levels(file: &Path) -> Vec<u8> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let read = |line: &str| {
        line.split_once(' ').map(|(at, level)| (at.parse::<f64>().unwrap(), level.parse::<u8>().unwrap())).unwrap()
    };
    let (times, levels): (Vec<f64>, Vec<u8>) = text.lines().map(read).unzip();
    assert!(times.is_sorted(), "{text}");
    levels
}

async fn count(http: u16, output: &str, what: &str) -> u64 {
    let text = get(&format!("http://127.0.0.1:{http}/metrics")).await.unwrap().text().await.unwrap();
    let start = format!("picket_output_total{{output=\"{output}\",what=\"{what}\"}} ");
    text.lines().find_map(|line| line.strip_prefix(&start)).map_or(0, |count| count.parse().unwrap())
}

#[tokio::test]
async fn an_answer_moves_the_lines_that_wait_for_it_and_the_end_makes_them_safe() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let http = free_port();
    let line = |name: &str, more: &str| {
        format!("[[output]]\nname = \"{name}\"\nmodel = \"digits\"\nchip = \"file:{}\"\n{more}\n", at(name).display())
    };
    let config = [
        format!("[http]\nlisten = \"127.0.0.1:{http}\"\n"),
        line("gate", "label = \"7\"\nmin_confidence = 0.5\npulse_ms = 50"),
        line("lamp", "labels = [\"7\"]\nset = true\nsafe = \"high\""),
        line("hasty", "label = \"7\"\npulse_ms = 10\ndeadline_ms = 1"),
        "[[output]]\nname = \"absent\"\nmodel = \"digits\"\nchip = \"gpiochip99\"\nline = 3\nlabel = \"7\"\nset = true\n".to_owned(),
    ];
    let (_broker, mut daemon, mut client) = start(&config.concat(), &[]).await;
    until_ready(http).await;
    until("all lines are safe", || async { levels(&at("gate")) == [0] && levels(&at("lamp")) == [1] }).await;
    until("the missing one is told", || async { daemon.log().contains("output/no-line") }).await;

    let digits = digits();
    let pixels = |wanted: u8| digits.iter().find(|(digit, _)| *digit == wanted).unwrap().1.clone();
    let other = client.ask(DIGITS, &Job::raw(&pixels(3)).with("id", "other")).await;
    assert_eq!(other["answer"]["label"], "3");
    let seven = client.ask(DIGITS, &Job::raw(&pixels(7)).with("id", "seven")).await;
    assert_eq!(seven["answer"]["label"], "7");
    until("a pulse, there and back", || async { levels(&at("gate")) == [0, 1, 0] }).await;
    until("the lamp is set", || async { levels(&at("lamp")) == [1, 0] }).await;
    // A repetition is no new part.
    client.ask(DIGITS, &Job::raw(&pixels(7)).with("id", "seven")).await;
    client.ask(DIGITS, &Job::raw(&pixels(3)).with("id", "other/2")).await;
    until("another answer clears the lamp", || async { levels(&at("lamp")) == [1, 0, 1] }).await;
    assert_eq!(levels(&at("gate")), [0, 1, 0], "only the seven moved it, once");
    // A job that fails is not clear.
    client.ask(DIGITS, &Job::raw(&pixels(7)).with("id", "seven/2")).await;
    client.ask(DIGITS, &Job::raw(&[1.0]).with("id", "broken")).await;
    until("an error clears the lamp", || async { levels(&at("lamp")) == [1, 0, 1, 0, 1] }).await;

    // Two hundred at once are not all answered in a millisecond.
    for n in 0..200 {
        client.send(DIGITS, &Job::raw(&pixels(7)).with("id", format!("crowd/{n}"))).await;
    }
    for _ in 0..200 {
        client.answer().await;
    }
    until("the late ones are counted", || async { count(http, "hasty", "late").await > 0 }).await;
    assert!(count(http, "gate", "late").await == 0, "it has no deadline");
    assert!(count(http, "absent", "missed").await > 0 && count(http, "absent", "no-line").await > 0);

    until("the lamp is set", || async { levels(&at("lamp")).last() == Some(&0) }).await;
    daemon.terminate();
    assert!(daemon.wait(Duration::from_secs(15)).success());
    for (name, safe) in [("gate", 0), ("lamp", 1), ("hasty", 0)] {
        assert_eq!(levels(&at(name)).last(), Some(&safe), "{name} is safe at the end");
    }
}

#[test]
fn an_output_that_can_never_move_is_found_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("picket.toml");
    let models = root().join("models");
    let check = |output: &str| {
        let text = format!(
            "[mqtt]\nurl = \"mqtt://127.0.0.1\"\n[[model]]\nname = \"digits\"\nbundle = \"{}/digits\"\n\
             [[output]]\nname = \"gate\"\nmodel = \"digits\"\n{output}",
            models.display()
        );
        fs::write(&path, text).unwrap();
        let output = picket(&["check", "--config", path.to_str().unwrap()]);
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for (output, wanted) in [
        ("chip = \"file:x\"\nset = true\nlabel = \"seven\"\n", "error[config/unknown-label]: "),
        ("chip = \"file:x\"\nset = true\nanomalous = true\n", "error[config/unknown-label]: "),
        ("pin = \"GPIO17\"\nset = true\nlabel = \"7\"\n", "error[config/unknown-name]: "),
        ("chip = \"gpiochip0\"\nset = true\nlabel = \"7\"\n", "error[config/invalid]: "),
        ("chip = \"file:x\"\nlabel = \"7\"\n", "an output needs `pulse_ms`, or `set = true`"),
        ("chip = \"file:x\"\nset = true\n", "an output needs one of `label`, `labels` and `anomalous = true`"),
    ] {
        let (code, said) = check(output);
        assert!(code == Some(78) && said.contains(wanted), "{output}: {code:?} {said}");
    }
    assert_eq!(check("chip = \"file:x\"\nset = true\nlabel = \"7\"\n").0, Some(0));
}

#[tokio::test]
async fn what_went_wrong_before_the_first_connection_is_told_with_it() {
    let broker = Mosquitto::start();
    let mut client = Client::connect(broker.port, &["picket/v1/press-4/event"]).await;
    let proxy = Proxy::start(broker.port);
    proxy.set(Weather { up: Flow::CutAfter(0), ..Weather::default() });
    let absent = "[[output]]\nname = \"absent\"\nmodel = \"digits\"\nchip = \"gpiochip99\"\nline = 3\nlabel = \"7\"\nset = true\n";
    let daemon = Daemon::start(&config(proxy.port, absent));
    until("the line is missed", || async { daemon.log().contains("output/no-line") }).await;
    until("a connection has failed", || async { proxy.accepted() > 0 }).await;
    proxy.set(Weather::default());
    let told = client.next_where(|heard| heard.json()["code"] == "output/no-line").await.json();
    assert!(told["message"].as_str().unwrap().contains("gpiochip99"), "{told}");
}
