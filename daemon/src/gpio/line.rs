//! Lines that are moved.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    time::SystemTime,
};

use gpiocdev::{Request, line::Value};

use super::{Fault, Place, device};

/// A line that is ours.
pub trait Line: Send {
    /// # Errors
    /// It did not move.
    fn set(&mut self, high: bool) -> Result<(), Fault>;
}

impl Place {
    /// Takes the line; it has this level from then on.
    ///
    /// # Errors
    /// Somebody else has it; there is none, or it may not be used.
    pub fn open_output(&self, high: bool) -> Result<Box<dyn Line>, Fault> {
        match self {
            Self::File(path) => {
                let opened = OpenOptions::new().create(true).append(true).open(path);
                let fail = |error| Fault::NoLine(format!("{} cannot be written: {error}", path.display()));
                let mut line = FileLine(opened.map_err(fail)?);
                line.set(high)?;
                Ok(Box::new(line))
            }
            Self::Chip { chip, line } => {
                let path = device(chip)?;
                let request = Request::builder()
                    .on_chip(&path)
                    .with_consumer(super::CONSUMER)
                    .with_line(*line)
                    .as_output(value(high))
                    .request()
                    .map_err(|error| Fault::of(*line, &path, &error))?;
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
        self.0.write_all(text.as_bytes()).map_err(|error| Fault::NoLine(format!("the file cannot be written: {error}")))
    }
}

struct GpioLine {
    request: Request,
    line: u32,
}

impl Line for GpioLine {
    fn set(&mut self, high: bool) -> Result<(), Fault> {
        let set = self.request.set_value(self.line, value(high));
        set.map(|_| ()).map_err(|error| Fault::NoLine(format!("line {} does not move: {error}", self.line)))
    }
}

const fn value(high: bool) -> Value {
    if high { Value::Active } else { Value::Inactive }
}
