//! Shares as people write them.

/// 0.95 → `95 %`.
pub(super) fn percent(share: f64) -> String {
    let text = format!("{:.3}", share * 100.0);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

/// 0.01 → 1 in 100; 0.015 → 15 in 1000.
pub(super) fn in_so_many(share: f64) -> (u64, u64) {
    for many in [100_u64, 1_000, 10_000] {
        let count = share * many as f64;
        if (count - count.round()).abs() < 1e-9 && count >= 1.0 {
            return (count.round() as u64, many);
        }
    }
    ((share * 1e6).ceil() as u64, 1_000_000)
}
