//! What all language models share: configuration, price, the question's form, and answers of every kind.

use picket_core::{ProviderFault, escalation::money::Money, limits, time::Span};
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::{
    provider::{
        ProviderKind,
        anthropic::Anthropic,
        openai::OpenAi,
        tests_support::{Server, ask, configure, dog, fault, question},
    },
    tensor::Tensor,
};

static MODELS: [&dyn ProviderKind; 2] = [&OpenAi, &Anthropic];

const IMAGE: &str = "image = { width = 8, height = 8, channels = 1, range = [0.0, 16.0] }";

#[test]
fn a_section_is_checked() {
    for kind in MODELS {
        let good = configure(kind, "https://models.example/v1", "max_tokens = 100").unwrap();
        assert_eq!((&*good.name, good.timeout), ("hq", Span::from_millis(20_000)));
        assert_eq!(good.cost, Money::ZERO, "what has no price is free");
        for (url, more, part) in [
            ("models.example", "", "no URL"),
            ("http://user:secret@x", "", "key_file"),
            ("http://x", "key_file = \"/nowhere/key\"", "/nowhere/key"),
            ("http://x", "timeout_ms = 0", "timeout_ms"),
            ("http://x", "max_tokens = 0", "max_tokens"),
            ("http://x", "max_tokens = 99999999", "max_tokens"),
            ("http://x", "max_input_tokens = 100", "max_input_tokens"),
            ("http://x", "send = \"image\"", "image = {"),
            ("http://x", "send = \"pictures\"", "unknown"),
            ("http://x", &format!("send = \"numbers\"\n{IMAGE}"), "numbers are sent"),
            ("http://x", "image = { width = 8, height = 0 }", "1 to 2048"),
            ("http://x", "image = { width = 8, hight = 8 }", "`height`"),
            ("http://x", "cost = { input_token = -1.0 }", "a price"),
            ("http://x", "cost = { token = 1.0 }", "unknown key"),
            ("http://x", "structured = \"xml\"", "unknown"),
            ("http://x", "promt = \"x\"", "`prompt`"),
        ] {
            let error = configure(kind, url, more).err().expect("a mistake");
            assert!(error.message.contains(part), "{} {url} {more}: {error}", kind.name());
            assert!(error.place.starts_with("picket.toml:"), "{error}");
        }
    }
}

#[tokio::test]
async fn a_call_costs_what_was_used_and_never_more_than_was_put_aside() {
    let prices = "cost = { input_token = 0.15e-6, output_token = 0.60e-6, call = 0.001 }\nmax_tokens = 50";
    for kind in MODELS {
        let server = Server::saying(dog(kind)).await;
        let given = configure(kind, &server.url, &format!("max_input_tokens = 4000\n{prices}")).unwrap();
        assert_eq!(given.cost, Money::from_nanos(4_000 * 150 + 50 * 600 + 1_000_000));
        let upstream = given.provider.ask(question(5_000)).await.unwrap();
        assert_eq!(upstream.cost, Some(Money::from_nanos(100 * 150 + 7 * 600 + 1_000_000)), "{}", kind.name());
        assert_eq!((upstream.confidence, &*upstream.model), (None, "big"));

        let (plain, seeing) = (
            configure(kind, "http://x", prices).unwrap(),
            configure(kind, "http://x", &format!("{IMAGE}\n{prices}")).unwrap(),
        );
        assert!(plain.cost >= Money::from_nanos(limits::QUESTION_TOKENS * 150) && seeing.cost > plain.cost);
    }
}

