//! What a provider gets, beside what the ledger says of it.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use picket_core::{
    engine::{Engine, Funds, ModelRules, ProviderRules, WhenFull},
    escalation::{decide::Policy, money::Money},
    job::{ModelId, TransportId},
    said::Said,
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use super::*;
use crate::{
    bundle::Bundle,
    calendar::SystemCalendar,
    config::{
        Section, Source,
        redact::{Image, Layout, Redact, RedactStep, Region},
    },
    inference::pool::Pool,
    ledger::{
        line::{Line, What},
        read,
    },
    ports::{Asking, Backend, BackendError, Clock, Content, Fixed, Model, Runner, Signature},
    provider::PROVIDERS,
    run::{self, Ended, ModelSlot, Parts, ProviderSlot, TransportSlot},
    store::{attempts::NoAttempts, memory::MemoryStore},
    telemetry::Telemetry,
    transport::{
        TransportContext,
        channel::{self, Handle},
    },
};

/// A model that is never sure.
struct Doubtful;

impl Backend for Doubtful {
    fn name(&self) -> &'static str {
        "doubtful"
    }

    fn load_fixed(&self, _: &[u8], _: &Fixed<'_>) -> Result<Arc<dyn Model>, BackendError> {
        let Bundle { inputs, outputs, .. } = digits();
        Ok(Arc::new(DoubtfulModel(Signature { inputs, outputs })))
    }
}

struct DoubtfulModel(Signature);

impl Model for DoubtfulModel {
    fn signature(&self) -> &Signature {
        &self.0
    }

    fn runner(self: Arc<Self>) -> Result<Box<dyn Runner>, BackendError> {
        Ok(Box::new(DoubtfulRunner))
    }
}

struct DoubtfulRunner;

impl Runner for DoubtfulRunner {
    fn run(&mut self, _: Vec<Tensor>) -> Result<Vec<Tensor>, BackendError> {
        Ok(vec![Tensor::from_f32("logits", vec![1, 10], &[0.0; 10]).unwrap()])
    }
}

/// Keeps what it is asked, and what the ledger said at that moment.
struct Listening {
    ledger: PathBuf,
    heard: Mutex<Vec<(Question, Vec<Line>)>>,
    answer: fn() -> Answered,
}

impl Provider for Listening {
    fn ask(&self, question: Question) -> Asking {
        assert!(question.meter.leaves(512));
        question.meter.worked_on();
        self.heard.lock().unwrap().push((question, lines(&self.ledger)));
        Box::pin(std::future::ready((self.answer)()))
    }
}

fn seven() -> Answered {
    let (model, cost) = ("big 1".to_owned(), Some(Money::from_nanos(70)));
    Ok(Upstream { said: Said::Class(7), confidence: Some(0.9), outputs: vec![], model, cost })
}

fn digits() -> Bundle {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/digits");
    Bundle { golden: vec![], ..Bundle::read(&path).unwrap() }
}

fn lines(folder: &Path) -> Vec<Line> {
    let mut lines = Vec::new();
    let verdict = read::read(folder, None, |line| lines.push(line.clone())).unwrap();
    assert_eq!(verdict.wrong, None);
    lines
}

struct Picket {
    user: Handle,
    stop: oneshot::Sender<()>,
    done: JoinHandle<std::io::Result<Ended>>,
}

