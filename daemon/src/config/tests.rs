//! Whole configurations, and the one line that each mistake gives.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use picket_core::{
    engine::WhenFull,
    job::{Privacy, ProviderId},
    limits,
    time::Span,
};

#[path = "egress_tests.rs"]
mod egress;

use super::{Config, ConfigError, Kinds, Records, Source, document, paper};
use crate::{provider::PROVIDERS, transport::TRANSPORTS};

/// A folder with a bundle `models/digits`, and the configuration's files in memory.
struct Site {
    folder: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bundle = folder.path().join("models/digits");
        fs::create_dir_all(&bundle).unwrap();
        fs::write(bundle.join("bundle.toml"), "").unwrap();
        fs::write(folder.path().join("bare.onnx"), "").unwrap();
        fs::write(folder.path().join("notes.txt"), "").unwrap();
        Self { folder }
    }

    fn check(&self, files: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let mut source = Source::new(files[0].0, files[0].1);
        files[1..].iter().for_each(|(path, text)| source.add(*path, text));
        Config::check(&Arc::new(source), self.folder.path(), PAPER)
    }
}

fn checked(text: &str) -> Config {
    Site::new().check(&[("picket.toml", text)]).unwrap()
}

/// The line that `text` gives.
fn mistake(text: &str) -> String {
    mistake_of(&[("picket.toml", text)])
}

fn mistake_of(files: &[(&str, &str)]) -> String {
    let site = Site::new();
    let error = site.check(files).err().expect("this configuration has a mistake");
    error.to_string().replace(&site.folder.path().display().to_string(), "SITE")
}

const PAPER: Kinds<'_> = Kinds { transports: paper::TRANSPORTS, providers: paper::PROVIDERS };

const MODEL: &str = "[store]\npath = \".\"\n[mqtt]\n[[model]]\nname = \"digits\"\nbundle = \"digits\"\n";

fn with_model(more: &str) -> String {
    format!("{MODEL}{more}")
}

#[test]
fn what_is_written_down_beside_jobs_is_bounded_or_off() {
    let records = |more: &str| checked(&with_model(more)).records;
    assert_eq!(records(""), Records { decisions: Some(64 << 20), keep: None });
    let both = "[decisions]\nmax = \"2MiB\"\n[export]\nkeep = \"1MiB\"\n";
    assert_eq!(records(both), Records { decisions: Some(2 << 20), keep: Some(1 << 20) });
    for off in ["off", "0"] {
        let text = format!("[decisions]\nmax = \"{off}\"\n[export]\nkeep = \"{off}\"\n");
        assert_eq!(records(&text), Records { decisions: None, keep: None });
    }
    // In memory only, unless it is asked for.
    let memory = "[store]\ndurable = false\npath = \".\"\n[mqtt]\n[[model]]\nname = \"digits\"\nbundle = \"digits\"\n";
    assert_eq!(checked(memory).records.decisions, None);
    assert_eq!(checked(&format!("{memory}[decisions]\nmax = \"1MiB\"\n")).records.decisions, Some(1 << 20));
    let few = mistake(&with_model("[decisions]\nmax = \"1KiB\"\n"));
    assert!(
        few.starts_with("error[config/invalid]: picket.toml:") && few.ends_with("at least 1 MiB, or \"off\""),
        "{few}"
    );
    let unit = mistake(&with_model("[export]\nkeep = \"256MB\"\n"));
    assert!(unit.contains("unknown unit `MB`"), "{unit}");
    let key = mistake(&with_model("[decisions]\nmaxx = \"1MiB\"\n"));
    assert!(key.contains("did you mean `max`?"), "{key}");
}

