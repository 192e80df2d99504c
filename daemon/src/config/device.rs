//! `[device]`: who this is.

use std::sync::Arc;

use serde::Deserialize;
use toml::Spanned;

use super::{
    section::{ConfigError, Section},
    words::id_fault,
};

/// Who this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// `[a-z0-9][a-z0-9-]{0,62}`
    pub id: Arc<str>,
    /// Name of a board profile; only `auto` so far.
    pub board: String,
    /// The group whose jobs this one shares, named like a device.
    pub group: Option<Arc<str>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    id: Option<Spanned<String>>,
    board: Option<Spanned<String>>,
    group: Option<Spanned<String>>,
}

pub(super) fn check(section: Option<&Section<'_>>) -> Result<Device, ConfigError> {
    let Some(section) = section else {
        return Ok(Device { id: id_of_host(), board: "auto".to_owned(), group: None });
    };
    let raw: Raw = section.parse()?;
    for id in [&raw.id, &raw.group].into_iter().flatten() {
        if let Some(message) = id_fault(id.get_ref()) {
            return Err(section.error(Some(id.span()), message));
        }
    }
    if let Some(board) = raw.board.filter(|board| board.get_ref() != "auto") {
        let message = "board profiles are not there yet; write \"auto\" or remove this key";
        return Err(section.fault("config/not-yet", Some(board.span()), message));
    }
    let id = raw.id.map_or_else(id_of_host, |id| id.into_inner().into());
    Ok(Device { id, board: "auto".to_owned(), group: raw.group.map(|group| group.into_inner().into()) })
}

fn id_of_host() -> Arc<str> {
    let host = hostname::get().map(|host| host.to_string_lossy().into_owned()).unwrap_or_default();
    id_from(&host).into()
}

/// The nearest thing to a host name that is a device id.
fn id_from(host: &str) -> String {
    let fit = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let id: String = host.chars().map(fit).skip_while(|c| *c == '-').take(63).collect();
    if id.is_empty() { "picket".to_owned() } else { id }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_name_becomes_a_device_id() {
        assert_eq!(id_from("Press4.Line_2.example"), "press4-line-2-example");
        assert_eq!(id_from("--x"), "x");
        assert_eq!(id_from(""), "picket");
        assert_eq!(id_from(&"ü".repeat(80)), "picket");
        assert_eq!(id_fault(&id_from(&"H".repeat(80))), None);
    }
}
