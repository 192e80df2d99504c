//! A board that gets hot, and what `picket check` says of boards.

use std::{fs, path::Path};

use picket_tests::{
    broker::Mosquitto,
    client::{Client, Job},
    daemon::{Daemon, picket},
    free_port, get, root, until, until_ready,
};
use serde_json::Value;

use crate::{explain::explained, support::digits};

const LARGE: &str = "picket/v1/press-4/job/digits-large";
const EVENTS: &str = "picket/v1/press-4/event";
const STOOD_IN: &str =
    "The job was for digits-large; the board was too hot for it, and its smaller sibling digits answered.";
const ZONE: &str = "sys/class/thermal/thermal_zone0/temp";

/// A Raspberry Pi 4 as it shows itself, as far as that is looked at.
fn raspberry_pi(folder: &Path) {
    for (path, text) in [
        ("proc/device-tree/compatible", "raspberrypi,4-model-b\0brcm,bcm2711\0"),
        ("proc/device-tree/model", "Raspberry Pi 4 Model B Rev 1.4\0"),
        ("proc/cpuinfo", "processor\t: 0\nFeatures\t: fp asimd evtstrm crc32 cpuid\n"),
        ("proc/meminfo", "MemTotal:        3885396 kB\n"),
        ("proc/cgroups", "#subsys_name\thierarchy\tnum_cgroups\tenabled\nmemory\t0\t80\t0\n"),
        ("sys/devices/system/cpu/online", "0-3\n"),
        ("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n"),
        (ZONE, "45000\n"),
    ] {
        fs::create_dir_all(folder.join(path).parent().unwrap()).unwrap();
        fs::write(folder.join(path), text).unwrap();
    }
}

/// The sensor says so from now on: never half of it, as the kernel's files.
fn heat(folder: &Path, thousandths: &str) {
    fs::write(folder.join("next"), thousandths).unwrap();
    fs::rename(folder.join("next"), folder.join(ZONE)).unwrap();
}

fn config(board: &Path, ports: (u16, u16)) -> String {
    format!(
        "[device]\nid = \"press-4\"\nsysfs = \"{}\"\nheat_dwell_s = 1\n[mqtt]\nurl = \"mqtt://127.0.0.1:{}\"\n\
         [http]\nlisten = \"127.0.0.1:{}\"\n[[model]]\nname = \"digits-large\"\nbundle = \"{{models}}/digits-large\"\n\
         smaller = \"digits\"\n[[model]]\nname = \"digits\"\nbundle = \"{{models}}/digits\"\n",
        board.display(),
        ports.0,
        ports.1
    )
}

async fn stage(client: &mut Client) -> (String, Value) {
    let event = client.next_where(|heard| heard.topic == EVENTS && heard.json()["event"] == "heat").await.json();
    (event["stage"].as_str().unwrap().to_owned(), event)
}

async fn page(http: u16, name: &str) -> String {
    get(&format!("http://127.0.0.1:{http}/{name}")).await.unwrap().text().await.unwrap()
}

