//! Lines of the board, as configurations name them: `pin = "GPIO17"`; `chip = "gpiochip0"` and `line = 17`;
//! `chip = "file:…"`.

use std::path::Path;

use toml::Spanned;

use super::{
    section::{ConfigError, Section, unknown_word},
    words::number,
};
use crate::{board::Profile, gpio::Place};

/// What a section says of a line.
pub struct Given<'a> {
    pub pin: &'a Option<Spanned<String>>,
    pub chip: &'a Option<Spanned<String>>,
    pub line: &'a Option<Spanned<u64>>,
}

/// A relative path starts from `folder`.
///
/// # Errors
/// Too few or too many of them; the board has no such pin.
pub fn place(
    section: &Section<'_>,
    Given { pin, chip, line }: Given<'_>,
    folder: &Path,
    board: &Profile,
) -> Result<Place, ConfigError> {
    match (pin, chip, line) {
        (Some(pin), None, None) => {
            let found = board.line(pin.get_ref());
            let place = found.map(|(chip, line)| Place::Chip { chip: chip.to_owned(), line });
            place.ok_or_else(|| {
                let known: Vec<&str> =
                    board.gpio.iter().flat_map(|gpio| gpio.pins.keys()).map(String::as_str).collect();
                let message = if known.is_empty() {
                    format!("no pins are known of board {}; say `chip` and `line`", board.name)
                } else {
                    unknown_word("pin", pin.get_ref(), &known)
                };
                section.fault("config/unknown-name", Some(pin.span()), message)
            })
        }
        (None, Some(chip), line) => match (chip.get_ref().strip_prefix("file:"), line) {
            (Some(path), None) if !path.is_empty() => Ok(Place::File(folder.join(path))),
            (None, Some(line)) if !chip.get_ref().is_empty() => {
                let line = number(section, "line", Some(line), 0..=65_535, 0)?;
                Ok(Place::Chip { chip: chip.get_ref().clone(), line: line as u32 })
            }
            _ => Err(section.error(Some(chip.span()), "a chip needs a `line`; `file:` and a path needs none")),
        },
        _ => Err(section.error(None, "a `pin` is needed, or a `chip` and a `line`")),
    }
}
