//! Our requests in the eyes of the vendors' own Python packages, and their answers in ours.
//!
//! Needs Python with `tests/requirements.txt`; `tests/run` makes one and names it in `PICKET_TEST_PYTHON`.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use picket_core::escalation::money::Money;

use super::{
    ProviderKind,
    anthropic::Anthropic,
    openai::OpenAi,
    tests_support::{Server, answer, configure, question},
};
use crate::tensor::Tensor;

const CHECK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/provider/sdk_check.py");

/// Has a request checked; what the package would have been told.
fn checked(vendor: &str, request: &[u8]) -> Result<Vec<u8>, String> {
    let python = std::env::var("PICKET_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let mut child = Command::new(&python)
        .args([CHECK, vendor])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|why| format!("{python}: {why}"))?;
    child.stdin.take().unwrap().write_all(request).map_err(|why| why.to_string())?;
    let output = child.wait_with_output().unwrap();
    if output.status.success() { Ok(output.stdout) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_vendors_own_types_take_every_question_and_make_the_answer() {
    let image = "image = { width = 1, height = 2, range = [1.0, 2.0] }";
    let cases: [(&dyn ProviderKind, &str); 9] = [
        (&OpenAi, ""),
        (&OpenAi, "structured = \"json-object\"\nmax_tokens_field = \"max_completion_tokens\"\ntemperature = 0.0"),
        (&OpenAi, "structured = \"none\"\nmax_tokens = 5"),
        (&OpenAi, image),
        (&Anthropic, ""),
        (&Anthropic, "structured = \"none\""),
        (&Anthropic, "structured = \"json-schema\""),
        (&Anthropic, "max_tokens = 5"),
        (&Anthropic, image),
    ];
    for (kind, more) in cases {
        let server = Server::start(move |_, _, request| match checked(kind.name(), request) {
            Ok(body) => answer("200 OK", "Content-Type: application/json\r\n", &body),
            Err(why) => answer("400 Bad Request", "", why.as_bytes()),
        })
        .await;
        let more = format!("cost = {{ input_token = 1e-6, output_token = 3e-6 }}\n{more}");
        let mut question = question(120_000);
        question.inputs.push(Tensor::from_f32("y", vec![2, 1], &[1.0, 2.0]).unwrap());
        let upstream = configure(kind, &server.url, &more).unwrap().provider.ask(question).await;
        let upstream = upstream.unwrap_or_else(|(_, why)| panic!("{} {more}: {why}", kind.name()));
        assert_eq!((upstream.said.class(), &*upstream.model), (1, "model-of-the-test"), "{} {more}", kind.name());
        assert_eq!(upstream.cost, Some(Money::from_nanos(1_200_000 + 9 * 3_000)), "{} {more}", kind.name());
    }
}

/// The check would find a request that the vendors do not take.
#[test]
fn a_wrong_request_does_not_pass() {
    for (vendor, request, part) in [
        ("openai", r#"{"model":"m"}"#, "messages"),
        ("openai", r#"{"model":"m","messages":[{"role":"user","content":"x"}],"max_token":5}"#, "max_token"),
        (
            "openai",
            r#"{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":"data:"}]}]}"#,
            "image_url",
        ),
        ("anthropic", r#"{"model":"m","messages":[]}"#, "max_tokens"),
        (
            "anthropic",
            r#"{"model":"m","max_tokens":5,"messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/bmp","data":"AA=="}}]}]}"#,
            "media_type",
        ),
    ] {
        let why = checked(vendor, request.as_bytes()).unwrap_err();
        assert!(why.contains(part), "{vendor} {request}: {why}");
    }
}
