//! Photos in, labels and boxes out, by the templates of `models/templates`: what ONNX Runtime, NumPy and Pillow make of the same files
//! (`images_reference.py`). The decoders of JPEG differ by a few of 256 in some pixels, and so do the answers by a little.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use picket_core::boxes::Found;
use picket_tests::{
    broker::Mosquitto,
    bundles,
    client::{Client, Job},
    daemon::{Daemon, picket},
    free_port, root, shared, until_ready,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A daemon with one of the templates, and everything around it.
struct Scene {
    _broker: Mosquitto,
    _daemon: Daemon,
    client: Client,
    http: u16,
    topic: String,
    bundle: PathBuf,
    _folder: TempDir,
}

impl Scene {
    async fn start(template: &str, shared: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bundle = bundles::template(folder.path(), template, shared);
        let (broker, http) = (Mosquitto::start(), free_port());
        let daemon = Daemon::start(&format!(
            "[device]\nid = \"press-4\"\n[mqtt]\nurl = \"mqtt://127.0.0.1:{}\"\n[http]\nlisten = \"127.0.0.1:{http}\"\n\
             [[model]]\nname = \"{template}\"\nbundle = \"{}\"\n",
            broker.port,
            bundle.display()
        ));
        let mut client = Client::connect(broker.port, &["picket/v1/press-4/state"]).await;
        client.wait_online("press-4").await;
        until_ready(http).await;
        let topic = format!("picket/v1/press-4/job/{template}");
        Self { _broker: broker, _daemon: daemon, client, http, topic, bundle, _folder: folder }
    }

    async fn ask(&mut self, photo: &Path) -> Value {
        let job = Job { payload: fs::read(photo).unwrap().into(), content_type: Some(kind(photo)), ..Job::default() };
        self.client.ask(&self.topic.clone(), &job).await
    }
}

fn kind(photo: &Path) -> &'static str {
    match photo.extension().and_then(|extension| extension.to_str()) {
        Some("png") => "image/png",
        Some("bmp") => "image/bmp",
        _ => "image/jpeg",
    }
}

/// All photos beside the project.
fn photos(shared: &Path) -> Vec<PathBuf> {
    let folders = ["coral", "ort", "ovms", "ovms/cars", "ovms/faces", "ovms/people", "tract"];
    let files =
        folders.iter().flat_map(|folder| fs::read_dir(shared.join(format!("data/img-photos-{folder}"))).unwrap());
    let mut photos: Vec<PathBuf> = files.map(|entry| entry.unwrap().path()).collect();
    photos.retain(|path| {
        path.extension().is_some_and(|end| ["jpg", "jpeg", "png", "bmp"].map(std::ffi::OsStr::new).contains(&end))
    });
    photos.sort();
    assert!(photos.len() > 35, "{}", photos.len());
    photos
}

