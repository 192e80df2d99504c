//! What came instead of an answer: which fault it is, whether asking again may help, and what the log says about it.

use std::{error::Error as _, time::SystemTime};

use picket_core::{ProviderFault, limits, time::Span};
use reqwest::{
    StatusCode, Url,
    header::{CONTENT_TYPE, DATE, HeaderMap, LOCATION, RETRY_AFTER},
};
use serde_json::Value;

use crate::tls::TlsFault;

/// Why there is no usable answer, and what the log says about it.
pub(super) type Fault = (ProviderFault, String);

/// Why one attempt failed.
#[derive(Debug)]
pub(super) struct Trouble {
    pub kind: ProviderFault,
    pub text: String,
    /// It passes, and nothing was worked on: the same question may be sent again, and is not paid twice.
    pub passing: bool,
    /// There was no connection: nothing of the question left.
    pub unsent: bool,
}

/// Characters of what the other end says, in a log line …
pub(super) const SAID_CHARS: usize = 200;
/// … and of the whole line.
pub(super) const LINE_CHARS: usize = 400;

/// nginx and Anthropic: overloaded.
const OVERLOADED: u16 = 529;

/// It answered, and the answer is unusable.
pub(super) fn bad(why: impl std::fmt::Display) -> Fault {
    (ProviderFault::BadAnswer, why.to_string())
}

impl Trouble {
    pub fn new(kind: ProviderFault, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), passing: false, unsent: false }
    }

    /// No answer, or only a part of one.
    pub fn of_error(error: &reqwest::Error) -> Self {
        let text = chain(error);
        if let Some(tls) = TlsFault::of(error) {
            let hint = if tls == TlsFault::Expired { " (is the clock of this machine right?)" } else { "" };
            let text = format!("{}: {text}{hint}", tls.code());
            return Self { unsent: true, ..Self::new(ProviderFault::Untrusted(tls.code()), text) };
        }
        if error.is_connect() {
            // A connection that did not come about in time is one that did not come about.
            return Self { kind: ProviderFault::Unreachable, text, passing: true, unsent: true };
        }
        let kind = if error.is_timeout() {
            ProviderFault::TooSlow
        } else if (error.is_decode() && !broke_off(error)) || no_http(error) {
            ProviderFault::BadAnswer
        } else {
            ProviderFault::Unreachable
        };
        Self::new(kind, text)
    }

    /// What a head alone says: that this is not the provider.
    pub fn of_head(asked: &Url, status: StatusCode, headers: &HeaderMap) -> Option<Self> {
        if status == StatusCode::NETWORK_AUTHENTICATION_REQUIRED {
            return Some(Self::new(ProviderFault::CaptivePortal, "the network wants somebody to log in (HTTP 511)"));
        }
        if status.is_redirection() {
            let to = headers.get(LOCATION).and_then(|to| to.to_str().ok()).unwrap_or_default();
            let elsewhere = asked.join(to).is_ok_and(|to| to.host_str() != asked.host_str());
            let kind = if elsewhere { ProviderFault::CaptivePortal } else { ProviderFault::Refused };
            return Some(Self::new(kind, format!("HTTP status {status} to {to:?}; no redirect is followed")));
        }
        None
    }

    /// An answer with an error status; `said` is what its body says.
    pub fn of_status(status: StatusCode, headers: &HeaderMap, said: &str) -> Self {
        let rest = rest(headers);
        let (kind, passing) = match status.as_u16() {
            401 | 403 => (ProviderFault::Unauthorised, false),
            429 | OVERLOADED => (ProviderFault::Limited(rest.unwrap_or(limits::PROVIDER_REST)), true),
            500 | 502 | 503 => (rest.map_or(ProviderFault::Failing, ProviderFault::Limited), true),
            // Somebody on the way gave up waiting: the provider may be at work all the same.
            408 | 504 => (ProviderFault::TooSlow, false),
            505.. => (ProviderFault::Failing, false),
            _ => (ProviderFault::Refused, false),
        };
        Self { kind, text: format!("HTTP status {status}: {said}"), passing, unsent: false }
    }
}

/// A page for people where an answer was expected: somebody on the way wants them to log in.
pub(super) fn is_page(headers: &HeaderMap, body: &[u8]) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default().to_ascii_lowercase();
    let start: Vec<u8> = body.trim_ascii_start().iter().take(9).map(u8::to_ascii_lowercase).collect();
    kind.starts_with("text/html") || start.starts_with(b"<html") || start.starts_with(b"<!doctype")
}

/// How long the provider wants to be left alone. A date counts from the answer's own: no clock of ours is needed.
fn rest(headers: &HeaderMap) -> Option<Span> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    // OpenAI and Azure say it in milliseconds, too.
    let span = match (text("retry-after-ms").and_then(|ms| ms.parse().ok()), text(RETRY_AFTER.as_str())?) {
        (Some(ms), _) => Span::from_millis(ms),
        (None, given) => match given.parse::<u64>() {
            Ok(seconds) => Span::from_millis(seconds.saturating_mul(1000)),
            Err(_) => {
                let until = httpdate::parse_http_date(given).ok()?;
                let date = text(DATE.as_str()).and_then(|date| httpdate::parse_http_date(date).ok());
                let wait = until.duration_since(date.unwrap_or_else(SystemTime::now)).unwrap_or_default();
                Span::from_millis(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))
            }
        },
    };
    Some(span.min(limits::PROVIDER_REST_MAX))
}

