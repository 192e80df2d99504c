use super::*;

fn question() -> Question {
    Question {
        created: "2026-11-23T10:00:00Z".into(),
        task: "classify".into(),
        model_sha256: "aa".into(),
        preprocess_sha256: "bb".into(),
        labels: vec!["ok".into(), "scratch".into()],
        score: ScoreRule::Softmax { temperature: 0.7 },
        promise: Promise { alpha: 0.02, delta: 0.05 },
        round: 1,
        classes: Vec::new(),
        given: 1_100,
        choosing: 0,
        data_sha256: "cc".into(),
        label_source: LabelSource::Human,
    }
}

/// Scores 0 to 1 in even steps; each tenth of the lower half is wrong, and every other case is of class 1.
fn cases(n: u16) -> Vec<Case> {
    let case =
        |at| Case { s: f32::from(at) / f32::from(n), class: usize::from(at % 2), wrong: at < n / 2 && at % 10 == 0 };
    (0..n).map(case).collect()
}

#[test]
fn what_is_issued_is_in_force_after_reading_it_back() {
    let issued = Calibration::issue(&question(), &cases(1_000)).unwrap();
    // Round 1 has δ 0.0304: 11 of 1000 may be wrong at 2 % (escalation.md 2.3).
    assert_eq!((issued.promise.k_max, issued.promise.wrong), (11, 11));
    let certified = issued.certified("sha256:0").unwrap();
    assert_eq!(certified.lambda(0), issued.promise.lambda);
    assert_eq!(certified.lambda(2), f32::INFINITY, "there is no such class");
    assert!(issued.fits("aa", "bb") && !issued.fits("aa", "b") && !issued.fits("a", "bb"));
    let scores = cases(1_000).into_iter().map(|case| case.s);
    assert_eq!(issued.monitor.scores, Reference::of(scores));
}

#[test]
fn the_sentence_has_the_numbers_of_the_sample() {
    let said = Calibration::issue(&question(), &cases(1_000)).unwrap().sentence;
    assert!(said.starts_with("This model was tested on 1000 labelled cases. With 95 % confidence, at most 2 requests in 100 get a wrong answer"), "{said}");
    let agreed = Question { label_source: LabelSource::Provider, ..question() };
    let said = Calibration::issue(&agreed, &cases(1_000)).unwrap().sentence;
    assert!(said.contains("differs from the provider's"), "{said}");
}

#[test]
fn a_promise_for_a_class_only_makes_its_threshold_higher() {
    let mut question = question();
    let pooled = Calibration::issue(&question, &cases(1_000)).unwrap().certified("").unwrap();
    for (alpha, stricter) in [(0.02, true), (0.4, false)] {
        question.classes = vec![ClassPromise { class: 0, alpha }];
        let own = Calibration::issue(&question, &cases(1_000)).unwrap().certified("").unwrap();
        assert_eq!(own.lambda(0) > pooled.lambda(0), stricter, "alpha {alpha}");
        assert!(own.lambda(0) >= pooled.lambda(0));
        assert_eq!(own.lambda(1), pooled.lambda(1));
    }
}

#[test]
fn too_few_cases_of_a_class_are_too_few() {
    let question = Question { classes: vec![ClassPromise { class: 1, alpha: 0.001 }], ..question() };
    assert!(Calibration::issue(&question, &cases(1_000)).unwrap_err().needed > 2_995);
}

#[test]
fn numbers_that_were_made_up_are_refused() {
    let issued = Calibration::issue(&question(), &cases(1_000)).unwrap();
    type Mutation = (&'static str, fn(&mut Calibration));
    let mutations: [Mutation; 7] = [
        ("format", |c| c.format = "esc-cal/2".into()),
        ("form", |c| c.promise.form = "selective".into()),
        ("delta_round", |c| c.promise.delta_round = 0.05),
        ("do not allow", |c| c.promise.alpha = 0.001),
        ("do not allow", |c| c.sample.n = 100),
        ("lambda", |c| c.promise.lambda = f32::NAN),
        ("score", |c| c.score.kind = "gut feeling".into()),
    ];
    for (part, mutate) in mutations {
        let mut wrong = issued.clone();
        mutate(&mut wrong);
        let why = wrong.certified("").unwrap_err();
        assert!(why.contains(part), "{part}: {why}");
    }
}

#[test]
fn the_next_certificate_has_less_of_delta_and_says_whose_labels_it_has() {
    let first = Calibration::issue(&question(), &cases(1_000)).unwrap().certified("sha256:0").unwrap();
    // δ 0.0076 and 2 %: 242 cases without a wrong one.
    assert_eq!(first.cases_for_the_next(), 242);
    assert!(first.again(&cases(241)).is_err());
    let second = first.again(&cases(1_000)).unwrap();
    assert_eq!((second.round, second.label_source, second.promise), (2, LabelSource::Provider, first.promise));
    assert!(second.lambda(0) > first.lambda(0), "the same cases, and less of δ");
    assert_eq!(second.digest, "sha256:0+2");
    assert_eq!(second.again(&cases(1_000)).unwrap().digest, "sha256:0+3");
}
