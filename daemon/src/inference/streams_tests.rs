//! A model that adds up its window and what it said last: `y = Σ x + s`, and `s` is the last `y`.

use std::sync::Arc;

use bytes::Bytes;
use picket_core::escalation::decide::Observation;

use super::*;
use crate::{
    bundle::{BoundState, Bundle, Task},
    pipeline::prepare::tests_support::step,
    ports::{Backend, BackendError, Content, Fixed, Inferred, Model, Runner, Signature, TensorSpec},
    tensor::Dtype,
};

struct Adder {
    length: usize,
}

fn floats(name: &str, shape: &[Option<usize>]) -> TensorSpec {
    TensorSpec { name: name.to_owned(), dtype: Dtype::Fp32, shape: shape.to_vec() }
}

impl Backend for Adder {
    fn name(&self) -> &'static str {
        "adder"
    }

    fn load_fixed(&self, _: &[u8], _: &Fixed<'_>) -> Result<Arc<dyn Model>, BackendError> {
        let inputs = vec![floats("s", &[Some(1)]), floats("x", &[Some(self.length)])];
        let outputs = vec![floats("y", &[Some(1)]), floats("t", &[Some(1)])];
        Ok(Arc::new(AdderModel(Signature { inputs, outputs })))
    }
}

struct AdderModel(Signature);

impl Model for AdderModel {
    fn signature(&self) -> &Signature {
        &self.0
    }

    fn runner(self: Arc<Self>) -> Result<Box<dyn Runner>, BackendError> {
        Ok(Box::new(AdderRunner))
    }
}

struct AdderRunner;

impl Runner for AdderRunner {
    /// Of 13 it knows nothing, and infinity it does not survive.
    fn run(&mut self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, BackendError> {
        let (s, x) = (inputs[0].to_f32(), inputs[1].to_f32());
        if x.contains(&13.0) {
            return Err(BackendError::Run("13".to_owned()));
        }
        let y = x.iter().sum::<f32>() + s[0];
        let one = |name: &str| Tensor::from_f32(name, vec![1], &[y]).unwrap();
        Ok(vec![one("y"), one("t")])
    }
}

/// Task `anomaly`, so that the score of the last window is seen.
fn served(window: &str, length: usize) -> Served {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.onnx");
    std::fs::write(&path, "x").unwrap();
    let state = BoundState { input: "s".into(), output: "t".into(), shape: None, init: 0.0 };
    let bundle = Bundle {
        task: Task::Anomaly,
        inputs: vec![floats("x", &[None])],
        prepared: vec![floats("x", &[Some(length)])],
        outputs: vec![floats("y", &[Some(1)])],
        prepare: vec![step(&format!("step = \"window\"\n{window}"))],
        states: vec![state],
        ..Bundle::read(&path).unwrap()
    };
    Served::load_with(&Adder { length }, bundle).unwrap()
}

struct Rig {
    served: Served,
    runner: Box<dyn Runner>,
    streams: Streams,
    now: Instant,
}

impl Rig {
    fn new(window: &str, length: usize) -> Self {
        let served = served(window, length);
        Self { runner: served.runner().unwrap(), served, streams: Streams::default(), now: Instant::now() }
    }

    fn job(&mut self, key: &str, seq: Option<u64>, samples: &[f32]) -> Result<Inferred, Failure> {
        let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        let content = Content::Raw { bytes: Bytes::from(bytes), dtype: None, shape: None };
        let place = Place { key, seq, now: self.now };
        self.served.infer_in(self.runner.as_mut(), &mut self.streams, &content, place).0
    }

