//! Photos in, labels and boxes out, by the templates of `models/templates`: what ONNX Runtime, NumPy and Pillow make of the same files
//! (`images_reference.py`). Two decoders of JPEG give pixels that differ by 2 of 256 in one of a hundred, and detectors are touchy: scores
//! may differ by [`NEAR`] then. Of the same pixels, in a PNG, they may differ by [`SAME`].

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
            "[device]\nid = \"press-4\"\n[mqtt]\nurl = \"mqtt://127.0.0.1:{}\"\nmax_packet = \"8MiB\"\n[http]\nlisten = \"127.0.0.1:{http}\"\n\
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

/// `../shared`, if what these tests need is there.
fn everything() -> Option<PathBuf> {
    let golden = ["models", "data/img-photos-ovms", "golden"].map(shared).into_iter().collect::<Option<Vec<_>>>()?;
    Some(golden[0].parent()?.to_owned())
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

/// What ONNX Runtime, NumPy and Pillow answer. Puts the photos into `folder`, as PNG.
fn reference<T: for<'de> Deserialize<'de>>(
    shared: &Path,
    template: &str,
    folder: &Path,
    photos: &[PathBuf],
) -> BTreeMap<PathBuf, T> {
    let python = std::env::var("PICKET_TEST_PYTHON").expect("tests/run sets it");
    let script = root().join("tests/system/images_reference.py");
    let output = Command::new(python).arg(script).arg(shared).arg(template).arg(folder).args(photos).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

#[derive(Debug, Deserialize)]
struct Class {
    index: usize,
    /// The next one, and by how much the first is ahead.
    second: usize,
    ahead: f64,
}

/// An int8 network answers in steps: with one of 20 values off by 1, its probabilities are off by up to 0.1. Classes that are nearer to each
/// other may change places.
const CLEAR: f64 = 0.2;

#[tokio::test]
async fn photos_get_the_labels_that_onnx_runtime_gives_them() {
    let Some(shared) =
        shared("models/coral-quant").and_then(|_| shared("data/img-photos-ovms")).and_then(|_| shared("golden"))
    else {
        return;
    };
    let shared = shared.parent().unwrap().to_owned();
    let photos = photos(&shared);
    let decoded = tempfile::tempdir().unwrap();
    let wanted: BTreeMap<PathBuf, Class> = reference(&shared, "mobilenet-v2", decoded.path(), &photos);
    let mut scene = Scene::start("mobilenet-v2", &shared).await;
    let (mut answers, mut sure, mut same) = (BTreeMap::new(), 0, 0);
    for photo in &photos {
        let answer = scene.ask(photo).await;
        let (got, want) = (answer["answer"]["index"].as_u64().unwrap(), &wanted[photo]);
        let clear = want.ahead >= CLEAR;
        let right = got == want.index as u64 || (!clear && got == want.second as u64);
        assert!(right, "{}: {want:?}, {answer}", photo.display());
        (sure, same) = (sure + usize::from(clear), same + usize::from(got == want.index as u64));
        answers.insert(photo.file_name().unwrap().to_string_lossy().into_owned(), got);
    }
    println!("{} photos, {sure} of them clear, {same} with the same label", photos.len());
    assert!(sure >= 25 && same >= photos.len() - 3, "{sure} clear, {same} the same");
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
    fn iou(&self, other: &Self) -> f64 {
        let found = |one: &Self| Found { class: one.index, score: 1.0, x: one.x, y: one.y, w: one.w, h: one.h };
        found(self).iou(&found(other))
    }

    /// The same thing at the same place.
    fn is(&self, other: &Self) -> bool {
        self.index == other.index && self.iou(other) >= 0.95
    }
}

/// How much scores may differ that come of two decoders …
const NEAR: f32 = 0.05;
/// … and of the same pixels.
const SAME: f32 = 0.02;

#[derive(Default)]
struct Count {
    images: usize,
    boxes: usize,
    /// Seen by one alone.
    strays: Vec<String>,
    empty: usize,
}

impl Count {
    /// Every box has its counterpart, but those at the threshold.
    fn compare(&mut self, photo: &Path, got: &[Seen], want: &[Seen], threshold: f32, off: f32) {
        for (ours, theirs, who) in [(got, want, "Picket"), (want, got, "ONNX Runtime")] {
            for seen in ours.iter().filter(|seen| seen.confidence >= threshold + off) {
                let twin =
                    theirs.iter().find(|other| seen.is(other) && (other.confidence - seen.confidence).abs() < off);
                self.boxes += 1;
                if twin.is_none() {
                    self.strays.push(format!("{}: only {who} sees {seen:?}", photo.display()));
                }
            }
        }
        self.empty += usize::from(got.is_empty());
    }
}

/// `strays`: of two boxes with nearly the same score, or that overlap by nearly as much as makes them one thing, one or the other stays,
/// and a crowd is full of them.
async fn finds_what_onnx_runtime_finds(template: &str, threshold: f32, least: usize, strays: usize) {
    let Some(shared) = everything() else { return };
    let photos = photos(&shared);
    let decoded = tempfile::tempdir().unwrap();
    let wanted: BTreeMap<PathBuf, Vec<Seen>> = reference(&shared, template, decoded.path(), &photos);
    let mut scene = Scene::start(template, &shared).await;
    let mut count = Count::default();
    for photo in &photos {
        let name = photo.file_name().unwrap().to_string_lossy();
        let png = decoded.path().join(format!("{name}.png"));
        // Where nobody sees anything, one way is enough.
        let ways = if wanted[photo].is_empty() { 1 } else { 2 };
        for (file, off) in [(photo.clone(), NEAR), (png, SAME)].into_iter().take(ways) {
            let answer = scene.ask(&file).await;
            let got: Vec<Seen> = serde_json::from_value(answer["answer"]["boxes"].clone())
                .unwrap_or_else(|error| panic!("{}: {error}: {answer}", file.display()));
            assert!(got.iter().all(|seen| seen.confidence >= threshold), "{answer}");
            count.images += 1;
            count.compare(&file, &got, &wanted[photo], threshold, off);
        }
    }
    let Count { images, boxes, strays: alone, empty } = count;
    println!("{template}: {images} images, {empty} without boxes; {boxes} boxes, {} alone", alone.len());
    assert!(boxes >= least && empty > 0, "{boxes} boxes, {empty} images without any");
    assert!(alone.len() <= strays, "{} of {boxes}:\n{}", alone.len(), alone.join("\n"));
}

#[tokio::test]
async fn ultraface_finds_the_faces_that_onnx_runtime_finds() {
    finds_what_onnx_runtime_finds("ultraface", 0.7, 80, 0).await;
}

#[tokio::test]
async fn yunet_finds_the_faces_that_onnx_runtime_finds() {
    finds_what_onnx_runtime_finds("yunet", 0.6, 80, 0).await;
}

#[tokio::test]
async fn fastestdet_finds_the_things_that_onnx_runtime_finds() {
    finds_what_onnx_runtime_finds("fastestdet", 0.4, 300, 8).await;
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
    let answer: Value = serde_json::from_slice(&on_the_spot.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&on_the_spot.stderr)));
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

const RESIZED: [(&str, &str); 5] = [
    ("stretch", ""),
    ("area", "filter = \"area\""),
    ("nearest", "filter = \"nearest\""),
    ("fit", "fit = \"fit\"\npad = [114, 0, 200]"),
    ("fill", "fit = \"fill\""),
];

#[test]
fn the_pixels_that_a_model_sees_are_those_of_pillow() {
    let Some(shared) = everything() else { return };
    let photos = ["img-photos-coral/bird.bmp", "img-photos-coral/squat.bmp", "img-photos-ort/test_superresolution.png"]
        .map(|photo| shared.join("data").join(photo));
    let folder = tempfile::tempdir().unwrap();
    let wanted: BTreeMap<PathBuf, BTreeMap<String, Vec<f64>>> = reference(&shared, "pixels", folder.path(), &photos);
    for (name, keys) in RESIZED {
        // The model gives back what it gets.
        let bundle = bundles::of_pixels(folder.path(), name, &format!("w = 40\nh = 24\n{keys}"), [24, 40]);
        let paths: Vec<&str> = photos.iter().map(|photo| photo.to_str().unwrap()).collect();
        let output = picket(&[&["infer", bundle.to_str().unwrap()], &paths[..], &["--json"]].concat());
        let lines = String::from_utf8(output.stdout).unwrap();
        assert_eq!(lines.lines().count(), photos.len(), "{}", String::from_utf8_lossy(&output.stderr));
        for (photo, line) in photos.iter().zip(lines.lines()) {
            let answer: Value = serde_json::from_str(line).unwrap();
            let got: Vec<f64> = serde_json::from_value(answer["outputs"][0]["data"].clone()).unwrap();
            let want = &wanted[photo][name];
            assert_eq!(got.len(), want.len());
            let off = got.iter().zip(want).map(|(got, want)| (got - want).abs()).fold(0.0, f64::max);
            let most = if name == "nearest" { 0.0 } else { 1.0 };
            assert!(off <= most, "{name} {}: off by {off} of 256", photo.display());
        }
    }
}
