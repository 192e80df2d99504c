//! Models that listen: windows, states and what is kept of a stream between jobs, with real sound and real machines.

use std::{collections::BTreeMap, fmt::Write as _, path::Path, process::Command};

use picket::bundle::npz;
use picket_tests::{
    broker::Mosquitto,
    bundles::{hydraulic_stream, template},
    client::{Client, Job},
    daemon::{Daemon, picket},
    free_port, get, root, shared, until_ready,
};
use serde_json::{Value, json};

const IFLESS: &str = "models/silero-vad/silero_vad_op18_ifless.onnx";
const CHUNK: usize = 512;
/// Jobs that are on their way at once.
const UNDER_WAY: usize = 100;

struct Rig {
    _broker: Mosquitto,
    daemon: Daemon,
    client: Client,
    http: u16,
}

/// A daemon `ear` with these bundles.
async fn start(models: &[(&str, &Path)]) -> Rig {
    let (broker, http) = (Mosquitto::start(), free_port());
    let mut config = format!(
        "[device]\nid = \"ear\"\n[mqtt]\nurl = \"mqtt://127.0.0.1:{}\"\n[http]\nlisten = \"127.0.0.1:{http}\"\n",
        broker.port
    );
    for (name, bundle) in models {
        let _ = writeln!(config, "[[model]]\nname = \"{name}\"\nbundle = \"{}\"\nqueue = 2000", bundle.display());
    }
    let daemon = Daemon::start(&config);
    let mut client = Client::connect(broker.port, &["picket/v1/ear/state"]).await;
    client.wait_online("ear").await;
    Rig { _broker: broker, daemon, client, http }
}

impl Rig {
    async fn send(&self, model: &str, job: &Job) {
        self.client.send(&format!("picket/v1/ear/job/{model}"), job).await;
    }

    async fn ask(&mut self, model: &str, job: &Job) -> Value {
        self.send(model, job).await;
        self.client.answer().await.json()
    }

    /// Sends all jobs, in their order, and returns the answers by id.
    async fn all(&mut self, model: &str, jobs: &[Job]) -> BTreeMap<String, Value> {
        let mut answers = BTreeMap::new();
        for (sent, job) in jobs.iter().enumerate() {
            if sent >= UNDER_WAY {
                self.take(&mut answers).await;
            }
            self.send(model, job).await;
        }
        while answers.len() < jobs.len() {
            self.take(&mut answers).await;
        }
        answers
    }

    async fn take(&mut self, answers: &mut BTreeMap<String, Value>) {
        let answer = self.client.answer().await.json();
        let id = answer["id"].as_str().unwrap().to_owned();
        assert_eq!(answers.insert(id, answer), None, "one answer each");
    }
}

