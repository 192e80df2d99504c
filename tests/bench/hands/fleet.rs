//! Many nodes, each on a line of its own, that ask as much as they can: eight readings of a window, then the same cycle as a
//! job, and again.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::node::{CHANNELS, Node};

/// Answers that a node waits for at most, before it asks on: less than the gateway would let it have.
const OPEN: usize = 8;
const WARM_UP: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(clap::Args)]
pub struct Args {
    /// The lines are `0`, `1` … in there
    #[arg(long)]
    folder: PathBuf,
    #[arg(long, default_value_t = 16)]
    nodes: u64,
    #[arg(long, default_value_t = 8.0)]
    seconds: f64,
    /// Bits per second of each line; absent: as fast as a pty is
    #[arg(long)]
    baud: Option<u32>,
    /// The daemon
    #[arg(long)]
    pid: u32,
}

struct Player {
    node: Node,
    cycle: usize,
    /// Of the eight readings and the job of a cycle.
    step: usize,
    t_us: u64,
    /// Answers that were asked for.
    asked: Vec<u32>,
}

impl Player {
    fn turn(&mut self, asks: bool) {
        self.node.turn();
        while asks && self.node.has_room() && self.asked.len() - self.node.told.len() < OPEN {
            if self.step == CHANNELS {
                self.asked.push(self.node.job(self.cycle));
                (self.step, self.cycle) = (0, self.cycle + 1);
                continue;
            }
            if self.step == 0 {
                self.t_us = self.node.now_us().max(self.t_us + 1);
            }
            let seq = self.node.reading(self.cycle, self.step, self.t_us);
            self.step += 1;
            if self.step == CHANNELS {
                self.asked.push(seq);
            }
        }
    }

    /// Frames that the daemon has taken, and answers that have come.
    fn done(&self) -> (u64, u64) {
        (self.node.handed - self.node.under_way() as u64, self.node.told.len() as u64)
    }
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let player = |id: u64| Player {
        node: Node::new(0x1_0000 + id, &args.folder.join(id.to_string()), args.baud, false),
        cycle: id as usize,
        step: 0,
        t_us: 0,
        asked: Vec::new(),
    };
    let mut players: Vec<Player> = (0..args.nodes).map(player).collect();
    turn_until(&mut players, false, PATIENCE, |players| players.iter().all(|player| player.node.is_welcome()));
    anyhow::ensure!(players.iter().all(|player| player.node.is_welcome()), "not all nodes are welcome");
    turn_until(&mut players, true, WARM_UP, |_| false);
    let (begin, before, cpu) = (Instant::now(), done(&players), cpu_seconds(args.pid)?);
    turn_until(&mut players, true, Duration::from_secs_f64(args.seconds), |_| false);
    let (took, after, spent) = (begin.elapsed().as_secs_f64(), done(&players), cpu_seconds(args.pid)? - cpu);
    let all = |players: &[Player]| {
        players.iter().all(|player| player.node.under_way() == 0 && player.node.told.len() >= player.asked.len())
    };
    turn_until(&mut players, false, PATIENCE, all);
    let sum = |of: fn(&Player) -> u64| players.iter().map(of).sum::<u64>();
    let found = serde_json::json!({
        "nodes": args.nodes, "seconds": took, "baud": args.baud,
        "frames_per_s": (after.0 - before.0) as f64 / took, "answers_per_s": (after.1 - before.1) as f64 / took,
        "cpu_share": spent / took, "frames": sum(|player| player.node.handed), "bytes": sum(|player| player.node.line.bytes),
        "frames_lost": sum(|player| player.node.under_way() as u64),
        "asked": sum(|player| player.asked.len() as u64),
        "unanswered": sum(|player| player.asked.iter().filter(|seq| !player.node.told.contains_key(seq)).count() as u64),
        "told_twice": sum(|player| player.node.told.values().filter(|times| **times > 1).count() as u64),
        "failed": sum(|player| player.node.failed.values().sum::<u32>().into()), "busy": sum(|player| player.node.busy.into()),
        "refused": sum(|player| player.node.rejected.into()), "repeated": sum(|player| player.node.repeated().into()),
    });
    for (code, count) in players.iter().flat_map(|player| &player.node.failed) {
        eprintln!("{count} times {code}");
    }
    println!("{found}");
    Ok(())
}

fn done(players: &[Player]) -> (u64, u64) {
    players.iter().map(Player::done).fold((0, 0), |sum, done| (sum.0 + done.0, sum.1 + done.1))
}

fn turn_until(players: &mut [Player], asks: bool, limit: Duration, done: impl Fn(&[Player]) -> bool) {
    let end = Instant::now() + limit;
    while Instant::now() < end && !done(players) {
        players.iter_mut().for_each(|player| player.turn(asks));
    }
}

/// Seconds of processor time that a process has taken.
fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let mut nanos = 0.0;
    for task in std::fs::read_dir(Path::new("/proc").join(pid.to_string()).join("task"))? {
        let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
        nanos += text.split(' ').next().unwrap_or_default().parse::<f64>()?;
    }
    Ok(nanos / 1e9)
}