/// What ONNX Runtime, NumPy and Pillow answer.
fn reference<T: for<'de> Deserialize<'de>>(shared: &Path, template: &str, photos: &[PathBuf]) -> BTreeMap<PathBuf, T> {
    let python = std::env::var("PICKET_TEST_PYTHON").expect("tests/run sets it");
    let script = root().join("tests/system/images_reference.py");
    let output = Command::new(python).arg(script).arg(shared).arg(template).args(photos).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

#[derive(Deserialize)]
struct Class {
    index: usize,
    confidence: f64,
}

#[tokio::test]
async fn photos_get_the_labels_that_onnx_runtime_gives_them() {
    let Some(shared) =
        shared("models/coral-quant").and_then(|_| shared("data/img-photos-ovms")).and_then(|_| shared("golden"))
    else {
        return;
    };
    let shared = shared.parent().unwrap().to_owned();
    let photos = photos(&shared);
    let wanted: BTreeMap<PathBuf, Class> = reference(&shared, "mobilenet-v2", &photos);
    let mut scene = Scene::start("mobilenet-v2", &shared).await;
    let mut answers = BTreeMap::new();
    for photo in &photos {
        let answer = scene.ask(photo).await;
        let (got, want) = (&answer["answer"], &wanted[photo]);
        assert_eq!(got["index"], want.index, "{}: {answer}", photo.display());
        let off = got["confidence"].as_f64().unwrap() - want.confidence;
        assert!(off.abs() < 0.08, "{}: off by {off}: {answer}", photo.display());
        answers.insert(photo.file_name().unwrap().to_string_lossy().into_owned(), got["index"].as_u64().unwrap());
    }
    // What people say is on them; the model counts from a background class.
    let labels = fs::read_to_string(shared.join("data/img-photos-ovms/input_images.txt")).unwrap();
    for line in labels.lines() {
        let (path, label) = line.trim().rsplit_once(' ').unwrap();
        let name = path.rsplit('/').next().unwrap();
        assert_eq!(answers[name], label.parse::<u64>().unwrap() + 1, "{name}");
    }
    assert!(labels.lines().count() >= 10);
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct Seen {
    index: usize,
    confidence: f32,
    x: f32,
    y: f32,
    w: f32,
    h: f32,
}

impl Seen {
    /// The same thing at the same place.
    fn is(&self, other: &Self) -> bool {
        let found = |one: &Self| Found { class: one.index, score: 1.0, x: one.x, y: one.y, w: one.w, h: one.h };
        self.index == other.index && found(self).iou(&found(other)) >= 0.95
    }
}

/// Scores of two decoders may lie on both sides of the threshold when they are so near it.
const NEAR: f32 = 0.03;

/// Every box has its counterpart, but those at the threshold. Returns how many were compared.
fn compare(photo: &Path, got: &[Seen], want: &[Seen], threshold: f32) -> usize {
    let sure = |seen: &&Seen| seen.confidence >= threshold + NEAR;
    for (ours, theirs, who) in [(got, want, "Picket"), (want, got, "ONNX Runtime")] {
        for seen in ours.iter().filter(sure) {
            let twin = theirs.iter().find(|other| seen.is(other));
            let Some(twin) = twin else { panic!("{}: only {who} sees {seen:?}; {got:#?}", photo.display()) };
            assert!((twin.confidence - seen.confidence).abs() < NEAR, "{}: {seen:?}, {twin:?}", photo.display());
        }
    }
    got.iter().filter(sure).count()
}

async fn finds_what_onnx_runtime_finds(template: &str, threshold: f32, least: usize) {
    let Some(shared) =
        shared("models/yunet").and_then(|_| shared("data/img-photos-ovms")).and_then(|_| shared("golden"))
    else {
        return;
    };
    let shared = shared.parent().unwrap().to_owned();
    let photos = photos(&shared);
    let wanted: BTreeMap<PathBuf, Vec<Seen>> = reference(&shared, template, &photos);
    let mut scene = Scene::start(template, &shared).await;
    let (mut boxes, mut empty) = (0, 0);
    for photo in &photos {
        let answer = scene.ask(photo).await;
        let got: Vec<Seen> = serde_json::from_value(answer["answer"]["boxes"].clone())
            .unwrap_or_else(|error| panic!("{}: {error}: {answer}", photo.display()));
        assert!(got.iter().all(|seen| seen.confidence >= threshold), "{answer}");
        boxes += compare(photo, &got, &wanted[photo], threshold);
        empty += usize::from(got.is_empty());
    }
    println!("{template}: {boxes} boxes on {} photos, {empty} without any", photos.len());
    assert!(boxes >= least && empty > 0, "{boxes} boxes, {empty} photos without any");
}

#[tokio::test]
async fn ultraface_finds_the_faces_that_onnx_runtime_finds() {
    finds_what_onnx_runtime_finds("ultraface", 0.7, 20).await;
}

#[tokio::test]
async fn yunet_finds_the_faces_that_onnx_runtime_finds() {
    finds_what_onnx_runtime_finds("yunet", 0.6, 20).await;
}

#[tokio::test]
async fn fastestdet_finds_the_things_that_onnx_runtime_finds() {
    finds_what_onnx_runtime_finds("fastestdet", 0.4, 60).await;
}

#[tokio::test]
async fn a_photo_comes_by_every_way_and_what_is_none_is_refused() {
    let Some(shared) =
        shared("models/yunet").and_then(|_| shared("data/img-photos-ovms")).and_then(|_| shared("golden"))
    else {
        return;
    };
    let shared = shared.parent().unwrap().to_owned();
    let mut scene = Scene::start("yunet", &shared).await;
    let people = shared.join("data/img-photos-ovms/people/people3.jpeg");
    let photo = fs::read(&people).unwrap();
    let as_it_is = scene.ask(&people).await["answer"]["boxes"].clone();
    assert_eq!(as_it_is.as_array().unwrap().len(), 3, "{as_it_is}");

    let input = json!({ "name": "image", "shape": [1], "datatype": "BYTES", "data": [BASE64_STANDARD.encode(&photo)] });
    let request = json!({ "id": "json", "inputs": [input] });
    let by_json = scene.client.ask(&scene.topic.clone(), &Job::json(&request)).await;
    assert_eq!(by_json["answer"]["boxes"], as_it_is, "{by_json}");

    let url = format!("http://127.0.0.1:{}/v2/models/yunet/infer", scene.http);
    picket::provider::use_ring();
    let http = reqwest::Client::new();
    let parameters = json!({ "binary_data_size": photo.len() + 4 });
    let head = json!({ "inputs": [{ "name": "image", "shape": [1], "datatype": "BYTES", "parameters": parameters }] });
    let (head, length) = (head.to_string(), u32::try_from(photo.len()).unwrap().to_le_bytes());
    let body = [head.as_bytes(), &length, &photo].concat();
    let sent = http.post(&url).header("Inference-Header-Content-Length", head.len()).body(body).send().await.unwrap();
    let answer: Value = serde_json::from_slice(&sent.bytes().await.unwrap()).unwrap();
    let listed: Value = serde_json::from_str(answer["parameters"]["boxes"].as_str().unwrap()).unwrap();
    assert_eq!(listed, as_it_is, "{answer}");

    let (bundle, file) = (scene.bundle.to_str().unwrap(), people.to_str().unwrap());
    let on_the_spot = picket(&["infer", bundle, file, "--json"]);
    let answer: Value =
        serde_json::from_slice(&on_the_spot.stdout).expect(&String::from_utf8_lossy(&on_the_spot.stderr));
    assert_eq!(answer["answer"]["boxes"], as_it_is, "{answer}");
    let in_words = String::from_utf8(picket(&["infer", bundle, file]).stdout).unwrap();
    assert!(in_words.contains("face 0.9") && in_words.contains(" at ("), "{in_words}");

    let nobody = scene.ask(&shared.join("data/img-photos-ovms/zebra.jpeg")).await;
    assert_eq!((&nobody["answer"]["boxes"], nobody.get("error")), (&json!([]), None), "{nobody}");
    for (payload, content_type, code) in [
        (&photo[..photo.len() / 2], "image/jpeg", "input/undecodable"),
        (&photo[..], "image/webp", "input/undecodable"),
        (b"BM no image at all, just text", "image/bmp", "input/undecodable"),
        (&bomb(), "image/png", "input/too-large"),
        (&photo[..30], "application/octet-stream", "input/shape-mismatch"),
    ] {
        let job = Job { payload: payload.to_vec().into(), content_type: Some(content_type), ..Job::default() };
        let answer = scene.client.ask(&scene.topic.clone(), &job).await;
        assert_eq!(answer["error"]["code"], code, "{content_type}: {answer}");
    }
}

/// The head of a PNG of 60,000 × 60,000 pixels.
fn bomb() -> Vec<u8> {
    let mut file = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
    file.extend([60_000_u32.to_be_bytes(), 60_000_u32.to_be_bytes()].concat());
    file.extend(b"\x08\x02\0\0\0");
    file.extend(crc32fast::hash(&file[12..]).to_be_bytes());
    file.extend(b"\0\0\0\0IDAT\x35\xaf\x06\x1e\0\0\0\0IEND\xae\x42\x60\x82");
    file
}

#[tokio::test]
async fn a_model_without_images_refuses_one() {
    let (_broker, _daemon, mut client) = crate::support::start("", &[]).await;
    let job = Job { payload: bomb().into(), content_type: Some("image/png"), ..Job::default() };
    let answer = client.ask(crate::support::DIGITS, &job).await;
    assert_eq!(
        (&answer["error"]["code"], &answer["error"]["want"]),
        (&"input/dtype-mismatch".into(), &"1x64 FP32".into()),
        "{answer}"
    );
}
