//! A bad configuration ends with exit code 78 and one line, before any socket is opened (I9).

use std::net::TcpListener;

use picket_tests::{daemon::picket, root};

const GOOD: &str = "[device]\nid = \"press-4\"\n[http]\nlisten = \"127.0.0.1:{port}\"\n[[model]]\nname = \"digits\"\nbundle = \"{models}/digits\"\n";

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
        ("[http]", "[escalation]\nalpha = 0.01\n[http]", "error[config/not-yet]", ":4:"),
    ];
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("picket.toml");
    for (old, new, code, place) in cases {
        std::fs::write(&file, good.replacen(old, new, 1)).unwrap();
        for command in ["run", "check"] {
            let output = picket(&[command, "--config", file.to_str().unwrap()]);
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(78), "{command} with {new}: {said}");
            assert!(said.starts_with(code) && said.contains(place) && said.lines().count() == 1, "{new}: {said}");
        }
    }
    std::fs::write(&file, good).unwrap();
    assert!(picket(&["check", "--config", file.to_str().unwrap()]).status.success(), "check opens nothing");
    let output = picket(&["run", "--config", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "a taken port is no mistake of the configuration");
}