/// What ONNX Runtime makes of it.
fn reference(arguments: &[&str]) -> Value {
    let python = std::env::var("PICKET_TEST_PYTHON").expect("tests/run sets it");
    let script = root().join("tests/system/streams_reference.py");
    let output = Command::new(python).arg(script).args(arguments).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// 512 samples of 16 bits each.
fn chunks(wav: &Path) -> Vec<Vec<u8>> {
    const HEADER: usize = 44;
    let bytes = std::fs::read(wav).unwrap();
    bytes[HEADER..].chunks_exact(CHUNK * 2).map(<[u8]>::to_vec).collect()
}

fn sound(stream: &str, number: usize, chunk: &[u8]) -> Job {
    let job = Job { payload: chunk.to_vec().into(), content_type: Some("application/octet-stream"), ..Job::default() };
    job.with("id", format!("{stream}/{number:05}")).with("stream", stream).with("seq", number.to_string())
}

fn probability(answer: &Value) -> f64 {
    assert_eq!((&answer["stream"]["windows"], &answer["stream"]["have"]), (&json!(1), &json!(64)), "{answer}");
    let output = &answer["outputs"][0];
    assert_eq!(output["shape"], json!([1, 1, 1]), "{answer}");
    output["data"][0].as_f64().unwrap()
}

fn assert_near(got: f64, want: f64, what: &str) {
    assert!((got - want).abs() <= 1e-4, "{what}: {got}, ONNX Runtime says {want}");
}

#[tokio::test]
async fn a_minute_of_speech_in_two_streams_has_the_probabilities_of_onnx_runtime() {
    let Some(shared) = shared("") else { return };
    let folder = tempfile::tempdir().unwrap();
    let bundle = template(folder.path(), "silero-vad", &shared);
    let wav = shared.join("models/silero-vad/test.wav");
    let chunks = chunks(&wav);
    assert_eq!(chunks.len(), 1_875, "60 s");
    // The second one hears the second half, from its beginning, in between.
    let half = chunks.len() / 2;
    let jobs: Vec<Job> = (0..chunks.len())
        .flat_map(|at| {
            let near = Some(sound("near", at, &chunks[at]));
            let far = (at >= half).then(|| sound("far", at, &chunks[at]));
            [near, far].into_iter().flatten()
        })
        .collect();
    let mut rig = start(&[("vad", &bundle)]).await;
    let answers = rig.all("vad", &jobs).await;
    let (whole, second) = (format!("0:{}", chunks.len()), format!("{half}:{}", chunks.len()));
    let want = reference(&["silero", text(&shared.join(IFLESS)), text(&wav), &whole, &second]);
    let mut want = want.as_array().unwrap().iter().map(|p| p.as_f64().unwrap());
    let mut speech = 0;
    for (stream, first) in [("near", 0), ("far", half)] {
        for at in first..chunks.len() {
            let answer = &answers[&format!("{stream}/{at:05}")];
            assert_eq!(answer["stream"]["fresh"], at == first, "{answer}");
            let got = probability(answer);
            assert_near(got, want.next().unwrap(), &format!("{stream} {at}"));
            speech += usize::from(got > 0.5);
        }
    }
    assert!(speech > 500, "somebody speaks: {speech}");
}

#[tokio::test]
async fn after_kill_9_every_chunk_is_answered_once_and_the_answer_says_where_the_stream_began_anew() {
    let Some(shared) = shared("") else { return };
    let folder = tempfile::tempdir().unwrap();
    let bundle = template(folder.path(), "silero-vad", &shared);
    let wav = shared.join("models/silero-vad/test.wav");
    let chunks = &chunks(&wav)[..400];
    let mut rig = start(&[("vad", &bundle)]).await;
    let mut answers: BTreeMap<String, Value> = BTreeMap::new();
    let (mut sent, mut killed) = (0, false);
    while answers.len() < chunks.len() {
        if sent < chunks.len() && sent - answers.len().min(sent) < UNDER_WAY {
            rig.send("vad", &sound("mic", sent, &chunks[sent])).await;
            sent += 1;
            continue;
        }
        if answers.len() >= 150 && !killed {
            rig.daemon.kill();
            rig.daemon.run_again(&[]);
            killed = true;
        }
        let answer = rig.client.answer().await.json();
        let id = answer["id"].as_str().unwrap().to_owned();
        // A result may come twice, with identical bytes.
        if let Some(before) = answers.insert(id, answer.clone()) {
            assert_eq!(before, answer);
        }
    }
    let in_order: Vec<&Value> = answers.values().collect();
    let fresh: Vec<usize> = (0..chunks.len()).filter(|at| in_order[*at]["stream"]["fresh"] == true).collect();
    assert!(fresh[0] == 0 && fresh.len() > 1, "the restart is a gap: {fresh:?}");
    let ends = fresh.iter().skip(1).copied().chain([chunks.len()]);
    let parts: Vec<String> = fresh.iter().zip(ends).map(|(from, to)| format!("{from}:{to}")).collect();
    let model = shared.join(IFLESS);
    let mut arguments = vec!["silero", text(&model), text(&wav)];
    arguments.extend(parts.iter().map(String::as_str));
    let want = reference(&arguments);
    for (at, want) in want.as_array().unwrap().iter().enumerate() {
        assert_near(probability(in_order[at]), want.as_f64().unwrap(), &format!("chunk {at}, fresh at {fresh:?}"));
    }
}

#[tokio::test]
async fn noise_suppression_of_two_networks_with_states_is_that_of_onnx_runtime() {
    let Some(shared) = shared("") else { return };
    let folder = tempfile::tempdir().unwrap();
    let models = ["models/dtln/model_1.onnx", "models/dtln/model_2.onnx"];
    let bundles = ["dtln-1", "dtln-2"].map(|name| template(folder.path(), name, &shared));
    let (first, second) = (shared.join(models[0]), shared.join(models[1]));
    let (wav, out) = (shared.join("models/silero-vad/test.wav"), folder.path().join("out.npz"));
    let steps = reference(&["dtln", text(&first), text(&second), text(&wav), "400", text(&out)]);
    assert_eq!(steps, 400);
    let arrays: BTreeMap<String, Vec<f32>> = npz::read(&std::fs::read(&out).unwrap())
        .unwrap()
        .into_iter()
        .map(|(name, tensor)| (name, tensor.to_f32()))
        .collect();
    let mut rig = start(&[("mask", &bundles[0]), ("clean", &bundles[1])]).await;
    for (model, input, output, size) in [("mask", "magnitude", "mask", 257), ("clean", "estimate", "block", 512)] {
        let jobs: Vec<Job> = arrays[input]
            .chunks_exact(size)
            .enumerate()
            .map(|(at, row)| Job::raw(row).with("id", format!("{model}/{at:05}")).with("stream", "voice"))
            .collect();
        let answers = rig.all(model, &jobs).await;
        for (at, (answer, want)) in answers.values().zip(arrays[output].chunks_exact(size)).enumerate() {
            assert_eq!(answer["outputs"].as_array().unwrap().len(), 1, "the state is no answer's: {answer}");
            let got = answer["outputs"][0]["data"].as_array().unwrap();
            for (got, want) in got.iter().zip(want) {
                assert_near(got.as_f64().unwrap(), f64::from(*want), &format!("{model} {at}"));
            }
        }
    }
}

#[tokio::test]
async fn the_sound_of_a_machine_has_the_reconstruction_error_of_numpy_in_floats_and_in_bytes() {
    let Some(shared) = shared("") else { return };
    let folder = tempfile::tempdir().unwrap();
    let (floats, bytes) = ("models/mlperf-tiny/ad_f32.onnx", "models/mlperf-tiny/ad_int8.onnx");
    let bundles = ["mlperf-ad", "mlperf-ad-int8"].map(|name| template(folder.path(), name, &shared));
    let clip = shared.join("models/mlperf-tiny/normal_id_01_00000000_hist_librosa.bin");
    let payload = std::fs::read(&clip).unwrap();
    let mut rig = start(&[("floats", &bundles[0]), ("bytes", &bundles[1])]).await;
    let scales = ["0.3910152316093445", "89", "0.36449846625328064", "96"];
    for (name, model, scales) in [("floats", floats, &scales[..0]), ("bytes", bytes, &scales[..])] {
        let content_type = Some("application/octet-stream");
        let job = Job { payload: payload.clone().into(), content_type, ..Job::default() };
        let answer = rig.ask(name, &job.with("id", name)).await;
        let model = shared.join(model);
        let want = reference(&[&["autoencoder", text(&model), text(&clip)], scales].concat());
        let (got, error) = (answer["answer"]["score"].as_f64().unwrap(), want[0].as_f64().unwrap());
        assert!((got - error).abs() <= 1e-4 * error, "{name}: {got}, numpy says {error}");
        assert_eq!(answer["stream"], json!({ "windows": want[1] }), "{answer}");
        assert_eq!((&answer["answer"]["label"], &answer["certified"]), (&json!("normal"), &json!(false)), "{answer}");
    }
}

/// Cycles of eight sensors, 60 samples each, one after the other: by sensor, as the files have them.
fn cycles(numbers: &[usize]) -> Option<Vec<Vec<Vec<f32>>>> {
    let folder = shared("data/ts-hydraulic")?;
    let sensor = |name: &str| -> Vec<Vec<f32>> {
        let text = std::fs::read_to_string(folder.join(format!("{name}.txt"))).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let row = |number: &usize| lines[*number].split_whitespace().map(|number| number.parse().unwrap()).collect();
        numbers.iter().map(row).collect()
    };
    let sensors = ["TS1", "TS2", "TS3", "TS4", "VS1", "CE", "CP", "SE"].map(sensor);
    Some((0..numbers.len()).map(|at| sensors.iter().map(|sensor| sensor[at].clone()).collect()).collect())
}

/// Samples `from` to `to` of a cycle, all sensors of one moment together.
fn moments(cycle: &[Vec<f32>], from: usize, to: usize) -> Vec<f32> {
    (from..to).flat_map(|moment| cycle.iter().map(move |sensor| sensor[moment])).collect()
}

#[tokio::test]
async fn a_cycle_streamed_ten_seconds_at_a_time_is_graded_as_the_whole_cycle_is() {
    let Some(cycles) = cycles(&[3, 700, 1_200, 1_500, 2_100]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let streamed = hydraulic_stream(folder.path());
    let mut rig = start(&[("pump", &streamed), ("cycles", &root().join("models/hydraulic-pump"))]).await;
    for (number, cycle) in cycles.iter().enumerate() {
        let whole = rig.ask("cycles", &Job::raw(&cycle.concat()).with("id", format!("whole/{number}"))).await;
        for part in 0..6 {
            let job = Job::raw(&moments(cycle, part * 10, part * 10 + 10)).with("id", format!("part/{number}-{part}"));
            // Of a model that listens this is the stream's key.
            let answer = rig.ask("pump", &job.with("group-key", "rig 1")).await;
            assert_eq!(answer["stream"]["key"], "rig 1");
            if part < 5 {
                assert_eq!(
                    (&answer["reason"], &answer["answer"]),
                    (&json!("LOCAL_WINDOW_OPEN"), &json!({})),
                    "{answer}"
                );
                let stream = &answer["stream"];
                let (have, need) = (10 * (part + 1), 50 - 10 * part);
                assert_eq!(
                    (&stream["have"], &stream["need"], &stream["windows"]),
                    (&json!(have), &json!(need), &json!(0))
                );
            } else {
                assert_eq!(answer["answer"], whole["answer"], "cycle {number}");
                assert_eq!((&answer["stream"]["windows"], &answer["stream"]["fresh"]), (&json!(1), &json!(false)));
            }
        }
    }
}

#[tokio::test]
async fn a_gap_begins_a_stream_anew_and_one_beyond_the_limit_takes_the_oldest_place_counted() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = start(&[("pump", &hydraulic_stream(folder.path()))]).await;
    let job = |stream: &str, seq: u64| {
        let job = Job::raw(&[1.0; 80]).with("id", format!("{stream}/{seq}"));
        job.with("stream", stream).with("seq", seq.to_string())
    };
    for (seq, fresh, why, have) in
        [(1, true, json!("new"), 10), (2, false, Value::Null, 20), (4, true, json!("gap"), 10)]
    {
        let answer = rig.ask("pump", &job("a", seq)).await;
        let stream = &answer["stream"];
        assert_eq!(
            (&stream["fresh"], &stream["why"], &stream["have"]),
            (&json!(fresh), &why, &json!(have)),
            "{answer}"
        );
    }
    let others: Vec<Job> = (0..picket_core::limits::STREAMS).map(|number| job(&format!("s{number:03}"), 1)).collect();
    rig.all("pump", &others).await;
    let answer = rig.ask("pump", &job("a", 5)).await;
    assert_eq!((&answer["stream"]["fresh"], &answer["stream"]["why"]), (&json!(true), &json!("new")), "{answer}");
    let answer = rig.ask("pump", &job("s255", 2)).await;
    assert_eq!((&answer["stream"]["fresh"], &answer["stream"]["have"]), (&json!(false), &json!(20)), "{answer}");
    let metrics = get(&format!("http://127.0.0.1:{}/metrics", rig.http)).await.unwrap().text().await.unwrap();
    for line in
        ["{model=\"pump\",what=\"evicted\"} 2", "{model=\"pump\",what=\"gap\"} 1", "{model=\"pump\",what=\"new\"} 258"]
    {
        assert!(metrics.contains(&format!("picket_streams_total{line}\n")), "{line} in\n{metrics}");
    }
}

#[tokio::test]
async fn over_http_a_stream_is_a_parameter_and_so_is_what_became_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let rig = start(&[("pump", &hydraulic_stream(folder.path()))]).await;
    until_ready(rig.http).await;
    let client = reqwest::Client::new();
    for (seq, samples, have) in [(7, 1, json!(1)), (8, 3, json!(4))] {
        let input =
            json!({ "name": "samples", "shape": [samples, 8], "datatype": "FP32", "data": vec![1.0; samples * 8] });
        let body = json!({ "inputs": [input], "parameters": { "stream": "rig 2", "seq": seq } });
        let url = format!("http://127.0.0.1:{}/v2/models/pump/infer", rig.http);
        let answer = client.post(url).body(body.to_string()).send().await.unwrap().text().await.unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let said = &answer["parameters"];
        assert_eq!((&said["reason"], &said["stream"]), (&json!("LOCAL_WINDOW_OPEN"), &json!("rig 2")), "{answer}");
        assert_eq!((&said["fresh"], &said["have"]), (&json!(seq == 7), &have), "{answer}");
    }
}