#[tokio::test]
async fn a_hot_board_eases_off_leaves_jobs_to_the_smaller_model_and_goes_back() {
    let (board, http) = (tempfile::tempdir().unwrap(), free_port());
    raspberry_pi(board.path());
    let broker = Mosquitto::start();
    let daemon = Daemon::start(&config(board.path(), (broker.port, http)));
    let mut client = Client::connect(broker.port, &["picket/v1/press-4/state", EVENTS]).await;
    client.wait_online("press-4").await;
    until_ready(http).await;
    let pixels = digits().remove(0).1;
    let ask = |id: &str| Job::raw(&pixels).with("id", id);

    let cool = client.ask(LARGE, &ask("cool")).await;
    assert_eq!((&cool["model_name"], cool.get("instead_of")), (&"digits-large".into(), None), "{cool}");

    heat(board.path(), "76000\n");
    let (eased, event) = stage(&mut client).await;
    assert_eq!((eased.as_str(), &event["from"], &event["source_rate"]), ("eased", &"normal".into(), &0.5.into()));
    assert_eq!(event["celsius"]["cpu-thermal"], 76.0, "{event}");
    let warm = client.ask(LARGE, &ask("warm")).await;
    assert_eq!(warm["model_name"], "digits-large");

    heat(board.path(), "81500\n");
    assert_eq!(stage(&mut client).await.0, "smaller");
    let hot = client.ask(LARGE, &ask("hot")).await;
    assert_eq!((&hot["model_name"], &hot["instead_of"]), (&"digits".into(), &"digits-large".into()), "{hot}");
    let own = client.ask("picket/v1/press-4/job/digits", &ask("own")).await;
    assert!(own.get("instead_of").is_none(), "{own}");
    assert_eq!(hot["evidence"]["calibration"], own["evidence"]["calibration"], "the promise is that of who answers");
    let again = client.ask(LARGE, &ask("hot")).await;
    assert_eq!(again, hot, "the same job has the same answer");
    fs::write(daemon.folder.path().join("result.json"), hot.to_string()).unwrap();
    let told = picket(&["explain", daemon.folder.path().join("result.json").to_str().unwrap()]);
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.contains(STOOD_IN), "{told}");
    let told = explained(&daemon, "hot");
    assert!(told.contains(STOOD_IN) && told.contains("digits version 1"), "{told}");
    assert!(!explained(&daemon, "own").contains(STOOD_IN));

    let metrics = page(http, "metrics").await;
    assert!(metrics.contains("picket_board_celsius{zone=\"cpu-thermal\"} 81.5"), "{metrics}");
    assert!(metrics.contains("picket_heat_stage 2"), "{metrics}");
    let status: Value = serde_json::from_str(&page(http, "status").await).unwrap();
    let told = &status["board"];
    assert_eq!((&told["name"], &told["heat"]), (&"raspberry-pi-4".into(), &"smaller".into()), "{status}");
    assert_eq!((&told["source_rate"], &told["zones"][0]["celsius"]), (&0.25.into(), &81.5.into()), "{status}");

    // A sensor that vanishes changes nothing, and is counted.
    fs::remove_file(board.path().join(ZONE)).unwrap();
    until("it was missed for longer than the dwell time", || async {
        let text = page(http, "metrics").await;
        let missed = text.lines().find_map(|line| line.strip_prefix("picket_heat_doubts{what=\"unknown\"} "));
        missed.is_some_and(|count| count.parse::<u64>().unwrap() > 8)
    })
    .await;
    let blind = page(http, "metrics").await;
    assert!(blind.contains("picket_heat_stage 2") && !blind.contains("picket_board_celsius{"), "{blind}");

    heat(board.path(), "50000\n");
    for wanted in ["eased", "normal"] {
        assert_eq!(stage(&mut client).await.0, wanted);
    }
    let back = client.ask(LARGE, &ask("back")).await;
    assert_eq!((&back["model_name"], back.get("instead_of")), (&"digits-large".into(), None), "{back}");
}

#[test]
fn check_says_what_board_it_is_and_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let board = folder.path().join("board");
    raspberry_pi(&board);
    let models = root().join("models");
    let file = folder.path().join("picket.toml");
    let text = config(&board, (1_883, 8_470)).replace("{models}", models.to_str().unwrap());
    fs::write(&file, &text).unwrap();
    let check = |more: &[&str]| picket(&[&["check", "--config", file.to_str().unwrap()], more].concat());
    let said = String::from_utf8(check(&[]).stdout).unwrap();
    for line in [
        "board raspberry-pi-4 (Raspberry Pi 4 Model B or 400): the device tree says raspberrypi,4-model-b",
        "4 cores, features asimd, memory 3794 MiB",
        "zone cpu-thermal: 45.0 °C, eased from 75 °C on, hard limit 80 °C",
        "warning[limits/memory-cgroup-off]: ",
        "warning[board/no-rtc]: ",
    ] {
        assert!(said.contains(line), "{line} is not in\n{said}");
    }
    let document: Value = serde_json::from_slice(&check(&["--json"]).stdout).unwrap();
    assert_eq!(document["board"]["name"], "raspberry-pi-4", "{document}");
    let codes: Vec<&str> =
        document["board"]["warnings"].as_array().unwrap().iter().map(|w| w["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["limits/memory-cgroup-off", "board/no-rtc"]);
    assert_eq!(document["board"]["zones"][0]["hard"], 80.0);

    // What cannot answer in the place of another is found before anything starts.
    let pump = text.replace("/models/digits\"", "/models/hydraulic-pump\"");
    fs::write(&file, pump).unwrap();
    for command in ["check", "run"] {
        let output = picket(&[command, "--config", file.to_str().unwrap()]);
        let said = String::from_utf8(output.stderr).unwrap();
        let last = said.lines().last().unwrap_or_default();
        assert_eq!(output.status.code(), Some(78), "{command}: {said}");
        assert!(
            last.starts_with("error[config/smaller]: ")
                && last.contains(":12:11: digits cannot answer for digits-large: its inputs are "),
            "{said}"
        );
    }
}
