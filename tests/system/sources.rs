//! Cameras and folders: jobs that nobody sends.

use std::{collections::BTreeMap, fs, io::Write, path::Path, time::Duration};

use picket_tests::{
    broker::Mosquitto,
    bundles,
    client::{Client, Job},
    daemon::Daemon,
    free_port, get, onnx, shared, until, until_ready,
};
use rustix::fs::{CWD, Mode, mkfifoat};
use serde_json::Value;

const RESULT: &str = "picket/v1/press-4/result/photo";
const EVENTS: &str = "picket/v1/press-4/event";

/// A daemon with an image model and whatever `more` says.
struct Scene {
    _broker: Mosquitto,
    daemon: Daemon,
    client: Client,
    http: u16,
    folder: tempfile::TempDir,
    photos: std::path::PathBuf,
}

impl Scene {
    /// `{folder}` and `{photos}` in the sources are replaced. `None`: what it needs is not beside the project.
    async fn start(model: &str, sources: &str, prepare: impl FnOnce(&Path)) -> Option<Self> {
        let photos = shared("models/coral-quant").and_then(|_| shared("data/img-photos-ovms"))?;
        let folder = tempfile::tempdir().unwrap();
        let bundle = bundles::template(folder.path(), "mobilenet-v2", photos.parent()?.parent()?);
        prepare(folder.path());
        let (broker, http) = (Mosquitto::start(), free_port());
        let sources =
            sources.replace("{folder}", folder.path().to_str().unwrap()).replace("{photos}", photos.to_str().unwrap());
        let daemon = Daemon::start(&format!(
            "[device]\nid = \"press-4\"\n[mqtt]\nurl = \"mqtt://127.0.0.1:{}\"\n[http]\nlisten = \"127.0.0.1:{http}\"\n\
             [[model]]\nname = \"photo\"\nbundle = \"{}\"\n{model}\n{sources}",
            broker.port,
            bundle.display()
        ));
        let mut client = Client::connect(broker.port, &["picket/v1/press-4/state", RESULT, EVENTS]).await;
        client.wait_online("press-4").await;
        // What has waited for somebody to look on.
        fs::write(folder.path().join("go"), "").unwrap();
        Some(Self { _broker: broker, daemon, client, http, folder, photos })
    }

    async fn answer(&mut self) -> Value {
        self.client.next_where(|heard| heard.topic == RESULT).await.json()
    }

    async fn event(&mut self) -> (String, String) {
        let fits = |heard: &picket_tests::client::Heard| heard.topic == EVENTS && heard.json()["event"] == "source";
        let event = self.client.next_where(fits).await.json();
        (event["code"].as_str().unwrap().to_owned(), event["message"].as_str().unwrap().to_owned())
    }

    /// What a metric of the source says.
    async fn count(&self, what: &str) -> u64 {
        let text = get(&format!("http://127.0.0.1:{}/metrics", self.http)).await.unwrap().text().await.unwrap();
        let line = text
            .lines()
            .find(|line| line.starts_with("picket_source_total") && line.contains(&format!("what=\"{what}\"")));
        line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
    }
}

/// No process of this group runs any more. Those that nobody has reaped yet do not run.
fn is_gone(group: &Path) -> bool {
    let group = fs::read_to_string(group).unwrap();
    let stats =
        fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    // 8229 (name with anything) S parent group …
    let runs = |stat: String| {
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        fields.get(2) == Some(&group.trim()) && !["Z", "X"].contains(&fields[0])
    };
    !stats.into_iter().any(runs)
}

/// A camera that dies, then stalls with a child that holds its output, then writes noise between its pictures.
const CAMERA: &str = r#"
photo="$1/golden_retriever.jpeg"
cd "$2"
until [ -e go ]; do sleep 0.05; done
echo x >> starts
echo $$ > "group$(wc -l < starts)"
case $(wc -l < starts) in
1)  for i in 1 2 3; do cat "$photo"; sleep 0.2; done
    echo "the lens is dirty" >&2
    exit 3 ;;
2)  cat "$photo"
    sleep 600 & sleep 600 ;;
*)  cat "$photo" "$photo"
    head -c 300000 /dev/urandom
    while :; do cat "$photo"; sleep 0.05; done ;;
esac
"#;

