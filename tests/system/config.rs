//! A bad configuration ends with exit code 78 and one line, before any socket is opened (I9).

use std::{fs, net::TcpListener, process::Command};

use picket_tests::{
    broker::Mosquitto,
    client::PATIENCE,
    daemon::{Daemon, picket},
    free_port, get, root, until, until_ready,
};

const GOOD: &str = "[device]\nid = \"press-4\"\n[http]\nlisten = \"127.0.0.1:{port}\"\n[[model]]\nname = \"digits\"\nbundle = \"{models}/digits\"\n";

fn mqtt(line: &str) -> String {
    format!("[mqtt]\nurl = \"mqtt://127.0.0.1\"\n{line}\n[http]")
}

#[test]
fn a_mistake_is_named_with_its_place() {
    // The port is taken: had the daemon come as far as opening it, it would fail in another way.
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let good = GOOD.replace("{port}", &port).replace("{models}", root().join("models").to_str().unwrap());
    let cases = [
        ("listen =", "lisen =", "error[config/unknown-key]", ":4:1: unknown key `lisen`; did you mean `listen`?"),
        ("[http]", "[htp]", "error[config/unknown-key]", ":3:2: unknown key `htp`; did you mean `http`?"),
        ("/digits\"", "/digit\"", "error[config/missing-bundle]", ":7:10: there is no "),
        ("[http]", "[store]\nmax_bytes = \"3 MB\"\n[http]", "error[config/invalid]", ":4:13: "),
        ("id = \"press-4\"", "id = \"Press 4\"", "error[config/invalid]", ":2:6: "),
        ("name = \"digits\"", "name = 7", "error[config/invalid]", ":6:8: "),
        ("[[model]]", "[[model", "error[config/syntax]", ":5:"),
        ("[http]", "[escalation]\nmode = \"cheap\"\n[http]", "error[config/invalid]", ":4:8: unknown mode `cheap`"),
        ("id = \"press-4\"", "id = \"press-4\"\nid = \"press-5\"", "error[config/syntax]", ":3:1: "),
        ("[http]", "[mqtt]\nurl = \"mqtt://127.0.0.1:0\"\n[http]", "error[config/invalid]", ":4:7: "),
        ("[http]", &mqtt("keep_alive_s = 0"), "error[config/invalid]", ":5:16: "),
        ("[http]", &mqtt("keep_alive_s = 99999"), "error[config/invalid]", ":5:16: "),
        ("[http]", &mqtt("client_id = \"\""), "error[config/invalid]", ":5:13: "),
        ("[http]", &mqtt("max_packet = \"1 mebibyte\""), "error[config/invalid]", ":5:14: "),
        ("[http]", "[mqtt]\nembedded = \"127.0.0.1:0\"\n[http]", "error[config/invalid]", ":4:12: "),
        ("[http]", &mqtt("qos = 2"), "error[config/qos2-unsupported]", ":5:7: "),
        ("[http]", &mqtt("username = \"p\"\npassword_file = \"nowhere\""), "error[secret/missing]", ":6:17: "),
    ];
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("picket.toml");
    for (old, new, code, place) in cases {
        fs::write(&file, good.replacen(old, new, 1)).unwrap();
        for command in ["run", "check"] {
            let output = picket(&[command, "--config", file.to_str().unwrap()]);
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(78), "{command} with {new}: {said}");
            assert!(said.starts_with(code) && said.contains(place) && said.lines().count() == 1, "{new}: {said}");
        }
    }
    fs::write(&file, good).unwrap();
    assert!(picket(&["check", "--config", file.to_str().unwrap()]).status.success(), "check opens nothing");
    let output = picket(&["run", "--config", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "a taken port is no mistake of the configuration");
}

/// Row 50 of the fault model: a password is read from its file, used, and never seen again, whatever the log level.
#[tokio::test]
async fn a_secret_is_used_and_never_shown() {
    const SECRET: &str = "canary-8c1f7e";
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(file("secret"), format!("{SECRET}\n")).unwrap();
    let made = Command::new("mosquitto_passwd").args(["-c", "-b", &file("passwords"), "press-4", SECRET]).status();
    assert!(made.unwrap().success());
    let (port, http) = (free_port(), free_port());
    let wants_password =
        format!("per_listener_settings false\npassword_file {}\nallow_anonymous false", file("passwords"));
    let broker = Mosquitto::start_with(port, &wants_password);
    let config = format!(
        "[device]\nid = \"press-4\"\n[mqtt]\nurl = \"mqtt://127.0.0.1:{port}\"\nusername = \"press-4\"\npassword_file = \"{}\"\n\
         [http]\nlisten = \"127.0.0.1:{http}\"\n[[model]]\nname = \"digits\"\nbundle = \"{{models}}/digits\"\n",
        file("secret")
    );
    let mut daemon = Daemon::start_with(&config, &[("PICKET_LOG", "trace")]);
    until_ready(http).await;
    until("connected with the password", || async { daemon.log().contains("mqtt connected") }).await;
    for page in ["status", "metrics"] {
        let text = get(&format!("http://127.0.0.1:{http}/{page}")).await.unwrap().text().await.unwrap();
        assert!(!text.contains(SECRET), "{page}: {text}");
    }
    drop(broker);
    until("the broker is gone", || async { daemon.log().contains("mqtt/disconnected") }).await;
    daemon.terminate();
    daemon.wait(PATIENCE);
    assert!(!daemon.log().contains(SECRET), "the log of everything shows the password");
}