#[tokio::test]
async fn a_question_that_does_not_fit_is_not_sent() {
    for kind in MODELS {
        let server = Server::saying(dog(kind)).await;
        let mut many = question(5_000);
        many.inputs = vec![Tensor::from_f32("x", vec![20_000], &[0.25; 20_000]).unwrap()];
        let mut huge = question(5_000);
        huge.inputs = vec![Tensor::from_f32("x", vec![4_000_000], &[0.0; 4_000_000]).unwrap()];
        let mut nameless = question(5_000);
        nameless.labels = Vec::new().into();
        let mut wordy = question(5_000);
        wordy.labels = (0..10_000).map(|i| format!("label {i}")).collect();
        for (more, question, part) in [
            ("", many, "max_input_tokens"),
            ("", huge, "max_input_tokens"),
            ("", nameless, "no labels"),
            ("", wordy, "max_input_tokens"),
            (IMAGE, question(5_000), "1x2 FP32"),
        ] {
            let provider = configure(kind, &server.url, more).unwrap().provider;
            let (kind_of_fault, why) = provider.ask(question).await.unwrap_err();
            assert_eq!(kind_of_fault, ProviderFault::Unsuited, "{}: {why}", kind.name());
            assert!(why.contains(part), "{why}");
        }
        assert_eq!(server.asked(), 0);
    }
}

/// However an answer is mangled on its way: no panic, and no label that does not stand in it.
#[tokio::test]
async fn mangled_answers_are_read_or_refused() {
    let seed: u64 = 20_261_124;
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    for kind in MODELS {
        let whole = dog(kind);
        let start = whole.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        let head = &whole[..start];
        let (mut read, mut refused) = (0, 0);
        let (sender, receiver) = std::sync::mpsc::sync_channel::<Vec<u8>>(1);
        let receiver = std::sync::Mutex::new(receiver);
        let server = Server::start(move |_, _, _| receiver.lock().unwrap().recv().unwrap()).await;
        let provider = configure(kind, &server.url, "").unwrap().provider;
        for _ in 0..300 {
            let mut body = whole[start..].to_vec();
            for _ in 0..rng.random_range(1..4) {
                if body.is_empty() {
                    break;
                }
                let at = rng.random_range(0..body.len());
                match rng.random_range(0..4) {
                    0 => body[at] = rng.random(),
                    1 => body.insert(at, b"{}[]\",:0-\\"[rng.random_range(0..10)]),
                    2 => drop(body.remove(at)),
                    _ => body.truncate(at.max(1)),
                }
            }
            let length = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            assert!(!head.is_empty());
            sender.send([length.as_bytes(), &body].concat()).unwrap();
            match provider.ask(question(5_000)).await {
                Ok(upstream) => {
                    read += 1;
                    let label = ["cat", "dog", "bird"][upstream.said.class()];
                    let text = String::from_utf8_lossy(&body).to_lowercase();
                    assert!(text.contains(label) || text.contains("\\u"), "{label} from {text}");
                }
                Err((kind_of_fault, _)) => {
                    refused += 1;
                    assert_eq!(kind_of_fault, ProviderFault::BadAnswer);
                }
            }
        }
        assert!(read > 10 && refused > 10, "{read} read, {refused} refused: one side was hardly tried");
    }
}

#[tokio::test]
async fn an_answer_without_a_usable_count_costs_what_it_may() {
    for kind in MODELS {
        for (from, to) in [("100", "-100"), ("100", "\"many\""), (":7", ":0.5"), ("\"usage\"", "\"usages\"")] {
            let text = String::from_utf8(dog(kind)).unwrap().replace(from, to);
            let body = text.split_once("\r\n\r\n").unwrap().1;
            let upstream =
                ask(kind, crate::provider::tests_support::answer("200 OK", "", body.as_bytes())).await.unwrap();
            assert_eq!((upstream.said.class(), upstream.cost), (1, None), "{} {to}", kind.name());
        }
        let text = String::from_utf8(dog(kind)).unwrap().replace("dog", "ferret");
        let body = text.split_once("\r\n\r\n").unwrap().1;
        let bytes = crate::provider::tests_support::answer("200 OK", "", body.as_bytes());
        assert_eq!(fault(ask(kind, bytes).await), ProviderFault::BadAnswer);
    }
}
