//! Providers: who is asked when the local answer is not good enough.

mod anthropic;
mod chat;
mod fault;
#[cfg(test)]
mod hostile_tests;
mod http;
mod label;
mod oip;
mod openai;
mod pace;
mod picture;
#[cfg(test)]
mod sdk_tests;
#[cfg(test)]
mod tests_support;

use std::sync::Arc;

use picket_core::{escalation::money::Money, time::Span};
use toml::Spanned;

use crate::{
    config::{ConfigError, Section},
    ports::Provider,
};

/// The registration table: to add a provider, add its file, its `mod` line and its line here.
pub static PROVIDERS: &[&dyn ProviderKind] = &[&oip::Oip, &openai::OpenAi, &anthropic::Anthropic];

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
    /// What one call costs at most; so much is put aside before it is made.
    pub cost: Money,
    pub provider: Arc<dyn Provider>,
}

/// The one TLS provider of the whole binary: ring, which cross-compiles without more than a C compiler.
pub fn use_ring() {
    // An error says that it is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// A price in units of money; none is free.
///
/// # Errors
/// It is negative, or no number.
fn price(section: &Section<'_>, given: Option<&Spanned<f64>>) -> Result<Money, ConfigError> {
    let Some(given) = given else { return Ok(Money::ZERO) };
    let price = Money::from_units(*given.get_ref());
    price.ok_or_else(|| section.error(Some(given.span()), "a price is a number of at least 0, in units of money"))
}
