//! The real binary.

use std::{
    fs::File,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// The `picket` that cargo built beside this test.
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.ancestors().nth(2).expect("tests run from target/<profile>/deps").join("picket");
    assert!(path.exists(), "{} is missing: run tests/run, or `cargo build -p picket` first", path.display());
    path
}

/// Runs one command of the binary to its end.
pub fn picket(arguments: &[&str]) -> Output {
    Command::new(binary()).args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// A running daemon with a folder of its own; gets SIGKILL when dropped.
pub struct Daemon {
    child: Child,
    pub folder: TempDir,
}

impl Daemon {
    /// Starts it with this configuration; `{models}` in it is the project's folder of bundles. Its store is its own, unless
    /// the configuration names one.
    pub fn start(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("picket.toml");
        let own_store = if config.contains("[store]") { "" } else { "[store]\npath = \"store\"\n" };
        let config = config.replace("{models}", crate::root().join("models").to_str().unwrap());
        std::fs::write(&path, format!("{own_store}{config}")).unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        let child = Command::new(binary())
            .args(["run", "--config"])
            .arg(&path)
            .env("PICKET_LOG", "info,rumqttd=error")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, folder }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything that it has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn terminate(&self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
    }

    /// Waits for its end.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let end = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "the daemon does not end; its log:\n{}", self.log());
            std::thread::yield_now();
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the daemon's log ---\n{}", self.log());
        }
    }
}
