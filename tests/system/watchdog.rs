//! Row 43: the watchdog is fed while every part moves, and starves when one hangs.

use std::{
    os::unix::net::UnixDatagram,
    time::{Duration, Instant},
};

use picket_tests::{
    broker::Mosquitto,
    client::{Client, Job, PATIENCE},
    daemon::Daemon,
    pty::Pty,
    rig,
};

use crate::support::{DIGITS, config, digits};

/// The service manager's side of the notification socket.
struct Manager {
    socket: UnixDatagram,
    _folder: tempfile::TempDir,
    path: String,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, path: path.to_str().unwrap().to_owned(), _folder: folder }
    }

    fn start(&self, config: &str, failpoint: &str) -> Daemon {
        let environment =
            [("NOTIFY_SOCKET", self.path.as_str()), ("WATCHDOG_USEC", "300000"), ("PICKET_FAILPOINT", failpoint)];
        let daemon = Daemon::start_with(config, &environment);
        self.hear("READY=1");
        self.hear("WATCHDOG=1");
        daemon
    }

    fn hear(&self, what: &str) {
        let mut buffer = [0; 256];
        loop {
            let length = self.socket.recv(&mut buffer).unwrap_or_else(|error| panic!("no {what}: {error}"));
            if std::str::from_utf8(&buffer[..length]).unwrap().contains(what) {
                return;
            }
        }
    }

    /// Nothing comes for a while that is longer than the watchdog allows.
    fn hears_nothing_for(&self, span: Duration) -> bool {
        self.socket.set_read_timeout(Some(span)).unwrap();
        self.socket.recv(&mut [0; 256]).is_err()
    }

    /// The watchdog is not fed any more, while the daemon is still there.
    fn starves(&self, daemon: &mut Daemon) {
        let limit = Instant::now() + 3 * PATIENCE;
        while !self.hears_nothing_for(Duration::from_secs(1)) {
            assert!(Instant::now() < limit, "the watchdog is fed on and on:\n{}", daemon.log());
        }
        assert!(daemon.is_running(), "it hangs, it is not gone");
    }
}

#[tokio::test]
async fn the_watchdog_is_fed_while_everything_moves() {
    let (manager, broker) = (Manager::new(), Mosquitto::start());
    let mut daemon = manager.start(&config(broker.port, ""), "none=hang");
    (0..5).for_each(|_| manager.hear("WATCHDOG=1"));
    daemon.terminate();
    manager.hear("STOPPING=1");
    assert!(daemon.wait(Duration::from_secs(10)).success());
    assert!(!daemon.log().contains("watchdog/starved"));
}

#[tokio::test]
async fn it_starves_when_the_run_loop_hangs() {
    let (manager, broker) = (Manager::new(), Mosquitto::start());
    let mut daemon = manager.start(&config(broker.port, ""), "run-loop=hang:20");
    manager.starves(&mut daemon);
}

/// The thread hangs before it takes a job: the rule of inferences that never end does not see it.
#[tokio::test(flavor = "multi_thread")]
async fn it_starves_when_no_thread_takes_the_jobs_that_wait() {
    let (manager, broker) = (Manager::new(), Mosquitto::start());
    let mut daemon = manager.start(&config(broker.port, "deadline_ms = 200\nworkers = 1"), "worker=hang");
    // Idle threads are no standstill.
    (0..20).for_each(|_| manager.hear("WATCHDOG=1"));
    let mut client = Client::connect(broker.port, &["picket/v1/press-4/state"]).await;
    client.wait_online("press-4").await;
    client.send(DIGITS, &Job::raw(&digits()[0].1).with("id", "waits").with("deadline-ms", "600000")).await;
    manager.starves(&mut daemon);
    assert!(daemon.log().contains("watchdog/starved"), "{}", daemon.log());
    assert!(daemon.log().contains("the threads of model digits"), "{}", daemon.log());
}

/// A line whose task has died is deaf for ever, and nobody else would notice.
#[test]
fn it_starves_when_the_task_of_a_serial_line_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let port = folder.path().join("port");
    let _pty = Pty::plug(&port);
    let config = format!(
        "[device]\nid = \"press-4\"\n{}\n[[model]]\nname = \"{model}\"\nbundle = \"{{models}}/{model}\"\n",
        rig::section(&[&port]),
        model = rig::MODEL,
    );
    let manager = Manager::new();
    let mut daemon = manager.start(&config, "serial-line=panic:2");
    manager.starves(&mut daemon);
    assert!(daemon.log().contains("transport serial"), "{}", daemon.log());
}
