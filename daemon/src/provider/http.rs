//! What all providers over HTTP share: the checked URL, the secret, the client, a bounded answer, and what went wrong.
//!
//! No redirect is followed and no proxy is used: where the input of a job goes is what the configuration says, and
//! nothing else.

use std::{error::Error as _, path::PathBuf, time::Duration};

use bytes::{Bytes, BytesMut};
use picket_core::{ProviderFault, limits, time::Span};
use reqwest::{Client, Url, header::HeaderValue, redirect};
use toml::Spanned;

use crate::config::{ConfigError, Section};

/// Why there is no usable answer, and what the log says about it.
pub(super) type Fault = (ProviderFault, String);

/// `{url}/{path}`; `secret_key` is the key of the section under which a secret belongs.
pub(super) fn endpoint(url: &str, path: &[&str], secret_key: &str) -> Result<Url, String> {
    let mut endpoint = Url::parse(url).map_err(|why| format!("`{url}` is no URL: {why}"))?;
    if !matches!(endpoint.scheme(), "http" | "https") || endpoint.query().is_some() || endpoint.fragment().is_some() {
        return Err(format!("`{url}`: write http://host:port or https://host:port, with a path if need be"));
    }
    if !endpoint.username().is_empty() || endpoint.password().is_some() {
        return Err(format!("a secret does not belong into a URL; use `{secret_key}`"));
    }
    let mut segments = endpoint.path_segments_mut().map_err(|()| format!("`{url}` has no path"))?;
    segments.pop_if_empty().extend(path);
    drop(segments);
    Ok(endpoint)
}

/// The patience of one question.
///
/// # Errors
/// It is zero.
pub(super) fn timeout(
    section: &Section<'_>,
    given: Option<&Spanned<u64>>,
    default_ms: u64,
) -> Result<Span, ConfigError> {
    let timeout_ms = match given {
        Some(given) if *given.get_ref() == 0 => {
            return Err(section.error(Some(given.span()), "`timeout_ms` is at least 1"));
        }
        Some(given) => *given.get_ref(),
        None => default_ms,
    };
    Ok(Span::from_millis(timeout_ms).min(limits::DEADLINE_MAX))
}

/// The header that carries a secret: `{scheme}{secret}`.
///
/// # Errors
/// The file does not hold one line of text, or no header can carry it.
pub(super) fn secret(
    section: &Section<'_>,
    file: Option<&Spanned<PathBuf>>,
    scheme: &str,
) -> Result<Option<HeaderValue>, ConfigError> {
    let Some(file) = file else { return Ok(None) };
    let line = section.secret_line(file)?;
    let mut value = HeaderValue::from_str(&format!("{scheme}{}", line.trim()))
        .map_err(|_| section.error(Some(file.span()), "no header can carry this secret"))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// # Errors
/// There is none for this URL: https without any certificate to trust.
pub(super) fn client(
    section: &Section<'_>,
    at: &Spanned<String>,
    url: &Url,
    timeout: Span,
) -> Result<Client, ConfigError> {
    super::use_ring();
    let builder = Client::builder()
        .connect_timeout(duration(timeout.min(limits::PROVIDER_CONNECT)))
        .redirect(redirect::Policy::none())
        .no_proxy()
        .tcp_nodelay(true)
        .pool_max_idle_per_host(limits::PROVIDER_CALLS);
    // With https the system's certificates are loaded, and having none is an error; plain http must not need any.
    let client = if url.scheme() == "http" { builder.tls_certs_only([]).build() } else { builder.build() };
    client
        .map_err(|why| section.error(Some(at.span()), format!("cannot make an HTTP client for {url}: {}", chain(&why))))
}

pub(super) const fn duration(span: Span) -> Duration {
    Duration::from_micros(span.as_micros())
}

/// The body, up to [`limits::MAX_PROVIDER_BYTES`].
pub(super) async fn read(mut response: reqwest::Response) -> Result<Bytes, Fault> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(fault)? {
        if body.len() + chunk.len() > limits::MAX_PROVIDER_BYTES {
            return Err(bad(format!("more than {} bytes", limits::MAX_PROVIDER_BYTES)));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

pub(super) fn bad(why: impl std::fmt::Display) -> Fault {
    (ProviderFault::BadAnswer, why.to_string())
}

pub(super) fn fault(error: reqwest::Error) -> Fault {
    let text = chain(&error);
    // A connection that did not come about in time is one that did not come about.
    let kind = if error.is_connect() {
        ProviderFault::Unreachable
    } else if error.is_timeout() {
        ProviderFault::TooSlow
    } else if error.is_decode() || no_http(&error) {
        ProviderFault::BadAnswer
    } else {
        ProviderFault::Unreachable
    };
    (kind, text)
}

/// Somebody answered, in another language.
fn no_http(error: &reqwest::Error) -> bool {
    causes(error).filter_map(|cause| cause.downcast_ref::<hyper::Error>()).any(hyper::Error::is_parse)
}

fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(error.source(), |cause| (*cause).source())
}

/// An error with its causes; reqwest's own text stops at "error sending request".
fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    for cause in causes(error) {
        text.push_str(": ");
        text.push_str(&cause.to_string());
    }
    text
}
