use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use picket_core::{
    Decided,
    escalation::{
        alarms::{Evidence, Kind},
        budget::Cost,
        calibration::{Certified, LabelSource, State},
        certificate::Promise,
        decide::{Circumstances, Observation, Policy, ProviderView, decide},
        platt::Platt,
        score::ScoreRule,
        shift::Reference,
    },
    job::{JobId, Key, ModelId, Privacy, ProviderId},
    said::Said as Answer,
    time::{Span, Stamp},
};
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{
    Errand, FOLDER, Log, ModelNames, Names, read,
    record::{Ended, Entry, How, Said, What},
    story::{self, Told},
};
use crate::calendar::Calendar;

/// One o'clock, always.
struct Stopped;

impl Calendar for Stopped {
    fn stamp(&self) -> Stamp {
        Stamp { boot: [0; 16], up: 0, wall: 3_600_000_000, trusted: true }
    }
}

fn names() -> Names {
    let model = ModelNames {
        name: "digits".to_owned(),
        version: "1".to_owned(),
        sha256: "00".to_owned(),
        labels: (0..10).map(|n| n.to_string()).collect(),
    };
    Names { models: vec![model], providers: vec!["hq".to_owned()], audit_rate: 0.02 }
}

fn start(store: &Path, most: u64) -> Log {
    Log::start(store.to_owned(), most, names(), Box::new(Stopped)).unwrap()
}

fn policy(round: u32) -> Policy {
    let certified = Certified {
        score: ScoreRule::Softmax { temperature: 1.5 },
        lambdas: vec![0.7; 10],
        cases: 297,
        promise: Promise { alpha: 0.02, delta: 0.05 },
        round,
        wrong: Platt::fit(&[]),
        scores: Reference::of((0..100_u8).map(|n| f32::from(n) / 100.0)),
        label_source: LabelSource::Human,
        digest: "sha256:00".to_owned(),
    };
    let calibration = State::Valid(Arc::new(certified));
    Policy { calibration, providers: vec![ProviderId(0)], ..Policy::alone(1.0, Some(0.5)) }
}

fn around(audit: bool) -> Circumstances {
    let view = ProviderView {
        id: ProviderId(0),
        admits: true,
        timeout: Span::from_millis(500),
        accuracy: 0.95,
        cost: Cost::ZERO,
        affordable: true,
        threshold: 0.0,
        on_time: 1.0,
    };
    let (left, whole) = (Span::from_millis(900), Span::from_millis(1_000));
    Circumstances { privacy: Privacy::Ok, providers: vec![view], left, whole, audit, ..Circumstances::ALONE }
}

fn decided(number: u64, policy: Policy, dice: &mut StdRng) -> Errand {
    let seen = match dice.random_range(0..20) {
        0 => Observation::Malformed("NaN".to_owned()),
        1 => Observation::Opaque,
        _ => Observation::Scores((0..10).map(|_| dice.random_range(-5.0..5.0)).collect()),
    };
    let around = around(dice.random_bool(0.1));
    let decision = decide(&seen, &policy, &around);
    let decided = Decided { key: Key(number), model: ModelId(0), seen, policy, around, decision };
    Errand::Decided { job: JobId::new(&format!("press-4/{number}")).unwrap(), decided: Box::new(decided) }
}

/// Writes so many decisions, and reads nothing.
fn written(store: &Path, most: u64, count: u64) -> Log {
    let log = start(store, most);
    let mut dice = StdRng::seed_from_u64(7);
    for number in 0..count {
        // The queue is bounded, and nothing here may be dropped.
        log.to.send(decided(number, policy(1), &mut dice)).unwrap();
    }
    log
}

fn told(store: &Path) -> Told {
    story::tell(store, None).unwrap()
}

fn files(store: &Path) -> Vec<PathBuf> {
    read::files(&store.join(FOLDER)).unwrap().into_iter().map(|(_, path)| path).collect()
}

