//! What escalation keeps between two processes carries a version each, because a store outlives the daemon that wrote it.

/// A state of another version: an older or newer Picket wrote it. Nothing is read of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForeignVersion {
    pub what: &'static str,
    pub found: u32,
    pub known: u32,
}

impl ForeignVersion {
    pub const fn code(&self) -> &'static str {
        "store/foreign-version"
    }

    /// # Errors
    /// When the version that was found is not the one that is known.
    pub(super) const fn check(what: &'static str, found: u32, known: u32) -> Result<(), Self> {
        if found == known { Ok(()) } else { Err(Self { what, found, known }) }
    }
}

impl std::fmt::Display for ForeignVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { what, found, known } = self;
        write!(f, "[{}] the saved {what} has version {found}, this Picket reads version {known}", self.code())
    }
}

impl std::error::Error for ForeignVersion {}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
pub(super) const fn is_zero(n: &u64) -> bool {
    *n == 0
}
