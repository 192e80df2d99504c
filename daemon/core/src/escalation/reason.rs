//! One code for every way to an answer.

use serde::{Deserialize, Serialize};

/// Why an answer is what it is; one code in every result, one counter in the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "&'static str", try_from = "String")]
pub enum Reason {
    /// Local answer that the certificate covers.
    LocalCertified,
    /// Local answer without a certificate: the model has no calibration (or nothing to escalate to).
    LocalUncertifiedNoCalibration,
    /// Local answer without a certificate: the calibration is that of another model, or of other steps around it.
    LocalUncertifiedModelMismatch,
    /// Local answer without a certificate: an alarm has rung, and the certificate is suspended.
    LocalUncertifiedSuspect,
    /// Local answer although doubtful: the budget is gone, or goes to answers that gain more.
    LocalUncertifiedBudget,
    /// Local answer although doubtful: nobody is expected to do better.
    LocalNoGain,
    /// Another frame of the same part was asked about: its answer stands for this one, or is still to come.
    LocalDuplicate,
    /// Local answer although doubtful: no provider could be reached.
    LocalUncertifiedLink,
    /// Local answer although doubtful: the provider would be, or was, too late.
    LocalUncertifiedDeadline,
    /// Local answer although doubtful: the input may not leave this device, or there is nobody who could be asked.
    LocalPolicyNoEgress,
    /// No answer yet: what came is kept for the window that it belongs to, and that window is not full.
    LocalWindowOpen,
    /// The local score was below the threshold; a provider answered.
    EscBelowLambda,
    /// The local model found nothing, and not surely enough; a provider answered.
    EscEmptyOutput,
    /// The certificate is suspended; a provider answered.
    EscSuspect,
    /// The lottery has drawn this one for a second opinion.
    EscAudit,
    /// The local output was unusable; a provider answered.
    EscBadOutput,
}

impl Reason {
    pub const ALL: [Self; 16] = [
        Self::LocalCertified,
        Self::LocalUncertifiedNoCalibration,
        Self::LocalUncertifiedModelMismatch,
        Self::LocalUncertifiedSuspect,
        Self::LocalUncertifiedBudget,
        Self::LocalNoGain,
        Self::LocalDuplicate,
        Self::LocalUncertifiedLink,
        Self::LocalUncertifiedDeadline,
        Self::LocalPolicyNoEgress,
        Self::LocalWindowOpen,
        Self::EscBelowLambda,
        Self::EscEmptyOutput,
        Self::EscSuspect,
        Self::EscAudit,
        Self::EscBadOutput,
    ];

    /// `None`: no code of this version.
    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }

    pub const fn code(self) -> &'static str {
        match self {
            Self::LocalCertified => "LOCAL_CERTIFIED",
            Self::LocalUncertifiedModelMismatch => "LOCAL_UNCERTIFIED_MODEL_MISMATCH",
            Self::LocalUncertifiedNoCalibration => "LOCAL_UNCERTIFIED_NO_CALIBRATION",
            Self::LocalUncertifiedSuspect => "LOCAL_UNCERTIFIED_SUSPECT",
            Self::LocalUncertifiedBudget => "LOCAL_UNCERTIFIED_BUDGET",
            Self::LocalNoGain => "LOCAL_NO_GAIN",
            Self::LocalDuplicate => "LOCAL_DUPLICATE",
            Self::LocalUncertifiedLink => "LOCAL_UNCERTIFIED_LINK",
            Self::LocalUncertifiedDeadline => "LOCAL_UNCERTIFIED_DEADLINE",
            Self::LocalPolicyNoEgress => "LOCAL_POLICY_NO_EGRESS",
            Self::LocalWindowOpen => "LOCAL_WINDOW_OPEN",
            Self::EscBelowLambda => "ESC_BELOW_LAMBDA",
            Self::EscEmptyOutput => "ESC_EMPTY_OUTPUT",
            Self::EscSuspect => "ESC_SUSPECT",
            Self::EscAudit => "ESC_AUDIT",
            Self::EscBadOutput => "ESC_BAD_OUTPUT",
        }
    }
}

impl From<Reason> for &'static str {
    fn from(reason: Reason) -> Self {
        reason.code()
    }
}

impl TryFrom<String> for Reason {
    type Error = String;

    fn try_from(code: String) -> Result<Self, String> {
        Self::parse(&code).ok_or_else(|| format!("{code:?} is no reason of this version"))
    }
}
