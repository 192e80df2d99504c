use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};

use super::*;

fn labels(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_label_is_found_in_whatever_form_it_comes() {
    let labels = labels(&["cat", "dog", "wild cat", "7", "No defect"]);
    for (text, index) in [
        ("cat", 0),
        ("  Dog.\n", 1),
        ("\"dog\"", 1),
        ("**dog**", 1),
        (r#"{"label":"dog"}"#, 1),
        (r#"{"label":" DOG ","confidence":0.99}"#, 1),
        (r#"{"label":7}"#, 3),
        ("```json\n{\"label\": \"wild cat\"}\n```", 2),
        (r#""dog""#, 1),
        ("This is a dog, I think: a dog.", 1),
        ("A wild cat!", 2),
        ("The digit is 7.", 3),
        ("<think>a dog? a cat? not a dog</think>\ncat", 0),
        ("no defect", 4),
        ("I see no defect here.", 4),
    ] {
        assert_eq!(find(text, &labels), Ok(index), "{text:?}");
    }
}

#[test]
fn what_is_not_clear_is_no_label() {
    let known = labels(&["cat", "dog", "wild cat", "7", "x-1"]);
    for (text, why) in [
        ("", NoLabel::None),
        ("   ", NoLabel::None),
        ("a bird", NoLabel::None),
        ("concatenate the dogs", NoLabel::None),
        ("17", NoLabel::None),
        ("7.5 or -7, 8x7, 3,7", NoLabel::None),
        (r#"{"label":"bird"}"#, NoLabel::None),
        (r#"{"labels":["cat"]}"#, NoLabel::None),
        (r#"{"label":["cat"]}"#, NoLabel::None),
        (r#"{"label":"cat or dog"}"#, NoLabel::None),
        ("cat or dog", NoLabel::Several),
        ("a wild cat is a cat", NoLabel::Several),
        ("It is not a cat.", NoLabel::Denied),
        ("That isn't a dog", NoLabel::Denied),
    ] {
        assert_eq!(find(text, &known), Err(why), "{text:?}");
    }
    assert_eq!(find("A", &labels(&["a", "A"])), Ok(1), "the exact one first");
    assert_eq!(find("Ab", &labels(&["ab", "AB"])), Err(NoLabel::Several));
    assert_eq!(find("anything", &labels(&["", " "])), Err(NoLabel::None));
    assert_eq!(find(&"cat ".repeat(100_000), &known), Err(NoLabel::TooLong));
}

/// Whatever a model writes: no panic, and no label that is not in what it wrote.
#[test]
fn no_label_comes_from_nowhere() {
    let seed: u64 = 20_261_124;
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let pieces = [
        "cat",
        "Cat",
        "dog",
        "wild cat",
        "7",
        "17",
        "ß",
        "SS",
        "İ",
        "i̇",
        "{\"label\":",
        "\"",
        "}",
        "```",
        "\n",
        " ",
        ",",
        ".",
        "not",
        "</think>",
        "-",
        "\u{0}",
        "😀",
        "e\u{301}",
        "İi",
        "K",
        "null",
        "[",
        "]",
        "\\u00",
        ":",
    ];
    let (mut found, mut refused) = (0, 0);
    for _ in 0..20_000 {
        let mut text = |most: usize| -> String {
            (0..rng.random_range(0..=most)).map(|_| *pieces.choose(&mut rng).unwrap()).collect()
        };
        let labels: Vec<String> = (0..4).map(|_| text(2)).collect();
        let text = text(12);
        match find(&text, &labels) {
            Ok(index) => {
                found += 1;
                let (there, label) = (text.to_lowercase(), labels[index].to_lowercase());
                let label = label.trim();
                let escaped = serde_json::to_string(label).unwrap();
                assert!(there.contains(label) || there.contains(escaped.trim_matches('"')), "{text:?} is no {label:?}");
                assert!(!label.is_empty(), "{text:?}");
            }
            Err(_) => refused += 1,
        }
    }
    assert!(found > 100 && refused > 100, "{found} found, {refused} refused: one side was hardly tried");
}
