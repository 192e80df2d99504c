//! The provider against small servers that answer as the test says.

use std::time::{Duration, Instant};

use bytes::Bytes;
use picket_core::{job::JobId, limits, time::Span};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::config::section::Source;

fn configure(text: &str) -> Result<ProviderSetup, ConfigError> {
    let table = toml::de::DeTable::parse(text).unwrap();
    let span = table.span();
    let value = toml::Spanned::new(span, toml::de::DeValue::Table(table.into_inner()));
    let source = Arc::new(Source::new("picket.toml", text));
    Oip.configure(Section { source, value })
}

fn section(url: &str, more: &str) -> String {
    format!("name = \"hq\"\nkind = \"oip\"\nurl = \"{url}\"\nmodel = \"digits large\"\n{more}")
}

fn question(timeout_ms: u64) -> Question {
    Question {
        id: JobId::new("a/1").unwrap(),
        inputs: vec![Tensor::from_f32("x", vec![1, 2], &[1.0, 2.0]).unwrap()],
        labels: ["cat", "dog", "bird"].map(str::to_owned).into(),
        timeout: Span::from_millis(timeout_ms),
    }
}

/// Reads one request; its head and body.
async fn request(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.to_lowercase().lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap()];
    stream.read_exact(&mut body).await.unwrap();
    (head, body)
}

fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// Asks a server that takes one request and answers with these bytes.
async fn ask(bytes: Vec<u8>) -> Result<Upstream, Fault> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        request(&mut stream).await;
        stream.write_all(&bytes).await.unwrap();
        stream.shutdown().await.unwrap();
    });
    let result = configure(&section(&url, "")).unwrap().provider.ask(question(2_000)).await;
    server.await.unwrap();
    result
}

async fn ask_json(json: &str) -> Result<Upstream, Fault> {
    ask(answer("200 OK", "", json.as_bytes())).await
}

fn scores(values: &str) -> String {
    format!(r#"{{"outputs":[{{"name":"s","shape":[1,3],"datatype":"FP32","data":{values}}}]}}"#)
}

fn kind(result: Result<Upstream, Fault>) -> ProviderFault {
    result.expect_err("no usable answer").0
}

#[tokio::test]
async fn a_bigger_picket_names_the_label() {
    let upstream = ask_json(
        r#"{"model_name":"digits-large","model_version":"7","parameters":{"label":"dog","confidence":0.875},"outputs":[]}"#,
    );
    let upstream = upstream.await.unwrap();
    assert_eq!((upstream.index, upstream.confidence, &*upstream.model), (1, Some(0.875), "digits-large 7"));
}

#[tokio::test]
async fn a_plain_server_gives_scores() {
    let probabilities = ask_json(&scores("[0.1,0.2,0.7]")).await.unwrap();
    assert_eq!((probabilities.index, probabilities.confidence), (2, Some(0.7)));
    let logits = ask_json(&scores("[1000,-5,1000]")).await.unwrap();
    assert_eq!((logits.index, logits.confidence), (0, Some(0.5)), "the first of equals");
}

#[tokio::test]
async fn tensors_go_and_come_binary() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/base/", listener.local_addr().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "s3cret\n").unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (head, body) = request(&mut stream).await;
        let form = crate::ports::OutputForm { binary_by_default: true, requested: Vec::new() };
        let outputs = [Tensor::from_f32("s", vec![3], &[0.0, 1.0, 0.0]).unwrap()];
        let (payload, json_len) = oip::infer_response("m", "", "a/1", Map::new(), &outputs, &form);
        let header = format!("Inference-Header-Content-Length: {}\r\n", json_len.unwrap());
        stream.write_all(&answer("200 OK", &header, &payload)).await.unwrap();
        (head.to_lowercase(), Bytes::from(body))
    });
    let provider = configure(&section(&url, &format!("token_file = {token:?}"))).unwrap().provider;
    let upstream = provider.ask(question(2_000)).await.unwrap();
    assert_eq!((upstream.index, upstream.outputs[0].to_f32()), (1, vec![0.0, 1.0, 0.0]));
    let (head, body) = server.await.unwrap();
    assert!(head.starts_with("post /base/v2/models/digits%20large/infer "), "{head}");
    assert!(head.contains("authorization: bearer s3cret\r\n"), "{head}");
    let json_len = head.lines().find_map(|line| line.strip_prefix("inference-header-content-length: ")?.parse().ok());
    let json_len: usize = json_len.unwrap();
    let inputs = oip::decode_inputs(&body[..json_len], &body.slice(json_len..)).unwrap();
    assert_eq!(inputs, question(1).inputs);
    let options = oip::envelope(&body[..json_len]).unwrap().options().unwrap();
    assert_eq!((options.id.unwrap().as_str(), options.deadline), ("a/1", Some(Span::from_millis(2_000))));
}

