//! What a promise would cost: from labelled cases to rows of α → λ → local share → calls → money, so that the budget is
//! chosen with open eyes (`picket plan`).
//!
//! The rows are there to choose by. Only the promise that is then issued holds with its confidence, and it needs a calibration.

use super::{
    calibration::MenuEntry,
    certificate::{Case, Promise, TooFew, certify},
    money::Money,
};

/// What a plan is made for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Question {
    pub requests_per_day: f64,
    /// Share of the requests that the lottery draws; those that would stay here cost a call each.
    pub audit_rate: f64,
    pub cost_per_call: Money,
}

/// What one promise would mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    pub alpha: f64,
    pub lambda: f32,
    /// Share of the requests that is certified and stays here.
    pub local_share: f64,
    pub calls_per_day: f64,
    pub money_per_day: Money,
    /// Expected share of right answers, local ones and the provider's together, when all calls can be made. `None` where
    /// the cases are not there any more.
    pub accuracy: Option<f64>,
}

/// The two ends, which need no promise, to compare with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ends {
    /// Accuracy without any provider.
    pub always_local: f64,
    /// Accuracy when every request is escalated.
    pub always_provider: f64,
}

/// `provider`: how often it is right where the local model predicts a class (see [`super::gain::Accuracy::of`]).
///
/// The cases are taken for what the requests are like: all averages are over them, and 0 without any.
///
/// # Errors
/// When there are too few cases for this promise.
pub fn row(
    question: &Question,
    promise: Promise,
    cases: &[Case],
    provider: impl Fn(usize) -> f64,
) -> Result<Row, TooFew> {
    let found = certify(cases, promise)?;
    let accuracy = Some(accuracy(cases, found.lambda, provider));
    Ok(Row { accuracy, ..at(question, promise.alpha, found.lambda, found.local_share()) })
}

/// Expected share of right answers with this threshold.
pub fn accuracy(cases: &[Case], lambda: f32, provider: impl Fn(usize) -> f64) -> f64 {
    mean(cases, |case| if case.s >= lambda { local(case) } else { asked(case, &provider) })
}

/// A promise that a calibration file lists. Its cases are not there any more, and with them what the accuracy would be.
pub fn row_of_menu(question: &Question, entry: &MenuEntry) -> Row {
    at(question, entry.alpha, entry.lambda, entry.local_share)
}

/// See [`row`].
pub fn ends(cases: &[Case], provider: impl Fn(usize) -> f64) -> Ends {
    Ends { always_local: mean(cases, local), always_provider: mean(cases, |case| asked(case, &provider)) }
}

/// What this many calls cost.
pub fn money(question: &Question, calls: f64) -> Money {
    // Whole calls: a float that is too large becomes the largest number.
    question.cost_per_call.times(calls.ceil() as u64)
}

fn at(question: &Question, alpha: f64, lambda: f32, local_share: f64) -> Row {
    let requests = finite(question.requests_per_day, f64::MAX);
    let audit_rate = finite(question.audit_rate, 1.0);
    let calls_per_day = requests * ((1.0 - local_share) + audit_rate * local_share);
    Row { alpha, lambda, local_share, calls_per_day, money_per_day: money(question, calls_per_day), accuracy: None }
}

fn local(case: &Case) -> f64 {
    f64::from(u8::from(!case.wrong))
}

fn asked(case: &Case, provider: &impl Fn(usize) -> f64) -> f64 {
    finite(provider(case.class), 1.0)
}

fn mean(cases: &[Case], of: impl Fn(&Case) -> f64) -> f64 {
    match cases.len() {
        0 => 0.0,
        n => cases.iter().map(of).sum::<f64>() / n as f64,
    }
}

fn finite(x: f64, most: f64) -> f64 {
    if x.is_nan() { 0.0 } else { x.clamp(0.0, most) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scores 0 to 1 in even steps; each fifth of the lower half is wrong, class 1 is every other case.
    fn cases(n: u16) -> Vec<Case> {
        let case =
            |at| Case { s: f32::from(at) / f32::from(n), class: usize::from(at % 2), wrong: at < n / 2 && at % 5 == 0 };
        (0..n).map(case).collect()
    }

    const QUESTION: Question =
        Question { requests_per_day: 10_000.0, audit_rate: 0.02, cost_per_call: Money::from_nanos(2_000_000) };

    const fn promise(alpha: f64) -> Promise {
        Promise { alpha, delta: 0.05 }
    }

    #[test]
    fn a_stricter_promise_costs_more_calls() {
        let cases = cases(1_000);
        let row = |alpha| row(&QUESTION, promise(alpha), &cases, |_| 1.0);
        assert_eq!(row(0.001), Err(TooFew { cases: 1_000, needed: 2_995 }));
        let rows: Vec<Row> = [0.01, 0.02, 0.05].into_iter().map(|alpha| row(alpha).unwrap()).collect();
        // 4, 12, 38 may be wrong at 1, 2, 5 %; they lie five cases apart below the middle.
        let shares: Vec<f64> = rows.iter().map(|row| row.local_share).collect();
        assert_eq!(shares, [0.524, 0.564, 0.694]);
        for row in &rows {
            let calls = 10_000.0 * (1.0 - 0.98 * row.local_share);
            assert!((row.calls_per_day - calls).abs() < 1e-6);
            assert_eq!(row.money_per_day, Money::from_nanos(2_000_000).times(calls.ceil() as u64));
        }
        let accuracy = rows[1].accuracy.unwrap();
        assert!((accuracy - 0.988).abs() < 1e-9, "12 of 1000 are local and wrong, all else is right");
    }

    #[test]
    fn the_menu_of_a_file_costs_the_same() {
        let cases = cases(1_000);
        let of_cases = row(&QUESTION, promise(0.02), &cases, |_| 1.0).unwrap();
        let Row { alpha, lambda, local_share, .. } = of_cases;
        let of_file = row_of_menu(&QUESTION, &MenuEntry { alpha, lambda, local_share });
        assert_eq!(of_file, Row { accuracy: None, ..of_cases });
    }

    #[test]
    fn the_whole_may_be_better_than_either() {
        // The provider is bad where the local model says class 0.
        let (cases, provider) = (cases(1_000), |class: usize| [0.6, 1.0][class]);
        let ends = ends(&cases, provider);
        assert!((ends.always_local - 0.9).abs() < 1e-9 && (ends.always_provider - 0.8).abs() < 1e-9);
        let accuracy = row(&QUESTION, promise(0.05), &cases, provider).unwrap().accuracy.unwrap();
        assert!(accuracy > 0.9 && accuracy < 0.91, "{accuracy}");
    }

    #[test]
    fn nothing_and_nonsense_have_plans() {
        let odd = [f64::NAN, f64::INFINITY, -1.0, 0.0];
        for (requests_per_day, audit_rate) in odd.into_iter().flat_map(|a| odd.map(|b| (a, b))) {
            let question = Question { requests_per_day, audit_rate, ..QUESTION };
            for cases in [cases(0), cases(500)] {
                let ends = ends(&cases, |_| f64::NAN);
                assert!((0.0..=1.0).contains(&ends.always_local) && ends.always_provider == 0.0, "{ends:?}");
                for row in [0.001, 0.01, 0.05].map(|alpha| row(&question, promise(alpha), &cases, |_| f64::NAN)) {
                    let Ok(row) = row else { continue };
                    assert!(!row.calls_per_day.is_nan() && (0.0..=1.0).contains(&row.accuracy.unwrap()), "{row:?}");
                }
            }
        }
    }
}
