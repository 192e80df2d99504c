//! Small servers that answer as a test says, and what is asked of them.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use picket_core::said::Measure;
use picket_core::{ProviderFault, job::JobId, time::Span};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::{ProviderKind, ProviderSetup, anthropic::Anthropic, fault::Fault, oip::Oip, openai::OpenAi};
use crate::{
    config::{ConfigError, Section, section::Source},
    ports::{Meter, Question, Upstream},
    tensor::Tensor,
};

pub static KINDS: [&dyn ProviderKind; 3] = [&Oip, &OpenAi, &Anthropic];

/// A section of this kind with these further lines.
pub fn section(kind: &dyn ProviderKind, url: &str, more: &str) -> String {
    format!("name = \"hq\"\nkind = \"{}\"\nurl = \"{url}\"\nmodel = \"digits large\"\n{more}", kind.name())
}

pub fn configure(kind: &dyn ProviderKind, url: &str, more: &str) -> Result<ProviderSetup, ConfigError> {
    let text = section(kind, url, more);
    let table = toml::de::DeTable::parse(&text).unwrap();
    let span = table.span();
    let value = toml::Spanned::new(span, toml::de::DeValue::Table(table.into_inner()));
    let source = Arc::new(Source::new("picket.toml", &text));
    kind.configure(Section { source, value })
}

/// The answer "dog" in this kind's language.
pub fn dog(kind: &dyn ProviderKind) -> Vec<u8> {
    named(kind, "dog")
}

pub fn named(kind: &dyn ProviderKind, label: &str) -> Vec<u8> {
    let body = match kind.name() {
        "oip" => format!(r#"{{"parameters":{{"label":"{label}"}},"outputs":[]}}"#),
        "openai" => format!(
            r#"{{"model":"big","choices":[{{"message":{{"content":"{{\"label\":\"{label}\"}}"}},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":100,"completion_tokens":7}}}}"#
        ),
        _ => format!(
            r#"{{"model":"big","content":[{{"type":"tool_use","id":"t","name":"answer","input":{{"label":"{label}"}}}}],"stop_reason":"tool_use","usage":{{"input_tokens":100,"output_tokens":7}}}}"#
        ),
    };
    answer("200 OK", "Content-Type: application/json\r\n", body.as_bytes())
}

/// Of two numbers, with the labels cat, dog and bird.
pub fn question(timeout_ms: u64) -> Question {
    Question {
        id: JobId::new("a/1").unwrap(),
        inputs: vec![Tensor::from_f32("x", vec![1, 2], &[1.0, 2.0]).unwrap()],
        labels: ["cat", "dog", "bird"].map(str::to_owned).into(),
        measure: Measure::Classes,
        timeout: Span::from_millis(timeout_ms),
        attempts: picket_core::limits::PROVIDER_ATTEMPTS,
        meter: Arc::new(Meter::new(u64::MAX)),
    }
}

pub fn fault(result: Result<Upstream, Fault>) -> ProviderFault {
    result.expect_err("no usable answer").0
}

/// Reads one request; its head and body. `None`: the other end has gone.
pub async fn request(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.to_lowercase().lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap()];
    stream.read_exact(&mut body).await.ok()?;
    Some((head, body))
}

pub fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// Ends with the test.
pub struct Server {
    pub url: String,
    asked: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Server {
    /// Does with every connection what the test says; the first has number 1.
    pub async fn raw<F>(serve: impl Fn(usize, TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = asked.clone();
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let number = counter.fetch_add(1, Ordering::SeqCst) + 1;
                tokio::spawn(serve(number, stream));
            }
        });
        Self { url, asked, task }
    }

    /// Takes a request of every connection, sends what `script` makes of its number, head and body, and hangs up.
    pub async fn start(script: impl Fn(usize, &str, &[u8]) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let script = Arc::new(script);
        Self::raw(move |number, mut stream| {
            let script = script.clone();
            async move {
                let Some((head, body)) = request(&mut stream).await else { return };
                let bytes = script(number, &head, &body);
                let _ = stream.write_all(&bytes).await;
                let _ = stream.shutdown().await;
                // Until the other end has read it all: closing earlier would cut it off.
                let _ = stream.read(&mut [0]).await;
            }
        })
        .await
    }

    /// The same bytes for everybody.
    pub async fn saying(bytes: Vec<u8>) -> Self {
        Self::start(move |_, _, _| bytes.clone()).await
    }

    /// Connections so far.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Asks this kind of provider at a server that says these bytes.
pub async fn ask(kind: &dyn ProviderKind, bytes: Vec<u8>) -> Result<Upstream, Fault> {
    let server = Server::saying(bytes).await;
    configure(kind, &server.url, "").unwrap().provider.ask(question(5_000)).await
}
