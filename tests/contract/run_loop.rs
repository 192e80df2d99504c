//! The run loop with real parts but for the one whose fault is tested, over the in-memory transport.

use std::{sync::Arc, time::Duration};

use picket::{
    bundle::Bundle,
    calendar::SystemCalendar,
    inference::{pool::Pool, served::Served},
    ledger::Ledger,
    ports::{
        Asking, Backend, BackendError, Clock, Content, Fixed, Message, Model, Provider, Question, Runner, Signature,
        Upstream,
    },
    run::{self, Ended, ModelSlot, Parts, ProviderSlot, TransportSlot},
    store::{attempts::NoAttempts, memory::MemoryStore},
    telemetry::Telemetry,
    tensor::Tensor,
    transport::{
        TransportContext,
        channel::{self, Handle},
    },
};
use picket_core::{
    ProviderFault,
    engine::{Engine, Funds, ModelRules, ProviderRules, WhenFull},
    escalation::{decide::Policy, money::Money},
    job::{JobId, ModelId, Privacy, ProviderId, TransportId},
    limits,
    said::Said,
    time::Span,
};
use picket_tests::root;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

/// What is different from a plain Picket with the digits bundle.
struct Setup {
    backend: Option<Box<dyn Backend>>,
    provider: Option<Arc<dyn Provider>>,
    queue: usize,
    when_full: WhenFull,
    deadline: Span,
    store_bytes: usize,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            backend: None,
            provider: None,
            queue: 64,
            when_full: WhenFull::Shed,
            deadline: Span::from_millis(10_000),
            store_bytes: 1 << 20,
        }
    }
}

struct Running {
    user: Handle,
    stop: Option<oneshot::Sender<()>>,
    done: tokio::task::JoinHandle<std::io::Result<Ended>>,
    _ledger: tempfile::TempDir,
}

fn digits() -> Bundle {
    Bundle::read(&root().join("models/digits")).unwrap()
}

