//! `picket demo`: the main job with no set-up, and an honest summary of it.
//!
//! An embedded broker, a local Picket with a small model, an upstream Picket with a bigger one (the same daemon), and the
//! handwritten digits of the models' test split as jobs. The link to the upstream one is cut for a while.

mod digits;
mod link;
mod promise;
mod scene;
mod score;
mod screen;
mod watch;

use std::time::Duration;

use anyhow::Context;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, timeout_at},
};

use self::{
    digits::Digit,
    promise::Promise,
    scene::Scene,
    score::{Phase, Score},
    screen::Screen,
    watch::Watch,
};
use crate::transport::mqtt::asker::{Asker, Heard};

/// Jobs per second: what a brisk line brings, not what the daemon can do.
const RATE: u64 = 120;
/// The link is cut for this part of the time.
const CUT: (f64, f64) = (0.4, 0.7);
/// Longest wait for the last answers.
const PATIENCE: Duration = Duration::from_secs(5);
const SHOW_EVERY: Duration = Duration::from_millis(250);

pub fn run(seconds: u64, as_json: bool) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let result = runtime.block_on(play(seconds, as_json));
    runtime.shutdown_background();
    let summary = result?;
    if as_json {
        println!("{}", serde_json::to_string(&summary)?);
    } else {
        print!("{summary}\n{}", Promise(&summary));
    }
    anyhow::ensure!(summary.lost == 0, "error[demo/lost]: {} of {} jobs got no result", summary.lost, summary.jobs);
    anyhow::ensure!(
        summary.duplicates == 0,
        "error[demo/duplicates]: {} jobs got two different results",
        summary.duplicates
    );
    Ok(())
}

async fn play(seconds: u64, as_json: bool) -> anyhow::Result<score::Summary> {
    let digits = digits::all()?;
    let mut screen = Screen::new(as_json);
    screen.say("starting an MQTT broker, an upstream Picket (digits-large) and a local Picket (digits)");
    let mut scene = Scene::set().await?;
    let result = act(seconds, &digits, &mut screen, &scene).await;
    let rss_kib = scene.local_rss_kib();
    scene.end().await;
    let (mut score, accuracies) = result.with_context(|| scene.last_words())?;
    score.accuracy_alone = accuracies;
    Ok(score.summary(rss_kib))
}

async fn act(
    seconds: u64,
    digits: &[Digit],
    screen: &mut Screen,
    scene: &Scene,
) -> anyhow::Result<(Score, score::Alone)> {
    let topics = [scene.event_topic(), scene.amend_topic()];
    let (asker, mut heard) = Asker::connect(scene.mqtt_port, "demo/answers", &topics).await?;
    scene.wait_until_online(&mut heard).await?;

    screen.say(&format!("asking each alone about the {} digits of the test split", digits.len()));
    let upstream = digits::accuracy(digits, &scene.upstream_url, "digits-large", false).await?;
    let local = digits::accuracy(digits, &scene.local_url, "digits", true).await?;
    let alone = score::Alone { local, upstream };

    screen.say(&format!("now together: {RATE} jobs a second for {seconds} s; the upstream link is cut on the way"));
    let start = Instant::now();
    let mut watch = Watch::over(&scene.local_url)?;
    let mut score = converse(seconds, digits, screen, scene, &asker, &mut heard, &mut watch).await?;
    second_opinions(&mut score, &mut watch, &mut heard).await;
    screen.show(&score, start.elapsed(), scene.link.is_open(), watch.waiting);
    score.most_waiting = watch.most_waiting;
    score.budget = watch.last.map(|status| status.budget).unwrap_or_default();
    screen.done();
    Ok((score, alone))
}

/// Sends the jobs at their pace and takes the answers as they come.
async fn converse(
    seconds: u64,
    digits: &[Digit],
    screen: &mut Screen,
    scene: &Scene,
    asker: &Asker,
    heard: &mut mpsc::Receiver<Heard>,
    watch: &mut Watch,
) -> anyhow::Result<Score> {
    let (link, topic) = (&scene.link, scene.job_topic());
    let jobs = usize::try_from(seconds * RATE)?;
    let mut score = Score::new(jobs);
    let start = Instant::now();
    let mut pace = interval(Duration::from_micros(1_000_000 / RATE));
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut show = interval(SHOW_EVERY);
    let mut sent = 0;
    while sent < jobs {
        tokio::select! {
            _ = pace.tick() => {
                let phase = phase(sent as f64 / jobs as f64);
                link.set_open(phase != Phase::Cut);
                let digit = &digits[sent % digits.len()];
                score.sent(sent, digit.label, phase);
                asker.ask(&topic, &Score::id(sent), digit.tensor.clone()).await?;
                sent += 1;
            }
            Some(message) = heard.recv() => score.heard(&message),
            _ = show.tick() => {
                watch.look().await;
                screen.show(&score, start.elapsed(), link.is_open(), watch.waiting);
            }
        }
    }
    let end = Instant::now() + PATIENCE;
    while score.open() > 0 {
        match timeout_at(end, heard.recv()).await {
            Ok(Some(message)) => score.heard(&message),
            Ok(None) | Err(_) => break,
        }
    }
    Ok(score)
}

/// What could not be asked while the link was cut is asked now; the corrections come as amendments.
async fn second_opinions(score: &mut Score, watch: &mut Watch, heard: &mut mpsc::Receiver<Heard>) {
    let end = Instant::now() + PATIENCE;
    let mut look = interval(SHOW_EVERY);
    let mut waiting = true;
    while Instant::now() < end {
        tokio::select! {
            biased;
            Some(message) = heard.recv() => score.heard(&message),
            _ = look.tick() => {
                // Once more round after the last question: its amendment may be on its way.
                if !waiting {
                    return;
                }
                watch.look().await;
                waiting = watch.waiting > 0;
            }
        }
    }
}

fn phase(part: f64) -> Phase {
    match part {
        p if p < CUT.0 => Phase::Up,
        p if p < CUT.1 => Phase::Cut,
        _ => Phase::Back,
    }
}
