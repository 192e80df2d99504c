//! The broker configuration that the documentation recommends, with a real mosquitto.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
};

use picket_tests::{daemon::Daemon, free_port, root, until};

struct Broker(Child);

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The samples with this test's paths and port, and the users that the ACL speaks of.
fn start(folder: &Path, port: u16) -> Broker {
    let samples = root().join("cross/mosquitto");
    let passwords = folder.join("picket.passwd");
    std::fs::write(&passwords, "").unwrap();
    for user in ["press-4", "asker"] {
        let done = Command::new("mosquitto_passwd").arg("-b").arg(&passwords).args([user, "secret"]).status().unwrap();
        assert!(done.success());
    }
    let here = folder.to_str().unwrap();
    let config = std::fs::read_to_string(samples.join("mosquitto.conf")).unwrap();
    let config = config
        .replace("listener 1883", &format!("listener {port}"))
        .replace("/etc/mosquitto", here)
        .replace("/var/lib/mosquitto", here);
    std::fs::write(folder.join("mosquitto.conf"), format!("{config}user root\n")).unwrap();
    std::fs::copy(samples.join("picket.acl"), folder.join("picket.acl")).unwrap();
    let mosquitto = Command::new("mosquitto")
        .arg("-c")
        .arg(folder.join("mosquitto.conf"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    Broker(mosquitto)
}

/// `mosquitto_rr` as this user; what it prints.
fn ask(port: u16, user: &str, reply: &str) -> String {
    let job = r#"{"inputs":[{"name":"pixels","shape":[1,64],"datatype":"FP32","data":[0,0,0,12,13,5,0,0,0,0,0,11,16,9,0,0,0,0,3,15,16,6,0,0,0,7,15,16,16,2,0,0,0,0,1,16,16,3,0,0,0,0,1,16,16,6,0,0,0,0,1,16,16,6,0,0,0,0,0,11,16,10,0,0]}]}"#;
    let output = Command::new("mosquitto_rr")
        .args(["-V", "5", "-q", "1", "-W", "5", "-p", &port.to_string(), "-u", user, "-P", "secret"])
        .args(["-t", "picket/v1/press-4/job/digits", "-e", reply, "-m", job])
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
async fn the_sample_broker_lets_askers_ask_and_nobody_listen_to_others() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let _broker = start(folder.path(), port);
    let password = folder.path().join("password");
    std::fs::write(&password, "secret\n").unwrap();
    let daemon = Daemon::start(&format!(
        "[device]\nid = \"press-4\"\ngroup = \"line-2\"\n[mqtt]\nurl = \"mqtt://127.0.0.1:{port}\"\n\
         username = \"press-4\"\npassword_file = \"{}\"\n[[model]]\nname = \"digits\"\nbundle = \"{{models}}/digits\"\n",
        password.display()
    ));
    until("it is connected", || async { daemon.log().contains("mqtt connected") }).await;
    let answer = ask(port, "asker", "answers/asker/1");
    assert!(answer.contains("\"label\":\"1\""), "{answer}");
    assert_eq!(ask(port, "asker", "answers/somebody-else/1"), "", "the sample lets one asker read another's answers");
}
