//! The Open Inference Protocol's own: what is asked, and how its answers are read.

use bytes::Bytes;
use picket_core::{ProviderFault, said::Measure, time::Span};

use super::*;
use crate::provider::tests_support::{self, Server, answer, fault, question};

async fn ask(bytes: Vec<u8>) -> Result<Upstream, Fault> {
    tests_support::ask(&Oip, bytes).await
}

fn configure(url: &str, more: &str) -> Result<ProviderSetup, ConfigError> {
    tests_support::configure(&Oip, url, more)
}

async fn ask_json(json: &str) -> Result<Upstream, Fault> {
    ask(answer("200 OK", "", json.as_bytes())).await
}

fn scores(values: &str) -> String {
    format!(r#"{{"outputs":[{{"name":"s","shape":[1,3],"datatype":"FP32","data":{values}}}]}}"#)
}

#[tokio::test]
async fn a_bigger_picket_names_the_label() {
    let upstream = ask_json(
        r#"{"model_name":"digits-large","model_version":"7","parameters":{"label":"dog","confidence":0.875},"outputs":[]}"#,
    );
    let upstream = upstream.await.unwrap();
    assert_eq!((upstream.said.class(), upstream.confidence, &*upstream.model), (1, Some(0.875), "digits-large 7"));
}

#[tokio::test]
async fn a_plain_server_gives_scores() {
    let probabilities = ask_json(&scores("[0.1,0.2,0.7]")).await.unwrap();
    assert_eq!((probabilities.said.class(), probabilities.confidence), (2, Some(0.7)));
    let logits = ask_json(&scores("[1000,-5,1000]")).await.unwrap();
    assert_eq!((logits.said.class(), logits.confidence), (0, Some(0.5)), "the first of equals");
}

#[tokio::test]
async fn tensors_go_and_come_binary() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "s3cret\n").unwrap();
    let (heard, hears) = std::sync::mpsc::sync_channel(1);
    let server = Server::start(move |_, head, body| {
        heard.send((head.to_lowercase(), Bytes::copy_from_slice(body))).unwrap();
        let form = crate::ports::OutputForm { binary_by_default: true, requested: Vec::new() };
        let outputs = [Tensor::from_f32("s", vec![3], &[0.0, 1.0, 0.0]).unwrap()];
        let (payload, json_len) = oip::infer_response("m", "", "a/1", Map::new(), &outputs, &form);
        let header = format!("Inference-Header-Content-Length: {}\r\n", json_len.unwrap());
        answer("200 OK", &header, &payload)
    })
    .await;
    let url = format!("{}/base/", server.url);
    let provider = configure(&url, &format!("token_file = {token:?}")).unwrap().provider;
    let asked = question(2_000);
    let meter = asked.meter.clone();
    let upstream = provider.ask(asked).await.unwrap();
    assert_eq!((upstream.said.class(), upstream.outputs[0].to_f32()), (1, vec![0.0, 1.0, 0.0]));
    let (head, body) = hears.recv().unwrap();
    assert_eq!(meter.sent(), body.len() as u64);
    assert!(head.starts_with("post /base/v2/models/digits%20large/infer "), "{head}");
    assert!(head.contains("authorization: bearer s3cret\r\n"), "{head}");
    let json_len = head.lines().find_map(|line| line.strip_prefix("inference-header-content-length: ")?.parse().ok());
    let json_len: usize = json_len.unwrap();
    let inputs = oip::decode_inputs(&body[..json_len], &body.slice(json_len..)).unwrap().tensors;
    assert_eq!(inputs, question(1).inputs);
    let options = oip::envelope(&body[..json_len]).unwrap().options().unwrap();
    assert_eq!((options.id.unwrap().as_str(), options.deadline), ("a/1", Some(Span::from_millis(2_000))));
}

/// Asks a server that knows no binary tensors, with these further keys; what it heard, and what came of it.
async fn ask_with(more: &str, json: &'static str) -> (String, Bytes, Result<Upstream, Fault>) {
    let (heard, hears) = std::sync::mpsc::sync_channel(1);
    let server = Server::start(move |_, head, body| {
        heard.send((head.to_lowercase(), Bytes::copy_from_slice(body))).unwrap();
        answer("200 OK", "", json.as_bytes())
    })
    .await;
    let upstream = configure(&server.url, more).unwrap().provider.ask(question(2_000)).await;
    let (head, body) = hears.recv().unwrap();
    (head, body, upstream)
}

#[tokio::test]
async fn tensors_go_as_json_to_a_server_that_knows_nothing_else() {
    let json = r#"{"outputs":[{"name":"predict","shape":[3],"datatype":"FP32","data":[9,1,1]},
        {"name":"predict_proba","shape":[1,3],"datatype":"FP64","data":[0.25,0.5,0.25]}]}"#;
    let (head, body, upstream) =
        ask_with("tensors = \"json\"\noutput = \"predict_proba\"\nversion = \"v 2\"", json).await;
    let upstream = upstream.unwrap();
    assert_eq!((upstream.said.class(), upstream.confidence, upstream.outputs.len()), (1, Some(0.5), 1));
    assert!(head.starts_with("post /v2/models/digits%20large/versions/v%202/infer "), "{head}");
    assert!(head.contains("content-type: application/json\r\n") && !head.contains("inference-header"), "{head}");
    assert_eq!(oip::decode_inputs(&body, &Bytes::new()).unwrap().tensors, question(1).inputs);
    let envelope = oip::envelope(&body).unwrap();
    assert_eq!(envelope.outputs.requested, [("predict_proba".to_owned(), None)]);
    assert_eq!(envelope.options().unwrap().deadline, Some(Span::from_millis(2_000)));
}

