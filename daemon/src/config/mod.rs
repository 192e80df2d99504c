//! From TOML text to a checked configuration; nothing is opened here.

pub mod section;

pub use section::{ConfigError, Section};
