//! Providers: who is asked when the local answer is not good enough.

mod oip;

use std::sync::Arc;

use picket_core::time::Span;

use crate::{
    config::{ConfigError, Section},
    ports::Provider,
};

/// The registration table: to add a provider, add its file, its `mod` line and its line here.
pub static PROVIDERS: &[&dyn ProviderKind] = &[&oip::Oip];

/// A kind of provider: `kind` of a `[[provider]]` section, one row of [`PROVIDERS`].
pub trait ProviderKind: Sync {
    fn name(&self) -> &'static str;

    /// Checks a `[[provider]]` section, which is this plug-in's own but for `name` and `kind`. Opens nothing.
    ///
    /// # Errors
    /// The first mistake in the section.
    fn configure(&self, section: Section<'_>) -> Result<ProviderSetup, ConfigError>;
}

/// A checked provider; it connects when it is asked.
pub struct ProviderSetup {
    pub name: Arc<str>,
    /// Patience of one request.
    pub timeout: Span,
    pub provider: Arc<dyn Provider>,
}

/// The one TLS provider of the whole binary: ring, which cross-compiles without more than a C compiler.
pub fn use_ring() {
    // An error says that it is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