#[tokio::test]
async fn a_camera_that_dies_stalls_and_writes_garbage_is_answered_whenever_it_shows_something() {
    let source = "[[source]]\nname = \"cam\"\nkind = \"exec\"\nmodel = \"photo\"\nstall_s = 2\n\
                  command = [\"sh\", \"{folder}/camera\", \"{photos}\", \"{folder}\"]\n";
    let script = |folder: &Path| fs::write(folder.join("camera"), CAMERA).unwrap();
    let Some(mut scene) = Scene::start("durable = false\n", source, script).await else { return };
    let (code, message) = scene.event().await;
    assert_eq!(
        (code.as_str(), message.as_str()),
        ("source/ended", "the command ended: exit status: 3: the lens is dirty")
    );
    assert_eq!(scene.event().await.0, "source/back");
    assert_eq!(scene.event().await.0, "source/stalled");
    let group = scene.folder.path().join("group2");
    until("the whole process group is ended", || async { is_gone(&group) }).await;
    assert_eq!(scene.event().await.0, "source/back");
    until("noise was counted, and frames came after it", || async {
        scene.count("garbage").await > 0 && scene.count("answered").await > 12
    })
    .await;
    let first = scene.answer().await;
    assert!(first["id"].as_str().unwrap().starts_with("cam/"), "{first}");
    // The way of a job that somebody sends.
    let photo = fs::read(scene.photos.join("golden_retriever.jpeg")).unwrap();
    let job = Job { payload: photo.into(), content_type: Some("image/jpeg"), ..Job::default() };
    let asked = scene.client.ask("picket/v1/press-4/job/photo", &job).await;
    assert_eq!(first["answer"]["index"], asked["answer"]["index"], "the same picture");
    let answer = scene.answer().await;
    assert_eq!(answer["answer"]["index"], asked["answer"]["index"], "{answer}");
    assert_eq!(scene.count("failed").await, 0, "noise is never a job");

    scene.daemon.terminate();
    assert!(scene.daemon.wait(Duration::from_secs(15)).success());
    let group = scene.folder.path().join("group3");
    until("a camera ends with the daemon", || async { is_gone(&group) }).await;
}

#[tokio::test]
async fn the_newest_frame_wins() {
    let source = "[[source]]\nname = \"cam\"\nkind = \"exec\"\nmodel = \"photo\"\nmax_fps = 2.0\n\
                  format = \"raw\"\nwidth = 224\nheight = 224\npixel = \"rgb24\"\n\
                  command = [\"sh\", \"-c\", \"while head -c 301056 /dev/zero; do sleep 0.02; done\"]\n";
    let Some(mut scene) = Scene::start("durable = false\n", source, |_| ()).await else { return };
    until_ready(scene.http).await;
    let first = scene.answer().await;
    let second = scene.answer().await;
    assert_eq!(first["answer"], second["answer"], "all frames are black");
    assert_ne!(first["id"], second["id"]);
    // Thousands of frames came; two in a second were looked at, whoever counts them.
    until("more frames than jobs", || async { scene.count("replaced").await > 100 }).await;
    let (frames, jobs, replaced) =
        (scene.count("frames").await, scene.count("jobs").await, scene.count("replaced").await);
    assert!(jobs < 60 && jobs + replaced <= frames + 100, "{frames} frames, {jobs} jobs, {replaced} replaced");
    scene.daemon.terminate();
    assert!(scene.daemon.wait(Duration::from_secs(15)).success());
}

#[tokio::test]
async fn a_light_barrier_says_which_frames_are_looked_at() {
    let source = "[[source]]\nname = \"cam\"\nkind = \"exec\"\nmodel = \"photo\"\nformat = \"raw\"\nwidth = 224\nheight = 224\n\
                  pixel = \"rgb24\"\ncommand = [\"sh\", \"-c\", \"while head -c 150528 /dev/zero; do sleep 0.02; done\"]\n\
                  trigger = { chip = \"file:{folder}/barrier\" }\n";
    let Some(mut scene) = Scene::start("durable = false\n", source, |_| ()).await else { return };
    until("it is told that there is no pipe", || async { scene.count("no-trigger").await > 0 }).await;
    assert!(scene.daemon.log().contains("source/no-line"), "{}", scene.daemon.log());
    let barrier = scene.folder.path().join("barrier");
    mkfifoat(CWD, &barrier, Mode::RUSR | Mode::WUSR).unwrap();
    // That there was none is an event too, if we were there before it was told.
    let mut told = scene.event().await.0;
    if told == "source/no-line" {
        told = scene.event().await.0;
    }
    assert_eq!(told, "source/back");
    until("frames come", || async { scene.count("frames").await > 20 }).await;
    assert_eq!(scene.count("jobs").await, 0, "nobody has asked for one");
    let mut pipe = fs::OpenOptions::new().write(true).open(&barrier).unwrap();
    for part in 1..=3 {
        writeln!(pipe, "part {part}").unwrap();
        scene.answer().await;
    }
    let frames = scene.count("frames").await;
    until("more frames come", || async { scene.count("frames").await > frames + 20 }).await;
    let counted = [scene.count("edges").await, scene.count("jobs").await, scene.count("missed").await];
    assert_eq!(counted, [3, 3, 0], "one frame for each edge, and none else");
}

