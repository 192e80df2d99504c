//! What chat completions are asked for, and in which forms their answers come.

use serde_json::{Value, json};

use super::*;
use crate::{
    ports::Upstream,
    provider::tests_support::{Server, answer, ask, configure, dog, question},
    tensor::Tensor,
};

/// The head and the body that a server gets, with these lines in the section.
async fn sent(more: &str, question: crate::ports::Question) -> (String, Value) {
    let (heard, hears) = std::sync::mpsc::sync_channel(1);
    let server = Server::start(move |_, head, body| {
        heard.send((head.to_lowercase(), serde_json::from_slice(body).unwrap())).unwrap();
        dog(&OpenAi)
    })
    .await;
    let provider = configure(&OpenAi, &format!("{}/v1", server.url), more).unwrap().provider;
    assert_eq!(provider.ask(question).await.unwrap().said.class(), 1);
    hears.recv().unwrap()
}

#[tokio::test]
async fn numbers_are_asked_about_with_the_labels_as_a_schema() {
    let (head, body) = sent("", question(5_000)).await;
    assert!(
        head.starts_with("post /v1/chat/completions ") && head.contains("content-type: application/json"),
        "{head}"
    );
    assert!(!head.contains("authorization"), "{head}");
    assert_eq!((&body["model"], &body["max_tokens"]), (&json!("digits large"), &json!(256)));
    let text = body["messages"][0]["content"][0]["text"].as_str().unwrap();
    for part in [r#"["cat","dog","bird"]"#, r#"Input "x", 1x2 FP32: [1, 2]"#, "JSON"] {
        assert!(text.contains(part), "{text}");
    }
    let schema = &body["response_format"]["json_schema"]["schema"];
    assert_eq!(schema["properties"]["label"]["enum"], json!(["cat", "dog", "bird"]));
    assert_eq!((&schema["additionalProperties"], body.get("temperature")), (&json!(false), None));
}

#[tokio::test]
async fn what_servers_differ_in_can_be_set() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, "azure-key\n").unwrap();
    let more = format!(
        "key_file = {file:?}\nauth_header = \"api-key\"\nstructured = \"json-object\"\ntemperature = 0\nmax_tokens = 9\n\
         max_tokens_field = \"max_completion_tokens\"\nprompt = \"Is the weld good?\""
    );
    let (head, body) = sent(&more, question(5_000)).await;
    assert!(head.contains("api-key: azure-key\r\n") && !head.contains("authorization"), "{head}");
    assert_eq!((&body["max_completion_tokens"], body.get("max_tokens")), (&json!(9), None));
    assert_eq!((&body["response_format"], &body["temperature"]), (&json!({ "type": "json_object" }), &json!(0.0)));
    let text = body["messages"][0]["content"][0]["text"].as_str().unwrap();
    assert!(text.starts_with("Is the weld good?\n"), "{text}");

    let (head, body) = sent(&format!("key_file = {file:?}\nstructured = \"none\""), question(5_000)).await;
    assert!(head.contains("authorization: bearer azure-key\r\n"), "{head}");
    assert_eq!(body.get("response_format"), None);
    for (wrong, part) in [("auth_header = \"api key\"", "no name of a header"), ("temperature = 2.5", "0 to 2")] {
        let error = configure(&OpenAi, "http://x", wrong).err().expect("a mistake");
        assert!(error.message.contains(part), "{error}");
    }
}

#[tokio::test]
async fn a_picture_goes_as_a_data_url_and_the_rest_as_numbers() {
    let mut question = question(5_000);
    question.inputs.push(Tensor::from_f32("pixels", vec![1, 64], &[8.0; 64]).unwrap());
    let (_, body) = sent("image = { width = 8, height = 8, range = [0.0, 16.0] }", question).await;
    let content = &body["messages"][0]["content"];
    let url = content[0]["image_url"]["url"].as_str().unwrap();
    let file =
        base64::Engine::decode(&base64::prelude::BASE64_STANDARD, url.strip_prefix("data:image/png;base64,").unwrap());
    assert!(file.unwrap().starts_with(b"\x89PNG"));
    let text = content[1]["text"].as_str().unwrap();
    assert!(text.contains("picture is the input \"pixels\"") && text.contains("Input \"x\""), "{text}");
}

async fn told(body: Value) -> Result<Upstream, String> {
    ask(&OpenAi, answer("200 OK", "", body.to_string().as_bytes())).await.map_err(|(_, why)| why)
}

fn choice(message: Value, finish_reason: &str) -> Value {
    json!({ "choices": [{ "index": 0, "message": message, "finish_reason": finish_reason }] })
}

#[tokio::test]
async fn the_label_is_found_in_what_servers_make_of_it() {
    for content in
        [json!("dog"), json!("```json\n{\"label\":\"dog\"}\n```"), json!([{ "type": "text", "text": "dog" }])]
    {
        let upstream = told(choice(json!({ "role": "assistant", "content": content }), "stop")).await;
        assert_eq!(upstream.unwrap().said.class(), 1, "{content}");
    }
    for (body, part) in [
        (choice(json!({ "content": null, "refusal": "I cannot help" }), "stop"), "refused: I cannot help"),
        (choice(json!({ "content": "{\"la" }), "length"), "max_tokens"),
        (choice(json!({ "content": "" }), "stop"), "none of the labels"),
        (json!({ "error": { "message": "quota used up" } }), "quota used up"),
    ] {
        let why = told(body).await.unwrap_err();
        assert!(why.contains(part), "{why}");
    }
}

#[test]
fn pictures_are_counted_in_tiles() {
    let dialect =
        Completions { structured: Structured::None, max_tokens_field: MaxTokensField::Tokens, temperature: None };
    for (width, height, tiles) in [(224, 224, 1), (512, 512, 1), (513, 512, 2), (2048, 2048, 4), (2048, 224, 4)] {
        assert_eq!(dialect.image_tokens(width, height), 2_833 + 5_667 * tiles, "{width} x {height}");
    }
}
