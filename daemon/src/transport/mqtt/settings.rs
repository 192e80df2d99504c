//! The `[mqtt]` section.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use picket_core::limits;
use serde::Deserialize;
use toml::Spanned;

use crate::config::{ConfigError, Section, units, words::choose};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    url: Option<Spanned<String>>,
    prefix: Option<Spanned<String>>,
    client_id: Option<Spanned<String>>,
    username: Option<String>,
    password_file: Option<Spanned<PathBuf>>,
    ca_file: Option<Spanned<PathBuf>>,
    cert_file: Option<Spanned<PathBuf>>,
    key_file: Option<Spanned<PathBuf>>,
    keep_alive_s: Option<Spanned<u16>>,
    qos: Option<Spanned<u8>>,
    confirm: Option<Spanned<String>>,
    max_packet: Option<Spanned<String>>,
    embedded: Option<Spanned<String>>,
}

/// A checked `[mqtt]` section.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub host: String,
    pub port: u16,
    pub tls: Option<Tls>,
    /// Topics start with this, without a slash at its end.
    pub prefix: String,
    /// `None`: `picket-{device}`.
    pub client_id: Option<String>,
    pub credentials: Option<(String, String)>,
    pub keep_alive: Duration,
    /// Largest packet in either direction, bytes.
    pub max_packet: usize,
    /// Results stay until their consumer has sent a receipt.
    pub receipts: bool,
    /// Run the embedded broker here.
    pub embedded: Option<SocketAddr>,
}

/// PEM bytes.
#[derive(Clone)]
pub(super) struct Tls {
    pub ca: Vec<u8>,
    pub client: Option<(Vec<u8>, Vec<u8>)>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls { .. }") // keys stay out of logs
    }
}

impl Settings {
    pub fn parse(section: Section<'_>) -> Result<Self, ConfigError> {
        let place = section.clone();
        let fail = |span, message: String| Err(place.error(Some(span), message));
        let raw: Raw = section.parse()?;
        let embedded = match &raw.embedded {
            None => None,
            Some(text) => match text.as_ref().parse::<SocketAddr>() {
                Ok(address) if address.port() > 0 => Some(address),
                _ => {
                    return fail(text.span(), format!("`{}` is no address such as 127.0.0.1:1883", text.as_ref()));
                }
            },
        };
        let (host, port, secure) = match (&raw.url, embedded) {
            (Some(url), None) => match parse_url(url.as_ref()) {
                Ok(parts) => parts,
                Err(message) => return fail(url.span(), message),
            },
            (None, Some(address)) => (address.ip().to_string(), address.port(), false),
            (Some(url), Some(_)) => return fail(url.span(), "give either `url` or `embedded`, not both".to_owned()),
            (None, None) => return Err(place.error(None, "`url` is missing, for example \"mqtt://127.0.0.1:1883\"")),
        };
        let prefix = match &raw.prefix {
            None => "picket/v1".to_owned(),
            Some(prefix) if valid_prefix(prefix.as_ref()) => prefix.as_ref().clone(),
            Some(prefix) => {
                return fail(prefix.span(), "a prefix is a topic without wildcards and outer slashes".to_owned());
            }
        };
        let keep_alive = match &raw.keep_alive_s {
            None => 30,
            Some(seconds) if *seconds.as_ref() >= 1 => *seconds.as_ref(),
            Some(seconds) => return fail(seconds.span(), "keep_alive_s is at least 1".to_owned()),
        };
        check_qos(&place, raw.qos.as_ref())?;
        let max_packet = match &raw.max_packet {
            None => limits::MAX_PACKET_BYTES,
            Some(text) => match units::bytes(text.as_ref()) {
                Ok(bytes @ 1_024..=268_435_455) => usize::try_from(bytes).unwrap_or(limits::MAX_PACKET_BYTES),
                Ok(_) => return fail(text.span(), "max_packet is between 1KiB and 256MiB".to_owned()),
                Err(message) => return fail(text.span(), message),
            },
        };
        let receipts = match &raw.confirm {
            None => false,
            Some(word) => choose(&place, "confirm", word, &[("puback", false), ("receipt", true)], &[])?,
        };
        if let Some(id) = &raw.client_id
            && (id.as_ref().is_empty() || id.as_ref().len() > 64)
        {
            return fail(id.span(), "a client id has 1 to 64 characters".to_owned());
        }
        Ok(Self {
            host,
            port,
            tls: tls(&place, secure, &raw)?,
            prefix,
            credentials: credentials(&place, &raw)?,
            client_id: raw.client_id.map(Spanned::into_inner),
            keep_alive: Duration::from_secs(keep_alive.into()),
            max_packet,
            receipts,
            embedded,
        })
    }

