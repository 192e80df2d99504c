//! A command that writes frames, and all that it started.

use std::{
    process::{ExitStatus, Stdio},
    time::Duration,
};

use picket_core::limits;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::{
    io::AsyncReadExt,
    process::{Child, ChildStdout, Command},
    time::{Instant, sleep},
};

/// Running, in a process group of its own.
pub struct Running {
    child: Child,
    pub stdout: ChildStdout,
    group: Option<Pid>,
    complaints: tokio::task::JoinHandle<String>,
}

/// How often it is looked whether the command has ended.
const LOOK: Duration = Duration::from_millis(20);

impl Running {
    /// Starts `command[0]` with the rest as its arguments; no shell.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(command: &[String]) -> std::io::Result<Self> {
        let (program, arguments) = command.split_first().ok_or(std::io::ErrorKind::InvalidInput)?;
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (stdout, mut stderr) = stdout.zip(stderr).ok_or(std::io::ErrorKind::BrokenPipe)?;
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        // Whoever complains must not be held up; the end of it is what counts.
        let complaints = tokio::spawn(async move {
            let (mut kept, mut buffer) = (Vec::new(), [0; 512]);
            while let Ok(read @ 1..) = stderr.read(&mut buffer).await {
                kept.extend_from_slice(&buffer[..read]);
                let old = kept.len().saturating_sub(limits::SOURCE_COMPLAINT_BYTES);
                kept.drain(..old);
            }
            last_line(&kept)
        });
        Ok(Self { child, stdout, group, complaints })
    }

    /// Ends it and all that it started: asked first, killed after a while. `by_itself`: it has closed its output, so it need
    /// not be asked. Says how it ended.
    pub async fn end(mut self, by_itself: bool) -> String {
        let limit = Instant::now() + Duration::from(limits::SOURCE_END_WAIT);
        if !by_itself {
            self.signal(Signal::TERM);
        }
        // Not reaped before its group is killed: until then nobody else can have the group's number.
        while !self.has_ended() && Instant::now() < limit {
            sleep(LOOK).await;
        }
        self.signal(Signal::KILL);
        let status = self.child.wait().await;
        let reader = self.complaints.abort_handle();
        // Something that left the group may still hold the other end.
        let said = tokio::time::timeout(LOOK, self.complaints).await;
        reader.abort();
        let said = said.ok().and_then(Result::ok).unwrap_or_default();
        let status = status.map_or_else(|error| error.to_string(), |status: ExitStatus| status.to_string());
        if said.is_empty() { status } else { format!("{status}: {said}") }
    }

    fn has_ended(&self) -> bool {
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        self.group.is_none_or(|pid| !matches!(waitid(WaitId::Pid(pid), look), Ok(None)))
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // An error says that nobody is left.
            let _ = kill_process_group(group, signal);
        }
    }
}

/// Without what a terminal would make of it.
fn last_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let line = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    line.trim().chars().filter(|c| !c.is_control()).take(200).collect()
}
