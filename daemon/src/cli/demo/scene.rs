//! The stage: a folder, a broker, two Pickets as processes of their own, and the link between them.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    sync::mpsc,
    time::{Instant, sleep, timeout_at},
};

use super::{link::Link, score::CALL_PRICE};
use crate::{
    telemetry::peak_rss_kib,
    transport::mqtt::{asker::Heard, embedded},
};

/// The bundles, so that the demo needs nothing but this binary.
const FILES: &[(&str, &[u8])] = &[
    ("digits/bundle.toml", include_bytes!("../../../../models/digits/bundle.toml")),
    ("digits/model.onnx", include_bytes!("../../../../models/digits/model.onnx")),
    ("digits/calibration.json", include_bytes!("../../../../models/digits/calibration.json")),
    ("digits/golden/0.npz", include_bytes!("../../../../models/digits/golden/0.npz")),
    ("digits/golden/1.npz", include_bytes!("../../../../models/digits/golden/1.npz")),
    ("digits/golden/2.npz", include_bytes!("../../../../models/digits/golden/2.npz")),
    ("digits/golden/3.npz", include_bytes!("../../../../models/digits/golden/3.npz")),
    ("digits/golden/4.npz", include_bytes!("../../../../models/digits/golden/4.npz")),
    ("digits-large/bundle.toml", include_bytes!("../../../../models/digits-large/bundle.toml")),
    ("digits-large/model.onnx", include_bytes!("../../../../models/digits-large/model.onnx")),
    ("digits-large/calibration.json", include_bytes!("../../../../models/digits-large/calibration.json")),
    ("digits-large/golden/0.npz", include_bytes!("../../../../models/digits-large/golden/0.npz")),
    ("digits-large/golden/1.npz", include_bytes!("../../../../models/digits-large/golden/1.npz")),
    ("digits-large/golden/2.npz", include_bytes!("../../../../models/digits-large/golden/2.npz")),
    ("digits-large/golden/3.npz", include_bytes!("../../../../models/digits-large/golden/3.npz")),
    ("digits-large/golden/4.npz", include_bytes!("../../../../models/digits-large/golden/4.npz")),
];

const DEVICE: &str = "demo";
const READY_LIMIT: Duration = Duration::from_secs(10);
const END_LIMIT: Duration = Duration::from_secs(5);

pub struct Scene {
    folder: TempDir,
    pub mqtt_port: u16,
    pub local_url: String,
    pub upstream_url: String,
    pub link: Link,
    local: Child,
    upstream: Child,
}

impl Scene {
    pub async fn set() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("picket-demo-").tempdir().context("no temporary folder")?;
        for (name, bytes) in FILES {
            let path = folder.path().join("models").join(name);
            std::fs::create_dir_all(path.parent().context("a file without a folder")?)?;
            std::fs::write(&path, bytes)?;
        }
        let [mqtt_port, local_port, upstream_port] = free_ports()?;
        embedded::start(([127, 0, 0, 1], mqtt_port).into(), picket_core::limits::MAX_PACKET_BYTES)?;
        wait_for_port(mqtt_port).await.context("the MQTT broker does not start")?;
        let link = Link::to(upstream_port).await?;
        let upstream = start(folder.path(), "upstream", &upstream_config(upstream_port))?;
        wait_for_port(upstream_port).await.context("the upstream Picket does not start")?;
        let local = start(folder.path(), "local", &local_config(mqtt_port, local_port, link.port))?;
        Ok(Self {
            folder,
            mqtt_port,
            local_url: format!("http://127.0.0.1:{local_port}"),
            upstream_url: format!("http://127.0.0.1:{upstream_port}"),
            link,
            local,
            upstream,
        })
    }

    pub fn job_topic(&self) -> String {
        format!("picket/v1/{DEVICE}/job/digits")
    }

    pub fn event_topic(&self) -> String {
        format!("picket/v1/{DEVICE}/state")
    }

    pub fn amend_topic(&self) -> String {
        format!("picket/v1/{DEVICE}/amend/digits")
    }

    /// The retained state says when jobs are welcome.
    pub async fn wait_until_online(&self, heard: &mut mpsc::Receiver<Heard>) -> anyhow::Result<()> {
        let limit = Instant::now() + READY_LIMIT;
        while let Ok(Some(message)) = timeout_at(limit, heard.recv()).await {
            let state: serde_json::Value = serde_json::from_slice(&message.payload).unwrap_or_default();
            if state["state"] == "online" {
                return Ok(());
            }
        }
        anyhow::bail!("the local Picket does not come online")
    }

    pub fn local_rss_kib(&self) -> u64 {
        peak_rss_kib(self.local.id()).unwrap_or(0)
    }

    pub async fn end(&mut self) {
        for child in [&mut self.local, &mut self.upstream] {
            let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
            if let Some(pid) = pid {
                let _ = kill_process(pid, Signal::TERM);
            }
            if timeout_at(Instant::now() + END_LIMIT, child.wait()).await.is_err() {
                let _ = child.kill().await;
            }
        }
    }

    /// What the two had to say, for when something went wrong.
    pub fn last_words(&self) -> String {
        let words = ["local", "upstream"].map(|name| {
            let log = std::fs::read_to_string(log_path(self.folder.path(), name)).unwrap_or_default();
            format!("{name}: {}", log.trim())
        });
        words.join("\n")
    }
}

fn log_path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.log"))
}

/// Starts this very binary as a daemon; it ends with us.
fn start(folder: &Path, name: &str, config: &str) -> anyhow::Result<Child> {
    let file = folder.join(format!("{name}.toml"));
    std::fs::write(&file, config)?;
    let log = std::fs::File::create(log_path(folder, name))?;
    Command::new(std::env::current_exe().context("where is this binary?")?)
        .arg("run")
        .arg("--config")
        .arg(file)
        .env("PICKET_LOG", "warn")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("the {name} Picket cannot be started"))
}

fn upstream_config(port: u16) -> String {
    format!(
        r#"
[device]
id = "demo-upstream"
[store]
path = "upstream"
[http]
listen = "127.0.0.1:{port}"
[[model]]
name = "digits-large"
bundle = "./models/digits-large"
"#
    )
}

fn local_config(mqtt: u16, http: u16, upstream: u16) -> String {
    format!(
        r#"
[device]
id = "{DEVICE}"
[store]
path = "."
[mqtt]
url = "mqtt://127.0.0.1:{mqtt}"
[http]
listen = "127.0.0.1:{http}"
[[model]]
name = "digits"
bundle = "digits"
deadline_ms = 1000
[escalation]
providers = ["upstream"]
budget = {{ money_per_day = 50.0 }}
[[provider]]
name = "upstream"
kind = "oip"
url = "http://127.0.0.1:{upstream}"
model = "digits-large"
timeout_ms = 500
cost = {{ call = {CALL_PRICE} }}
"#
    )
}

/// Ports that are free now; held together, so that they differ.
fn free_ports() -> anyhow::Result<[u16; 3]> {
    let listeners = [(); 3].map(|()| TcpListener::bind(("127.0.0.1", 0)));
    let mut ports = [0; 3];
    for (port, listener) in ports.iter_mut().zip(listeners) {
        *port = listener?.local_addr()?.port();
    }
    Ok(ports)
}

async fn wait_for_port(port: u16) -> anyhow::Result<()> {
    let limit = Instant::now() + READY_LIMIT;
    loop {
        match tokio::net::TcpStream::connect(("127.0.0.1", port)).await {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > limit => return Err(error.into()),
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}
