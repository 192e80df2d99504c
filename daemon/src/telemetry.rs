//! What operators see: one tracing event and one counter per action, `/metrics`, `/status`.

use serde::{Deserialize, Serialize};

/// The daemon's state as `/status` and `picket status` show it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    pub device: String,
    pub uptime_s: f64,
    pub ready: bool,
    pub jobs: Jobs,
    pub outbox_rows: usize,
    pub store_bytes: usize,
    pub rss_kib: u64,
    pub models: Vec<ModelStatus>,
    pub links: Vec<LinkStatus>,
    pub providers: Vec<ProviderStatus>,
}

/// The terms of invariant I5, and what stands beside it.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Jobs {
    pub accepted: u64,
    pub done: u64,
    pub dead: u64,
    pub expired: u64,
    pub waiting: u64,
    pub running: u64,
    pub refused: u64,
    pub duplicates: u64,
    pub undeliverable: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ModelStatus {
    pub name: String,
    pub version: String,
    /// Its golden vectors came out right on this CPU. False only for bare `.onnx` files, which have none.
    pub proven: bool,
    /// `None`: it serves. Otherwise why it does not.
    pub refused: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LinkStatus {
    pub transport: String,
    pub up: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProviderStatus {
    pub name: String,
    pub admits: bool,
}

/// Counters and histograms behind `/metrics`.
#[derive(Debug, Default)]
pub struct Telemetry {}

impl Telemetry {
    /// The registry in the Prometheus/OpenMetrics text format.
    pub fn metrics_text(&self) -> String {
        String::new()
    }
}
