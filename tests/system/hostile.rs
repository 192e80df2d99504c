//! Models that nobody means well: refused with a code, whatever they do to the process that tries them; the daemon beside
//! them goes on as if they were not there.

use std::{
    collections::BTreeMap,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use picket::telemetry::peak_rss_kib;
use picket_core::limits;
use picket_tests::{
    client::Job,
    daemon::{binary, picket},
    hostile, root,
};

use crate::support::{DIGITS, digits, request, start};

/// How a model may be refused.
const CODES: [&str; 6] =
    ["model/broken", "model/too-large", "model/external-data", "model/unsupported", "model/mismatch", "model/failed"];

fn infer(arguments: &[&str]) -> Output {
    picket(&[&["infer"], arguments].concat())
}

/// The code of the one line that it ended with.
fn code(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    let code = said.split("error[").nth(1).and_then(|rest| rest.split(']').next());
    code.unwrap_or_else(|| panic!("no code: {output:?}")).to_owned()
}

/// All of them as files, and where the bait lies that external data shall not reach.
fn written(folder: &Path) -> Vec<(String, String)> {
    std::os::unix::fs::symlink("/etc/passwd", folder.join("link.bin")).unwrap();
    std::fs::write(folder.join("w.bin"), [0; 8]).unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.join(format!("{name}.onnx"));
        std::fs::write(&path, bytes).unwrap();
        (name.to_owned(), path.to_str().unwrap().to_owned())
    };
    let mut files: Vec<_> = hostile::all().iter().map(|file| write(file.name, &file.bytes)).collect();
    let digits = std::fs::read(root().join("models/digits/model.onnx")).unwrap();
    let cuts = hostile::cut(&digits).into_iter().enumerate();
    files.extend(cuts.map(|(part, bytes)| write(&format!("cut-{part}"), &bytes)));
    files
}

#[test]
fn every_hostile_model_is_refused_with_a_code() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("two.bin");
    std::fs::write(&input, [0; 8]).unwrap();
    let mut wrong = Vec::new();
    for (name, path) in written(folder.path()) {
        let output = infer(&[&path, input.to_str().unwrap()]);
        let refused = output.status.code() == Some(1) && CODES.contains(&code(&output).as_str());
        // The first word of what external data would lead to.
        if !refused || String::from_utf8_lossy(&output.stderr).contains("root:") {
            wrong.push(format!("{name}: {output:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_flipped_bit_gives_an_answer_or_a_code() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("zeros.bin");
    std::fs::write(&input, [0; 256]).unwrap();
    let digits = std::fs::read(root().join("models/digits/model.onnx")).unwrap();
    let seed = rand::random();
    println!("seed {seed}");
    let mut ends = BTreeMap::new();
    for (index, bytes) in hostile::flipped(&digits, seed, 40).into_iter().enumerate() {
        let path = folder.path().join("flipped.onnx");
        std::fs::write(&path, &bytes).unwrap();
        let output = infer(&[path.to_str().unwrap(), input.to_str().unwrap()]);
        let end = if output.status.success() { "answered".to_owned() } else { code(&output) };
        assert!(matches!(output.status.code(), Some(0 | 1)), "flip {index}: {output:?}");
        *ends.entry(end).or_insert(0) += 1;
    }
    println!("{ends:?}");
}

/// Shows that there is something to be protected from.
#[test]
fn what_kills_a_process_kills_only_the_one_that_proves() {
    let folder = tempfile::tempdir().unwrap();
    let (model, input) = (folder.path().join("parentheses.onnx"), folder.path().join("two.bin"));
    std::fs::write(&model, hostile::parentheses()).unwrap();
    std::fs::write(&input, [0; 8]).unwrap();
    let (model, input) = (model.to_str().unwrap(), input.to_str().unwrap());
    let alone = infer(&["--in-process", model, input]);
    assert!(alone.status.signal().is_some(), "it ends whoever loads it: {alone:?}");
    let proven = infer(&[model, input]);
    assert_eq!((proven.status.code(), code(&proven).as_str()), (Some(1), "model/too-large"), "{proven:?}");
}

/// The first process that this one has started.
fn child_of(parent: u32) -> Option<u32> {
    let stat = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/stat")).ok();
    // "pid (name) state parent …"
    let is_child = |pid: &u32| {
        let stat = stat(*pid).unwrap_or_default();
        stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1)?.parse::<u32>().ok()) == Some(parent)
    };
    let names = std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter_map(|name| name.parse().ok()).find(is_child)
}

/// Asks again and again; the limit is for what never comes.
fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(Instant::now() < end, "not in time: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_child_does_not_outlive_its_parent() {
    let folder = tempfile::tempdir().unwrap();
    let (model, input) = (folder.path().join("tedious.onnx"), folder.path().join("two.bin"));
    std::fs::write(&model, hostile::tedious()).unwrap();
    std::fs::write(&input, [0; 8]).unwrap();
    let mut parent = Command::new(binary());
    parent.arg("infer").arg(&model).arg(&input).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut parent = parent.spawn().unwrap();
    let child = wait_for("a child", || child_of(parent.id()));
    let status = || std::fs::read_to_string(format!("/proc/{child}/status")).unwrap_or_default();
    // The last of the measures, so all of them hold.
    wait_for("its confinement", || status().contains("NoNewPrivs:\t1").then_some(()));
    parent.kill().unwrap();
    parent.wait().unwrap();
    wait_for("the child's end", || (status().is_empty() || status().contains("State:\tZ")).then_some(()));
}

#[tokio::test]
async fn a_daemon_serves_its_good_model_beside_them_and_does_not_grow() {
    let folder = tempfile::tempdir().unwrap();
    let files = written(folder.path());
    let (_broker, plain, mut client) = start("", &[]).await;
    let pixels = &digits()[0].1;
    client.ask(DIGITS, &Job::json(&request("plain", pixels))).await;
    let usual_kib = peak_rss_kib(Some(plain.pid())).unwrap();
    drop((plain, _broker));

    for files in files.chunks(limits::MODELS - 1) {
        let section = |(name, path): &(String, String)| format!("[[model]]\nname = \"{name}\"\nbundle = \"{path}\"\n");
        let (_broker, mut daemon, mut client) = start(&files.iter().map(section).collect::<String>(), &[]).await;
        let mut wrong = Vec::new();
        for (name, _) in files {
            let topic = format!("picket/v1/press-4/job/{name}");
            let answer = client.ask(&topic, &Job::raw(&[0.0, 0.0]).with("id", name)).await;
            if !CODES.contains(&answer["error"]["code"].as_str().unwrap_or_default()) {
                wrong.push(format!("{name}: {answer}"));
            }
            let good = client.ask(DIGITS, &Job::json(&request(&format!("beside-{name}"), pixels))).await;
            assert_eq!(good["answer"]["label"], "0", "beside {name}: {good}");
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
        let grown_kib = peak_rss_kib(Some(daemon.pid())).unwrap();
        println!("{usual_kib} KiB alone, {grown_kib} KiB beside {} hostile ones", files.len());
        assert!(grown_kib < usual_kib + (16 << 10), "{usual_kib} KiB alone, {grown_kib} KiB beside hostile models");
        assert!(daemon.is_running());
    }
}
