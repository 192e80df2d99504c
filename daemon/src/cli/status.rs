//! `picket status`: what a running daemon does now.

use std::path::Path;

use super::http::Face;
use crate::telemetry::{BudgetStatus, Status, ZoneStatus};

pub fn run(url: &str, token_file: Option<&Path>, as_json: bool) -> anyhow::Result<()> {
    let status: Status = Face::new(url, token_file)?.get("/status")?;
    if as_json {
        println!("{}", serde_json::to_string(&status)?);
    } else {
        print(&status);
    }
    Ok(())
}

fn print_budget(budget: &BudgetStatus) {
    let of = |limit: Option<String>| limit.map_or_else(String::new, |limit| format!(" of {limit}"));
    println!(
        "budget   spent today {:.4}{} and {} bytes{}; this hour {} calls{}",
        budget.money_today,
        of(budget.money_per_day.map(|limit| limit.to_string())),
        budget.bytes_today,
        of(budget.bytes_per_day.map(|limit| limit.to_string())),
        budget.calls_this_hour,
        of(budget.calls_per_hour.map(|limit| limit.to_string()))
    );
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
    println!(
        "         refused {}, duplicates {}, undeliverable {}, evicted {}",
        jobs.refused, jobs.duplicates, jobs.undeliverable, jobs.evicted
    );
    println!("store    {} bytes, {} messages waiting for their confirmation", status.store_bytes, status.outbox_rows);
    println!("asking   {} answered jobs about which a provider is still to be asked", status.inquiries);
    print_budget(&status.budget);
    println!("memory   {} KiB at its peak", status.rss_kib);
    let warm = |zone: &ZoneStatus| Some(format!(", {} {:.1} °C", zone.zone, zone.celsius?));
    let zones: String = status.board.zones.iter().filter_map(warm).collect();
    println!("board    {}: {}{zones}", status.board.name, status.board.heat);
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
