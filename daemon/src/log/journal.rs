//! The journal's own protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL): each event with fields of its own, so that
//! `journalctl PICKET_JOB=press-4/18834` finds what was said of a job.
//!
//! The crate tracing-journald sends the bare words of an event as its message, without the fields: `journalctl -u picket`
//! would show `job failed`, and neither which model nor why.

use std::{
    io,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    time::Duration,
};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use super::line::Line;

const SOCKET: &str = "/run/systemd/journal/socket";
/// Bytes of one value; what is longer is cut off, as a datagram has an end.
const VALUE_BYTES: usize = 8 << 10;
/// Longest wait for a journal whose queue is full. What does not get in then is lost: a journal that hangs must not stop the
/// daemon.
const PATIENCE: Duration = Duration::from_millis(50);

pub struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Journal {
    /// Where standard error is a stream of the journal (`JOURNAL_STREAM`, see systemd.exec(5)), and the journal takes
    /// messages.
    pub fn of_standard_error() -> Option<Self> {
        let stream = std::env::var("JOURNAL_STREAM").ok()?;
        let file = rustix::fs::fstat(io::stderr()).ok()?;
        if !is_stream(&stream, file.st_dev, file.st_ino) {
            return None;
        }
        Self::at(Path::new(SOCKET)).ok()
    }

    /// # Errors
    /// Nobody takes messages there.
    fn at(path: &Path) -> io::Result<Self> {
        let journal = Self { socket: UnixDatagram::unbound()?, path: path.to_owned() };
        journal.socket.set_write_timeout(Some(PATIENCE))?;
        // The journal throws an empty message away.
        journal.socket.send_to(&[], &journal.path)?;
        Ok(journal)
    }
}

/// `device:inode`, as systemd writes it.
fn is_stream(text: &str, device: u64, inode: u64) -> bool {
    text.split_once(':').is_some_and(|(d, i)| d.parse() == Ok(device) && i.parse() == Ok(inode))
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let _ = self.socket.send_to(&entry(event), &self.path);
    }
}

fn entry(event: &Event<'_>) -> Vec<u8> {
    let (metadata, line) = (event.metadata(), Line::of(event));
    // As syslog(3) numbers them.
    let priority = match *metadata.level() {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        _ => "7",
    };
    let mut entry = Vec::with_capacity(512);
    put(&mut entry, "MESSAGE", &line.text());
    put(&mut entry, "PRIORITY", priority);
    put(&mut entry, "SYSLOG_IDENTIFIER", "picket");
    put(&mut entry, "TARGET", metadata.target());
    if let (Some(file), Some(number)) = (metadata.file(), metadata.line()) {
        put(&mut entry, "CODE_FILE", file);
        put(&mut entry, "CODE_LINE", &number.to_string());
    }
    for (name, value) in &line.fields {
        put(&mut entry, &field(name), value);
    }
    if let Some(code) = line.code().filter(|_| line.fields.iter().all(|(name, _)| *name != "code")) {
        put(&mut entry, &field("code"), code);
    }
    entry
}

/// `job` is `PICKET_JOB`: capital letters, digits and underscores are all that the journal takes.
fn field(name: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    format!("PICKET_{}", name.chars().map(letter).collect::<String>())
}

/// With its length: a value may have lines.
fn put(entry: &mut Vec<u8>, name: &str, value: &str) {
    let value = &value[..value.floor_char_boundary(VALUE_BYTES)];
    entry.extend_from_slice(name.as_bytes());
    entry.push(b'\n');
    entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    entry.extend_from_slice(value.as_bytes());
    entry.push(b'\n');
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// Reads an entry as the journal does.
    fn fields(mut entry: &[u8]) -> BTreeMap<String, String> {
        let mut fields = BTreeMap::new();
        while !entry.is_empty() {
            let end = entry.iter().position(|byte| *byte == b'\n').unwrap();
            let name = String::from_utf8(entry[..end].to_vec()).unwrap();
            let length = u64::from_le_bytes(entry[end + 1..end + 9].try_into().unwrap()) as usize;
            let value = String::from_utf8(entry[end + 9..end + 9 + length].to_vec()).unwrap();
            assert_eq!(entry[end + 9 + length], b'\n');
            assert!(fields.insert(name.clone(), value).is_none(), "{name} is there twice");
            entry = &entry[end + 10 + length..];
        }
        fields
    }

    fn heard(say: impl FnOnce()) -> BTreeMap<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let ear = UnixDatagram::bind(&path).unwrap();
        let journal = Journal::at(&path).unwrap();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(journal), say);
        let mut entry = vec![0; 1 << 16];
        assert_eq!(ear.recv(&mut entry).unwrap(), 0, "the first one asks whether anybody listens");
        let length = ear.recv(&mut entry).unwrap();
        fields(&entry[..length])
    }

    #[test]
    fn an_event_has_fields_of_its_own_and_a_message_that_reads_by_itself() {
        let entry = heard(|| {
            tracing::warn!(
                job = "press-4/18834",
                model = "digits",
                code = "input/not-json",
                why = "two\nlines",
                n = 3,
                "job failed"
            );
        });
        let expected = [
            ("MESSAGE", r#"job failed job=press-4/18834 model=digits code=input/not-json why="two\nlines" n=3"#),
            ("PRIORITY", "4"),
            ("SYSLOG_IDENTIFIER", "picket"),
            ("TARGET", "picket::log::journal::tests"),
            ("PICKET_JOB", "press-4/18834"),
            ("PICKET_MODEL", "digits"),
            ("PICKET_CODE", "input/not-json"),
            ("PICKET_WHY", "two\nlines"),
            ("PICKET_N", "3"),
        ];
        for (name, value) in expected {
            assert_eq!(entry.get(name).map(String::as_str), Some(value), "{entry:?}");
        }
    }

    #[test]
    fn a_code_at_the_beginning_of_a_message_is_a_field_too() {
        let entry = heard(|| tracing::error!(used = 7_u64, "store/full: the disk is full"));
        assert_eq!((entry["PICKET_CODE"].as_str(), entry["PICKET_USED"].as_str()), ("store/full", "7"));
        assert_eq!(entry["PRIORITY"], "3");
    }

    #[test]
    fn a_value_that_is_too_long_is_cut_between_two_characters() {
        let long = "ü".repeat(VALUE_BYTES);
        let entry = heard(|| tracing::info!(long, "x"));
        assert_eq!(entry["PICKET_LONG"], "ü".repeat(VALUE_BYTES / 2));
    }

    #[test]
    fn only_the_stream_of_standard_error_counts() {
        assert!(is_stream("8:1234", 8, 1234));
        for other in ["8:1235", "9:1234", "8", "", "8:1234:", "x:y"] {
            assert!(!is_stream(other, 8, 1234), "{other}");
        }
    }
}