#[test]
fn the_inputs_of_infer_are_one_stream_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = hydraulic_stream(folder.path());
    let files: Vec<String> = (0..3)
        .map(|number| {
            let path = folder.path().join(format!("{number}.bin"));
            std::fs::write(&path, [1.0_f32; 160].map(f32::to_le_bytes).concat()).unwrap();
            text(&path).to_owned()
        })
        .collect();
    let mut arguments = vec!["infer", text(&bundle), "--json"];
    arguments.extend(files.iter().map(String::as_str));
    let output = picket(&arguments);
    let answers: Vec<Value> =
        String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let reasons: Vec<&Value> = answers.iter().map(|answer| &answer["reason"]).collect();
    assert_eq!(reasons[..2], ["LOCAL_WINDOW_OPEN", "LOCAL_WINDOW_OPEN"]);
    assert!(answers[2]["answer"]["label"].is_string(), "{}", answers[2]);
}

#[test]
fn a_model_that_listens_has_one_worker() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = hydraulic_stream(folder.path());
    let config = folder.path().join("picket.toml");
    let text_of = |workers: usize| {
        format!(
            "[device]\nid = \"d\"\n[mqtt]\nurl = \"mqtt://127.0.0.1:1\"\n[store]\npath = \"store\"\n[[model]]\nname = \"m\"\n\
             bundle = \"{}\"\nworkers = {workers}\n",
            bundle.display()
        )
    };
    std::fs::write(&config, text_of(1)).unwrap();
    assert!(picket(&["check", "--config", text(&config)]).status.success());
    // A board that gives other models two gives this one its own.
    let on_a_board = text_of(1).replace("workers = 1\n", "").replace("[mqtt]", "board = \"raspberry-pi-4\"\n[mqtt]");
    std::fs::write(&config, on_a_board).unwrap();
    assert!(picket(&["check", "--config", text(&config)]).status.success());
    std::fs::write(&config, text_of(2)).unwrap();
    let output = picket(&["check", "--config", text(&config)]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("error[config/workers]") && said.contains("picket.toml:10:11"), "{said}");
}
