//! Which requests are audited: a lottery over *all* requests, drawn before anything is known of them. So they are an unbiased
//! sample, the only thing that a certificate may be renewed on (escalation.md 2.2, "Lottery audits").
//!
//! The ticket is a keyed hash of the request's id: nobody upstream can tell which one will be drawn, and who replays the log
//! draws the same ones.

/// Share of requests that is audited where the owner says nothing …
const RATE: f64 = 0.02;
/// … and where there are more than this many in a day.
const RATE_BUSY: f64 = 0.01;
const BUSY_PER_DAY: f64 = 50_000.0;
/// Audits per day at least: with fewer, a broken promise would go unnoticed for weeks.
const FLOOR_PER_DAY: f64 = 30.0;
/// Part of the budget's calls that audits may use.
const CEILING: f64 = 0.1;
/// While the certificate is suspended, so many times as often: new cases are needed to issue another.
const SUSPECT: f64 = 5.0;

/// What the rate depends on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Terms {
    /// `audit_rate` of the configuration, in [0, 1]; 0 switches audits off, and with them every renewal.
    pub configured: Option<f64>,
    pub requests_per_day: f64,
    /// Calls that the whole budget of a day pays for at the mean cost of one; `None`: unlimited.
    pub calls_per_day: Option<f64>,
    /// The certificate is suspended.
    pub suspect: bool,
}

/// The chance of each request to be audited, in [0, 1]; it is also the probability with which an audit's label counts. The
/// ceiling of the budget stands above the floor.
pub fn rate(terms: &Terms) -> f64 {
    let requests = if terms.requests_per_day.is_nan() { 0.0 } else { terms.requests_per_day.max(0.0) };
    let usual = if requests > BUSY_PER_DAY { RATE_BUSY } else { RATE };
    let configured = terms.configured.filter(|rate| !rate.is_nan()).map_or(usual, |rate| rate.clamp(0.0, 1.0));
    if configured == 0.0 {
        return 0.0;
    }
    // The owner's own number is not second-guessed.
    let at_least = if requests > 0.0 && terms.configured.is_none() { FLOOR_PER_DAY / requests } else { 0.0 };
    let wanted = configured.max(at_least) * if terms.suspect { SUSPECT } else { 1.0 };
    let at_most = match terms.calls_per_day {
        Some(calls) if requests > 0.0 && !calls.is_nan() => CEILING * calls.max(0.0) / requests,
        _ => 1.0,
    };
    wanted.min(at_most).min(1.0)
}

/// Ticket u in [0, 1) of a keyed hash of the request's id. All 2⁵³ numbers are equally likely.
pub fn ticket(hash: u64) -> f64 {
    (hash >> 11) as f64 / (1_u64 << 53) as f64
}

/// Is this request audited?
pub fn drawn(ticket: f64, rate: f64) -> bool {
    ticket < rate
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    const QUIET: Terms = Terms { configured: None, requests_per_day: 10_000.0, calls_per_day: None, suspect: false };

    #[test]
    fn the_rate_follows_traffic_budget_and_suspicion() {
        assert_eq!(rate(&QUIET), 0.02);
        assert_eq!(rate(&Terms { requests_per_day: 60_000.0, ..QUIET }), 0.01);
        assert_eq!(rate(&Terms { requests_per_day: 300.0, ..QUIET }), 0.1, "30 a day at least");
        assert_eq!(rate(&Terms { requests_per_day: 10.0, ..QUIET }), 1.0);
        assert_eq!(rate(&Terms { suspect: true, ..QUIET }), 0.1);
        assert_eq!(rate(&Terms { calls_per_day: Some(1_000.0), ..QUIET }), 0.01, "a tenth of the budget at most");
        assert_eq!(rate(&Terms { calls_per_day: Some(1_000.0), suspect: true, ..QUIET }), 0.01);
        assert_eq!(rate(&Terms { calls_per_day: Some(0.0), ..QUIET }), 0.0);
        assert_eq!(rate(&Terms { configured: Some(0.3), ..QUIET }), 0.3);
        assert_eq!(rate(&Terms { configured: Some(0.01), requests_per_day: 10.0, ..QUIET }), 0.01);
        assert_eq!(rate(&Terms { configured: Some(0.0), suspect: true, ..QUIET }), 0.0, "off is off");
    }

    #[test]
    fn every_input_has_a_rate() {
        let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 0.0, 1e-300, 2.0];
        for (a, b, c) in odd.into_iter().flat_map(|a| odd.into_iter().flat_map(move |b| odd.map(|c| (a, b, c)))) {
            let terms = Terms { configured: Some(a), requests_per_day: b, calls_per_day: Some(c), suspect: a < b };
            assert!((0.0..=1.0).contains(&rate(&terms)), "{terms:?}: {}", rate(&terms));
        }
    }

    #[test]
    fn tickets_are_drawn_as_often_as_the_rate_says() {
        assert_eq!((ticket(0), drawn(ticket(0), 0.0)), (0.0, false));
        assert!(ticket(u64::MAX) < 1.0 && drawn(ticket(u64::MAX), 1.0) && !drawn(f64::NAN, 1.0));
        let seed = 31;
        println!("seed {seed}");
        let mut dice = StdRng::seed_from_u64(seed);
        let drawn = (0..100_000).filter(|_| drawn(ticket(dice.random()), 0.02)).count();
        // Five standard deviations.
        assert!(drawn.abs_diff(2_000) < 222, "{drawn}");
    }
}
