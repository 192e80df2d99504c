//! The daemon's state as a document.

use picket_core::tally::Tally;
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
    /// Answered jobs about which a provider is still to be asked.
    #[serde(default)]
    pub inquiries: usize,
    /// What escalation has cost, and what it still may.
    #[serde(default)]
    pub budget: BudgetStatus,
    pub store_bytes: usize,
    #[serde(default)]
    pub board: BoardStatus,
    /// Peak resident memory of the process, in KiB; 0 where the system does not tell.
    pub rss_kib: u64,
    pub models: Vec<ModelStatus>,
    pub links: Vec<LinkStatus>,
    pub providers: Vec<ProviderStatus>,
}

/// The terms of invariant I5 (accepted = done + dead + expired + waiting + running), and what stands beside it.
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
    pub evicted: u64,
    pub buried: u64,
}

impl From<Tally> for Jobs {
    fn from(tally: Tally) -> Self {
        Self {
            accepted: tally.accepted,
            done: tally.done,
            dead: tally.dead,
            expired: tally.expired,
            waiting: tally.waiting,
            running: tally.running,
            refused: tally.refused,
            duplicates: tally.duplicates,
            undeliverable: tally.undeliverable,
            evicted: tally.evicted,
            buried: tally.buried,
        }
    }
}

/// Of the present UTC day and hour. Without a limit, and so without anything left of it: null.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BudgetStatus {
    pub money_today: f64,
    pub bytes_today: u64,
    pub calls_this_hour: u64,
    pub money_per_day: Option<f64>,
    pub bytes_per_day: Option<u64>,
    pub calls_per_hour: Option<u64>,
    pub money_left: Option<f64>,
    pub bytes_left: Option<u64>,
    pub calls_left: Option<u64>,
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

/// What the daemon runs on, and how hot that is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BoardStatus {
    /// Of its profile.
    pub name: String,
    /// `normal`, `eased` or `smaller`.
    pub heat: String,
    /// Part of their configured rate that sources of jobs keep.
    pub source_rate: f64,
    pub zones: Vec<ZoneStatus>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ZoneStatus {
    pub zone: String,
    /// `None`: it cannot be read.
    pub celsius: Option<f64>,
}
