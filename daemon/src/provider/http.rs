//! The way to a provider over HTTP: the checked URL, the secret, the client, and one question with its retries.
//!
//! No redirect is followed and no proxy is used: where the input of a job goes is what the configuration says, and
//! nothing else. An answer is read up to [`limits::MAX_PROVIDER_BYTES`], and never unpacked: what comes compressed was not
//! asked for.

use std::{path::PathBuf, time::Duration};

use bytes::{Bytes, BytesMut};
use picket_core::{ProviderFault, limits, time::Span};
use reqwest::{
    Certificate, Client, Response, Url,
    header::{CONTENT_ENCODING, HeaderMap, HeaderName, HeaderValue},
    redirect,
};
use tokio::time::{Instant, timeout_at};
use toml::Spanned;

use super::{
    fault::{self, Fault, Trouble},
    pace::Pace,
};
use crate::{
    config::{ConfigError, Section},
    ports::Meter,
};

/// `{url}/{path}`; `secret_key` is the key of the section under which a secret belongs.
///
/// # Errors
/// What is wrong with the URL.
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

/// How a section says where its provider is.
pub(super) struct Address<'a> {
    pub section: &'a Section<'a>,
    /// As configured; complaints point at it.
    pub given: &'a Spanned<String>,
    pub url: Url,
    pub timeout: Span,
    pub ca_file: Option<&'a Spanned<PathBuf>>,
    pub secret_file: Option<&'a Spanned<PathBuf>>,
    /// The header that carries the secret, and what stands before it there.
    pub secret_header: (HeaderName, &'static str),
    /// Headers of every question.
    pub headers: HeaderMap,
}

/// The way to one provider.
pub(super) struct Line {
    client: Client,
    url: Url,
    headers: HeaderMap,
    /// Must not show in any text.
    secret: Option<String>,
    pace: Pace,
}

