//! One node that asks one question at a time.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read, Write},
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::Context;
use firmware_profiles::wire::{Body, Receiver};

use crate::{
    figures,
    line::{Line, Message},
    node::{CHANNELS, Node},
    pty::Pty,
};

/// A verdict of a class takes about so many bytes on the wire.
const VERDICT_BYTES: usize = 32;
/// Before these the daemon's caches and heaps are cold.
const WARM_UP: usize = 20;

#[derive(clap::Args)]
pub struct Args {
    /// Where the line's other end will be, for the daemon
    #[arg(long)]
    port: PathBuf,
    /// Such a line for `echo`, which is asked in turn: what disturbs one disturbs the other
    #[arg(long)]
    echo_port: PathBuf,
    /// Windows of readings, and as many jobs
    #[arg(long, default_value_t = 300)]
    rounds: usize,
    #[arg(long, default_value_t = 1_000_000)]
    baud: u32,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let mut node = Node::new(0x386, &args.port, Some(args.baud), true);
    let mut echo = Line::new(Pty::plug(&args.echo_port), Some(args.baud), true);
    node.until("a welcome", Node::is_welcome)?;
    let mut found = serde_json::Map::new();
    for kind in ["readings", "job"] {
        let (mut on_the_line, mut waited, mut echoed, mut bytes) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for round in 0..WARM_UP + args.rounds {
            let (asked, heard) = ask(&mut node, kind, round)?;
            pause(&mut node, round)?;
            bytes = asked.bytes.len();
            let (sent, back) = bounce(&mut echo, bytes)?;
            pause(&mut node, round)?;
            if round >= WARM_UP {
                on_the_line.push(asked.end.duration_since(asked.begin).as_secs_f64());
                waited.push(heard.saturating_duration_since(asked.end).as_secs_f64());
                echoed.push(back.saturating_duration_since(sent.end).as_secs_f64());
            }
        }
        let figures = serde_json::json!({
            "frame_bytes": bytes, "line": figures(on_the_line), "waited": figures(waited), "echo": figures(echoed),
        });
        found.insert(kind.to_owned(), figures);
    }
    anyhow::ensure!(
        node.failed.is_empty() && node.rejected == 0,
        "{:?} failed, {} refused",
        node.failed,
        node.rejected
    );
    anyhow::ensure!(node.told.values().all(|times| *times == 1), "a verdict was told twice");
    found.insert("repeated".to_owned(), node.repeated().into());
    println!("{}", serde_json::Value::Object(found));
    Ok(())
}

/// One question: its last frame, as if that had begun with the first one; and when its answer had come.
fn ask(node: &mut Node, kind: &str, cycle: usize) -> anyhow::Result<(Message, Instant)> {
    node.line.take_log();
    let seqs: Vec<u32> = if kind == "job" {
        vec![node.job(cycle)]
    } else {
        let t_us = node.now_us();
        let hand_over = |channel: usize| {
            node.until("room for a reading", Node::has_room)?;
            anyhow::Ok(node.reading(cycle, channel, t_us))
        };
        (0..CHANNELS).map(hand_over).collect::<anyhow::Result<_>>()?
    };
    let last = *seqs.last().context("something is asked")?;
    node.until("a verdict", |node| node.latest.is_some_and(|(seq, _)| seq == last))?;
    let (_, heard) = node.latest.context("it was just told")?;
    let sent = by_number(node.line.take_log());
    let of = |seq: &u32| sent.get(seq).context("what was answered was sent");
    let (first, last) = (of(&seqs[0])?, of(&last)?);
    Ok((Message { begin: first.begin, ..last.clone() }, heard))
}

/// The first time that each frame of a reading or job was sent.
fn by_number(messages: Vec<Message>) -> BTreeMap<u32, Message> {
    let mut sent = BTreeMap::new();
    for message in messages {
        let mut receiver = Receiver::<4_200>::new();
        let Some(Ok(frame)) = receiver.receive(&mut &message.bytes[..]) else { continue };
        if matches!(frame.body, Body::Reading { .. } | Body::Job { .. }) {
            sent.entry(frame.address.seq).or_insert(message);
        }
    }
    sent
}

/// Lets the receipt leave and the daemon come to rest, each time for another while.
fn pause(node: &mut Node, round: usize) -> anyhow::Result<()> {
    node.until("silence", |node| node.under_way() == 0 && node.line.is_quiet())?;
    let until = Instant::now() + Duration::from_micros(2_000 + (round as u64 * 618) % 1_000);
    node.until("a pause", |_| Instant::now() >= until)
}

/// As many bytes to somebody who does nothing with them.
fn bounce(line: &mut Line, bytes: usize) -> anyhow::Result<(Message, Instant)> {
    use embedded_hal_nb::serial::{Read as _, Write as _};
    let end = Instant::now() + Duration::from_secs(10);
    let (mut left, mut heard) = (bytes, 0);
    loop {
        let now = Instant::now();
        anyhow::ensure!(now < end, "no echo");
        line.pump(now);
        while left > 0 && line.write(u8::from(left > 1)).is_ok() {
            left -= 1;
        }
        while line.read().is_ok() {
            heard += 1;
        }
        if heard >= VERDICT_BYTES {
            return Ok((line.take_log().pop().context("a message was sent")?, now));
        }
    }
}

#[derive(clap::Args)]
pub struct EchoArgs {
    #[arg(long)]
    port: PathBuf,
}

/// Until it is killed, or the line is pulled out.
pub fn echo(args: &EchoArgs) -> anyhow::Result<()> {
    let mut port = File::options().read(true).write(true).open(&args.port)?;
    let (mut answer, mut buffer) = ([1; VERDICT_BYTES], [0; 4_096]);
    answer[VERDICT_BYTES - 1] = 0;
    loop {
        let length = port.read(&mut buffer)?;
        anyhow::ensure!(length > 0, "the line is gone");
        for _ in buffer[..length].iter().filter(|byte| **byte == 0) {
            port.write_all(&answer)?;
        }
    }
}