fn start(ledger: &Path, provider: Arc<dyn Provider>, redact: &[Redact]) -> Picket {
    let served = Arc::new(Served::load_with(&Doubtful, digits()).unwrap());
    let (inbox, events) = mpsc::channel(limits::INBOX);
    let attempts = Arc::new(NoAttempts) as _;
    let pool = Pool::start(ModelId(0), &served, 1, &inbox, &attempts, Duration::from_secs(60)).unwrap();
    let steps: Vec<RedactStep> =
        redact.iter().map(|what| RedactStep { place: String::new(), what: what.clone() }).collect();
    let redaction = Redaction::plan(&steps, &served.signature).unwrap().map(Arc::new);
    let policy =
        Policy { providers: vec![ProviderId(0)], redacts: redaction.is_some(), ..Policy::alone(1.0, Some(1.1)) };
    let deadline = Span::from_millis(20_000);
    let rules = ModelRules { workers: 1, queue: 64, when_full: WhenFull::Shed, deadline, policy };
    let clock = Clock::start();
    let telemetry = Arc::new(Telemetry::default());
    let (transport, user) = channel::open(TransportContext {
        id: TransportId(0),
        inbox: inbox.clone(),
        clock,
        device: "test".into(),
        group: None,
        models: Arc::new([]),
        telemetry: telemetry.clone(),
    });
    let region = Some("eu".into());
    let ledger = Ledger::start(ledger.to_owned(), Box::new(SystemCalendar::new()), inbox.clone()).unwrap();
    let parts = Parts {
        device: "test".into(),
        engine: Engine::new(
            vec![rules],
            vec![ProviderRules { timeout: Span::from_millis(10_000), price: Money::from_nanos(99), accuracy: 0.95 }],
        ),
        store: Box::new(MemoryStore::new(1 << 20)),
        volatile: std::collections::HashSet::new(),
        models: vec![ModelSlot {
            name: "digits".into(),
            version: "1".into(),
            state: Ok((served, pool)),
            redaction,
            smaller: None,
        }],
        transports: vec![TransportSlot { name: "channel", transport: Box::new(transport) }],
        providers: vec![ProviderSlot { name: "hq".into(), region, provider }],
        telemetry,
        board: Default::default(),
        funds: Funds { audit_rate: Some(0.0), ..Funds::UNLIMITED },
        calendar: Box::new(SystemCalendar::new()),
        default_privacy: Privacy::Ok,
        decisions: None,
        keeper: None,
        ledger: Some(ledger),
        inbox,
        events,
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let done = tokio::spawn(run::run(parts, clock, async {
        let _ = stopped.await;
    }));
    Picket { user, stop, done }
}

fn pixels() -> Vec<u8> {
    (0..64_u8).flat_map(|i| f32::from(i % 16).to_le_bytes()).collect()
}

fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

impl Picket {
    async fn ask(&mut self, id: &str, privacy: Privacy) -> Value {
        self.user.connect().await;
        let content = Content::Raw { bytes: pixels().into(), dtype: None, shape: None };
        let job = self.user.job(&JobId::new(id).unwrap(), "digits", content);
        self.user.send(Request { privacy: Some(privacy), ..job }).await;
        let message = tokio::time::timeout(Duration::from_secs(20), self.user.next()).await.unwrap().unwrap();
        serde_json::from_slice(&message.payload).unwrap()
    }

    async fn stop(mut self) {
        self.stop.send(()).unwrap();
        while self.user.next().await.is_some() {}
        assert_eq!(self.done.await.unwrap().unwrap(), Ended::Finished);
    }
}

fn listening(ledger: &Path, answer: fn() -> Answered) -> Arc<Listening> {
    Arc::new(Listening { ledger: ledger.to_owned(), heard: Mutex::default(), answer })
}

#[tokio::test]
async fn the_line_is_there_before_the_request_and_says_what_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let provider = listening(folder.path(), seven);
    let mut picket = start(folder.path(), provider.clone(), &[]);
    let answer = picket.ask("a/1", Privacy::Ok).await;
    assert_eq!((&answer["source"], &answer["reason"]), (&"hq".into(), &"ESC_BELOW_LAMBDA".into()));
    picket.stop().await;
    let heard = provider.heard.lock().unwrap();
    let [(question, before)] = &heard[..] else { panic!("asked {} times", heard.len()) };
    let What::Leaves(line) = &before.last().unwrap().what else { panic!("{before:?}") };
    let spent = line.budget.as_ref().unwrap().spent;
    assert_eq!((spent.count, spent.money, spent.calls), (1, Money::from_nanos(99), 1), "put aside before it leaves");
    let left: Vec<u8> = question.inputs.iter().flat_map(|tensor| tensor.data().to_vec()).collect();
    let expected = Leaving {
        job: "a/1".to_owned(),
        pseudonym: None,
        model: "digits".to_owned(),
        provider: "hq".to_owned(),
        region: Some("eu".to_owned()),
        reason: "ESC_BELOW_LAMBDA".to_owned(),
        privacy: "ok".to_owned(),
        redaction: vec![],
        tensors: vec!["pixels 1x64 FP32".to_owned()],
        bytes: 256,
        sha256: sha256(&left),
        reserved_nanos: Money::from_nanos(99),
        budget: line.budget.clone(),
    };
    assert_eq!(**line, expected);
    assert_eq!((left, question.id.as_str()), (pixels(), "a/1"));
    let after = lines(folder.path());
    let settled = Settled { of: 1, outcome: "answered".to_owned(), cost_nanos: Money::from_nanos(70), sent: Some(512) };
    assert_eq!(after[2].what, What::Settled(settled));
    assert_eq!(after.len(), 3);
}