/// The message of an error's body, wherever servers put it; else the start of the body.
pub(super) fn message(body: &[u8]) -> String {
    let document: Value = serde_json::from_slice(body).unwrap_or_default();
    let error = &document["error"];
    let places = [&error["message"], error, &document["message"], &document["detail"]];
    match places.into_iter().find_map(Value::as_str) {
        Some(message) => message.to_owned(),
        None => String::from_utf8_lossy(&body[..body.len().min(4 * SAID_CHARS)]).into_owned(),
    }
}

/// What somebody else said, fit for a log: short, in one line, and without the secret that he may have echoed.
pub(super) fn discreet(text: &str, secret: Option<&str>, chars: usize) -> String {
    let text = match secret {
        Some(secret) if !secret.is_empty() => text.replace(secret, "[secret]"),
        _ => text.to_owned(),
    };
    let visible = |c: char| if c.is_control() { c.escape_default().collect() } else { c.to_string() };
    text.chars().take(chars).map(visible).collect()
}

/// Somebody answered, in another language.
fn no_http(error: &reqwest::Error) -> bool {
    causes(error).filter_map(|cause| cause.downcast_ref::<hyper::Error>()).any(hyper::Error::is_parse)
}

/// The connection ended before the answer did.
fn broke_off(error: &reqwest::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    causes(error).any(|cause| {
        let kind = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_incomplete_message)
            || kind.is_some_and(|kind| matches!(kind, BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof))
    })
}

fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(error.source(), |cause| (*cause).source())
}

/// An error with its causes; reqwest's own text stops at "error sending request".
pub(super) fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    for cause in causes(error) {
        text.push_str(": ");
        text.push_str(&cause.to_string());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_rest_is_read_in_every_form() {
        let date = ("date", "Wed, 21 Oct 2026 07:28:00 GMT");
        for (pairs, millis) in [
            (vec![("retry-after", "3")], Some(3_000)),
            (vec![("retry-after", " 0 ")], Some(0)),
            (vec![("retry-after", "2"), ("retry-after-ms", "1250")], Some(1_250)),
            (vec![("retry-after", "Wed, 21 Oct 2026 07:28:30 GMT"), date], Some(30_000)),
            (vec![("retry-after", "Wed, 21 Oct 2020 07:28:30 GMT"), date], Some(0)),
            (vec![("retry-after", "Wed, 21 Oct 2020 07:28:30 GMT")], Some(0)),
            (vec![("retry-after", "Wed, 21 Oct 2099 07:28:30 GMT"), date], Some(3_600_000)),
            (vec![("retry-after", "18446744073709551615")], Some(3_600_000)),
            (vec![("retry-after", "soon")], None),
            (vec![("retry-after", "-1")], None),
            (vec![], None),
        ] {
            assert_eq!(rest(&headers(&pairs)), millis.map(Span::from_millis), "{pairs:?}");
        }
    }

    #[test]
    fn each_status_is_its_own_kind_of_trouble() {
        let limited = |ms| ProviderFault::Limited(Span::from_millis(ms));
        let after = headers(&[("retry-after", "7")]);
        for (status, headers, kind, passing) in [
            (400, &HeaderMap::new(), ProviderFault::Refused, false),
            (401, &HeaderMap::new(), ProviderFault::Unauthorised, false),
            (403, &after, ProviderFault::Unauthorised, false),
            (404, &HeaderMap::new(), ProviderFault::Refused, false),
            (429, &HeaderMap::new(), limited(1_000), true),
            (429, &after, limited(7_000), true),
            (500, &HeaderMap::new(), ProviderFault::Failing, true),
            (503, &HeaderMap::new(), ProviderFault::Failing, true),
            (503, &after, limited(7_000), true),
            (504, &HeaderMap::new(), ProviderFault::TooSlow, false),
            (529, &after, limited(7_000), true),
            (599, &HeaderMap::new(), ProviderFault::Failing, false),
        ] {
            let trouble = Trouble::of_status(StatusCode::from_u16(status).unwrap(), headers, "why");
            assert_eq!((trouble.kind, trouble.passing), (kind, passing), "{status}");
            assert!(trouble.text.contains(&status.to_string()) && trouble.text.contains("why"));
        }
    }

    #[test]
    fn errors_are_quoted_short_in_one_line_and_without_the_secret() {
        assert_eq!(message(br#"{"error":{"message":"no such model","type":"x"}}"#), "no such model");
        assert_eq!(message(br#"{"error":"job/shed: busy"}"#), "job/shed: busy");
        assert_eq!(message(br#"{"detail":"Not Found"}"#), "Not Found");
        assert_eq!(message(b"\xffnginx"), "\u{fffd}nginx");
        assert_eq!(
            discreet("bad key sk-1234\r\nforged line", Some("sk-1234"), 99),
            "bad key [secret]\\r\\nforged line"
        );
        assert_eq!(discreet(&"x".repeat(10_000), None, SAID_CHARS).len(), SAID_CHARS);
    }
}