/// An answer with a good status.
pub(super) struct Reply {
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Line {
    /// Opens nothing yet but the files.
    ///
    /// # Errors
    /// A secret or a certificate cannot be read, or no client can be made.
    pub fn new(address: Address<'_>) -> Result<Self, ConfigError> {
        let Address { section, given, url, timeout, ca_file, secret_file, secret_header: (name, before), mut headers } =
            address;
        let mut secret = None;
        if let Some(file) = secret_file {
            let line = section.secret_line(file)?;
            let mut value = HeaderValue::from_str(&format!("{before}{}", line.trim()))
                .map_err(|_| section.error(Some(file.span()), "no header can carry this secret"))?;
            value.set_sensitive(true);
            headers.insert(name, value);
            secret = Some(line.trim().to_owned());
        }
        super::use_ring();
        let builder = Client::builder()
            .connect_timeout(timeout.min(limits::PROVIDER_CONNECT).into())
            .redirect(redirect::Policy::none())
            .no_proxy()
            // Off by feature, and off should another crate turn the feature on: a small answer must stay small.
            .no_gzip()
            .no_brotli()
            .no_deflate()
            .no_zstd()
            .tcp_nodelay(true)
            .pool_max_idle_per_host(limits::PROVIDER_CALLS);
        let builder = match ca_file {
            Some(file) if url.scheme() == "http" => {
                return Err(section.error(Some(file.span()), "`ca_file` is for https"));
            }
            Some(file) => builder.tls_certs_only(certificates(section, file)?),
            // With https the system's certificates are loaded, and having none is an error; plain http needs none.
            None if url.scheme() == "http" => builder.tls_certs_only([]),
            None => builder,
        };
        let client = builder.build().map_err(|why| {
            section.error(Some(given.span()), format!("cannot make an HTTP client for {url}: {}", fault::chain(&why)))
        })?;
        Ok(Self { client, url, headers, secret, pace: Pace::default() })
    }

    /// Posts a question, up to `attempts` times: again only after trouble that passes, and as far as
    /// the purse of retries and the deadline allow.
    pub async fn post(
        &self,
        deadline: Instant,
        headers: HeaderMap,
        body: Bytes,
        attempts: u32,
        meter: &Meter,
    ) -> Result<Reply, Fault> {
        let bytes = body.len() as u64;
        let mut attempt = 1;
        loop {
            self.pace.wait_for_rest(deadline).await?;
            if !meter.leaves(bytes) {
                let text =
                    format!("a question of {bytes} bytes, sent {attempt} times, is more than was put aside for it");
                return Err((ProviderFault::Unsuited, text));
            }
            let trouble = match self.once(deadline, headers.clone(), body.clone()).await {
                Ok(reply) => {
                    meter.worked_on();
                    self.pace.succeeded(attempt > 1);
                    return Ok(reply);
                }
                Err(trouble) => trouble,
            };
            if trouble.unsent {
                meter.stayed(bytes);
            } else if !trouble.passing {
                meter.worked_on();
            }
            if let ProviderFault::Limited(rest) = trouble.kind {
                self.pace.rest(rest);
            }
            if !trouble.passing || attempt >= attempts || !self.pace.wait_for_retry(attempt, deadline).await {
                let again = if attempt > 1 { format!(" (attempt {attempt})") } else { String::new() };
                return Err((trouble.kind, trouble.text + &again));
            }
            attempt += 1;
        }
    }

    async fn once(&self, deadline: Instant, headers: HeaderMap, body: Bytes) -> Result<Reply, Trouble> {
        let request = self.client.post(self.url.clone()).headers(self.headers.clone()).headers(headers).body(body);
        let response = timeout_at(deadline, request.send())
            .await
            .map_err(|_| late("while the question went out or the head of its answer was waited for"))?
            .map_err(|error| Trouble::of_error(&error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        if let Some(trouble) = Trouble::of_head(&self.url, status, &headers) {
            return Err(trouble);
        }
        let body = read(response, deadline).await;
        if !status.is_success() {
            // The status counts, whatever comes of its explanation.
            let said = body.as_deref().map(fault::message).unwrap_or_default();
            return Err(Trouble::of_status(status, &headers, &self.said(&said)));
        }
        let body = body?;
        if headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
            return Err(Trouble::new(ProviderFault::BadAnswer, "it is compressed, which nobody asked for"));
        }
        if fault::is_page(&headers, &body) {
            let said = self.said(&String::from_utf8_lossy(&body));
            return Err(Trouble::new(ProviderFault::CaptivePortal, format!("a page for people: {said}")));
        }
        Ok(Reply { headers, body })
    }

    fn said(&self, text: &str) -> String {
        fault::discreet(text, self.secret.as_deref(), fault::SAID_CHARS)
    }

    /// A line of the log, whatever somebody else put into it.
    pub fn discreet(&self, line: &str) -> String {
        fault::discreet(line, self.secret.as_deref(), fault::LINE_CHARS)
    }
}

/// The certificates of a PEM file: these are trusted, and no others.
fn certificates(section: &Section<'_>, file: &Spanned<PathBuf>) -> Result<Vec<Certificate>, ConfigError> {
    let found = Certificate::from_pem_bundle(&section.secret(file)?).unwrap_or_default();
    if found.is_empty() {
        let message = format!("{} holds no certificate in PEM form", file.get_ref().display());
        return Err(section.error(Some(file.span()), message));
    }
    Ok(found)
}

/// The moment at which a question must be answered.
pub(super) fn deadline(patience: Span) -> Instant {
    Instant::now() + Duration::from(patience)
}

fn late(when: &str) -> Trouble {
    Trouble::new(ProviderFault::TooSlow, format!("time ran out {when}"))
}

async fn read(mut response: Response, deadline: Instant) -> Result<Bytes, Trouble> {
    let mut body = BytesMut::new();
    loop {
        let stalled = Instant::now() + Duration::from(limits::PROVIDER_STALL);
        let chunk = match timeout_at(deadline.min(stalled), response.chunk()).await {
            Ok(chunk) => chunk.map_err(|error| Trouble::of_error(&error))?,
            Err(_) if stalled < deadline => return Err(late("because its answer stalled")),
            Err(_) => return Err(late("while its answer was read")),
        };
        let Some(chunk) = chunk else { return Ok(body.freeze()) };
        if body.len() + chunk.len() > limits::MAX_PROVIDER_BYTES {
            let text = format!("its answer has more than {} bytes", limits::MAX_PROVIDER_BYTES);
            return Err(Trouble::new(ProviderFault::BadAnswer, text));
        }
        body.extend_from_slice(&chunk);
    }
}