#[test]
fn what_was_decided_is_read_and_decided_again() {
    let store = tempfile::tempdir().unwrap();
    let log = written(store.path(), 64 << 20, 500);
    let said = Said {
        provider: "hq".to_owned(),
        model: "digits-large 1".to_owned(),
        answer: Answer::Class(3),
        confidence: Some(0.9),
    };
    let how = How::Answered {
        reason: picket_core::escalation::decide::Reason::EscBelowLambda,
        certified: false,
        by: Some(said.clone()),
        later: false,
    };
    log.write(Errand::Ended(Ended { job: "press-4/17".to_owned(), how }));
    log.close();
    let told = told(store.path());
    assert_eq!((told.stories.len(), told.without_setting), (500, 0));
    // One record more than decisions and endings: what was in force.
    assert_eq!((told.reading.records, told.reading.unreadable, told.reading.unfinished), (502, 0, 0));
    for (number, story) in told.stories.iter().enumerate() {
        let (at, judged) = story.first();
        assert_eq!((judged.job.as_str(), at.wall), (format!("press-4/{number}").as_str(), 3_600_000_000));
        let again = decide(&judged.seen, &story.setting.policy, &judged.around);
        assert_eq!(format!("{again:?}"), format!("{:?}", judged.decision));
    }
    assert_eq!(told.stories[17].said(), Some(&said));
    let one = story::tell(store.path(), Some("press-4/17")).unwrap();
    assert_eq!(one.stories, [told.stories[17].clone()]);
}

#[test]
fn the_oldest_goes_and_what_is_left_can_be_read_by_itself() {
    let store = tempfile::tempdir().unwrap();
    let most = 1 << 20;
    let log = start(store.path(), most);
    let mut dice = StdRng::seed_from_u64(11);
    let evidence = Evidence { kind: Kind::Score, value: 0.5, limit: 0.12, trials: 500, wrong: 0, allowed: 0.0 };
    log.to.send(Errand::Alarm { model: ModelId(0), evidence }).unwrap();
    for number in 0..10_000 {
        log.to.send(decided(number, policy(1 + u32::try_from(number / 6_000).unwrap()), &mut dice)).unwrap();
    }
    let counts = log.counts.clone();
    log.close();
    let losses: std::collections::BTreeMap<_, _> = counts.losses().collect();
    let files = files(store.path());
    let bytes: u64 = files.iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(bytes <= most && bytes > most / 2, "{bytes} bytes");
    let told = told(store.path());
    assert_eq!((told.without_setting, told.reading.unreadable), (0, 0));
    assert!(told.stories.len() > 1_000 && told.stories.len() < 10_000);
    let aged = losses["decisions_aged"];
    assert!(aged >= 10_000 - told.stories.len() as u64, "{aged} aged, {} are there", told.stories.len());
    assert_eq!(told.stories.last().unwrap().setting.policy, policy(2));
    for path in &files {
        let (mut first, mut alarmed, mut setting) = (None, false, false);
        read::read(path, |_, Entry { what, .. }| {
            first.get_or_insert_with(|| what.clone());
            alarmed |= matches!(what, What::Alarm(_));
            match what {
                What::Setting(_) => setting = true,
                What::Judged(_) => assert!(setting, "{} cannot be read by itself", path.display()),
                _ => {}
            }
        })
        .unwrap();
        assert!(alarmed, "{} does not say that the certificate is suspended", path.display());
    }
}

#[test]
fn a_torn_end_is_cut_off_and_the_numbers_go_on() {
    let store = tempfile::tempdir().unwrap();
    written(store.path(), 64 << 20, 20).close();
    let file = &files(store.path())[0];
    let bytes = fs::read(file).unwrap();
    fs::write(file, &bytes[..bytes.len() - 5]).unwrap();
    let torn = told(store.path());
    assert_eq!(torn.stories.len(), 19);
    assert!(torn.reading.unfinished > 0);
    let log = written(store.path(), 64 << 20, 3);
    let counts = log.counts.clone();
    log.close();
    assert_eq!(counts.losses().collect::<Vec<_>>(), [("decisions_torn", 1)]);
    let whole = told(store.path());
    assert_eq!((whole.stories.len(), whole.reading.unreadable, whole.reading.unfinished), (22, 0, 0));
}

#[test]
fn a_log_of_another_version_is_moved_aside_and_refused() {
    let store = tempfile::tempdir().unwrap();
    written(store.path(), 64 << 20, 3).close();
    let file = files(store.path())[0].clone();
    let mut bytes = fs::read(&file).unwrap();
    bytes.splice(..super::frame::HEAD_BYTES, super::frame::head(super::record::FORMAT + 1, 0));
    fs::write(&file, &bytes).unwrap();
    let refused = story::tell(store.path(), None).unwrap_err().to_string();
    assert!(refused.starts_with("error[decisions/foreign-version]: "), "{refused}");
    written(store.path(), 64 << 20, 4).close();
    assert_eq!(told(store.path()).stories.len(), 4);
    assert_eq!(fs::read(store.path().join("decisions.foreign-1").join(file.file_name().unwrap())).unwrap(), bytes);
    let none = story::tell(&store.path().join("nothing"), None).unwrap_err().to_string();
    assert!(none.starts_with("error[decisions/none]: "), "{none}");
}

