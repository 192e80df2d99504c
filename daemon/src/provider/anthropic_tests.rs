//! What Anthropic's messages are asked for, and in which forms their answers come.

use picket_core::escalation::money::Money;
use serde_json::{Value, json};

use super::*;
use crate::{
    ports::Upstream,
    provider::tests_support::{Server, answer, ask, configure, dog, question},
    tensor::Tensor,
};

async fn sent(more: &str, question: crate::ports::Question) -> (String, Value) {
    let (heard, hears) = std::sync::mpsc::sync_channel(1);
    let server = Server::start(move |_, head, body| {
        heard.send((head.to_lowercase(), serde_json::from_slice(body).unwrap())).unwrap();
        dog(&Anthropic)
    })
    .await;
    let provider = configure(&Anthropic, &server.url, more).unwrap().provider;
    assert_eq!(provider.ask(question).await.unwrap().said.class(), 1);
    hears.recv().unwrap()
}

#[tokio::test]
async fn a_picture_is_asked_about_with_a_tool_for_the_answer() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, "sk-ant\n").unwrap();
    let mut question = question(5_000);
    question.inputs = vec![Tensor::from_f32("pixels", vec![1, 64], &[8.0; 64]).unwrap()];
    let more = format!("key_file = {file:?}\nimage = {{ width = 8, height = 8, range = [0.0, 16.0] }}");
    let (head, body) = sent(&more, question).await;
    assert!(head.starts_with("post /v1/messages "), "{head}");
    for header in ["x-api-key: sk-ant\r\n", "anthropic-version: 2023-06-01\r\n", "content-type: application/json\r\n"] {
        assert!(head.contains(header), "{head}");
    }
    assert_eq!((&body["model"], &body["max_tokens"]), (&json!("digits large"), &json!(256)));
    let source = &body["messages"][0]["content"][0]["source"];
    assert_eq!((&source["type"], &source["media_type"]), (&json!("base64"), &json!("image/png")));
    assert!(source["data"].as_str().unwrap().starts_with("iVBORw0KGgo"), "a PNG");
    let schema = &body["tools"][0]["input_schema"];
    assert_eq!(schema["properties"]["label"]["enum"], json!(["cat", "dog", "bird"]));
    assert_eq!(body["tool_choice"]["name"], body["tools"][0]["name"]);

    let (head, body) = sent("structured = \"none\"", crate::provider::tests_support::question(5_000)).await;
    assert!(!head.contains("x-api-key"), "{head}");
    assert_eq!((body.get("tools"), body.get("tool_choice"), body.get("output_config")), (None, None, None));
    assert!(body["messages"][0]["content"][0]["text"].as_str().unwrap().contains("nothing else"));
    let (_, body) = sent("structured = \"json-schema\"", crate::provider::tests_support::question(5_000)).await;
    let labels = &body["output_config"]["format"]["schema"]["properties"]["label"]["enum"];
    assert_eq!((labels, body.get("tools")), (&json!(["cat", "dog", "bird"]), None));
}

async fn told(body: Value) -> Result<Upstream, String> {
    ask(&Anthropic, answer("200 OK", "", body.to_string().as_bytes())).await.map_err(|(_, why)| why)
}

#[tokio::test]
async fn the_label_is_found_in_a_call_or_in_words() {
    let call = json!({ "type": "tool_use", "id": "t", "name": "answer", "input": { "label": "Bird" } });
    let thinks = json!({ "type": "text", "text": "A dog? No, a bird." });
    for (content, index) in [(json!([thinks, call]), 2), (json!([{ "type": "text", "text": "It is a dog." }]), 1)] {
        assert_eq!(told(json!({ "content": content })).await.unwrap().said.class(), index);
    }
    let other = json!({ "type": "tool_use", "id": "t", "name": "search", "input": { "label": "dog" } });
    for (body, part) in [
        (json!({ "content": [other] }), "none of the labels"),
        (json!({ "content": [], "stop_reason": "refusal" }), "refused"),
        (json!({ "content": [{ "type": "text", "text": "It" }], "stop_reason": "max_tokens" }), "max_tokens"),
        (json!({ "type": "error", "error": { "message": "credit balance is too low" } }), "credit balance"),
    ] {
        let why = told(body).await.unwrap_err();
        assert!(why.contains(part), "{why}");
    }
}

#[tokio::test]
async fn what_a_cache_was_used_for_is_paid_too() {
    let usage = json!({ "input_tokens": 10, "cache_creation_input_tokens": 20, "cache_read_input_tokens": null, "output_tokens": 3 });
    let body = json!({ "content": [{ "type": "text", "text": "dog" }], "usage": usage });
    let server = Server::saying(answer("200 OK", "", body.to_string().as_bytes())).await;
    let more = "cost = { input_token = 1e-6, output_token = 5e-6 }";
    let upstream = configure(&Anthropic, &server.url, more).unwrap().provider.ask(question(5_000)).await.unwrap();
    assert_eq!(upstream.cost, Some(Money::from_nanos(30 * 1_000 + 3 * 5_000)));
}

#[test]
fn pictures_are_counted_by_their_pixels() {
    let dialect = Messages { structured: Structured::Tool };
    assert_eq!((dialect.image_tokens(224, 224), dialect.image_tokens(1, 1)), (67, 1));
}
