//! What the tests share: brokers real and fake, a proxy that breaks connections, the real binary, a user's MQTT client,
//! the golden vectors.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a broken test set-up shall panic where it is broken")]

pub mod broker;
pub mod bundles;
pub mod caller;
pub mod client;
pub mod daemon;
pub mod damage;
pub mod fake_broker;
pub mod golden;
pub mod hostile;
pub mod judge;
pub mod mlserver;
pub mod node;
pub mod onnx;
pub mod proxy;
pub mod pty;
pub mod rig;
pub mod script;
pub mod uart;

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
};

/// The project's root folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the project").to_owned()
}

/// The real data and models beside the project, when they are there. A test that needs them says so and passes without.
pub fn shared(what: &str) -> Option<PathBuf> {
    let path = root().parent().expect("the project has a parent folder").join("shared").join(what);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: ../shared/{what} is absent");
    None
}

/// A port of the loopback interface that is free now.
pub fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// GET, with the TLS provider that the whole project uses.
///
/// # Errors
/// Nobody answers.
pub async fn get(url: &str) -> reqwest::Result<reqwest::Response> {
    picket::provider::use_ring();
    reqwest::get(url).await
}

/// Polls until `done`; the limit is for hanging tests only.
pub async fn until<F: Future<Output = bool>>(what: &str, mut done: impl FnMut() -> F) {
    let polling = async {
        while !done().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(client::PATIENCE, polling).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}

/// Waits until an HTTP face says that it is ready.
pub async fn until_ready(port: u16) {
    let url = format!("http://127.0.0.1:{port}/readyz");
    until("ready", || async { get(&url).await.is_ok_and(|answer| answer.status().is_success()) }).await;
}