#[tokio::test]
async fn a_redacted_job_leaves_without_its_name_and_without_what_is_redacted() {
    let folder = tempfile::tempdir().unwrap();
    let provider = listening(folder.path(), || Err((ProviderFault::Refused, "no".to_owned())));
    let image = Some(Image { width: 8, height: 8, channels: 1, layout: Layout::Hwc });
    let regions = vec![Region { x: 0, y: 0, w: 8, h: 4 }];
    let blur = Redact::Blur { regions, radius: None, input: None, image };
    let mut picket = start(folder.path(), provider.clone(), &[blur]);
    for id in ["r/1", "r/2"] {
        assert_eq!(picket.ask(id, Privacy::Redacted).await["source"], "local", "it was refused");
    }
    picket.stop().await;
    let heard = provider.heard.lock().unwrap();
    let (first, second) = (&heard[0].0, &heard[1].0);
    assert_eq!(first.inputs[0].to_f32()[..32], [7.5; 32], "the upper half is its mean");
    assert_eq!(first.inputs[0].data()[128..], pixels()[128..], "the lower one is as it was");
    assert!(first.id != second.id && !first.id.as_str().contains("r/"), "{} {}", first.id, second.id);
    let lines = lines(folder.path());
    let What::Leaves(line) = &lines[1].what else { panic!("{lines:?}") };
    assert_eq!((&*line.job, line.pseudonym.as_deref()), ("r/1", Some(first.id.as_str())));
    assert_eq!((&*line.privacy, &line.redaction[..]), ("redacted", &["blur pixels 8x4+0+0".to_owned()][..]));
    assert_eq!(line.sha256, sha256(first.inputs[0].data()));
    let settled =
        Settled { of: 1, outcome: "provider/refused".to_owned(), cost_nanos: Money::from_nanos(99), sent: Some(512) };
    assert_eq!(lines[2].what, What::Settled(settled));
}

#[tokio::test]
async fn what_may_not_leave_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let provider = listening(folder.path(), seven);
    let mut picket = start(folder.path(), provider.clone(), &[]);
    for (id, privacy) in [("n/1", Privacy::Never), ("n/2", Privacy::Redacted)] {
        let answer = picket.ask(id, privacy).await;
        assert_eq!((&answer["source"], &answer["reason"]), (&"local".into(), &"LOCAL_POLICY_NO_EGRESS".into()));
    }
    picket.stop().await;
    assert_eq!(provider.heard.lock().unwrap().len(), 0);
    assert_eq!(lines(folder.path()).len(), 1, "a chain begins, and nothing else");
}

#[tokio::test]
async fn without_a_line_nothing_leaves() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    // No folder can be made there, whoever we are.
    let path = file.join("store");
    let provider = listening(folder.path(), seven);
    let mut picket = start(&path, provider.clone(), &[]);
    let answer = picket.ask("w/1", Privacy::Ok).await;
    assert_eq!((&answer["source"], &answer["reason"]), (&"local".into(), &"LOCAL_POLICY_NO_EGRESS".into()));
    assert_eq!(provider.heard.lock().unwrap().len(), 0);
    // As soon as it can be written, it goes on.
    std::fs::remove_file(&file).unwrap();
    assert_eq!(picket.ask("w/2", Privacy::Ok).await["source"], "hq");
    picket.stop().await;
    assert_eq!(lines(&path).len(), 3);
}

/// The real provider, and a server that keeps what it gets.
#[tokio::test]
async fn the_digest_is_that_of_the_bytes_on_the_wire() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let number = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap();
        let (length, json): (usize, usize) = (number("content-length:"), number("inference-header-content-length:"));
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        let answer = r#"{"model_name":"big","parameters":{"label":"7"},"outputs":[]}"#;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", answer.len());
        stream.write_all((head + answer).as_bytes()).await.unwrap();
        Bytes::from(body).slice(json..)
    });
    let text = format!("name = \"hq\"\nkind = \"oip\"\nurl = \"{url}\"\nmodel = \"big\"\n");
    let table = toml::de::DeTable::parse(&text).unwrap();
    let span = table.span();
    let value = toml::Spanned::new(span, toml::de::DeValue::Table(table.into_inner()));
    let section = Section { source: Arc::new(Source::new("picket.toml", &text)), value };
    let oip = PROVIDERS.iter().find(|kind| kind.name() == "oip").unwrap();
    let provider = oip.configure(section).unwrap().provider;
    let mut picket = start(folder.path(), provider, &[]);
    assert_eq!(picket.ask("d/1", Privacy::Ok).await["source"], "hq");
    picket.stop().await;
    let wire = server.await.unwrap();
    let lines = lines(folder.path());
    let What::Leaves(line) = &lines[1].what else { panic!("{lines:?}") };
    assert_eq!((line.bytes, &line.sha256), (wire.len() as u64, &sha256(&wire)));
    let What::Settled(settled) = &lines[2].what else { panic!("{lines:?}") };
    assert!(settled.sent > Some(line.bytes), "the whole body, with what stands before the tensors");
}