#[tokio::test]
async fn a_sensor_without_a_bus_is_told_and_the_rest_goes_on() {
    let source = "[[source]]\nname = \"drive\"\nkind = \"sensor\"\nmodel = \"photo\"\nbus = \"{folder}/i2c-1\"\n\
                  profile = \"motor-current\"\nsensors = [{ kind = \"ina219\" }]\n";
    let Some(mut scene) = Scene::start("durable = false\n", source, |_| ()).await else { return };
    let bus = scene.folder.path().join("i2c-1");
    let told = format!("code=\"source/no-bus\" why=\"there is no bus {}", bus.display());
    until("it is told", || async { scene.daemon.log().contains(&told) }).await;
    // Something is there, and it is no bus.
    fs::write(&bus, "").unwrap();
    until("it is tried again", || async { scene.count("no-sensor").await >= 2 }).await;
    let photo = fs::read(scene.photos.join("golden_retriever.jpeg")).unwrap();
    let job = Job { payload: photo.into(), content_type: Some("image/jpeg"), ..Job::default() };
    assert!(scene.client.ask("picket/v1/press-4/job/photo", &job).await["answer"].is_object());
    scene.daemon.terminate();
    assert!(scene.daemon.wait(Duration::from_secs(15)).success());
}

/// What `picket check` says of a source of a model that takes 200 values: two channels of 100 samples.
fn check(source: &str) -> (Option<i32>, String) {
    check_for(source, &[1, 200])
}

fn check_for(source: &str, dims: &[i64]) -> (Option<i32>, String) {
    let file = tempfile::tempdir().unwrap();
    let path = file.path().join("picket.toml");
    let model = onnx::model(&onnx::Graph::through(dims, vec![onnx::node("Relu", &["x"], &["y"], &[])]));
    fs::write(file.path().join("relu.onnx"), model).unwrap();
    let model = "[[model]]\nname = \"relu\"\nbundle = \"./relu.onnx\"\n";
    fs::write(&path, format!("[store]\npath = \"store\"\n{model}[[source]]\nname = \"s\"\nmodel = \"relu\"\n{source}"))
        .unwrap();
    let output = picket_tests::daemon::picket(&["check", "--config", path.to_str().unwrap()]);
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

#[test]
fn what_is_wrong_with_a_source_is_found_before_anything_starts_and_what_is_missing_is_said() {
    let sensor =
        "kind = \"sensor\"\nbus = \"/dev/i2c-99\"\nprofile = \"motor-current\"\nsensors = [{ kind = \"ina219\" }]\n";
    let (code, said) = check(sensor);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("missing now: source s: there is no bus /dev/i2c-99"), "{said}");
    let (code, said) = check_for(sensor, &[1, 64]);
    assert_eq!(code, Some(78), "{said}");
    let place = "picket.toml:8:9: the windows of source s do not fit model relu: ";
    assert!(said.starts_with("error[config/window]: ") && said.contains(place), "{said}");
    let camera = "kind = \"exec\"\ncommand = [\"true\"]\ntrigger = { chip = \"gpiochip99\", line = 4 }\n";
    let (code, said) = check(camera);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("missing now: source s: there is no GPIO chip \"gpiochip99\""), "{said}");
    for (source, wanted) in [
        (sensor.replace("motor-current", "motor-curent"), "did you mean `motor-current`?"),
        (sensor.replace("ina219", "ina2190"), "did you mean `ina219`?"),
        (sensor.replace("\"ina219\"", "\"ina219\", address = 3"), "a ina219 cannot have this address; possible: 0x40"),
        (sensor.replace("ina219", "lis3dh"), "these sensors measure x in g, y in g, z in g"),
        (format!("{sensor}every_ms = 0\n"), "`every_ms` is 0; possible: 1 to 86400000"),
        (camera.replace("line = 4", "edge = \"up\""), "a chip needs a `line`"),
        (camera.replace("line = 4", "line = 4, edge = \"up\""), "unknown edge `up`"),
        (camera.replace("line = 4", "line = 4, debounce = 3"), "unknown key `debounce`; did you mean `debounce_ms`?"),
        (camera.replace("\"exec\"", "\"exe\""), "did you mean `exec`?"),
    ] {
        let (code, said) = check(&source);
        assert!(code == Some(78) && said.contains(wanted), "{source}\n{said}");
    }
}

