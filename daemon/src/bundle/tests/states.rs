//! `[[state]]`, `[[constant]]`, `[stream]` and windows in a manifest.

use super::*;
use crate::{bundle::states::State, ports::Constant};

/// The good bundle's manifest with this before its prepare steps.
fn with(more: &str) -> String {
    GOOD.replacen("[[prepare]]", &format!("{more}\n[[prepare]]"), 1)
}

const STATE: &str = "[[state]]\ninput = \"h\"\noutput = \"hn\"\nshape = [1, 4]\ninit = 0.5\n";
const CONSTANT: &str = "[[constant]]\ninput = \"sr\"\nvalue = [16000, 1.5]\n";

#[test]
fn states_and_constants_are_read_and_belong_to_what_is_certified() {
    let plain = Bundle::read(Site::new(GOOD).folder.path()).unwrap();
    let bundle = Bundle::read(Site::new(&with(&format!("{STATE}{CONSTANT}"))).folder.path()).unwrap();
    let state = State { input: "h".into(), output: "hn".into(), shape: Some(vec![1, 4]), init: 0.5 };
    let constant = Constant { input: "sr".into(), values: vec![16_000.0, 1.5] };
    assert_eq!((&bundle.states[..], &bundle.constants[..]), (&[state][..], &[constant][..]));
    assert!(bundle.remembers() && !plain.remembers());
    let digest = |bundle: &Bundle| calibration::preprocess_sha256(bundle);
    assert_ne!(digest(&bundle), digest(&plain));
    let other =
        Bundle::read(Site::new(&with(&format!("{STATE}{CONSTANT}").replace("1.5", "2.5"))).folder.path()).unwrap();
    assert_ne!(digest(&bundle), digest(&other), "another constant is another model");
}

#[test]
fn what_cannot_be_a_state_is_named_with_its_place() {
    for (more, says) in [
        (STATE.replace("\"h\"", "\"pixels\""), "input `pixels` is there already"),
        (STATE.replace("\"hn\"", "\"logits\""), "output `logits` is there already"),
        (STATE.repeat(2), "input `h` is there already"),
        (STATE.replace("0.5", "inf"), "`init` must be finite"),
        (STATE.replace("[1, 4]", "[0]"), "dimensions of at least 1"),
        (format!("{CONSTANT}{}", STATE.replace("\"h\"", "\"sr\"")), "input `sr` is there already"),
        ("[stream]\nage_ms = 5\n".to_owned(), "nothing is kept between jobs"),
        (format!("{STATE}[stream]\nage_ms = 0\n"), "`age_ms` is a number from 1 to 86400000"),
    ] {
        let line = Site::new(&with(&more)).mistake();
        assert!(line.starts_with("error[bundle/invalid]: SITE/bundle.toml:") && line.contains(says), "{line}");
    }
}

#[test]
fn a_bundle_has_one_window_and_it_has_a_length() {
    let window = "[[prepare]]\nstep = \"window\"\n";
    for (more, says) in [
        (format!("{window}length = 1\n{window}length = 1"), "there is a window already"),
        (format!("{window}length = 0"), "at least 1"),
        (format!("{window}length = 4\npad = 4"), "`pad` is less than `length`"),
        (format!("{window}length = 4\nper = \"day\""), "\"stream\" or \"job\""),
    ] {
        let line = Site::new(&with(&more)).mistake();
        assert!(line.contains(says), "{line}");
    }
}

#[test]
fn inputs_of_the_model_may_be_constant() {
    let site =
        |constant: &str| Site::new(&GOOD.replace("[[output]]", &format!("[[constant]]\n{constant}\n[[output]]")));
    let with = |constant: &str| Bundle::read(site(constant).folder.path()).unwrap();
    let bundle = with("input = \"sr\"\nvalue = 16000");
    assert_eq!(bundle.constants, [Constant { input: "sr".to_owned(), values: vec![16_000.0] }]);
    let bundle = with("input = \"mask\"\nvalue = [true, false, 0.5]");
    assert_eq!(bundle.constants[0].values, [1.0, 0.0, 0.5]);
    for (constant, why) in [
        ("input = \"pixels\"\nvalue = 1", "`pixels` is an [[input]], which jobs bring"),
        ("input = \"a\"\nvalue = 1\n[[constant]]\ninput = \"a\"\nvalue = 2", "`a` is constant already"),
        ("input = \"a\"\nvalue = \"b\"", "`value` is a number"),
        ("input = \"a\"\nvalue = 9007199254740993", "`value` is a number"),
        ("input = \"a\"\nvalue = []", "0 values make no tensor"),
    ] {
        let mistake = site(constant).mistake();
        assert!(mistake.starts_with("error[bundle/invalid]") && mistake.contains(why), "{mistake}");
    }
}