#[test]
fn little_is_needed_and_the_rest_has_defaults() {
    let config = checked(MODEL);
    assert!(!config.device.id.is_empty());
    assert_eq!(config.store.max_bytes, 256 << 20);
    assert_eq!(config.transports.len(), 1);
    assert_eq!(config.transports[0].0, "mqtt");
    let model = &config.models[0];
    assert!(model.bundle.ends_with("models/digits"));
    let board = &config.device.board.profile;
    assert_eq!((model.workers, model.queue), (board.workers, board.queue));
    assert_eq!((model.smaller.as_ref(), config.device.heat_dwell), (None, limits::HEAT_DWELL));
    assert_eq!((model.when_full, model.deadline), (WhenFull::Shed, limits::DEADLINE));
    assert!(config.escalation.is_none());
}

#[test]
fn a_bundle_is_a_name_a_path_or_a_bare_model() {
    for (bundle, end) in [("digits", "models/digits"), ("./models/digits", "models/digits"), ("bare.onnx", "bare.onnx")]
    {
        let config = checked(&MODEL.replace("\"digits\"\n", &format!("\"{bundle}\"\n")).replacen(bundle, "m", 1));
        assert!(config.models[0].bundle.ends_with(end), "{bundle}");
    }
}

#[test]
fn providers_are_asked_in_the_order_of_the_escalation() {
    let text = with_model(
        "[escalation]\nproviders = [\"far\", \"near\"]\nprivacy = \"never\"\n\
         [[provider]]\nname = \"near\"\nkind = \"oip\"\n[[provider]]\nname = \"far\"\nkind = \"oip\"\ntimeout_ms = 7\n",
    );
    let config = checked(&text);
    let escalation = config.escalation.unwrap();
    assert_eq!(escalation.providers, [ProviderId(1), ProviderId(0)]);
    assert_eq!(escalation.privacy, Privacy::Never);
    assert_eq!(config.providers[1].setup.timeout, Span::from_millis(7));
}

#[test]
fn later_files_override_keys_and_append_tables() {
    let first = format!("[device]\nid = \"a\"\ngroup = \"g\"\n{MODEL}queue = 3\n");
    let second =
        "[device]\nid = \"b\"\n[store]\nmax_bytes = 1024\n[[model]]\nname = \"other\"\nbundle = \"./bare.onnx\"\n";
    let config = Site::new().check(&[("picket.toml", &first), ("conf.d/10.toml", second)]).unwrap();
    assert_eq!((&*config.device.id, config.device.group.as_deref()), ("b", Some("g")));
    assert_eq!(config.store.max_bytes, 1024);
    let models: Vec<(&str, usize)> = config.models.iter().map(|m| (&*m.name, m.queue)).collect();
    assert_eq!(models, [("digits", 3), ("other", limits::MODEL_QUEUE)]);
}

#[test]
fn a_mistake_is_reported_in_the_file_that_has_it() {
    let third = "# ü\n\n[mqtt]\n  url = \"mqtt://x:0\"\n";
    let files = [("picket.toml", MODEL), ("conf.d/10.toml", "[mqtt]\nurl = \"mqtt://x\""), ("conf.d/20.toml", third)];
    assert_eq!(mistake_of(&files), "error[config/invalid]: conf.d/20.toml:4:9: port 0 is no port");
    let files = [("picket.toml", MODEL), ("conf.d/10.toml", "[mqtt]\n\nurll = \"mqtt://x\"\n"), ("conf.d/20.toml", "")];
    assert_eq!(
        mistake_of(&files),
        "error[config/unknown-key]: conf.d/10.toml:3:1: unknown key `urll`; did you mean `url`?"
    );
    let files = [("picket.toml", MODEL), ("conf.d/10.toml", "[mqtt"), ("conf.d/20.toml", "")];
    assert_eq!(mistake_of(&files), "error[config/syntax]: conf.d/10.toml:1:6: unclosed table, expected `]`");
}

#[test]
fn unknown_keys_get_the_nearest_right_one() {
    assert_eq!(
        mistake("# Picket\n[mqtt]\nprefix = \"p\"\nurll = \"mqtt://x\"\n"),
        "error[config/unknown-key]: picket.toml:4:1: unknown key `urll`; did you mean `url`?"
    );
    assert_eq!(
        mistake("[modell]\n"),
        "error[config/unknown-key]: picket.toml:1:2: unknown key `modell`; did you mean `model`?"
    );
    assert_eq!(
        mistake("xyz = 1\n"),
        "error[config/unknown-key]: picket.toml:1:1: unknown key `xyz`; known here: device, store, model, escalation, \
         provider, decisions, export, source, output, mqtt, http"
    );
    assert_eq!(
        mistake(&with_model("dead_line = 3\n")),
        "error[config/unknown-key]: picket.toml:7:1: unknown key `dead_line`; did you mean `deadline_ms`?"
    );
}

