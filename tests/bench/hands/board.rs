//! Between QEMU's node and the daemon: hands on what either says, and writes down when a frame had come to its end. What QEMU
//! itself takes to emulate the node is outside of that; its console tells.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read, Write},
    os::fd::AsFd,
    path::PathBuf,
    sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel},
    time::{Duration, Instant},
};

use firmware_profiles::wire::{Body, Frame, Receiver};
use rustix::fs::{OFlags, fcntl_setfl};

use crate::{figures, pty::Pty};

/// Frames that may wait to be written down.
const NOTES: usize = 1_024;

#[derive(clap::Args)]
pub struct Args {
    /// QEMU's pty
    #[arg(long)]
    node: PathBuf,
    /// Where the line for the daemon will be
    #[arg(long)]
    port: PathBuf,
    #[arg(long, default_value_t = 30.0)]
    seconds: f64,
}

enum Note {
    Reading(u32),
    Job(u32),
    Verdict(u32),
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let node = File::options().read(true).write(true).open(&args.node)?;
    let pty = Pty::plug(&args.port);
    let gateway = File::from(pty.as_fd().try_clone_to_owned()?);
    // A thread of its own waits for each side.
    fcntl_setfl(&gateway, OFlags::RDWR)?;
    let (notes, noted) = sync_channel(NOTES);
    let (to_node, from_gateway) = (node.try_clone()?, gateway.try_clone()?);
    let up = notes.clone();
    std::thread::spawn(move || {
        hand_on(node, gateway, &up, |frame| match frame.body {
            Body::Reading { .. } => Some(Note::Reading(frame.address.seq)),
            Body::Job { .. } => Some(Note::Job(frame.address.seq)),
            _ => None,
        })
    });
    std::thread::spawn(move || {
        hand_on(from_gateway, to_node, &notes, |frame| match frame.body {
            Body::Verdict(verdict) => Some(Note::Verdict(verdict.seq)),
            _ => None,
        })
    });
    let end = Instant::now() + Duration::from_secs_f64(args.seconds);
    let (mut sent, mut answered) = (BTreeMap::new(), BTreeMap::new());
    loop {
        match noted.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok((at, Note::Reading(seq))) => drop(sent.entry(seq).or_insert((at, "readings"))),
            Ok((at, Note::Job(seq))) => drop(sent.entry(seq).or_insert((at, "job"))),
            Ok((at, Note::Verdict(seq))) => drop(answered.entry(seq).or_insert(at)),
            Err(RecvTimeoutError::Timeout) => break,
            Err(RecvTimeoutError::Disconnected) => anyhow::bail!("a line is gone"),
        }
    }
    let waited = |kind: &str| {
        let of = |seq: &u32, heard: &Instant| {
            let (at, _) = sent.get(seq).filter(|(_, its)| *its == kind)?;
            Some(heard.duration_since(*at).as_secs_f64())
        };
        figures(answered.iter().filter_map(|(seq, heard)| of(seq, heard)).collect())
    };
    println!(
        "{}",
        serde_json::json!({ "readings": waited("readings"), "job": waited("job"), "seconds": args.seconds })
    );
    // The threads wait for lines that say nothing any more.
    std::process::exit(0);
}

/// Reads from one side and writes to the other until one of them is gone.
fn hand_on(
    mut from: File,
    mut to: File,
    notes: &SyncSender<(Instant, Note)>,
    note: impl Fn(&Frame<'_>) -> Option<Note>,
) {
    let (mut receiver, mut buffer) = (Receiver::<4_200>::new(), [0; 4_096]);
    while let Ok(length) = from.read(&mut buffer) {
        let at = Instant::now();
        if length == 0 || to.write_all(&buffer[..length]).is_err() {
            return;
        }
        let mut bytes = &buffer[..length];
        while let Some(result) = receiver.receive(&mut bytes) {
            if let Ok(frame) = result
                && let Some(note) = note(&frame)
                && notes.send((at, note)).is_err()
            {
                return;
            }
        }
    }
}
