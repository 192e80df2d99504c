//! What parent and child say to one another: a bundle's files in, a verdict out.

use std::{
    io::{self, Read, Write},
    path::PathBuf,
};

use bytes::Bytes;
use picket_core::{job::Failure, limits};
use serde::{Deserialize, Serialize};

use crate::bundle::Files;

/// What a child has found of a model that it proved.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Proof {
    /// Microseconds from bytes to a model that is ready.
    pub load_us: u64,
    /// Microseconds of one inference, where it was asked for.
    pub infer_us: Option<u64>,
    /// Most memory that the child had, in KiB.
    pub peak_kib: u64,
    /// The measures that confined it.
    pub held: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Verdict {
    Proven(Proof),
    Refused(Refusal),
}

/// A [`Failure`] on its way to another process.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Refusal {
    code: String,
    message: String,
    want: Option<String>,
    got: Option<String>,
}

/// The codes that a child may give. Whatever else it says is a model that broke it.
const CODES: [&str; 8] = [
    "model/unsupported",
    "model/broken",
    "model/mismatch",
    "model/unproven",
    "model/failed",
    "model/too-large",
    "model/external-data",
    "model/not-ready",
];

impl Verdict {
    /// What a child said, if it said it in full.
    pub fn parse(said: &[u8]) -> Option<Self> {
        serde_json::from_slice(said).ok()
    }

    pub fn refused(failure: Failure) -> Self {
        /// A message may quote the model.
        const SHOWN: usize = 4_096;
        let Failure { code, message, want, got } = failure;
        let short = |text: String| text.chars().take(SHOWN).collect::<String>();
        Self::Refused(Refusal {
            code: code.to_owned(),
            message: short(message),
            want: want.map(short),
            got: got.map(short),
        })
    }
}

impl Refusal {
    pub fn failure(self, name: &str) -> Failure {
        let Self { code, message, want, got } = self;
        match CODES.into_iter().find(|known| *known == code) {
            Some(code) => Failure { code, message, want, got },
            None => Failure::new("model/broken", format!("bundle {name:?}: {code}: {message}")),
        }
    }
}

/// Name and length of each file, before their bytes.
#[derive(Serialize, Deserialize)]
struct Head {
    path: PathBuf,
    contents: Vec<(String, u64)>,
}

/// Length of the head, the head as JSON, the files back to back.
pub(super) fn write(files: &Files, to: &mut impl Write) -> io::Result<()> {
    let contents = files.contents.iter().map(|(name, bytes)| (name.clone(), bytes.len() as u64)).collect();
    // A path that is no text is only shown, so it may lose what cannot be shown.
    let path = PathBuf::from(files.path.to_string_lossy().into_owned());
    let head = serde_json::to_vec(&Head { path, contents })?;
    let length = u32::try_from(head.len()).map_err(io::Error::other)?;
    to.write_all(&length.to_le_bytes())?;
    to.write_all(&head)?;
    files.contents.iter().try_for_each(|(_, bytes)| to.write_all(bytes))
}

/// # Errors
/// The stream ends before all is there, or says of itself what cannot be.
pub(super) fn read(from: &mut impl Read) -> io::Result<Files> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let head = exactly(from, u32::from_le_bytes(length).into(), limits::CONFIG_BYTES)?;
    let head: Head = serde_json::from_slice(&head)?;
    let mut contents = Vec::new();
    for (name, length) in head.contents {
        let bytes = exactly(from, length, limits::MAX_MODEL_BYTES)?;
        contents.push((name, Bytes::from(bytes)));
    }
    Ok(Files { path: head.path, contents })
}

fn exactly(from: &mut impl Read, length: u64, most: u64) -> io::Result<Vec<u8>> {
    if length > most {
        return Err(io::Error::other(format!("{length} bytes, at most {most} are read")));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    if from.take(length).read_to_end(&mut bytes)? as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_arrive_as_they_were_or_not_at_all() {
        let contents = vec![("bundle.toml".to_owned(), Bytes::from_static(b"x = 1")), (String::new(), Bytes::new())];
        let files = Files { path: "/models/ä".into(), contents };
        let mut sent = Vec::new();
        write(&files, &mut sent).unwrap();
        assert_eq!(read(&mut sent.as_slice()).unwrap(), files);
        for length in 0..sent.len() {
            assert!(read(&mut &sent[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn a_code_that_nobody_knows_is_a_broken_model() {
        let refusal = |code: &str| Refusal { code: code.to_owned(), message: "m".to_owned(), want: None, got: None };
        assert_eq!(refusal("model/unproven").failure("n").code, "model/unproven");
        let odd = refusal("store/full").failure("n");
        assert_eq!((odd.code, odd.message.as_str()), ("model/broken", "bundle \"n\": store/full: m"));
        assert!(Verdict::parse(b"{\"Proven\":{}").is_none());
    }
}
