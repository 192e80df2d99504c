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
    beside("picket")
}

/// A program that cargo built beside this test.
pub fn beside(program: &str) -> PathBuf {
    let ours = std::env::current_exe().unwrap();
    // Tests run from target/<profile>/deps, programs from target/<profile>.
    let found = ours.ancestors().skip(1).take(2).map(|folder| folder.join(program)).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("no {program} beside {}: run tests/run, which builds it", ours.display()))
}

/// Runs one command of the binary to its end.
pub fn picket(arguments: &[&str]) -> Output {
    Command::new(binary()).args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// A daemon with a folder of its own; gets SIGKILL when dropped.
pub struct Daemon {
    child: Child,
    pub folder: TempDir,
    /// Set for every start.
    environment: Vec<(&'static str, String)>,
    /// KiB of address space that the next process may take.
    pub address_space: Option<u64>,
}

impl Daemon {
    /// Starts it with this configuration. `{models}` is the project's folder of bundles; the store is in the daemon's own
    /// folder unless the configuration says otherwise.
    pub fn start(config: &str) -> Self {
        Self::start_with(config, &[])
    }

    /// As [`Self::start`], with environment variables.
    pub fn start_with(config: &str, environment: &[(&'static str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config.replace("{models}", crate::root().join("models").to_str().unwrap());
        if !config.contains("[store]") {
            config.push_str("\n[store]\npath = \"store\"\n");
        }
        std::fs::write(folder.path().join("picket.toml"), config).unwrap();
        let environment: Vec<_> = environment.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        Self { child: Self::spawn(&folder, &environment, None), folder, environment, address_space: None }
    }

    fn spawn(folder: &TempDir, environment: &[(&'static str, String)], address_space: Option<u64>) -> Child {
        let log = File::options().create(true).append(true).open(folder.path().join("log")).unwrap();
        let mut command = Command::new(binary());
        if let Some(kib) = address_space {
            // The shell becomes the daemon: one process, and its limit holds from the first moment.
            command = Command::new("sh");
            command.args(["-c", &format!("ulimit -v {kib} && exec \"$0\" \"$@\"")]).arg(binary());
        }
        command
            .args(["run", "--config"])
            .arg(folder.path().join("picket.toml"))
            .env("PICKET_LOG", "info,rumqttd=error")
            .envs(environment.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    /// SIGKILL, if it still runs.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }

    /// The next process over the same folder, with these environment variables instead.
    pub fn run_again(&mut self, environment: &[(&'static str, &str)]) {
        self.environment = environment.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        self.child = Self::spawn(&self.folder, &self.environment, self.address_space);
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// KiB of memory that it has in use.
    pub fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// Files, sockets and lines that it has open.
    pub fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
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
