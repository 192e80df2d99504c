//! What the tests share: a real broker, the real binary, a user's MQTT client, the golden vectors.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a broken test set-up shall panic where it is broken")]

pub mod broker;
pub mod bundles;
pub mod client;
pub mod daemon;
pub mod golden;

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
