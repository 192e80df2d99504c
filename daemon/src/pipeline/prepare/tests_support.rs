//! For the tests of steps.

use super::{PREPARE, Step};

/// A step from its keys.
pub fn step(keys: &str) -> Step {
    let mut table: toml::Table = toml::from_str(keys).unwrap();
    let name = table.remove("step").unwrap();
    let kind = PREPARE.iter().find(|kind| Some(kind.name) == name.as_str()).unwrap();
    Step { input: None, step: (kind.read)(table).unwrap() }
}