async fn start(setup: Setup) -> Running {
    let served = match &setup.backend {
        Some(backend) => Served::load_with(&**backend, Bundle { golden: vec![], ..digits() }).unwrap(),
        None => Served::load(digits()).unwrap(),
    };
    let (inbox, events) = mpsc::channel(limits::INBOX);
    let served = Arc::new(served);
    let pool =
        Pool::start(ModelId(0), &served, 1, &inbox, &(Arc::new(NoAttempts) as _), Duration::from_secs(60)).unwrap();
    let providers: Vec<ProviderId> = setup.provider.iter().map(|_| ProviderId(0)).collect();
    // Every answer is doubtful where there is a provider.
    let policy = Policy { providers: providers.clone(), redacts: false, ..Policy::alone(1.0, Some(1.1)) };
    let rules =
        ModelRules { workers: 1, queue: setup.queue, when_full: setup.when_full, deadline: setup.deadline, policy };
    let clock = Clock::start();
    let context = TransportContext {
        id: TransportId(0),
        inbox: inbox.clone(),
        clock,
        device: "test".into(),
        group: None,
        models: Arc::new([]),
        telemetry: Arc::new(Telemetry::default()),
    };
    let (transport, user) = channel::open(context);
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::start(folder.path().to_owned(), Box::new(SystemCalendar::new()), inbox.clone()).unwrap();
    let parts = Parts {
        device: "test".into(),
        engine: Engine::new(
            vec![rules],
            providers
                .iter()
                .map(|_| ProviderRules { timeout: Span::from_millis(5_000), price: Money::ZERO, accuracy: 0.95 })
                .collect(),
        ),
        store: Box::new(MemoryStore::new(setup.store_bytes)),
        volatile: std::collections::HashSet::new(),
        models: vec![ModelSlot {
            name: "digits".into(),
            version: "1".into(),
            state: Ok((served, pool)),
            redaction: None,
            smaller: None,
        }],
        board: Default::default(),
        transports: vec![TransportSlot { name: "channel", transport: Box::new(transport) }],
        providers: setup
            .provider
            .into_iter()
            .map(|provider| ProviderSlot { name: "hq".into(), region: None, provider })
            .collect(),
        telemetry: Arc::new(Telemetry::default()),
        funds: Funds { audit_rate: Some(0.0), ..Funds::UNLIMITED },
        calendar: Box::new(SystemCalendar::new()),
        default_privacy: Privacy::Ok,
        ledger: Some(ledger),
        decisions: None,
        keeper: None,
        inbox,
        events,
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let done = tokio::spawn(run::run(parts, clock, async {
        let _ = stopped.await;
    }));
    user.connect().await;
    Running { user, stop: Some(stop), done, _ledger: folder }
}

fn pixels() -> Content {
    let bytes: Vec<u8> = (0..64).flat_map(|i| (f32::from(i as u8 % 16)).to_le_bytes()).collect();
    Content::Raw { bytes: bytes.into(), dtype: None, shape: None }
}

impl Running {
    async fn send(&mut self, id: &str) {
        let request = self.user.job(&JobId::new(id).unwrap(), "digits", pixels());
        self.user.send(request).await;
    }

    async fn next(&mut self) -> Arc<Message> {
        tokio::time::timeout(Duration::from_secs(20), self.user.next()).await.expect("in time").expect("the loop runs")
    }

    /// The next message to a job's asker.
    async fn answer(&mut self) -> Value {
        loop {
            let message = self.next().await;
            if &*message.to.to != "dead" {
                return serde_json::from_slice(&message.payload).unwrap();
            }
        }
    }

    async fn ask(&mut self, id: &str) -> Value {
        self.send(id).await;
        self.answer().await
    }

    /// Stops it; was everything finished?
    async fn stop(mut self) -> bool {
        let _ = self.stop.take().map(|stop| stop.send(()));
        // Whoever listens takes what is on its way.
        while self.user.next().await.is_some() {}
        self.done.await.unwrap().unwrap() == Ended::Finished
    }
}

/// A backend whose outputs, or panics, are scripted by the number of the run.
struct Scripted(fn(usize) -> Vec<f32>);

impl Backend for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn load_fixed(&self, _model: &[u8], _fixed: &Fixed<'_>) -> Result<Arc<dyn Model>, BackendError> {
        let bundle = digits();
        let signature = Signature { inputs: bundle.inputs, outputs: bundle.outputs };
        // The run before the first is the one that shows that it runs, before it serves.
        let runs = std::sync::atomic::AtomicUsize::new(usize::MAX);
        Ok(Arc::new(ScriptedModel { signature, script: self.0, runs }))
    }
}

struct ScriptedModel {
    signature: Signature,
    script: fn(usize) -> Vec<f32>,
    runs: std::sync::atomic::AtomicUsize,
}

impl Model for ScriptedModel {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn runner(self: Arc<Self>) -> Result<Box<dyn Runner>, BackendError> {
        Ok(Box::new(ScriptedRunner(self)))
    }
}

struct ScriptedRunner(Arc<ScriptedModel>);

impl Runner for ScriptedRunner {
    fn run(&mut self, _inputs: Vec<Tensor>) -> Result<Vec<Tensor>, BackendError> {
        let run = self.0.runs.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let values = (self.0.script)(run);
        Ok(vec![Tensor::from_f32("logits", vec![1, values.len()], &values).unwrap()])
    }
}

/// A provider that does what it is told.
struct Told(fn(Question) -> Asking);

impl Provider for Told {
    fn ask(&self, question: Question) -> Asking {
        (self.0)(question)
    }
}

#[tokio::test]
async fn a_job_is_acknowledged_and_answered() {
    let mut picket = start(Setup::default()).await;
    let answer = picket.ask("a/1").await;
    assert_eq!((&answer["id"], &answer["source"]), (&"a/1".into(), &"local".into()));
    assert_eq!(picket.user.acks.recv().await.unwrap().serial, 0);
    assert!(picket.stop().await, "nothing was left over");
}

