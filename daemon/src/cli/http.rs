//! The HTTP face of a running daemon, from the outside.

use std::{path::Path, time::Duration};

use anyhow::Context;
use reqwest::{Method, StatusCode};
use serde::de::DeserializeOwned;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

pub struct Face {
    url: String,
    token: Option<String>,
    client: reqwest::Client,
    runtime: tokio::runtime::Runtime,
}

/// A client for servers like `url`: with https the system's certificates are loaded, and having none is an error; plain http
/// needs none.
///
/// # Errors
/// There are no certificates.
pub fn client(url: &str, patience: Duration) -> reqwest::Result<reqwest::Client> {
    crate::provider::use_ring();
    let builder = reqwest::Client::builder().timeout(patience).no_proxy();
    if url.starts_with("https:") { builder } else { builder.tls_certs_only([]) }.build()
}

impl Face {
    /// # Errors
    /// The token's file cannot be read.
    pub fn new(url: &str, token_file: Option<&Path>) -> anyhow::Result<Self> {
        let read =
            |file: &Path| std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()));
        let token = token_file.map(read).transpose()?.map(|token| token.trim().to_owned());
        let client = client(url, PATIENCE)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { url: url.trim_end_matches('/').to_owned(), token, client, runtime })
    }

    /// # Errors
    /// Nobody answers, or not what was asked for.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let body = self.page(path)?;
        serde_json::from_slice(&body).with_context(|| format!("{} is no Picket", self.url))
    }

    /// # Errors
    /// Nobody answers, or with an error.
    pub fn page(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        self.send(Method::GET, path)
    }

    /// # Errors
    /// Nobody answers, or with an error.
    pub fn post(&self, path: &str) -> anyhow::Result<()> {
        self.send(Method::POST, path).map(drop)
    }

    /// # Errors
    /// Nobody answers, or with an error.
    pub fn delete(&self, path: &str) -> anyhow::Result<()> {
        self.send(Method::DELETE, path).map(drop)
    }

    fn send(&self, method: Method, path: &str) -> anyhow::Result<Vec<u8>> {
        let mut request = self.client.request(method, format!("{}{path}", self.url));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let exchange = async {
            let answer = request.send().await?;
            Ok::<_, reqwest::Error>((answer.status(), answer.bytes().await?))
        };
        let (status, body) = self
            .runtime
            .block_on(exchange)
            .with_context(|| format!("no Picket answers at {}; is [http] configured?", self.url))?;
        if status != StatusCode::OK {
            return Err(said(&body).unwrap_or_else(|| anyhow::anyhow!("{} answers {status}", self.url)));
        }
        Ok(body.to_vec())
    }
}

/// The daemon's own error, as one line.
fn said(body: &[u8]) -> Option<anyhow::Error> {
    let document: serde_json::Value = serde_json::from_slice(body).ok()?;
    let (code, text) = (document["code"].as_str()?, document["error"].as_str()?);
    let message = text.strip_prefix(code).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(text);
    Some(anyhow::anyhow!("error[{code}]: {message}"))
}