#[test]
fn what_is_no_toml_or_has_the_wrong_type_says_where() {
    assert_eq!(mistake("[device]\nid = \"a\"\nid = \"b\"\n"), "error[config/syntax]: picket.toml:3:1: duplicate key");
    assert_eq!(
        mistake("[device]\nid = press\n"),
        "error[config/syntax]: picket.toml:2:6: string values must be quoted, expected literal string"
    );
    assert_eq!(
        mistake("[device]\nid = 4\n"),
        "error[config/invalid]: picket.toml:2:6: invalid type: integer `4`, expected a string"
    );
    assert_eq!(
        mistake(&with_model("queue = \"many\"\n")),
        "error[config/invalid]: picket.toml:7:9: invalid type: string \"many\", expected a whole number from 0 up"
    );
    assert_eq!(
        mistake(&with_model("queue = -1\n")),
        "error[config/invalid]: picket.toml:7:9: invalid value: integer `-1`, expected a whole number from 0 up"
    );
    assert_eq!(
        mistake("device = 3\n"),
        "error[config/invalid]: picket.toml:1:1: `device` is a section: write `[device]`"
    );
    assert_eq!(
        mistake("[model]\nname = \"a\"\n"),
        "error[config/invalid]: picket.toml:1:2: there can be several of `model`: write `[[model]]`"
    );
    assert_eq!(mistake("[[model]]\nname = \"a\"\n"), "error[config/invalid]: picket.toml:1:1: missing key `bundle`");
}

#[test]
fn numbers_and_words_are_checked() {
    let cases = [
        ("[store]\nmax_bytes = \"2MB\"\n", "2:13: unknown unit `MB` in `2MB`; the units are B, KiB, MiB, GiB"),
        ("[store]\nmax_bytes = true\n", "2:13: invalid type: boolean `true`, expected a size such as \"256MiB\""),
        ("[device]\nid = \"Press 4\"\n", "2:6: `Press 4` is no id: 1 to 63 of a-z, 0-9 and -, and no - in front"),
        (&with_model("workers = 0\n"), "7:11: `workers` is 0; possible: 1 to 64"),
        (&with_model("queue = 65537\n"), "7:9: `queue` is 65537; possible: 1 to 65536"),
        (&with_model("deadline_ms = 0\n"), "7:15: `deadline_ms` is 0; possible: 1 to 86400000"),
        (&with_model("when_full = \"newest\"\n"), "7:13: unknown when_full `newest`; did you mean `newest-wins`?"),
        (
            &with_model("[escalation]\nprivacy = \"secret\"\n"),
            "8:11: unknown privacy `secret`; known here: ok, redacted, never",
        ),
        (
            "[store]\npath=\".\"\n[[model]]\nname = \"a/b\"\nbundle = \"digits\"\n",
            "4:8: `a/b` is no name: 1 to 63 of A-Z, a-z, 0-9, ., _ and -, a letter or digit in front",
        ),
    ];
    for (text, line) in cases {
        assert_eq!(mistake(text), format!("error[config/invalid]: picket.toml:{line}"));
    }
}