    /// Plain text over a network is worth a warning.
    pub fn is_exposed(&self) -> bool {
        let local = self.host == "localhost"
            || self.host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        self.tls.is_none() && !local
    }
}

/// Not at most once, which loses jobs; not exactly once, which is no better than job ids and breaks on reconnect.
fn check_qos(place: &Section<'_>, qos: Option<&Spanned<u8>>) -> Result<(), ConfigError> {
    match qos.map(|qos| (*qos.as_ref(), qos.span())) {
        None | Some((1, _)) => Ok(()),
        Some((2, span)) => {
            let message = "QoS 2 is not supported: QoS 1 and job ids give each job one result";
            Err(place.fault("config/qos2-unsupported", Some(span), message))
        }
        Some((_, span)) => Err(place.error(Some(span), "qos is 1: with less, jobs and results get lost".to_owned())),
    }
}

/// Host, port, and whether TLS is wanted.
fn parse_url(url: &str) -> Result<(String, u16, bool), String> {
    // Before anything that shows it.
    if url.contains('@') {
        return Err("credentials do not belong into a URL; use username and password_file".to_owned());
    }
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err(format!("`{url}` is no URL such as mqtt://127.0.0.1:1883"));
    };
    let (secure, default_port) = match scheme {
        "mqtt" => (false, 1883),
        "mqtts" => (true, 8883),
        "ws" | "wss" => return Err("MQTT over websockets is not there yet; use mqtt or mqtts".to_owned()),
        other => return Err(format!("unknown scheme `{other}`; known: mqtt, mqtts")),
    };
    let rest = rest.trim_end_matches('/');
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(':') && (!host.contains(':') || host.ends_with(']')) => {
            let port = port.parse::<u16>().ok().filter(|port| *port > 0);
            (host, port.ok_or_else(|| format!("`{rest}` has no port between 1 and 65535"))?)
        }
        _ => (rest, default_port),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() || host.contains('/') {
        return Err(format!("`{url}` names no host"));
    }
    Ok((host.to_owned(), port, secure))
}

fn valid_prefix(prefix: &str) -> bool {
    !prefix.is_empty()
        && prefix.len() <= 256
        && !prefix.contains(['+', '#', '\0'])
        && !prefix.starts_with(['/', '$'])
        && !prefix.ends_with('/')
}

fn credentials(place: &Section<'_>, raw: &Raw) -> Result<Option<(String, String)>, ConfigError> {
    match (&raw.username, &raw.password_file) {
        (None, None) => Ok(None),
        (Some(username), None) => Ok(Some((username.clone(), String::new()))),
        (None, Some(file)) => Err(place.error(Some(file.span()), "password_file needs a username")),
        (Some(username), Some(file)) => Ok(Some((username.clone(), place.secret_line(file)?))),
    }
}

fn tls(place: &Section<'_>, secure: bool, raw: &Raw) -> Result<Option<Tls>, ConfigError> {
    if !secure {
        let stray = [&raw.ca_file, &raw.cert_file, &raw.key_file].into_iter().flatten().next();
        return match stray {
            Some(file) => Err(place.error(Some(file.span()), "certificates are for mqtts:// URLs")),
            None => Ok(None),
        };
    }
    let Some(ca) = &raw.ca_file else {
        return Err(place.error(None, "mqtts needs `ca_file`: the platform's certificates are not used yet"));
    };
    let client = match (&raw.cert_file, &raw.key_file) {
        (Some(cert), Some(key)) => Some((place.secret(cert)?, place.secret(key)?)),
        (None, None) => None,
        (Some(one), None) | (None, Some(one)) => {
            return Err(place.error(Some(one.span()), "cert_file and key_file go together"));
        }
    };
    Ok(Some(Tls { ca: place.secret(ca)?, client }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_have_scheme_host_and_port() {
        assert_eq!(parse_url("mqtt://10.0.0.1"), Ok(("10.0.0.1".into(), 1883, false)));
        assert_eq!(parse_url("mqtts://broker.local:9999/"), Ok(("broker.local".into(), 9999, true)));
        assert_eq!(parse_url("mqtt://[::1]:1884"), Ok(("::1".into(), 1884, false)));
        for bad in
            ["127.0.0.1:1883", "http://x", "mqtt://", "mqtt://x:0", "mqtt://x:99999", "mqtt://user:pw@x", "ws://x"]
        {
            assert!(parse_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn prefixes_are_plain_topics() {
        assert!(valid_prefix("picket/v1"));
        for bad in ["", "/x", "x/", "a/+/b", "#", "$SYS"] {
            assert!(!valid_prefix(bad), "{bad}");
        }
    }
}
