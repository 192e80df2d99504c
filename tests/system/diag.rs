//! `picket diag collect`: what a bug report needs, whatever is broken, and no secret.

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    path::Path,
    process::{Command, Stdio},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use flate2::read::GzDecoder;
use picket_tests::{
    broker::Mosquitto,
    client::{Client, Job},
    daemon::{Daemon, binary},
    free_port, until_ready,
};
use serde_json::{Value, json};

use crate::support::{DIGITS, config, digits, request};

/// Collects with these arguments, and unpacks: name → bytes.
pub fn collect(arguments: &[&str], environment: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("diag.tar.gz");
    let mut command = Command::new(binary());
    command.args(["diag", "collect", "--output", archive.to_str().unwrap()]).args(arguments);
    let output = command.envs(environment.iter().copied()).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    let mut tar = tar::Archive::new(GzDecoder::new(fs::File::open(&archive).unwrap()));
    let mut unpacked = BTreeMap::new();
    for entry in tar.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().strip_prefix("picket-diag").unwrap().to_str().unwrap().to_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        assert!(unpacked.insert(name, bytes).is_none());
    }
    unpacked.insert("(what it printed)".to_owned(), said.into_bytes());
    let manifest = document(&unpacked, "manifest.json");
    for entry in manifest["entries"].as_array().unwrap() {
        assert!(unpacked.contains_key(entry["name"].as_str().unwrap()), "{entry}");
    }
    assert_eq!(manifest["entries"].as_array().unwrap().len() + 2, unpacked.len(), "the manifest has all of it");
    unpacked
}

fn document(unpacked: &BTreeMap<String, Vec<u8>>, name: &str) -> Value {
    let bytes = unpacked.get(name).unwrap_or_else(|| {
        panic!("no {name} in {:?}: {}", unpacked.keys(), String::from_utf8_lossy(&unpacked["manifest.json"]))
    });
    serde_json::from_slice(bytes).unwrap()
}

/// Why something is not in it.
fn left_out(unpacked: &BTreeMap<String, Vec<u8>>, name: &str) -> String {
    let manifest = document(unpacked, "manifest.json");
    let list = manifest["left_out"].as_array().unwrap().clone();
    let found = list.iter().find(|entry| entry["name"].as_str().unwrap().contains(name));
    found.unwrap_or_else(|| panic!("{name}: {manifest}"))["why"].as_str().unwrap().to_owned()
}

/// As it is, or in base64.
pub fn contains(bytes: &[u8], secret: &str) -> bool {
    let encoded = STANDARD.encode(secret);
    let has = |needle: &str| bytes.windows(needle.len()).any(|window| window == needle.as_bytes());
    has(secret) || has(encoded.trim_end_matches('='))
}

fn no_canary(unpacked: &BTreeMap<String, Vec<u8>>, canaries: &[&str]) {
    for canary in canaries {
        for (name, bytes) in unpacked {
            assert!(!contains(bytes, canary), "{canary} is in {name}: {}", String::from_utf8_lossy(bytes));
        }
    }
}

/// A face that wants a token, and a camera that is a shell with secrets on its command line.
fn face_and_camera(http: u16, token: &str) -> String {
    format!(
        "# canary-comment\n[http]\nlisten = \"127.0.0.1:{http}\"\ntoken_file = \"{token}\"\n\
         [[source]]\nname = \"cam\"\nkind = \"exec\"\nmodel = \"digits\"\n\
         command = [\"/bin/sh\", \"-c\", \"sleep 60\", \"-headers\", \"Authorization: canary-header-77\", \
         \"rtsp://a:canary-url-1b2c@camera/x\"]\n"
    )
}

async fn a_good_job_and_a_bad_one(port: u16) {
    let mut client = Client::connect(port, &["picket/v1/press-4/state"]).await;
    client.wait_online("press-4").await;
    client.send(DIGITS, &Job::json(&request("good", &digits()[0].1))).await;
    client.answer().await;
    // A payload that is quoted by whatever complains about it, and a dead letter of it.
    let bad = json!({ "id": "bad", "inputs": [{ "name": "canary-input-3c3c", "shape": [1, 64], "datatype": "FP32", "data": [1] }] });
    client.send(DIGITS, &Job::json(&bad)).await;
    let answer = client.answer().await.json();
    assert!(!answer["error"].is_null(), "{answer}");
}

