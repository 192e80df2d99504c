//! `picket status`: what a running daemon does now.

use std::{path::Path, time::Duration};

use anyhow::Context;

use crate::telemetry::Status;

pub fn run(url: &str, token_file: Option<&Path>, as_json: bool) -> anyhow::Result<()> {
    let token = token_file
        .map(|file| std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display())))
        .transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let status = runtime.block_on(fetch(url, token.as_deref().map(str::trim)))?;
    if as_json {
        println!("{}", serde_json::to_string(&status)?);
    } else {
        print(&status);
    }
    Ok(())
}

async fn fetch(url: &str, token: Option<&str>) -> anyhow::Result<Status> {
    crate::provider::use_ring();
    let client = reqwest::Client::builder().timeout(Duration::from_secs(5)).no_proxy().build()?;
    let mut request = client.get(format!("{}/status", url.trim_end_matches('/')));
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let answer = request.send().await.with_context(|| format!("no Picket answers at {url}; is [http] configured?"))?;
    let answer = answer.error_for_status()?;
    let body = answer.bytes().await?;
    serde_json::from_slice(&body).with_context(|| format!("{url} is no Picket"))
}

fn print(status: &Status) {
    let jobs = &status.jobs;
    println!(
        "picket {} on {}: up {:.0} s, {}",
        status.version,
        status.device,
        status.uptime_s,
        if status.ready { "ready" } else { "not ready" }
    );
    println!(
        "jobs     accepted {} = done {} + dead {} + expired {} + waiting {} + running {}",
        jobs.accepted, jobs.done, jobs.dead, jobs.expired, jobs.waiting, jobs.running
    );
    println!("         refused {}, duplicates {}, undeliverable {}", jobs.refused, jobs.duplicates, jobs.undeliverable);
    println!("store    {} bytes, {} messages waiting for their confirmation", status.store_bytes, status.outbox_rows);
    println!("memory   {} KiB at its peak", status.rss_kib);
    for link in &status.links {
        println!("link     {} {}", link.transport, if link.up { "up" } else { "down" });
    }
    for provider in &status.providers {
        println!(
            "provider {} {}",
            provider.name,
            if provider.admits { "is asked" } else { "is left alone for a while" }
        );
    }
    for model in &status.models {
        match &model.refused {
            None => {
                let proof = if model.proven { "proven on this CPU" } else { "not proven" };
                println!("model    {} version {}: serves, {proof}", model.name, model.version);
            }
            Some(why) => println!("model    {}: not served, {why}", model.name),
        }
    }
}