/// What the configuration says of workers and queue, no board changes; what it does not say, the board does.
#[test]
fn a_board_says_what_the_configuration_does_not() {
    for (board, workers, queue) in [("generic-x86-64", 1, 64), ("raspberry-pi-4", 2, 64), ("zero-2-w", 1, 32)] {
        let on =
            |more: &str| checked(&format!("[device]\nboard = \"{board}\"\nheat_dwell_s = 9\n{}", with_model(more)));
        let silent = on("");
        assert_eq!(silent.device.board.profile.name, board);
        assert_eq!(silent.device.heat_dwell, Span::from_millis(9_000));
        assert_eq!((silent.models[0].workers, silent.models[0].queue), (workers, queue), "{board}");
        assert_eq!(silent.models[0].workers_place, None);
        let said = on("workers = 3\nqueue = 5\n");
        assert_eq!((said.models[0].workers, said.models[0].queue), (3, 5), "{board}");
        assert!(said.models[0].workers_place.as_ref().is_some_and(|place| place.starts_with("picket.toml:")));
    }
}

#[test]
fn a_board_that_is_none_is_named_with_its_place() {
    let cases = [
        (
            "board = \"raspberry-pi\"",
            "[config/unknown-name]: picket.toml:2:9: unknown board `raspberry-pi`; did you mean `raspberry-pi-5`?",
        ),
        ("board = \"./notes.txt\"", "[config/invalid]: picket.toml:2:9: SITE/./notes.txt is no board: "),
        (
            "board = \"boards/none.toml\"",
            "[config/unreadable]: picket.toml:2:9: SITE/boards/none.toml cannot be read: No such",
        ),
        ("sysfs = \"nowhere\"", "[config/invalid]: picket.toml:2:9: there is no folder SITE/nowhere"),
        ("heat_dwell_s = 0", "[config/invalid]: picket.toml:2:16: `heat_dwell_s` is 0; possible: 1 to 3600"),
    ];
    for (line, why) in cases {
        let said = mistake(&format!("[device]\n{line}\n"));
        assert!(said.starts_with(&format!("error{why}")), "{line}: {said}");
    }
}

#[test]
fn a_smaller_sibling_is_another_model() {
    let with = |smaller: &str, other: &str| {
        with_model(&format!("smaller = \"{smaller}\"\n[[model]]\nname = \"tiny\"\nbundle = \"./bare.onnx\"\n{other}"))
    };
    let config = checked(&with("tiny", ""));
    let smaller = config.models[0].smaller.as_ref().unwrap();
    assert_eq!((&*smaller.name, smaller.place.as_str()), ("tiny", "picket.toml:7:11: "));
    let cases = [
        (with("tinny", ""), "config/unknown-name]: picket.toml:7:11: unknown model `tinny`; did you mean `tiny`?"),
        (with("digits", ""), "config/smaller]: picket.toml:7:11: `smaller` names the model itself"),
        (
            with("tiny", "durable = false\n"),
            "config/smaller]: picket.toml:7:11: one of the two models is `durable`, the other is not",
        ),
    ];
    for (text, line) in cases {
        assert_eq!(mistake(&text), format!("error[{line}"));
    }
}

#[test]
fn a_missing_bundle_is_found_before_anything_starts() {
    let bundle = |text: &str| mistake(&MODEL.replace("bundle = \"digits\"", &format!("bundle = \"{text}\"")));
    let place = "error[config/missing-bundle]: picket.toml:6:10:";
    assert_eq!(bundle("digit"), format!("{place} there is no SITE/./models/digit"));
    assert_eq!(bundle("./models"), format!("{place} SITE/./models is no bundle: it has no bundle.toml"));
    assert_eq!(bundle("other.onnx"), format!("{place} there is no SITE/other.onnx"));
    assert_eq!(
        bundle("./notes.txt"),
        format!("{place} SITE/./notes.txt is neither a bundle's folder nor an .onnx file")
    );
    assert_eq!(bundle(""), format!("{place} `bundle` is empty"));
}