#[test]
fn two_do_not_write_one_log() {
    let store = tempfile::tempdir().unwrap();
    let first = written(store.path(), 64 << 20, 3);
    // It is open once its first record is there.
    while !story::tell(store.path(), None).is_ok_and(|told| told.stories.len() == 3) {
        std::thread::yield_now();
    }
    let second = written(store.path(), 64 << 20, 5);
    let counts = second.counts.clone();
    second.close();
    assert_eq!(counts.losses().collect::<Vec<_>>(), [("decisions_dropped", 5)]);
    first.close();
    assert_eq!(told(store.path()).stories.len(), 3);
}

/// Whatever happens to the bytes, every record that is whole is read, and what is not is counted.
#[test]
fn damage_anywhere_costs_what_it_hits_and_is_counted() {
    let store = tempfile::tempdir().unwrap();
    written(store.path(), 64 << 20, 60).close();
    let file = files(store.path())[0].clone();
    let whole = fs::read(&file).unwrap();
    let all = told(store.path()).reading.records;
    let mut dice = StdRng::seed_from_u64(13);
    let damaged = tempfile::tempdir().unwrap();
    let place = damaged.path().join(file.file_name().unwrap());
    for round in 0..3_000 {
        let mut bytes = whole.clone();
        let flips = dice.random_range(0..4);
        for _ in 0..flips {
            let at = dice.random_range(0..bytes.len());
            bytes[at] ^= 1 << dice.random_range(0..8);
        }
        let cut = dice.random_bool(0.5);
        if cut {
            bytes.truncate(dice.random_range(0..bytes.len()));
        }
        fs::write(&place, &bytes).unwrap();
        let reading = match read::read(&place, |_, _| {}) {
            Ok(reading) => reading,
            Err(error) => panic!("round {round}: {error}"),
        };
        // A flip spoils one record, or what was the end of the file.
        let found = reading.records + reading.unreadable;
        assert!(found <= all && reading.unreadable <= flips, "round {round}: {reading:?} of {all}");
        if !cut {
            let at_the_end = u64::from(reading.unfinished > 0) * flips;
            assert!(found + at_the_end >= all, "round {round}: {reading:?} of {all}");
        }
        // Nor does anything that is made of it.
        let _ = story::tell(&place, None);
    }
}

#[test]
fn bytes_that_were_never_a_log_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("0.log");
    let mut dice = StdRng::seed_from_u64(17);
    for _ in 0..300 {
        let bytes: Vec<u8> = (0..dice.random_range(0..2_000)).map(|_| dice.random()).collect();
        fs::write(&path, &bytes).unwrap();
        let reading = read::read(&path, |_, _| {}).unwrap();
        assert_eq!(reading.records, 0);
    }
}

/// Keys, and what kind of value each has.
fn shape(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Object(fields) => {
            let fields: Vec<String> = fields.iter().map(|(key, value)| format!("{key}:{}", shape(value))).collect();
            format!("{{{}}}", fields.join(","))
        }
        serde_json::Value::Array(items) => format!("[{}]", items.first().map(shape).unwrap_or_default()),
        serde_json::Value::String(_) => "s".to_owned(),
        serde_json::Value::Number(_) => "n".to_owned(),
        serde_json::Value::Bool(_) => "b".to_owned(),
        serde_json::Value::Null => "0".to_owned(),
    }
}

/// A field more or less, in any type that is logged, makes another format: raise `FORMAT`, then write the new hash here.
#[test]
fn another_shape_is_another_format() {
    let store = tempfile::tempdir().unwrap();
    let log = start(store.path(), 64 << 20);
    let policy = policy(1);
    let seen = Observation::Scores(vec![1.0, 1.1]);
    // Not sure, and to be amended: every part of a decision is there.
    let policy = Policy { amends: true, at_once: true, ..policy };
    let around = around(true);
    let decision = decide(&seen, &policy, &around);
    assert!(decision.later.is_some() && decision.rated.is_some() && decision.evidence.promise.is_some());
    let decided = Decided { key: Key(0), model: ModelId(0), seen, policy, around, decision };
    log.write(Errand::Decided { job: JobId::new("a").unwrap(), decided: Box::new(decided) });
    log.close();
    let mut shapes = String::new();
    read::read(store.path(), |_, entry| shapes += &shape(&serde_json::to_value(entry).unwrap())).unwrap();
    let hash = format!("{:08x}", crc32fast::hash(shapes.as_bytes()));
    assert_eq!((super::record::FORMAT, hash.as_str()), (1, "9362f8d3"), "{shapes}");
}
