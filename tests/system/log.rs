//! Where the log goes, and how much of it is written.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::unix::{fs::MetadataExt, net::UnixDatagram},
    process::{Child, Command, Stdio},
    time::Duration,
};

use picket_tests::{
    broker::Mosquitto,
    client::{Client, Job},
    daemon::{Daemon, binary},
    root,
};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{DIGITS, config};

/// Lines about one code in a minute.
const BURST: usize = picket_core::limits::LOG_BURST as usize;

/// Jobs with an input of the wrong size.
async fn wrong_jobs(client: &mut Client, jobs: usize) {
    for number in 0..jobs {
        client.send(DIGITS, &Job::raw(&[1.0; 3]).with("id", format!("wrong/{number}"))).await;
    }
    for _ in 0..jobs {
        assert_eq!(client.answer().await.json()["error"]["code"], "input/shape-mismatch");
    }
}

#[tokio::test]
async fn a_flood_of_bad_jobs_is_a_few_lines_and_a_number() {
    let broker = Mosquitto::start();
    let mut daemon = Daemon::start(&config(broker.port, ""));
    let mut client = Client::connect(broker.port, &["picket/v1/press-4/state"]).await;
    client.wait_online("press-4").await;
    wrong_jobs(&mut client, 1_000).await;
    daemon.terminate();
    assert!(daemon.wait(Duration::from_secs(20)).success());
    let log = daemon.log();
    assert_eq!(log.matches("job failed").count(), BURST, "{log}");
    assert!(log.contains(&format!("{} more of input/shape-mismatch", 1_000 - BURST)), "{log}");
    assert!(log.lines().count() < 100, "{log}");
}

/// The journal of a namespace of its own, in which the daemon runs.
struct Journal {
    socket: UnixDatagram,
    daemon: Child,
    folder: tempfile::TempDir,
}

impl Journal {
    /// `None`: this machine allows no namespaces.
    fn start(config: &str) -> Option<Self> {
        let may = Command::new("unshare").args(["-rm", "true"]).stderr(Stdio::null()).status();
        if !may.is_ok_and(|status| status.success()) {
            eprintln!("skipped: unshare gives no namespace");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        fs::create_dir_all(run.join("systemd/journal")).unwrap();
        let socket = UnixDatagram::bind(run.join("systemd/journal/socket")).unwrap();
        let file = folder.path().join("picket.toml");
        let config = config.replace("{models}", root().join("models").to_str().unwrap());
        fs::write(&file, format!("{config}\n[store]\npath = \"store\"\n")).unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        let metadata = log.metadata().unwrap();
        let daemon = Command::new("unshare")
            .args(["-rm", "sh", "-c", "mount --bind \"$0\" /run && exec \"$@\""])
            .arg(&run)
            .arg(binary())
            .args(["run", "--config"])
            .arg(&file)
            .env("JOURNAL_STREAM", format!("{}:{}", metadata.dev(), metadata.ino()))
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Some(Self { socket, daemon, folder })
    }

    /// Everything that it was told, until the daemon is gone.
    fn read_all(mut self) -> Vec<BTreeMap<String, String>> {
        let mut entries = Vec::new();
        let mut buffer = vec![0; 1 << 17];
        self.socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        loop {
            let over = self.daemon.try_wait().unwrap().is_some();
            while let Ok(length) = self.socket.recv(&mut buffer) {
                // An empty one asks whether anybody listens.
                entries.extend((length > 0).then(|| fields(&buffer[..length])));
            }
            if over {
                assert_eq!(self.stderr(), "", "it is all in the journal");
                return entries;
            }
        }
    }

    fn stderr(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// The journal's native protocol, as far as lengths are given.
fn fields(mut entry: &[u8]) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    while !entry.is_empty() {
        let end = entry.iter().position(|byte| *byte == b'\n').unwrap();
        let length = usize::try_from(u64::from_le_bytes(entry[end + 1..end + 9].try_into().unwrap())).unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        fields.insert(text(&entry[..end]), text(&entry[end + 9..end + 9 + length]));
        entry = &entry[end + 10 + length..];
    }
    fields
}

#[tokio::test]
async fn under_systemd_a_job_is_found_in_the_journal_by_its_id() {
    let broker = Mosquitto::start();
    let Some(journal) = Journal::start(&config(broker.port, "")) else { return };
    let pid = Pid::from_raw(i32::try_from(journal.daemon.id()).unwrap()).unwrap();
    let reading = std::thread::spawn(move || journal.read_all());
    let mut client = Client::connect(broker.port, &["picket/v1/press-4/state"]).await;
    client.wait_online("press-4").await;
    wrong_jobs(&mut client, 3).await;
    kill_process(pid, Signal::TERM).unwrap();
    let entries = reading.join().unwrap();
    let of_job: Vec<_> =
        entries.iter().filter(|entry| entry.get("PICKET_JOB").is_some_and(|id| id == "wrong/1")).collect();
    let [entry] = of_job[..] else { panic!("{entries:?}") };
    for (name, value) in [
        ("PICKET_MODEL", "digits"),
        ("PICKET_CODE", "input/shape-mismatch"),
        ("PRIORITY", "6"),
        ("SYSLOG_IDENTIFIER", "picket"),
    ] {
        assert_eq!(entry.get(name).map(String::as_str), Some(value), "{entry:?}");
    }
    let message = &entry["MESSAGE"];
    assert!(message.starts_with("job failed job=wrong/1 model=digits code=input/shape-mismatch why="), "{message}");
    assert!(entries.iter().any(|entry| entry["MESSAGE"].contains("mqtt connected")), "{entries:?}");
}

/// Without systemd, and where standard error was led elsewhere, the log is on standard error as ever.
#[tokio::test]
async fn a_stream_that_is_not_the_journal_s_gets_the_log_itself() {
    let broker = Mosquitto::start();
    let daemon = Daemon::start_with(&config(broker.port, ""), &[("JOURNAL_STREAM", "1:1")]);
    let mut client = Client::connect(broker.port, &["picket/v1/press-4/state"]).await;
    client.wait_online("press-4").await;
    assert!(daemon.log().contains("mqtt connected"));
}
