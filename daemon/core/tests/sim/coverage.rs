//! What really happened over a run: a check that nothing ever provokes proves nothing.

/// Something interesting that a schedule can run into.
#[derive(Clone, Copy, Debug)]
pub enum Seen {
    Crash,
    /// A job killed the process.
    Poisoned,
    SuspectAlone,
    PoisonGivenUp,
    /// A transaction was durable, and the process died before it heard of it.
    CommittedUnheard,
    RecoveredJob,
    RecoveredRow,
    Redelivery,
    JoinedActive,
    StillOnItsWay,
    Repeated,
    NothingToRepeat,
    IdReused,
    Shed,
    Evicted,
    Unanswerable,
    ExpiredWaiting,
    ExpiredRunning,
    InferredTooLate,
    InferenceFailed,
    MalformedFailed,
    Escalated,
    SecondProvider,
    ProviderUsed,
    LateProviderAnswer,
    Withheld,
    BreakerTripped,
    BreakerClosed,
    /// A provider asked to be left alone for a while.
    ProviderRests,
    KeptLocal,
    Certified,
    Inquired,
    Amended,
    Agreed,
    InquiryDropped,
    /// A doubtful answer stays local because calls are limited.
    OutOfBudget,
    /// Another frame of the part is asked about, or was.
    SamePart,
    Reused,
    Alarm,
    StoreFailure,
    Bounced,
    LinkCut,
    CutUntold,
    StaleConfirm,
    SecondConfirm,
    Rejected,
    Forbidden,
    Buried,
    ConfirmWithheld,
    ReceiptHeard,
    ReceiptForNothing,
    ReceiptBeforeConfirm,
    ReceiptLost,
    ForgottenByBroker,
    SentAgainForReceipt,
    RowEvicted,
    EvictedOnItsWay,
    Reset,
    HungUp,
    Undeliverable,
    LateAck,
    AckHeldBack,
    AckLost,
    ConfirmLost,
    Drained,
    ArrivedInDrain,
}

impl Seen {
    /// The last one; the enum is dense.
    const COUNT: usize = Self::ArrivedInDrain as usize + 1;
    const ALL: [Self; Self::COUNT] = {
        use Seen::*;
        [
            Crash,
            Poisoned,
            SuspectAlone,
            PoisonGivenUp,
            CommittedUnheard,
            RecoveredJob,
            RecoveredRow,
            Redelivery,
            JoinedActive,
            StillOnItsWay,
            Repeated,
            NothingToRepeat,
            IdReused,
            Shed,
            Evicted,
            Unanswerable,
            ExpiredWaiting,
            ExpiredRunning,
            InferredTooLate,
            InferenceFailed,
            MalformedFailed,
            Escalated,
            SecondProvider,
            ProviderUsed,
            LateProviderAnswer,
            Withheld,
            BreakerTripped,
            BreakerClosed,
            ProviderRests,
            KeptLocal,
            Certified,
            Inquired,
            Amended,
            Agreed,
            InquiryDropped,
            OutOfBudget,
            SamePart,
            Reused,
            Alarm,
            StoreFailure,
            Bounced,
            LinkCut,
            CutUntold,
            StaleConfirm,
            SecondConfirm,
            Rejected,
            Forbidden,
            Buried,
            ConfirmWithheld,
            ReceiptHeard,
            ReceiptForNothing,
            ReceiptBeforeConfirm,
            ReceiptLost,
            ForgottenByBroker,
            SentAgainForReceipt,
            RowEvicted,
            EvictedOnItsWay,
            Reset,
            HungUp,
            Undeliverable,
            LateAck,
            AckHeldBack,
            AckLost,
            ConfirmLost,
            Drained,
            ArrivedInDrain,
        ]
    };
}

#[derive(Clone, Debug)]
pub struct Coverage {
    counts: [u64; Seen::COUNT],
    pub steps: u64,
}

impl Default for Coverage {
    fn default() -> Self {
        Self { counts: [0; Seen::COUNT], steps: 0 }
    }
}

impl Coverage {
    pub fn hit(&mut self, what: Seen) {
        self.counts[what as usize] += 1;
    }

    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts) {
            *mine += theirs;
        }
        self.steps += other.steps;
    }

    pub fn missing(&self) -> Vec<Seen> {
        Seen::ALL.into_iter().filter(|what| self.counts[*what as usize] == 0).collect()
    }

    pub fn lines(&self) -> String {
        Seen::ALL.into_iter().map(|what| format!("  {:>9}  {what:?}\n", self.counts[what as usize])).collect()
    }
}
