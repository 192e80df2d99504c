//! Is the certificate still about the parts that come now? Three alarms, of which any one suspends it (escalation.md 2.2,
//! "Three alarms"):
//!
//! | | watches | rings when | sees |
//! |---|---|---|---|
//! | audit | requests that the lottery drew, x = local and wrong | the detector of α reaches 1500 | everything, slowly; the only one that sees sure mistakes |
//! | escalation | requests escalated for their score, x = local wrong | the detector of p_wrong + 0.08 reaches 2000 | most harm, fast, for nothing |
//! | score | the scores of all requests | PSI of the last 500 is above its limit | visible change, for nothing |
//!
//! p_wrong has to be a probability that was fitted to the calibration's cases ([`super::platt`]): 1 - the largest softmax
//! probability is none, and would ring for nothing or never. What else counts as wrong, a label or disagreement with the
//! provider, has to be what the certificate counts, too.
//!
//! Measured with `alarms_tests.rs` (a classifier that is wrong in 10 %, 2 % promised, all below λ escalated, 2 % audited; 40
//! calibrations of each size): without any change 0.33, 0.25, 0.33, 0.40 alarms in 100,000 requests at 300, 500, 1000, 3000 cases;
//! when 30 % of the requests become a variant of which no score tells, the first alarm comes after 950 to 1100 requests
//! (median), in nine of ten cases after 3000 to 3900. With 300 cases one of ten such changes is noticed only by the audits,
//! after tens of thousands of requests. On the toy of escalation.md 3.3 (30 calibrations each of 500, 1500, 3000 cases): 0.77,
//! 0.27, 0.27 false alarms in 100,000, and medians of 990, 1170, 1080 requests.

use serde::{Deserialize, Serialize};

use super::{
    detector::{Detector, Seen},
    saved::ForeignVersion,
    shift::{Reference, SavedWindow, Window},
};

/// At most one false alarm per so many audits, on average, as long as the promise is kept. With the 500 of escalation.md it
/// rang 1.25 times in 100,000 requests where 3000 cases had brought the risk near to α; see `alarms_tests.rs`.
pub const AUDIT_LIMIT: f64 = 1_500.0;
/// … and per so many escalations, as long as p_wrong is at most so much too low:
pub const ESCALATION_LIMIT: f64 = 2_000.0;
pub const TOLERANCE: f64 = 0.08;
/// Bets against the promise, in parts of 1/α.
const AUDIT_BETS: [f64; 3] = [0.1, 0.3, 0.6];
const ESCALATION_BETS: [f64; 3] = [0.2, 0.5, 0.9];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    Audit,
    Escalation,
    Score,
}

impl Kind {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Audit => "audit",
            Self::Escalation => "escalation",
            Self::Score => "score",
        }
    }
}

/// Why an alarm rang.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    pub kind: Kind,
    /// Of the detector, or PSI.
    pub value: f64,
    /// It rings from here on.
    pub limit: f64,
    /// Audits, escalations, or scores in the window.
    pub trials: u64,
    /// How many of them were wrong; 0 for scores.
    pub wrong: u64,
    /// How many may have been wrong, on average; 0 for scores.
    pub allowed: f64,
}

/// The alarms of one certificate.
#[derive(Clone, Debug, PartialEq)]
pub struct Alarms {
    alpha: f64,
    audit: Detector,
    escalation: Detector,
    scores: Window,
    rung: Option<Evidence>,
}

/// [`Alarms`] for the next process: also an alarm that rang stays one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedAlarms {
    pub version: u32,
    /// Digest of the calibration that they watch over.
    pub calibration: String,
    pub audit: Detector,
    pub escalation: Detector,
    pub scores: SavedWindow,
    pub rung: Option<Evidence>,
}

impl SavedAlarms {
    pub const VERSION: u32 = 1;
}

impl Alarms {
    /// `alpha`: what was promised, in (0, 1); `reference`: the scores of the cases that it was promised on.
    pub fn new(alpha: f64, reference: Reference) -> Self {
        // What cannot be a promise is taken for the strictest: it rings at the first wrong answer or so.
        let alpha = if alpha.is_nan() { 0.0 } else { alpha }.clamp(1e-6, 1.0 - 1e-6);
        Self {
            alpha,
            audit: Detector::default(),
            escalation: Detector::default(),
            scores: Window::new(reference),
            rung: None,
        }
    }

    /// State of another calibration is not this one's: then they begin anew.
    ///
    /// # Errors
    /// When another version wrote it.
    pub fn restore(
        alpha: f64,
        reference: Reference,
        calibration: &str,
        saved: &SavedAlarms,
    ) -> Result<Self, ForeignVersion> {
        ForeignVersion::check("alarms", saved.version, SavedAlarms::VERSION)?;
        let fresh = Self::new(alpha, reference);
        if saved.calibration != calibration {
            return Ok(fresh);
        }
        Ok(Self {
            alpha: fresh.alpha,
            audit: saved.audit.clone().sound(),
            escalation: saved.escalation.clone().sound(),
            scores: Window::restore(fresh.scores.reference().clone(), &saved.scores),
            rung: saved.rung,
        })
    }

    pub fn save(&self, calibration: &str) -> SavedAlarms {
        SavedAlarms {
            version: SavedAlarms::VERSION,
            calibration: calibration.to_owned(),
            audit: self.audit.clone(),
            escalation: self.escalation.clone(),
            scores: self.scores.save(),
            rung: self.rung,
        }
    }

    /// Another certificate is in force.
    pub fn reset(&mut self, alpha: f64, reference: Reference) {
        *self = Self::new(alpha, reference);
    }

    /// The alarm that suspends the certificate, from when it rang until [`Alarms::reset`].
    pub const fn rung(&self) -> Option<Evidence> {
        self.rung
    }

    /// The label of a request that the lottery drew, whatever its score. `Some` when this makes an alarm ring, once.
    pub fn audited(&mut self, local_and_wrong: bool) -> Option<Evidence> {
        let kappas = AUDIT_BETS.map(|bet| bet / self.alpha);
        self.audit.observe(local_and_wrong, self.alpha, kappas);
        self.judge(Kind::Audit, self.audit.seen(), AUDIT_LIMIT)
    }

    /// The label of a request that was escalated for its score, and the local answer's p_wrong. Not those of the lottery.
    pub fn escalated(&mut self, local_wrong: bool, p_wrong: f64) -> Option<Evidence> {
        self.escalation.observe(local_wrong, p_wrong + TOLERANCE, ESCALATION_BETS);
        self.judge(Kind::Escalation, self.escalation.seen(), ESCALATION_LIMIT)
    }

    /// The score of every request that has one.
    pub fn scored(&mut self, s: f32) -> Option<Evidence> {
        self.scores.observe(s);
        let value = self.scores.psi()?;
        let seen = Seen { value, trials: self.scores.len() as u64, happened: 0, expected: 0.0 };
        self.judge(Kind::Score, seen, self.scores.reference().limit())
    }

    fn judge(&mut self, kind: Kind, seen: Seen, limit: f64) -> Option<Evidence> {
        let Seen { value, trials, happened, expected } = seen;
        if self.rung.is_some() || value < limit {
            return None;
        }
        self.rung = Some(Evidence { kind, value, limit, trials, wrong: happened, allowed: expected });
        self.rung
    }
}

#[cfg(test)]
#[path = "alarms_tests.rs"]
mod tests;
