//! A camera as far as a pipe goes.

use std::{
    io::Write,
    path::PathBuf,
    sync::mpsc::sync_channel,
    time::{Duration, Instant},
};

#[derive(clap::Args)]
pub struct Args {
    /// A JPEG
    #[arg(long)]
    photo: PathBuf,
    #[arg(long, default_value_t = 30.0)]
    fps: f64,
}

/// Until nobody reads any more.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let photo = std::fs::read(&args.photo)?;
    let mut out = std::io::stdout().lock();
    // Nothing is ever sent: a way to wait.
    let (_sender, pace) = sync_channel::<()>(1);
    let begin = Instant::now();
    for number in 0_u32.. {
        let due = Duration::from_secs_f64(f64::from(number) / args.fps);
        let _ = pace.recv_timeout(due.saturating_sub(begin.elapsed()));
        if out.write_all(&photo).and_then(|()| out.flush()).is_err() {
            break;
        }
    }
    Ok(())
}