#[tokio::test]
async fn a_panic_fails_one_job_and_takes_nothing_with_it() {
    let script = |run| if run == 0 { panic!("on purpose") } else { vec![9.0; 10] };
    let mut picket = start(Setup { backend: Some(Box::new(Scripted(script))), ..Setup::default() }).await;
    let failed = picket.ask("p/1").await;
    assert_eq!(failed["error"]["code"], "model/failed");
    assert!(failed["error"]["message"].as_str().unwrap().contains("on purpose"));
    assert_eq!(picket.ask("p/2").await["answer"]["index"], 0);
}

#[tokio::test]
async fn outputs_that_are_no_numbers_are_an_error() {
    let script = |run| match run {
        0 => vec![f32::NAN; 10],
        1 => vec![f32::INFINITY; 10],
        _ => vec![1.0; 9],
    };
    let mut picket = start(Setup { backend: Some(Box::new(Scripted(script))), ..Setup::default() }).await;
    for id in ["n/1", "n/2", "n/3"] {
        assert_eq!(picket.ask(id).await["error"]["code"], "model/invalid-output", "{id}");
    }
}

#[tokio::test]
async fn a_silent_provider_costs_no_more_than_the_deadline() {
    let provider = Told(|question| {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_micros(question.timeout.as_micros()) * 3).await;
            Err((ProviderFault::TooSlow, "silent".to_owned()))
        })
    });
    let setup = Setup { provider: Some(Arc::new(provider)), deadline: Span::from_millis(200), ..Setup::default() };
    let mut picket = start(setup).await;
    let answer = picket.ask("s/1").await;
    assert_eq!((&answer["source"], &answer["reason"]), (&"local".into(), &"LOCAL_UNCERTIFIED_DEADLINE".into()));
    assert!(answer["timing_ms"]["total"].as_f64().unwrap() < 200.0, "in time: {answer}");
}

#[tokio::test]
async fn a_provider_helps_where_the_local_output_is_unusable() {
    let provider = Told(|question| {
        assert_eq!((question.inputs[0].kind().as_str(), question.labels.len()), ("1x64 FP32", 10));
        Box::pin(async {
            let model = "big/1".to_owned();
            Ok(Upstream { said: Said::Class(7), confidence: Some(0.9), outputs: vec![], model, cost: None })
        })
    });
    let script = |_| vec![f32::NAN; 10];
    let backend: Option<Box<dyn Backend>> = Some(Box::new(Scripted(script)));
    let mut picket = start(Setup { backend, provider: Some(Arc::new(provider)), ..Setup::default() }).await;
    let answer = picket.ask("b/1").await;
    assert_eq!((&answer["source"], &answer["reason"]), (&"hq".into(), &"ESC_BAD_OUTPUT".into()));
    assert_eq!(answer["answer"]["label"], "7");
}

#[tokio::test]
async fn a_full_queue_sheds_with_an_error_and_answers_the_rest() {
    let mut picket = start(Setup { queue: 2, ..Setup::default() }).await;
    // Sent in one go: the loop takes them in one burst, before any inference is done.
    for number in 0..40 {
        picket.send(&format!("f/{number}")).await;
    }
    let (mut answered, mut shed) = (0, 0);
    for _ in 0..40 {
        match &picket.answer().await["error"]["code"] {
            Value::Null => answered += 1,
            code => {
                assert_eq!(code, "job/shed");
                shed += 1;
            }
        }
    }
    assert!(answered >= 2 && shed > 0, "{answered} answered, {shed} shed");
}

#[tokio::test]
async fn a_full_store_holds_acknowledgements_back_until_there_is_room() {
    // Room for one job of 256 bytes at a time.
    let mut picket = start(Setup { store_bytes: 300, ..Setup::default() }).await;
    picket.send("r/1").await;
    picket.send("r/2").await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let answer = picket.answer().await;
        assert_eq!(answer["error"], Value::Null, "{answer}");
        ids.push(answer["id"].as_str().unwrap().to_owned());
    }
    ids.sort();
    assert_eq!(ids, ["r/1", "r/2"], "both, the second after a while");
}
