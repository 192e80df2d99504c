//! A mosquitto of one's own.

use std::{
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// Runs on a free port with a folder of its own; ends when dropped.
pub struct Mosquitto {
    child: Option<Child>,
    folder: TempDir,
    pub port: u16,
}

impl Mosquitto {
    pub fn start() -> Self {
        Self::start_on(crate::free_port())
    }

    pub fn start_on(port: u16) -> Self {
        Self::start_with(port, "")
    }

    /// With further lines of configuration.
    pub fn start_with(port: u16, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config =
            format!("listener {port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\nuser root\n{more}\n");
        std::fs::write(folder.path().join("mosquitto.conf"), config).unwrap();
        let mut broker = Self { child: None, folder, port };
        broker.run();
        broker
    }

    /// Starts it (again), and waits until it accepts connections.
    pub fn run(&mut self) {
        let child = Command::new("mosquitto")
            .arg("-c")
            .arg(self.folder.path().join("mosquitto.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("mosquitto is installed by tests/run");
        self.child = Some(child);
        let limit = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < limit, "mosquitto does not listen on port {}", self.port);
            std::thread::yield_now();
        }
    }

    /// Kills it on the spot; sessions and retained messages are gone with it.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.kill();
    }
}
