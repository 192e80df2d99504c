//! Lines of the board: outputs that are moved, inputs whose edges count. A file stands in where there is no chip.

mod edges;
mod line;

use std::{
    fmt,
    path::{Path, PathBuf},
};

pub use self::{
    edges::{Edge, Edges},
    line::Line,
};

/// How our lines are labelled for everybody else (`gpioinfo`).
const CONSUMER: &str = "picket";

/// Where a line is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// `chip`: a device (`gpiochip0`, `/dev/gpiochip0`), or the label that `gpiodetect` shows.
    Chip { chip: String, line: u32 },
    /// An output writes one line of text for each change; an input is a named pipe, and each line of text an edge.
    File(PathBuf),
}

/// Why a line is not ours, or not any more; a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("{0}")]
    Busy(String),
    #[error("{0}")]
    NoLine(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chip { chip, line } => write!(f, "line {line} of {chip}"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

impl Place {
    /// What is in the way of taking this line now, in a sentence. Takes nothing.
    pub fn missing(&self) -> Option<String> {
        let Self::Chip { chip, line } = self else { return None };
        let look = |path: &Path| gpiocdev::Chip::from_path(path).and_then(|chip| chip.line_info(*line));
        match device(chip) {
            Err(fault) => Some(fault.to_string()),
            Ok(path) => match look(&path) {
                Err(error) => Some(Fault::of(*line, &path, &error).to_string()),
                Ok(info) if info.used => Some(format!("{self} is used by {:?}", info.consumer)),
                Ok(_) => None,
            },
        }
    }
}

impl Fault {
    fn of(line: u32, chip: &Path, error: &gpiocdev::Error) -> Self {
        let message = format!("line {line} of {}: {error}", chip.display());
        if is_busy(error) { Self::Busy(message) } else { Self::NoLine(message) }
    }
}

fn is_busy(error: &gpiocdev::Error) -> bool {
    let busy = std::io::Error::from_raw_os_error(rustix::io::Errno::BUSY.raw_os_error());
    match error {
        gpiocdev::Error::Os(errno) => Some(errno.0) == busy.raw_os_error(),
        // The crate does not export what is inside; it says what the system says.
        gpiocdev::Error::Uapi(_, inside) => inside.to_string() == busy.to_string(),
        _ => false,
    }
}

/// The device of a chip, which one may name by its label.
fn device(chip: &str) -> Result<PathBuf, Fault> {
    let named = if chip.contains('/') { PathBuf::from(chip) } else { Path::new("/dev").join(chip) };
    if gpiocdev::chip::is_chip(&named).is_ok() {
        return Ok(named);
    }
    let chips = gpiocdev::chip::chips().unwrap_or_default();
    let label = |path: &PathBuf| gpiocdev::Chip::from_path(path).and_then(|chip| chip.info()).map(|info| info.label);
    let found = chips.iter().find(|path| label(path).is_ok_and(|label| label == chip));
    found.cloned().ok_or_else(|| {
        let known: Vec<String> = chips.iter().map(|path| path.display().to_string()).collect();
        let known = if known.is_empty() { "there is none at all".to_owned() } else { known.join(", ") };
        Fault::NoLine(format!("there is no GPIO chip {chip:?}; here: {known}"))
    })
}