#[tokio::test]
async fn an_unusable_answer_is_a_bad_one() {
    for json in [
        "",
        "{",
        "<html>please log in</html>",
        r#"{"outputs":[]}"#,
        r#"{"parameters":{"label":"fish"},"outputs":[]}"#,
        r#"{"outputs":[{"name":"s","shape":[2],"datatype":"FP32","data":[0,1]}]}"#,
        &scores("[null,0,1]"),
        &scores("[0,1]"),
    ] {
        assert_eq!(kind(ask_json(json).await), ProviderFault::BadAnswer, "{json}");
    }
    let beyond = answer("200 OK", "Inference-Header-Content-Length: 999\r\n", b"{}");
    assert_eq!(kind(ask(beyond).await), ProviderFault::BadAnswer);
    assert_eq!(kind(ask(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()).await), ProviderFault::BadAnswer);
}

#[tokio::test]
async fn a_refusal_is_told_with_its_reason() {
    let (fault, why) = ask(answer("503 Service Unavailable", "", br#"{"error":"job/shed: busy"}"#)).await.unwrap_err();
    assert_eq!(fault, ProviderFault::Refused);
    assert!(why.contains("503") && why.contains("job/shed: busy"), "{why}");
    assert_eq!(kind(ask(answer("500 Oops", "", b"<html>")).await), ProviderFault::Refused);
    let elsewhere = answer("302 Found", "Location: http://127.0.0.1:1/\r\n", b"");
    assert_eq!(kind(ask(elsewhere).await), ProviderFault::Refused, "no redirect is followed");
}

#[tokio::test]
async fn silence_ends_with_the_patience() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let provider = configure(&section(&url, "")).unwrap().provider;
    let started = Instant::now();
    let result = provider.ask(question(150)).await;
    assert_eq!(kind(result), ProviderFault::TooSlow);
    assert!(started.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        let mut sent = 0usize;
        while stream.write_all(&[b' '; 65_536]).await.is_ok() {
            sent += 65_536;
        }
        sent
    });
    let result = configure(&section(&url, "")).unwrap().provider.ask(question(5_000)).await;
    assert_eq!(kind(result), ProviderFault::BadAnswer);
    let sent = server.await.unwrap();
    assert!(sent < limits::MAX_PROVIDER_BYTES + (16 << 20), "the sockets' buffers and no more, not {sent} bytes");
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let provider = configure(&section(&format!("http://{address}"), "")).unwrap().provider;
    assert_eq!(kind(provider.ask(question(2_000)).await), ProviderFault::Unreachable);
    assert_eq!(kind(ask(Vec::new()).await), ProviderFault::Unreachable, "it hung up without a word");
}

#[test]
fn a_section_is_checked() {
    let good = configure(&section("http://127.0.0.1:8471", "cost = { call = 0.0 }")).unwrap();
    assert_eq!((&*good.name, good.timeout), ("hq", Span::from_millis(2_000)));
    assert_eq!(configure(&section("http://x", "timeout_ms = 500")).unwrap().timeout, Span::from_millis(500));
    for (url, more, part) in [
        ("127.0.0.1:8471", "", "no URL"),
        ("ftp://x", "", "http://"),
        ("http://user:secret@x", "", "token_file"),
        ("http://x?y=1", "", "http://"),
        ("http://x", "timeout_ms = 0", "timeout_ms"),
        ("http://x", "timeout_ms = -1", "invalid value"),
        ("http://x", "cost = { call = -0.01 }", "a price is a number of at least 0"),
        ("http://x", "cost = { token = 0.0 }", "unknown key"),
        ("http://x", "token_file = \"/nowhere/token\"", "/nowhere/token"),
        ("http://x", "modell = \"y\"", "`model`"),
    ] {
        let error = configure(&section(url, more)).err().expect("a mistake");
        assert!(error.message.contains(part), "{url} {more}: {error}");
        let family = if more.contains("token_file") { "secret/missing" } else { "config/" };
        assert!(error.code.starts_with(family) && error.place.starts_with("picket.toml:"), "{error}");
    }
}