#[tokio::test]
async fn an_archive_has_what_a_bug_report_needs_and_no_secret() {
    let canaries = [
        "canary-url-1b2c",
        "canary-token-99aa",
        "canary-key-line-4e5f6a7b8c9d",
        "canary-header-77",
        "canary-input-3c3c",
        "canary-comment",
        "canary-inline-8d",
    ];
    let [_, token, key, ..] = canaries;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("token"), format!("{token}\n")).unwrap();
    fs::write(path("key.pem"), format!("-----BEGIN PRIVATE KEY-----\n{key}\n-----END PRIVATE KEY-----\n")).unwrap();
    let (broker, http) = (Mosquitto::start(), free_port());
    let more = face_and_camera(http, &path("token"));
    let mut daemon = Daemon::start(&config(broker.port, &more));
    until_ready(http).await;
    a_good_job_and_a_bad_one(broker.port).await;

    let file = daemon.folder.path().join("picket.toml").to_str().unwrap().to_owned();
    // A key that is named in a drop-in, and of no use to anybody.
    let drop_ins = daemon.folder.path().join("conf.d");
    fs::create_dir(&drop_ins).unwrap();
    fs::write(
        drop_ins.join("50-more.toml"),
        format!("[mqtt]\nkey_file = \"{}\"\npassword = \"canary-inline-8d\"\n", path("key.pem")),
    )
    .unwrap();
    let unpacked = collect(&["--config", &file], &[]);
    no_canary(&unpacked, &canaries);
    let check = document(&unpacked, "check.json");
    assert_eq!(check["ok"], false, "a password that is no file is a mistake, and no reason to collect less: {check}");
    fs::remove_dir_all(&drop_ins).unwrap();

    let unpacked = collect(&["--config", &file], &[]);
    no_canary(&unpacked, &canaries);
    assert_eq!(document(&unpacked, "check.json")["ok"], true);
    assert_eq!(document(&unpacked, "status.json")["device"], "press-4");
    assert!(String::from_utf8_lossy(&unpacked["metrics.txt"]).contains("picket_jobs_now"));
    assert_eq!(document(&unpacked, "version.json")["version"], env!("CARGO_PKG_VERSION"));
    assert!(document(&unpacked, "machine.json")["clock"]["now"].is_string());
    let models = document(&unpacked, "models.json");
    let files: Vec<&str> =
        models[0]["files"].as_array().unwrap().iter().map(|file| file["name"].as_str().unwrap()).collect();
    assert!(files.contains(&"model.onnx") && files.contains(&"bundle.toml"), "{models}");
    assert!(unpacked.contains_key("models/digits/bundle.toml"));
    assert!(left_out(&unpacked, "store.json").contains("a Picket holds it"), "the running daemon has said it itself");
    let shown = String::from_utf8_lossy(&unpacked["config/00-picket.toml"]).into_owned();
    assert!(shown.contains("rtsp://<left out>@camera/x") && shown.contains(&path("token")), "{shown}");

    // A daemon that is not there any more.
    daemon.kill();
    let unpacked = collect(&["--config", &file], &[]);
    no_canary(&unpacked, &canaries);
    assert!(left_out(&unpacked, "status.json").contains("no Picket answers"), "{:?}", unpacked.keys());
    let store = document(&unpacked, "store.json");
    assert_eq!((&store["schema"], &store["tables"]["seen"]["rows"]), (&json!(2), &json!(2)), "{store}");
    assert!(
        store["dead"].as_object().unwrap().iter().all(|(code, count)| code.starts_with("input/") && *count == 1),
        "{store}"
    );
}

#[test]
fn it_works_with_a_broken_configuration_a_broken_store_and_with_nothing_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("picket.toml");
    let arguments = ["--config", file.to_str().unwrap(), "--url", "http://127.0.0.1:1"];
    let unpacked = collect(&arguments, &[]);
    assert!(left_out(&unpacked, "config").contains("config/unreadable"));
    assert!(document(&unpacked, "check.json")["error"].as_str().unwrap().contains("config/unreadable"));

    fs::write(&file, "[mqtt\npassword = \"canary-syntax-5511\"\nurl = \"mqtt://a:canary-url-6622@b\"\n").unwrap();
    let unpacked = collect(&arguments, &[]);
    no_canary(&unpacked, &["canary-syntax-5511", "canary-url-6622"]);
    assert!(document(&unpacked, "check.json")["error"].as_str().unwrap().contains("config/syntax"));

    let models = picket_tests::root().join("models");
    let good = format!(
        "[device]\nid = \"press-4\"\n[store]\npath = \"store\"\n[http]\nlisten = \"127.0.0.1:{}\"\n\
         [[model]]\nname = \"digits\"\nbundle = \"{}/digits\"\n",
        free_port(),
        models.display()
    );
    fs::write(&file, good).unwrap();
    let unpacked = collect(&arguments[..2], &[]);
    assert!(left_out(&unpacked, "store.json").contains("there is no folder"));

    let store = folder.path().join("store");
    fs::create_dir(&store).unwrap();
    fs::write(store.join("lock"), "").unwrap();
    let broken = vec![7; 1 << 16];
    fs::write(store.join("picket.redb"), &broken).unwrap();
    let unpacked = collect(&arguments[..2], &[]);
    assert!(left_out(&unpacked, "store.json").contains("it cannot be read"));
    assert_eq!(fs::read(store.join("picket.redb")).unwrap(), broken, "only looked at");
    assert_eq!(names(&store), ["lock", "picket.redb"], "nothing is moved aside or made");
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
