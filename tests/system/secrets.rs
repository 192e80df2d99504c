//! Row 50: secrets are used and never shown; as credentials of the unit they are in no file of the configuration's.

use std::{fs, path::Path, process::Command};

use picket_tests::{
    broker::Mosquitto,
    client::{Client, Job, PATIENCE},
    daemon::{Daemon, binary, picket},
    free_port, get, until,
};

use crate::{
    diag::{collect, contains},
    support::{DIGITS, digits, request},
};

const PASSWORD: &str = "canary-mqtt-8c1f7e";
const TOKEN: &str = "canary-http-5d20aa";
const KEY: &str = "canary-key-77b3e1";

fn credentials(folder: &Path) -> String {
    let credentials = folder.join("credentials");
    fs::create_dir(&credentials).unwrap();
    for (name, secret) in [("mqtt-password", PASSWORD), ("http-token", TOKEN), ("vlm-key", KEY)] {
        fs::write(credentials.join(name), format!("{secret}\n")).unwrap();
    }
    credentials.to_str().unwrap().to_owned()
}

fn config(port: u16, http: u16, provider: u16) -> String {
    format!(
        "[device]\nid = \"press-4\"\n[mqtt]\nurl = \"mqtt://127.0.0.1:{port}\"\nusername = \"press-4\"\n\
         password_file = \"credential:mqtt-password\"\n\
         [http]\nlisten = \"127.0.0.1:{http}\"\ntoken_file = \"credential:http-token\"\n\
         [[provider]]\nname = \"vlm\"\nkind = \"openai\"\nurl = \"http://127.0.0.1:{provider}/v1\"\nmodel = \"big\"\n\
         key_file = \"credential:vlm-key\"\nprompt = \"Which digit is it?\"\n\
         [escalation]\nproviders = [\"vlm\"]\n\
         [[model]]\nname = \"digits\"\nbundle = \"{{models}}/digits\"\n"
    )
}

/// A connection that is taken and answered with nothing that a provider says.
fn provider() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            use std::io::{Read, Write};
            let mut connection = connection;
            let mut request = [0; 4_096];
            let length = connection.read(&mut request).unwrap_or(0);
            // A server that quotes what it was sent, key and all.
            let quoted = String::from_utf8_lossy(&request[..length]).replace("\r\n", " ");
            let _ = write!(connection, "HTTP/1.1 401 Unauthorized\r\ncontent-length: {}\r\n\r\n{quoted}", quoted.len());
        }
    });
    port
}

#[tokio::test]
async fn credentials_of_the_unit_are_used_and_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let made = Command::new("mosquitto_passwd").args(["-c", "-b", &path("passwords"), "press-4", PASSWORD]).status();
    assert!(made.unwrap().success());
    let (port, http) = (free_port(), free_port());
    // Who gives no name is let in, too; a wrong password is not.
    let _broker = Mosquitto::start_with(port, &format!("password_file {}", path("passwords")));
    let given = credentials(folder.path());
    let environment = [("PICKET_LOG", "trace"), ("CREDENTIALS_DIRECTORY", given.as_str())];
    let mut daemon = Daemon::start_with(&config(port, http, provider()), &environment);
    until("connected with the password", || async { daemon.log().contains("mqtt connected") }).await;

    let topics =
        ["picket/v1/press-4/state", "picket/v1/press-4/event", "picket/v1/press-4/dead", "picket/v1/press-4/loss"];
    let mut client = Client::connect(port, &topics).await;
    // Asks the provider, which quotes its key.
    client.send(DIGITS, &Job::json(&request("doubtful", &[8.0; 64]))).await;
    let mut heard = vec![client.answer().await.payload.to_vec()];
    client.send(DIGITS, &Job::json(&request("plain", &digits()[0].1))).await;
    heard.push(client.answer().await.payload.to_vec());

    let file = daemon.folder.path().join("picket.toml").to_str().unwrap().to_owned();
    let unpacked = collect(&["--config", &file], &[("CREDENTIALS_DIRECTORY", given.as_str())]);
    assert!(unpacked.contains_key("status.json"), "asked with the token: {:?}", unpacked.keys());
    let url = format!("http://127.0.0.1:{http}/status");
    assert_eq!(get(&url).await.unwrap().status().as_u16(), 401, "the token is needed");
    daemon.terminate();
    daemon.wait(PATIENCE);
    for secret in [PASSWORD, TOKEN, KEY] {
        assert!(!daemon.log().contains(secret), "{secret} is in the log");
        assert!(heard.iter().all(|message| !contains(message, secret)), "{secret} is in a message");
        for (name, bytes) in &unpacked {
            assert!(!contains(bytes, secret), "{secret} is in {name} of the archive");
        }
    }
}

#[test]
fn a_credential_that_is_not_there_is_a_mistake_of_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("picket.toml");
    let models = picket_tests::root().join("models");
    let text = config(1883, free_port(), 1).replace("{models}", models.to_str().unwrap());
    fs::write(&file, format!("{text}\n[store]\npath = \"store\"\n")).unwrap();
    let given = credentials(folder.path());
    fs::remove_file(Path::new(&given).join("http-token")).unwrap();
    for (folder, hint) in [(None, "no $CREDENTIALS_DIRECTORY"), (Some(&given), "`credential:http-token`")] {
        for command in ["check", "run"] {
            let mut daemon = Command::new(binary());
            daemon.args([command, "--config", file.to_str().unwrap()]).env_remove("CREDENTIALS_DIRECTORY");
            let output = daemon.envs(folder.map(|folder| ("CREDENTIALS_DIRECTORY", folder))).output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(78), "{said}");
            assert!(said.starts_with("error[secret/missing]: ") && said.lines().count() == 1, "{said}");
            assert!(said.contains(hint) && said.contains("LoadCredential="), "{said}");
            assert!(!said.contains("canary"), "{said}");
        }
    }
    assert!(!picket(&["check", "--config", "/nonexistent"]).status.success());
}
