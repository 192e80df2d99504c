//! `[device]`: who this is, and on what board.

use std::{path::Path, sync::Arc};

use picket_core::{limits, time::Span};
use serde::Deserialize;
use toml::Spanned;

use super::{
    section::{ConfigError, Section, unknown_word},
    words::{id_fault, number},
};
use crate::board::{self, Board, Choice, Missing, Root};

/// Who this is.
#[derive(Clone, Debug)]
pub struct Device {
    /// `[a-z0-9][a-z0-9-]{0,62}`
    pub id: Arc<str>,
    /// The group whose jobs this one shares, named like a device.
    pub group: Option<Arc<str>>,
    /// What the daemon runs on.
    pub board: Board,
    /// Least time in a stage of heat before it goes down.
    pub heat_dwell: Span,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    id: Option<Spanned<String>>,
    board: Option<Spanned<String>>,
    group: Option<Spanned<String>>,
    sysfs: Option<Spanned<String>>,
    heat_dwell_s: Option<Spanned<u64>>,
}

/// A relative path starts from `folder`, the one of the configuration.
pub(super) fn check(section: Option<&Section<'_>>, folder: &Path) -> Result<Device, ConfigError> {
    let Some(section) = section else {
        let board = Board::of_this_machine();
        return Ok(Device { id: id_of_host(), group: None, board, heat_dwell: limits::HEAT_DWELL });
    };
    let raw: Raw = section.parse()?;
    for id in [&raw.id, &raw.group].into_iter().flatten() {
        if let Some(message) = id_fault(id.get_ref()) {
            return Err(section.error(Some(id.span()), message));
        }
    }
    let board = board(section, &raw, folder)?;
    let (usual, longest) = (limits::HEAT_DWELL.as_micros() / 1_000_000, limits::HEAT_DWELL_MAX.as_micros() / 1_000_000);
    let dwell_s = number(section, "heat_dwell_s", raw.heat_dwell_s.as_ref(), 1..=longest, usual)?;
    let id = raw.id.map_or_else(id_of_host, |id| id.into_inner().into());
    let group = raw.group.map(|group| group.into_inner().into());
    Ok(Device { id, group, board, heat_dwell: Span::from_millis(dwell_s * 1_000) })
}

/// `auto`, a name, or what has a `/` or ends in `.toml`: a file.
fn board(section: &Section<'_>, raw: &Raw, folder: &Path) -> Result<Board, ConfigError> {
    let root = match &raw.sysfs {
        None => Root::new("/"),
        Some(path) => {
            let root = folder.join(path.get_ref());
            if !root.is_dir() {
                return Err(section.error(Some(path.span()), format!("there is no folder {}", root.display())));
            }
            Root::new(root)
        }
    };
    let text = raw.board.as_ref().map_or("auto", |board| board.get_ref().as_str());
    let file = folder.join(text);
    let choice = match text {
        "auto" => Choice::Auto,
        text if text.contains('/') || text.ends_with(".toml") => Choice::File(&file),
        text => Choice::Name(text),
    };
    Board::look(root, choice).map_err(|missing| {
        let span = raw.board.as_ref().map(Spanned::span);
        match missing {
            Missing::Name => {
                let known: Vec<&str> = ["auto"].into_iter().chain(board::names()).collect();
                section.fault("config/unknown-name", span, unknown_word("board", text, &known))
            }
            Missing::Unreadable(why) => {
                section.fault("config/unreadable", span, format!("{} cannot be read: {why}", file.display()))
            }
            Missing::Invalid(why) => section.error(span, format!("{} is no board: {why}", file.display())),
        }
    })
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
