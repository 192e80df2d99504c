//! The lines themselves: one of a GPIO chip, or a file.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    time::SystemTime,
};

use gpiocdev::{Request, line::Value};

/// Where a line is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// `chip`: a device (`gpiochip0`, `/dev/gpiochip0`), or the label that `gpiodetect` shows.
    Chip { chip: String, line: u32 },
    /// Gets one line of text for each change.
    File(PathBuf),
}

/// A line that is ours.
pub trait Line: Send {
    /// # Errors
    /// It did not move.
    fn set(&mut self, high: bool) -> Result<(), Fault>;
}

/// Why a line is not ours, or not any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("error[{code}]: {message}")]
pub struct Fault {
    pub code: &'static str,
    pub message: String,
}

impl Fault {
    fn no_line(message: String) -> Self {
        Self { code: "output/no-line", message }
    }
}

impl Place {
    /// Takes the line; it has this level from then on.
    ///
    /// # Errors
    /// `output/busy`: somebody else has it. `output/no-line`: there is none, or it may not be used.
    pub fn open(&self, high: bool) -> Result<Box<dyn Line>, Fault> {
        match self {
            Self::File(path) => {
                let opened = OpenOptions::new().create(true).append(true).open(path);
                let fail = |error| Fault::no_line(format!("{} cannot be written: {error}", path.display()));
                let mut line = FileLine(opened.map_err(fail)?);
                line.set(high)?;
                Ok(Box::new(line))
            }
            Self::Chip { chip, line } => {
                let path = device(chip)?;
                let fail = |error: gpiocdev::Error| {
                    let message = format!("line {line} of {}: {error}", path.display());
                    let busy = is_busy(&error);
                    Fault { code: if busy { "output/busy" } else { "output/no-line" }, message }
                };
                let request = Request::builder()
                    .on_chip(&path)
                    .with_consumer("picket")
                    .with_line(*line)
                    .as_output(value(high))
                    .request()
                    .map_err(fail)?;
                Ok(Box::new(GpioLine { request, line: *line }))
            }
        }
    }
}

struct FileLine(File);

impl Line for FileLine {
    /// `1764354241.123456 1`: seconds since 1970, and the level.
    fn set(&mut self, high: bool) -> Result<(), Fault> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let text = format!("{}.{:06} {}\n", now.as_secs(), now.subsec_micros(), u8::from(high));
        self.0
            .write_all(text.as_bytes())
            .map_err(|error| Fault::no_line(format!("the file cannot be written: {error}")))
    }
}

struct GpioLine {
    request: Request,
    line: u32,
}

impl Line for GpioLine {
    fn set(&mut self, high: bool) -> Result<(), Fault> {
        let set = self.request.set_value(self.line, value(high));
        set.map(|_| ()).map_err(|error| Fault::no_line(format!("line {} does not move: {error}", self.line)))
    }
}

const fn value(high: bool) -> Value {
    if high { Value::Active } else { Value::Inactive }
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
        Fault::no_line(format!("there is no GPIO chip {chip:?}; here: {known}"))
    })
}