    /// The score of the last window, and why the stream began anew.
    fn score(&mut self, key: &str, seq: Option<u64>, samples: &[f32]) -> (Option<f64>, Option<Begun>) {
        let inferred = self.job(key, seq, samples).unwrap();
        let score = match inferred.observation {
            Observation::Anomaly(score) => Some(score),
            Observation::WindowOpen => None,
            other => panic!("{other:?}"),
        };
        (score, inferred.stream.unwrap().begun)
    }
}

#[test]
fn streams_keep_samples_and_states_and_know_nothing_of_one_another() {
    let mut rig = Rig::new("length = 2", 2);
    assert_eq!(rig.score("a", None, &[1.0]), (None, Some(Begun::New)));
    assert_eq!(rig.score("b", None, &[10.0, 20.0, 30.0]), (Some(30.0), Some(Begun::New)));
    assert_eq!(rig.score("a", None, &[2.0, 3.0]), (Some(3.0), None));
    // 30 of the last call, and 30 + 40.
    assert_eq!(rig.score("b", None, &[40.0]), (Some(100.0), None));
    assert_eq!(rig.score("a", None, &[4.0]), (Some(10.0), None));
}

#[test]
fn an_answer_says_how_the_stream_stands() {
    let mut rig = Rig::new("length = 4\nhop = 2\npad = 1", 4);
    let note = rig.job("mic", None, &[1.0, 1.0]).unwrap().stream.unwrap();
    assert_eq!((note.key.as_deref(), note.windows, note.have, note.need), (Some("mic"), Some(0), Some(3), Some(1)));
    let inferred = rig.job("mic", None, &[1.0; 4]).unwrap();
    let note = inferred.stream.unwrap();
    assert_eq!((note.windows, note.have, note.need), (Some(2), Some(3), Some(1)));
    assert_eq!(inferred.outputs[0].kind(), "2x1 FP32");
    assert_eq!(inferred.outputs.len(), 1, "the state is no answer's");
}

#[test]
fn a_gap_in_the_numbers_begins_the_stream_anew() {
    let mut rig = Rig::new("length = 1", 1);
    assert_eq!(rig.score("a", Some(7), &[1.0]), (Some(1.0), Some(Begun::New)));
    assert_eq!(rig.score("a", Some(8), &[1.0]), (Some(2.0), None));
    assert_eq!(rig.score("a", Some(10), &[1.0]), (Some(1.0), Some(Begun::Gap)));
    assert_eq!(rig.score("a", Some(10), &[1.0]), (Some(1.0), Some(Begun::Gap)), "a repetition is no continuation");
    assert_eq!(rig.score("a", Some(u64::MAX), &[1.0]), (Some(1.0), Some(Begun::Gap)));
    assert_eq!(rig.score("a", Some(0), &[1.0]), (Some(2.0), None), "numbers begin again from 0");
}

#[test]
fn a_stream_that_was_silent_too_long_begins_anew() {
    let mut rig = Rig::new("length = 1", 1);
    rig.score("a", None, &[1.0]);
    let age = Duration::from_micros(limits::STREAM_AGE.as_micros());
    rig.now += age;
    assert_eq!(rig.score("a", None, &[1.0]), (Some(2.0), None));
    rig.now += age + Duration::from_millis(1);
    assert_eq!(rig.score("a", None, &[1.0]), (Some(1.0), Some(Begun::Age)));
}

#[test]
fn beyond_the_limit_the_stream_goes_that_is_silent_longest() {
    let mut rig = Rig::new("length = 1", 1);
    for number in 0..limits::STREAMS {
        rig.now += Duration::from_millis(1);
        let note = rig.job(&format!("s{number}"), None, &[1.0]).unwrap().stream.unwrap();
        assert_eq!(note.evicted, 0);
    }
    assert_eq!(rig.score("s0", None, &[1.0]), (Some(2.0), None), "now s1 is silent longest");
    rig.now += Duration::from_millis(1);
    assert_eq!(rig.job("one more", None, &[1.0]).unwrap().stream.unwrap().evicted, 1);
    assert_eq!(rig.score("s0", None, &[1.0]), (Some(3.0), None));
    assert_eq!(rig.score("s1", None, &[1.0]), (Some(1.0), Some(Begun::New)));
    assert_eq!(rig.streams.open.len(), limits::STREAMS);
}

#[test]
fn a_failed_run_ends_the_stream_and_an_input_that_does_not_fit_leaves_it() {
    let mut rig = Rig::new("length = 1", 1);
    rig.score("a", None, &[1.0]);
    assert_eq!(rig.job("a", None, &[f32::NAN]).unwrap_err().code, "input/non-finite");
    assert_eq!(rig.score("a", None, &[1.0]), (Some(2.0), None));
    let many = vec![1.0; limits::WINDOWS_PER_JOB + 1];
    assert_eq!(rig.job("a", None, &many).unwrap_err().code, "input/too-large");
    assert_eq!(rig.score("a", None, &[1.0]), (Some(3.0), None));
    assert_eq!(rig.job("a", None, &[13.0]).unwrap_err().code, "model/failed");
    assert_eq!(rig.score("a", None, &[1.0]), (Some(1.0), Some(Begun::New)));
}

#[test]
fn a_state_that_is_not_finite_is_no_beginning_of_anything() {
    let mut rig = Rig::new("length = 2", 2);
    assert_eq!(rig.job("a", None, &[f32::MAX, f32::MAX]).unwrap_err().code, "model/invalid-output");
    assert_eq!(rig.score("a", None, &[1.0, 1.0]), (Some(2.0), Some(Begun::New)));
}

#[test]
fn windows_of_one_job_leave_nothing_behind() {
    let mut rig = Rig::new("length = 2\nhop = 1\nper = \"job\"", 2);
    for _ in 0..2 {
        let inferred = rig.job("a", None, &[1.0, 1.0, 1.0]).unwrap();
        assert_eq!(inferred.observation, Observation::Anomaly(4.0));
        assert_eq!(inferred.stream.unwrap(), StreamNote { windows: Some(2), ..StreamNote::default() });
    }
    assert!(rig.streams.open.is_empty());
    let short = rig.job("a", None, &[1.0]).unwrap_err();
    assert_eq!((short.code, short.want.as_deref()), ("input/shape-mismatch", Some("at least 2 samples")));
}

#[test]
fn names_that_do_not_cover_the_models_are_named() {
    let load = |change: fn(&mut Bundle)| {
        let mut bundle = served("length = 1", 1).bundle;
        change(&mut bundle);
        Served::load_with(&Adder { length: 1 }, bundle).err().map(|failure| (failure.code, failure.message))
    };
    assert_eq!(load(|_| {}), None);
    let (code, message) = load(|bundle| bundle.states[0].input = "u".into()).unwrap();
    assert!(code == "model/mismatch" && message.contains("no input \"u\"; it has: s, x"), "{message}");
    let (code, message) = load(|bundle| bundle.prepared[0].name = "z".into()).unwrap();
    assert!(
        code == "model/mismatch" && message.contains("nothing in the bundle is the model's input \"x\""),
        "{message}"
    );
    let (code, message) = load(|bundle| bundle.states[0].shape = Some(vec![2])).unwrap();
    assert!(code == "model/mismatch" && message.contains("1 FP32, not [2]"), "{message}");
    let (code, message) = load(|bundle| bundle.states[0].output = "y".into()).unwrap();
    assert!(code == "model/mismatch", "{message}");
}