#[test]
fn names_are_known_and_given_once() {
    let near = "[[provider]]\nname = \"near\"\nkind = \"oip\"\n";
    assert_eq!(
        mistake(&with_model(&format!("[escalation]\nproviders = [\"neer\"]\n{near}"))),
        "error[config/unknown-name]: picket.toml:8:14: unknown provider `neer`; did you mean `near`?"
    );
    assert_eq!(
        mistake(&with_model("[escalation]\nproviders = [\"near\"]\n")),
        "error[config/unknown-name]: picket.toml:8:14: unknown provider `near`; none is known here"
    );
    assert_eq!(
        mistake(&with_model("[[provider]]\nname = \"near\"\nkind = \"grpc\"\n")),
        "error[config/unknown-name]: picket.toml:9:8: unknown kind `grpc`; known here: oip"
    );
    assert_eq!(
        mistake(&with_model("[[provider]]\nname = \"near\"\n")),
        "error[config/invalid]: picket.toml:7:1: a provider needs a `kind`, one of: oip"
    );
    assert_eq!(
        mistake(&with_model(&format!("{near}{near}"))),
        "error[config/duplicate-name]: picket.toml:11:8: there is a provider `near` already"
    );
    assert_eq!(
        mistake(&with_model("[[model]]\nname = \"digits\"\nbundle = \"digits\"\n")),
        "error[config/duplicate-name]: picket.toml:8:8: there is a model `digits` already"
    );
    assert_eq!(
        mistake(&with_model(&format!("[escalation]\nproviders = [\"near\", \"near\"]\n{near}"))),
        "error[config/invalid]: picket.toml:8:22: `near` is in this list twice"
    );
}

#[test]
fn a_picket_needs_a_model_and_a_way_in() {
    assert_eq!(mistake(""), "error[config/missing]: picket.toml: there is no [[model]]; a Picket needs at least one");
    assert_eq!(
        mistake(&MODEL.replace("[mqtt]\n", "")),
        "error[config/missing]: picket.toml: no jobs could come in; add one of these sections: [mqtt], [http]"
    );
}

#[test]
fn files_are_read_in_the_order_of_their_names() {
    let site = Site::new();
    let main = site.folder.path().join("picket.toml");
    let drop_ins = site.folder.path().join("conf.d");
    fs::create_dir(&drop_ins).unwrap();
    fs::write(&main, MODEL).unwrap();
    fs::write(drop_ins.join("20.toml"), "[device]\nid = \"twenty\"\n").unwrap();
    fs::write(drop_ins.join("10.toml"), "[device]\nid = \"ten\"\ngroup = \"g\"\n").unwrap();
    fs::write(drop_ins.join("30.txt"), "no TOML").unwrap();
    fs::write(drop_ins.join(".40.toml"), "no TOML").unwrap();
    let source = Arc::new(document::gather(&main).unwrap());
    let config = Config::check(&source, document::folder_of(&main), PAPER).unwrap();
    assert_eq!((&*config.device.id, config.device.group.as_deref()), ("twenty", Some("g")));

    let missing = document::gather(Path::new("/no/such/picket.toml")).unwrap_err();
    assert_eq!(
        missing.to_string(),
        "error[config/unreadable]: /no/such/picket.toml: cannot be read: No such file or directory (os error 2)"
    );
}

/// The sample is checked by the real plug-ins, and by paper ones in place of those that this build does not have.
#[test]
fn the_sample_is_a_good_configuration() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("assets/picket.toml");
    let site = Site::new();
    let text = fs::read_to_string(&path).unwrap();
    let text = text.replace("/var/lib/picket", &site.folder.path().display().to_string());
    let mut transports = TRANSPORTS.to_vec();
    let mut providers = PROVIDERS.to_vec();
    for paper in PAPER.transports {
        if !transports.iter().any(|kind| kind.name() == paper.name()) {
            transports.push(*paper);
        }
    }
    for paper in PAPER.providers {
        if !providers.iter().any(|kind| kind.name() == paper.name()) {
            providers.push(*paper);
        }
    }
    let kinds = Kinds { transports: &transports, providers: &providers };
    let config = Config::check(&Arc::new(Source::new(&path, &text)), site.folder.path(), kinds).unwrap();
    assert_eq!(&*config.device.id, "press-4");
    assert_eq!(config.transports.len(), 2);
    assert_eq!(config.models[0].deadline, Span::from_millis(1_000));
    assert_eq!(config.escalation.unwrap().providers, [ProviderId(0)]);
}