#[tokio::test]
async fn a_single_value_is_what_the_configuration_says() {
    let one = |datatype: &str, data: &str| {
        format!(r#"{{"outputs":[{{"name":"predict","shape":[1,1],"datatype":"{datatype}","data":[{data}]}}]}}"#)
    };
    let labels = ["1", "2", "cat"].map(str::to_owned);
    let read = |answer, json: &str| {
        let response = oip::decode_response(json.as_bytes(), &Bytes::new()).unwrap();
        let manner = Manner { tensors: Tensors::Json, output: None, answer };
        judge(response, &manner, &labels).map(|upstream| (upstream.said.class(), upstream.confidence))
    };
    for (meaning, datatype, data, index) in [
        (Meaning::Index, "INT64", "1", 1),
        (Meaning::Label, "INT64", "1", 0),
        (Meaning::Label, "FP64", "2.0", 1),
        (Meaning::Label, "BYTES", "\"cat\"", 2),
    ] {
        assert_eq!(read(meaning, &one(datatype, data)).unwrap(), (index, None), "{meaning:?} {data}");
    }
    for (meaning, datatype, data, part) in [
        (Meaning::Index, "INT64", "3", "index 3"),
        (Meaning::Index, "INT64", "-1", "index -1"),
        (Meaning::Index, "FP32", "0.5", "0.5 is no whole number"),
        (Meaning::Index, "FP32", "null", "NaN is no whole number"),
        (Meaning::Index, "BYTES", "\"cat\"", "no output of one whole number"),
        (Meaning::Label, "INT64", "3", "\"3\" is none of ours"),
        (Meaning::Label, "BYTES", "\"Cat\"", "\"Cat\" is none of ours"),
        (Meaning::Scores, "INT64", "1", "`answer = \"label\"`"),
    ] {
        let (fault, why) = read(meaning, &one(datatype, data)).unwrap_err();
        assert!(fault == ProviderFault::BadAnswer && why.contains(part), "{meaning:?} {data}: {why}");
    }
    let (.., upstream) = ask_with(
        "output = \"other\"\nanswer = \"label\"",
        r#"{"outputs":[{"name":"predict",
        "shape":[1],"datatype":"BYTES","data":["dog"]}]}"#,
    )
    .await;
    assert_eq!(fault(upstream), ProviderFault::BadAnswer, "of another output nothing is taken");
}

#[tokio::test]
async fn an_unusable_answer_is_a_bad_one() {
    for json in [
        r#"{"outputs":[]}"#,
        r#"{"parameters":{"label":"fish"},"outputs":[]}"#,
        r#"{"outputs":[{"name":"s","shape":[2],"datatype":"FP32","data":[0,1]}]}"#,
        &scores("[null,0,1]"),
        &scores("[0,1]"),
    ] {
        assert_eq!(fault(ask_json(json).await), ProviderFault::BadAnswer, "{json}");
    }
    let beyond = answer("200 OK", "Inference-Header-Content-Length: 999\r\n", b"{}");
    assert_eq!(fault(ask(beyond).await), ProviderFault::BadAnswer);
}

#[test]
fn a_section_is_checked() {
    let good = configure("http://127.0.0.1:8471", "cost = { call = 0.0 }").unwrap();
    assert_eq!((&*good.name, good.timeout), ("hq", Span::from_millis(2_000)));
    assert_eq!(configure("http://x", "timeout_ms = 500").unwrap().timeout, Span::from_millis(500));
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
        ("https://x", "ca_file = \"/nowhere/ca.pem\"", "/nowhere/ca.pem"),
        ("http://x", "ca_file = \"/nowhere/ca.pem\"", "`ca_file` is for https"),
        ("http://x", "modell = \"y\"", "`model`"),
        ("http://x", "tensors = \"text\"", "unknown"),
        ("http://x", "answer = \"class\"", "unknown"),
        ("http://x", "output = \"\"", "`output` is a name"),
        ("http://x", "version = \"\"", "`version` is a name"),
    ] {
        let error = configure(url, more).err().expect("a mistake");
        assert!(error.message.contains(part), "{url} {more}: {error}");
        let family = if error.message.contains("cannot be read") { "secret/missing" } else { "config/" };
        assert!(error.code.starts_with(family) && error.place.starts_with("picket.toml:"), "{error}");
    }
}

/// Asked for a number.
async fn number_of(json: &str) -> Result<Upstream, Fault> {
    let json = json.to_owned();
    let server = Server::start(move |_, _, _| answer("200 OK", "", json.as_bytes())).await;
    let provider = configure(&server.url, "").unwrap().provider;
    provider.ask(Question { measure: Measure::Value { tolerance: 0.5 }, labels: [].into(), ..question(2_000) }).await
}

#[tokio::test]
async fn a_number_is_what_a_picket_states_or_the_first_output() {
    let output = |shape: &str, data: &str| {
        format!(r#"{{"outputs":[{{"name":"y","shape":{shape},"datatype":"FP64","data":{data}}}]}}"#)
    };
    for (json, value) in [
        (r#"{"parameters":{"value":-2.5},"outputs":[]}"#.to_owned(), -2.5),
        (output("[1]", "[0.1]"), 0.1),
        (output("[1,2]", "[7.5,0.25]"), 7.5),
    ] {
        assert_eq!(number_of(&json).await.unwrap().said, Said::Value(value), "{json}");
    }
    let text = r#"{"parameters":{"value":"7"},"outputs":[]}"#.to_owned();
    for bad in [output("[3]", "[1,2,3]"), r#"{"outputs":[]}"#.to_owned(), text] {
        assert_eq!(number_of(&bad).await.unwrap_err().0, ProviderFault::BadAnswer, "{bad}");
    }
}
