//! A transport with the run loop's end of its inbox in the test's hand, and a client that speaks plain HTTP/1.1.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
};

use crate::{
    config::section::Source,
    ports::{Clock, Request, Signature, TensorSpec},
    telemetry::{Jobs, Status, Telemetry},
    tensor::Dtype,
    transport::{ModelInfo, http::*},
};

pub fn section(text: &str) -> Section<'_> {
    let table = toml::de::DeTable::parse(text).unwrap();
    let span = table.span();
    let value = toml::Spanned::new(span, toml::de::DeValue::Table(table.into_inner()));
    Section { source: Arc::new(Source::new("picket.toml", text)), value }
}

pub fn setup(text: &str) -> Result<Setup, ConfigError> {
    Setup::of(&section(text))
}

pub fn tensor(name: &str, dims: [Option<usize>; 2]) -> TensorSpec {
    TensorSpec { name: name.to_owned(), dtype: Dtype::Fp32, shape: dims.to_vec() }
}

pub fn context(inbox: Inbox) -> TransportContext {
    let signature =
        Signature { inputs: vec![tensor("x", [None, Some(2)])], outputs: vec![tensor("probs", [Some(1), Some(2)])] };
    let model = |name: &str, signature, refused| ModelInfo {
        name: name.into(),
        version: "3".to_owned(),
        signature,
        proven: true,
        refused,
    };
    TransportContext {
        id: TransportId(0),
        inbox,
        clock: Clock::start(),
        device: "press-4".into(),
        group: None,
        models: [model("digits", Some(signature), None), model("broken", None, Some("no golden".to_owned()))].into(),
        telemetry: Arc::new(Telemetry::default()),
    }
}

/// A transport with its run loop's end of the inbox.
pub struct House {
    pub transport: HttpTransport,
    pub inbox: mpsc::Receiver<Event>,
    rows: u64,
}

impl House {
    pub async fn open(text: &str) -> Self {
        let (sender, inbox) = mpsc::channel(64);
        let transport = setup(text).unwrap().open(context(sender)).unwrap();
        let mut house = Self { transport, inbox, rows: 0 };
        assert!(matches!(house.core().await, Input::LinkUp { epoch: EPOCH, transport: TransportId(0), .. }));
        house
    }

    pub async fn local() -> Self {
        Self::open("listen = \"127.0.0.1:0\"").await
    }

    pub async fn event(&mut self) -> Event {
        tokio::time::timeout(Duration::from_secs(5), self.inbox.recv()).await.expect("an event in time").unwrap()
    }

    pub async fn core(&mut self) -> Input {
        match self.event().await {
            Event::Core(input) => input,
            other => panic!("expected a core input, got {other:?}"),
        }
    }

    pub async fn job(&mut self) -> Request {
        match self.event().await {
            Event::Job(request) => *request,
            other => panic!("expected a job, got {other:?}"),
        }
    }

    pub fn answer(&mut self, request: &Request, code: Option<&str>, payload: Vec<u8>, json_len: Option<usize>) {
        self.rows += 1;
        let message = Message {
            to: request.reply.to.clone(),
            payload: payload.into(),
            json_len,
            code: code.map(Into::into),
            job: request.id.clone(),
            expires_at: None,
        };
        self.transport.deliver(RowId(self.rows), EPOCH, Arc::new(message));
    }

    pub async fn client(&self) -> Client {
        Client(TcpStream::connect(&self.transport.address).await.unwrap())
    }
}

/// One HTTP/1.1 connection.
pub struct Client(pub TcpStream);

#[derive(Debug)]
pub struct Answered {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Answered {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Client {
    pub async fn send(&mut self, line: &str, headers: &str, body: &[u8]) {
        let head = format!("{line} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
        self.0.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
    }

    pub async fn receive(&mut self) -> Answered {
        tokio::time::timeout(Duration::from_secs(5), self.read()).await.expect("an answer in time")
    }

    pub async fn read(&mut self) -> Answered {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await.expect("the head of an answer"));
        }
        let head = String::from_utf8(head).unwrap();
        let headers: BTreeMap<String, String> = head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        let mut body = vec![0; headers["content-length"].parse().unwrap()];
        self.0.read_exact(&mut body).await.unwrap();
        Answered { status: head[9..12].parse().unwrap(), headers, body }
    }

    pub async fn get(&mut self, path: &str) -> Answered {
        self.send(&format!("GET {path}"), "", b"").await;
        self.receive().await
    }

    pub async fn post(&mut self, body: &[u8]) {
        self.send("POST /v2/models/digits/infer", "", body).await;
    }
}

pub fn state(ready: bool) -> Status {
    Status {
        budget: Default::default(),
        version: "0".to_owned(),
        device: "press-4".to_owned(),
        uptime_s: 1.0,
        ready,
        jobs: Jobs::default(),
        outbox_rows: 0,
        inquiries: 0,
        store_bytes: 0,
        board: Default::default(),
        rss_kib: 0,
        models: Vec::new(),
        links: Vec::new(),
        providers: Vec::new(),
    }
}
