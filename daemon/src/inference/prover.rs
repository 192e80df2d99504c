//! Who proves a model: a child process of this program, which can do nothing but that, and may die of it.
//!
//! [`Prover`] is the parent's side; [`inside`] is what the child does. Between them is one socket: the bundle's files go in,
//! one verdict comes out ([`dossier`]).

mod dossier;
pub mod inside;
mod obituary;

use std::{
    io::{self, Read, Write},
    mem,
    net::Shutdown,
    os::{
        fd::OwnedFd,
        unix::{net::UnixStream, process::ExitStatusExt},
    },
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use picket_core::{job::Failure, limits};

pub use self::dossier::Proof;
use self::{dossier::Verdict, obituary::End};
use crate::bundle::{Bundle, Files};

/// The subcommand that a child is started with.
pub const SUBCOMMAND: &str = "prove";

/// Where the program is that proves models: this one, unless this is a test.
#[derive(Clone, Debug)]
pub struct Prover {
    program: PathBuf,
    /// Its child takes the time of one more inference.
    measures: bool,
    /// No child gets more time, whatever the model's size.
    most: Option<Duration>,
}

/// What one proof may take.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    bytes: u64,
    wait: Duration,
}

impl Prover {
    /// A child of the program that runs now.
    ///
    /// # Errors
    /// The system does not say where that is.
    pub fn this_program() -> io::Result<Self> {
        std::env::current_exe().map(Self::new)
    }

    /// `program prove` is what [`inside::run`] is.
    pub const fn new(program: PathBuf) -> Self {
        Self { program, measures: false, most: None }
    }

    /// The same, with the time of an inference in its proofs.
    #[must_use]
    pub fn measuring(self) -> Self {
        Self { measures: true, ..self }
    }

    /// The same, with no more time than this for any model.
    #[must_use]
    pub fn within(self, most: Duration) -> Self {
        Self { most: Some(most), ..self }
    }

    /// Starts a child, gives it the files that the bundle was read from, which the bundle loses, and waits for its verdict.
    ///
    /// # Errors
    /// The child's: as [`crate::inference::served::Served::load`] and [`crate::inference::prescan::scan`] have them;
    /// `model/broken` when the child died of the model, ran out of its memory, or took too long; `model/not-ready` when no
    /// child could be started.
    pub fn prove(&self, bundle: &mut Bundle) -> Result<Proof, Failure> {
        let mut bounds = Bounds::of(bundle);
        bounds.wait = bounds.wait.min(self.most.unwrap_or(bounds.wait));
        // It goes to the child, and would be here twice.
        let (files, name) = (mem::take(&mut bundle.files), &bundle.name);
        let deadline = Instant::now() + bounds.wait;
        let not_ready = |error: io::Error| {
            let message = format!("bundle {name:?}: the process that proves models does not start: {error}");
            Failure::new("model/not-ready", message)
        };
        let mut trial = self.start(&bounds).map_err(not_ready)?;
        let sent = trial.send(&files, deadline);
        drop(files);
        let said = sent.and_then(|()| trial.hear(deadline));
        let (status, complaint) = trial.end();
        let verdict = said.as_ref().ok().and_then(|said| Verdict::parse(said)).filter(|_| status.success());
        match verdict {
            Some(Verdict::Proven(proof)) => Ok(proof),
            Some(Verdict::Refused(refusal)) => Err(refusal.failure(name)),
            None => {
                let timed_out =
                    |error: &io::Error| matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock);
                let late = said.as_ref().is_err_and(timed_out);
                let end = End { status, complaint: &complaint, late, bounds: (bounds.bytes, bounds.wait) };
                Err(Failure::new("model/broken", format!("bundle {name:?}: proving it {}", end.words())))
            }
        }
    }

    fn start(&self, bounds: &Bounds) -> io::Result<Trial> {
        let (ours, theirs) = UnixStream::pair()?;
        let (complaints, their_complaints) = UnixStream::pair()?;
        let mut command = Command::new(&self.program);
        // A limit for the processor, too: should nobody wait any more.
        let seconds = bounds.wait.as_secs() + 1;
        command.args([SUBCOMMAND, "--memory", &bounds.bytes.to_string(), "--seconds", &seconds.to_string()]);
        if self.measures {
            command.arg("--measure");
        }
        // The engine's own knobs choose its kernels, and what is proven must be what serves.
        let knobs = std::env::vars_os().filter(|(key, _)| key.as_encoded_bytes().starts_with(b"TRACT_"));
        command.env_clear().envs(knobs).current_dir("/");
        command.stdin(Stdio::from(OwnedFd::from(theirs.try_clone()?)));
        command.stdout(Stdio::from(OwnedFd::from(theirs)));
        command.stderr(Stdio::from(OwnedFd::from(their_complaints)));
        let child = command.spawn()?;
        Ok(Trial { child, talk: ours, complaints })
    }
}

impl Bounds {
    /// Everything is large in proportion to what was read, and to what its golden vectors unpack to.
    fn of(bundle: &Bundle) -> Self {
        let packed = bundle.files.contents.iter().map(|(_, bytes)| bytes.len());
        let tensors = bundle.golden.iter().flat_map(|golden| golden.inputs.iter().chain(&golden.outputs));
        let model_bytes = packed.chain(tensors.map(|tensor| tensor.data().len())).sum::<usize>() as u64;
        let wait = limits::PROOF_WAIT.as_micros() + limits::PROOF_WAIT_PER_MIB.as_micros() * (model_bytes >> 20);
        Self {
            bytes: limits::PROOF_BYTES + limits::PROOF_BYTES_PER_MODEL_BYTE * model_bytes,
            wait: Duration::from_micros(wait),
        }
    }
}

/// A child at work.
struct Trial {
    child: Child,
    talk: UnixStream,
    complaints: UnixStream,
}

impl Trial {
    /// A child that has died already is no error: it has left word, or its end says all.
    fn send(&mut self, files: &Files, deadline: Instant) -> io::Result<()> {
        let sent = dossier::write(files, &mut Timely { stream: &self.talk, deadline });
        match sent {
            Err(error) if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => {
                return Ok(());
            }
            other => other?,
        }
        let _ = self.talk.shutdown(Shutdown::Write);
        Ok(())
    }

    /// All that it says until it ends.
    fn hear(&mut self, deadline: Instant) -> io::Result<Vec<u8>> {
        let mut said = Vec::new();
        Timely { stream: &self.talk, deadline }.take(limits::PROOF_SAID_BYTES).read_to_end(&mut said)?;
        Ok(said)
    }

    /// Its end, at once if need be. A process that ended by itself keeps its own status.
    fn end(mut self) -> (ExitStatus, String) {
        let _ = self.child.kill();
        let status = self.child.wait().unwrap_or_else(|_| ExitStatus::from_raw(libc::SIGKILL));
        let mut complaint = Vec::new();
        let _ = self.complaints.set_nonblocking(true);
        let _ = self.complaints.take(limits::PROOF_SAID_BYTES).read_to_end(&mut complaint);
        (status, String::from_utf8_lossy(&complaint).into_owned())
    }
}

/// A stream on which nothing takes longer than until the deadline.
struct Timely<'s> {
    stream: &'s UnixStream,
    deadline: Instant,
}

impl Timely<'_> {
    fn left(&self) -> io::Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

impl Read for Timely<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.left()?))?;
        self.stream.read(buffer)
    }
}

impl Write for Timely<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