const FOLDER: &str =
    "[[source]]\nname = \"inbox\"\nkind = \"folder\"\nmodel = \"photo\"\npath = \"{folder}/in\"\nlook_ms = 50\n";

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).map(|entries| entries.flatten().collect::<Vec<_>>()).unwrap_or_default();
    let files = entries.iter().filter(|entry| entry.path().is_file());
    let mut names: Vec<String> = files.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn files_are_answered_once_and_moved_when_the_store_has_the_answer_whenever_the_daemon_dies() {
    let prepare = |folder: &Path| fs::create_dir(folder.join("in")).unwrap();
    let Some(mut scene) = Scene::start("", FOLDER, prepare).await else { return };
    let inbox = scene.folder.path().join("in");
    // The same picture under many names is as many jobs; hidden files and others are none.
    let photo = scene.photos.join("bee.jpeg");
    let wanted: Vec<String> = (0..12).map(|n| format!("part {n:02}.JPG")).collect();
    fs::copy(&photo, inbox.join(".hidden.jpg")).unwrap();
    fs::write(inbox.join("notes.txt"), "no picture").unwrap();
    fs::write(inbox.join("broken.jpg"), b"\xff\xd8\xff and no more").unwrap();
    for name in &wanted {
        fs::copy(&photo, inbox.join(name)).unwrap();
    }
    let mut answers: BTreeMap<String, Value> = BTreeMap::new();
    for round in 0..4 {
        while answers.len() < 3 * round {
            let answer = scene.answer().await;
            let id = answer["id"].as_str().unwrap().to_owned();
            let before = answers.insert(id, answer.clone());
            assert!(before.as_ref().is_none_or(|before| *before == answer), "two answers: {before:?}, {answer}");
        }
        scene.daemon.kill();
        scene.daemon.run_again(&[]);
    }
    until("all files are moved", || async { names(&inbox.join("done")) == wanted }).await;
    while answers.len() < wanted.len() + 1 {
        let answer = scene.answer().await;
        let id = answer["id"].as_str().unwrap().to_owned();
        let before = answers.insert(id, answer.clone());
        assert!(before.as_ref().is_none_or(|before| *before == answer), "two answers: {before:?}, {answer}");
    }
    until("the broken one, too", || async { names(&inbox.join("failed")) == ["broken.jpg"] }).await;
    assert_eq!(names(&inbox), [".hidden.jpg", "notes.txt"]);
    let errors: Vec<&Value> = answers.values().filter(|answer| answer.get("error").is_some()).collect();
    assert_eq!(errors.len(), 1, "{errors:?}");

    // The same file once more has its answer already; another one of its name is another job, and neither is written over.
    fs::copy(&photo, inbox.join(&wanted[0])).unwrap();
    until("it is moved beside the first", || async { names(&inbox.join("done")).len() == 13 }).await;
    fs::copy(scene.photos.join("airliner.jpeg"), inbox.join(&wanted[0])).unwrap();
    let answer = scene.answer().await;
    assert!(!answers.contains_key(answer["id"].as_str().unwrap()), "{answer}");
    until("it is moved, too", || async { names(&inbox.join("done")).len() == 14 }).await;
}

#[test]
fn a_folder_is_not_emptied_into_a_model_that_keeps_nothing() {
    let file = tempfile::tempdir().unwrap();
    let path = file.path().join("picket.toml");
    let models = picket_tests::root().join("models");
    let text = format!(
        "[store]\npath = \"store\"\n[[model]]\nname = \"photo\"\nbundle = \"{}/digits\"\ndurable = false\n{}",
        models.display(),
        FOLDER.replace("{folder}", "x")
    );
    fs::write(&path, text).unwrap();
    let output = picket_tests::daemon::picket(&["check", "--config", path.to_str().unwrap()]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("error[config/invalid]: ") && said.contains(":9:8: this kind of source needs"), "{said}");
}
