//! The invariants I1–I6 over many thousands of seeded schedules in virtual time.
//!
//! A schedule is a small random world: models, providers, a broker behind a link that breaks, callers who hang up, a store
//! that fails, a process that dies at any moment. The world performs the engine's actions with random delays, keeps its own
//! books, and objects to the first action that an invariant forbids. When nothing is left to happen, every job must have
//! ended, every caller must have heard one thing, and every place must be free again.
//!
//! A failure prints the one command that repeats its schedule alone, with every input and action of it.
//!
//! - `PICKET_SIM_SCHEDULES`: how many (default 100,000)
//! - `PICKET_SIM_SEED`: where they begin; schedule n has this seed plus n
//! - `PICKET_SIM_ONLY`: only the schedule of this seed

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "sim/coverage.rs"]
mod coverage;
#[path = "sim/ending.rs"]
mod ending;
#[path = "sim/inquiries.rs"]
mod inquiries;
#[path = "sim/judging.rs"]
mod judging;
#[path = "sim/life.rs"]
mod life;
#[path = "sim/outside.rs"]
mod outside;
#[path = "sim/perform.rs"]
mod perform;
#[path = "sim/plan.rs"]
mod plan;
#[path = "sim/process.rs"]
mod process;
#[path = "sim/spending.rs"]
mod spending;
#[path = "sim/store.rs"]
mod store;
#[path = "sim/way_out.rs"]
mod way_out;
#[path = "sim/world.rs"]
mod world;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use coverage::Coverage;

const SCHEDULES: u64 = 100_000;
const SEED: u64 = 20_260_317;
const THREADS: u64 = 2;
/// With fewer schedules than this, something rare may stay away by chance.
const ENOUGH_FOR_COVERAGE: u64 = 20_000;

#[test]
fn schedules_keep_the_invariants() {
    if let Some(seed) = number("PICKET_SIM_ONLY") {
        return replay(seed);
    }
    let schedules = number("PICKET_SIM_SCHEDULES").unwrap_or(SCHEDULES);
    let first = number("PICKET_SIM_SEED").unwrap_or(SEED);
    println!("{schedules} schedules from seed {first}");
    let failed = AtomicBool::new(false);
    let share = |thread: u64| run_share(first, thread, schedules, &failed);
    let results: Vec<Result<Coverage, u64>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || share(thread))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let mut total = Coverage::default();
    for result in results {
        match result {
            Ok(coverage) => total.add(&coverage),
            Err(seed) => replay(seed),
        }
    }
    println!("{} steps of the engine; what happened in them:\n{}", total.steps, total.lines());
    if schedules >= ENOUGH_FOR_COVERAGE {
        assert!(total.missing().is_empty(), "these never happened, so nothing was checked: {:?}", total.missing());
    }
}

/// Every `THREADS`th schedule; the seed of the first that fails.
fn run_share(first: u64, thread: u64, schedules: u64, failed: &AtomicBool) -> Result<Coverage, u64> {
    let mut coverage = Coverage::default();
    for n in (thread..schedules).step_by(THREADS as usize) {
        if failed.load(Ordering::Relaxed) {
            break;
        }
        let seed = first.wrapping_add(n);
        if catch_unwind(AssertUnwindSafe(|| ending::schedule(seed, &mut coverage, None))).is_err() {
            failed.store(true, Ordering::Relaxed);
            return Err(seed);
        }
    }
    Ok(coverage)
}

/// One schedule again, with everything that goes in and out.
fn replay(seed: u64) {
    let mut trace = String::new();
    let outcome = catch_unwind(AssertUnwindSafe(|| ending::schedule(seed, &mut Coverage::default(), Some(&mut trace))));
    println!("{trace}");
    if let Err(why) = outcome {
        let why = why.downcast_ref::<String>().map(String::as_str).or_else(|| why.downcast_ref::<&str>().copied());
        panic!(
            "schedule {seed} breaks an invariant, as the trace above shows:\n    {}\nTo repeat it alone:\n    \
             PICKET_SIM_ONLY={seed} cargo test -p picket-core --test sim -- --nocapture",
            why.unwrap_or("(no message)")
        );
    }
    println!("schedule {seed} keeps the invariants");
}

#[expect(clippy::disallowed_methods, reason = "the core has no environment; its tests may be steered by one")]
fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is {text:?}, and wants a whole number")))
}
