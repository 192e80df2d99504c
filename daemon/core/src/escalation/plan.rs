//! What a promise would cost: from labelled cases to rows of α → λ → local share → calls → money, so that the budget is
//! chosen with open eyes (`picket plan`).
//!
//! The rows are there to choose by. Only the promise that is then issued holds with its confidence, and it needs a calibration.

use super::{
    certificate::{Case, Promise, TooFew, certify},
    money::Money,
};

/// What a plan is made for.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// Promised shares of requests that are answered locally and wrong.
    pub alphas: Vec<f64>,
    pub delta: f64,
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
    /// Expected share of right answers, local ones and the provider's together, when all calls can be made.
    pub accuracy: f64,
}

/// A plan, with the two ends that need no promise to compare with.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub rows: Vec<Result<Row, (f64, TooFew)>>,
    /// Accuracy without any provider.
    pub always_local: f64,
    /// Accuracy when every request is escalated.
    pub always_provider: f64,
}

/// `provider`: how often it is right where the local model predicts a class (see [`super::gain::Accuracy::of`]).
///
/// The cases are taken for what the requests are like: all averages are over them, and 0 without any.
pub fn plan(question: &Question, cases: &[Case], provider: impl Fn(usize) -> f64) -> Plan {
    let local = |case: &Case| f64::from(u8::from(!case.wrong));
    let asked = |case: &Case| {
        let q = provider(case.class);
        if q.is_nan() { 0.0 } else { q.clamp(0.0, 1.0) }
    };
    let mean = |of: &dyn Fn(&Case) -> f64| match cases.len() {
        0 => 0.0,
        n => cases.iter().map(of).sum::<f64>() / n as f64,
    };
    let requests = finite(question.requests_per_day, f64::MAX);
    let audit_rate = finite(question.audit_rate, 1.0);
    let row = |alpha: f64| {
        let promise = Promise { alpha, delta: question.delta };
        let found = certify(cases, promise).map_err(|few| (alpha, few))?;
        let local_share = found.local_share();
        let calls_per_day = requests * ((1.0 - local_share) + audit_rate * local_share);
        Ok(Row {
            alpha,
            lambda: found.lambda,
            local_share,
            calls_per_day,
            // Whole calls: a float that is too large becomes the largest number.
            money_per_day: question.cost_per_call.times(calls_per_day.ceil() as u64),
            accuracy: mean(&|case| if case.s >= found.lambda { local(case) } else { asked(case) }),
        })
    };
    Plan {
        rows: question.alphas.iter().copied().map(row).collect(),
        always_local: mean(&local),
        always_provider: mean(&asked),
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

    fn question() -> Question {
        Question {
            alphas: vec![0.001, 0.01, 0.02, 0.05],
            delta: 0.05,
            requests_per_day: 10_000.0,
            audit_rate: 0.02,
            cost_per_call: Money::from_nanos(2_000_000),
        }
    }

    #[test]
    fn a_stricter_promise_costs_more_calls() {
        let plan = plan(&question(), &cases(1_000), |_| 1.0);
        assert_eq!(plan.rows[0], Err((0.001, TooFew { cases: 1_000, needed: 2_995 })));
        let rows: Vec<Row> = plan.rows.into_iter().skip(1).map(Result::unwrap).collect();
        // 4, 12, 38 may be wrong at 1, 2, 5 %; they lie five cases apart below the middle.
        let shares: Vec<f64> = rows.iter().map(|row| row.local_share).collect();
        assert_eq!(shares, [0.524, 0.564, 0.694]);
        for row in &rows {
            let calls = 10_000.0 * (1.0 - 0.98 * row.local_share);
            assert!((row.calls_per_day - calls).abs() < 1e-6);
            assert_eq!(row.money_per_day, Money::from_nanos(2_000_000).times(calls.ceil() as u64));
        }
        assert!((rows[1].accuracy - 0.988).abs() < 1e-9, "12 of 1000 are local and wrong, all else is right");
    }

    #[test]
    fn the_whole_may_be_better_than_either() {
        // The provider is bad where the local model says class 0.
        let plan = plan(&question(), &cases(1_000), |class| [0.6, 1.0][class]);
        assert!((plan.always_local - 0.9).abs() < 1e-9 && (plan.always_provider - 0.8).abs() < 1e-9);
        let row = plan.rows[3].as_ref().unwrap();
        assert!(row.accuracy > 0.9 && row.accuracy < 0.91, "{row:?}");
    }

    #[test]
    fn nothing_and_nonsense_have_plans() {
        let odd = [f64::NAN, f64::INFINITY, -1.0, 0.0];
        for (requests_per_day, audit_rate) in odd.into_iter().flat_map(|a| odd.map(|b| (a, b))) {
            let question = Question { requests_per_day, audit_rate, ..question() };
            for cases in [cases(0), cases(500)] {
                for row in plan(&question, &cases, |_| f64::NAN).rows.into_iter().flatten() {
                    assert!(!row.calls_per_day.is_nan() && (0.0..=1.0).contains(&row.accuracy), "{row:?}");
                }
            }
        }
    }
}
