//! The transport over real sockets, with a run loop that answers as the test says.

mod house;

use std::time::Duration;

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use self::house::{Client, House, setup, state};
use super::*;
use crate::{
    oip,
    ports::{Content, Face, OutputForm},
    tensor::Tensor,
};

const BODY: &str = r#"{"id":"a/1","inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,2]}]}"#;

fn result() -> (Vec<u8>, Option<usize>) {
    let outputs = [Tensor::from_f32("probs", vec![1, 2], &[0.25, 0.75]).unwrap()];
    let form = OutputForm { binary_by_default: true, requested: Vec::new() };
    oip::infer_response("digits", "3", "a/1", serde_json::Map::new(), &outputs, &form)
}

#[tokio::test]
async fn a_job_goes_in_and_its_answer_comes_back() {
    let mut house = House::local().await;
    let mut client = house.client().await;
    for round in 0..3 {
        client.post(BODY.as_bytes()).await;
        let request = house.job().await;
        assert_eq!((&*request.model, request.id.as_ref().unwrap().as_str()), ("digits", "a/1"));
        assert!(request.answer_repeats && request.ticket.is_none() && request.fault.is_none());
        assert_eq!(request.reply.face, Face::Oip { outputs: OutputForm::default() });
        assert!(matches!(&request.content, Content::Oip { json, binary } if json == BODY && binary.is_empty()));
        house.answer(&request, None, b"{\"outputs\":[]}".to_vec(), None);
        let answer = client.receive().await;
        assert_eq!((answer.status, &*answer.body), (200, &b"{\"outputs\":[]}"[..]));
        assert_eq!(answer.headers["content-type"], "application/json");
        assert!(matches!(house.core().await, Input::Confirmed { row, .. } if row == RowId(round + 1)));
    }
}

#[tokio::test]
async fn tensors_travel_behind_the_json_both_ways() {
    let mut house = House::local().await;
    let mut client = house.client().await;
    let inputs = [Tensor::from_f32("x", vec![1, 2], &[1.0, 2.0]).unwrap()];
    let (payload, json_len) = oip::encode_request("a/1", serde_json::Map::new(), &inputs);
    let headers = format!("Inference-Header-Content-Length: {json_len}\r\n");
    client.send("POST /v2/models/digits/versions/3/infer", &headers, &payload).await;
    let request = house.job().await;
    let Content::Oip { json, binary } = &request.content else { panic!("an OIP request") };
    assert_eq!(oip::decode_inputs(json, binary).unwrap().tensors, inputs);
    assert!(matches!(&request.reply.face, Face::Oip { outputs } if outputs.binary_by_default));

    let (payload, json_len) = result();
    house.answer(&request, None, payload.clone(), json_len);
    let answer = client.receive().await;
    assert_eq!(answer.body, payload);
    assert_eq!(answer.headers["inference-header-content-length"], json_len.unwrap().to_string());
    assert_eq!(answer.headers["content-type"], "application/octet-stream");

    client.send("POST /v2/models/digits/infer", "Inference-Header-Content-Length: 999\r\n", b"{}").await;
    assert_eq!(client.receive().await.status, 400);
}

#[tokio::test]
async fn a_job_without_an_id_gets_one_of_its_own() {
    let mut house = House::local().await;
    let mut ids = Vec::new();
    for headers in ["", "", "Picket-Job-Id: press-4/7\r\n"] {
        let mut client = house.client().await;
        client.send("POST /v2/models/digits/infer", headers, b"{\"inputs\":[]}").await;
        ids.push(house.job().await.id.unwrap().to_string());
    }
    assert!(ids[0].starts_with("http-") && ids[0] != ids[1], "{ids:?}");
    assert_eq!(ids[2], "press-4/7");
}

#[tokio::test]
async fn an_error_keeps_its_code() {
    let mut house = House::local().await;
    let mut client = house.client().await;
    client.post(BODY.as_bytes()).await;
    let request = house.job().await;
    let failure = Failure::new("job/expired", "late");
    house.answer(&request, Some(failure.code), oip::error_document("a/1", &failure), None);
    let answer = client.receive().await;
    assert_eq!((answer.status, &answer.json()["error"]), (504, &json!("job/expired: late")));
    assert!(matches!(house.core().await, Input::Confirmed { .. }));

    client.post(BODY.as_bytes()).await;
    let request = house.job().await;
    house.transport.bounce(&request.reply.to, &Failure::new("store/full", "no room"));
    let answer = client.receive().await;
    assert_eq!((answer.status, &*answer.headers["retry-after"]), (503, "1"));
    assert_eq!(answer.json()["id"], "a/1");
}

#[tokio::test]
async fn what_is_wrong_at_sight_never_reaches_the_run_loop() {
    let mut house = House::open("listen = \"127.0.0.1:0\"\nmax_body = \"1KiB\"").await;
    let mut client = house.client().await;
    let wrong = [
        (r"{", 400, "input/undecodable"),
        (r#"{"parameters":{"priority":10}}"#, 400, "job/invalid-option"),
        (r#"{"id":"a b"}"#, 400, "job/invalid-option"),
        (r#"{"outputs":[{"name":"nose"}]}"#, 400, "job/invalid-option"),
    ];
    for (body, status, code) in wrong {
        client.post(body.as_bytes()).await;
        let answer = client.receive().await;
        assert_eq!((answer.status, &answer.json()["code"]), (status, &json!(code)), "{body}");
    }
    client.send("POST /v2/models/digits/versions/4/infer", "", BODY.as_bytes()).await;
    assert_eq!(client.receive().await.status, 404);
    client.send("POST /v2/models/digits/infer", "Content-Encoding: gzip\r\n", BODY.as_bytes()).await;
    assert_eq!(client.receive().await.status, 400);
    client.post(&[b' '; 1025]).await;
    let answer = client.receive().await;
    assert_eq!((answer.status, &answer.json()["code"]), (413, &json!("input/too-large")));
    assert!(house.inbox.try_recv().is_err());
}

#[tokio::test]
async fn a_body_without_a_length_is_bounded_too() {
    let house = House::open("listen = \"127.0.0.1:0\"\nmax_body = \"1KiB\"").await;
    let mut client = house.client().await;
    let head = "POST /v2/models/digits/infer HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.0.write_all(head.as_bytes()).await.unwrap();
    for _ in 0..5 {
        client.0.write_all(format!("100\r\n{}\r\n", " ".repeat(256)).as_bytes()).await.unwrap();
    }
    assert_eq!(client.receive().await.status, 413);
    assert_eq!(house.transport.server.bodies.available_permits(), limits::HTTP_BODIES_BYTES);
}

#[tokio::test]
async fn a_body_in_pieces_is_put_together() {
    let mut house = House::local().await;
    let mut client = house.client().await;
    let head = format!("POST /v2/models/digits/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", BODY.len());
    client.0.write_all(head.as_bytes()).await.unwrap();
    for piece in BODY.as_bytes().chunks(20) {
        client.0.write_all(piece).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(matches!(house.job().await.content, Content::Oip { json, .. } if json == BODY));
    let taken = limits::HTTP_BODIES_BYTES - house.transport.server.bodies.available_permits();
    assert_eq!(taken, BODY.len());
}

#[tokio::test]
async fn a_caller_who_hung_up_makes_the_row_undeliverable() {
    let mut house = House::local().await;
    let mut client = house.client().await;
    client.post(BODY.as_bytes()).await;
    let request = house.job().await;
    drop(client);
    tokio::time::sleep(Duration::from_millis(100)).await;
    house.answer(&request, None, b"{}".to_vec(), None);
    assert!(matches!(house.core().await, Input::Undeliverable { row: RowId(1), epoch: EPOCH, .. }));
}

#[tokio::test]
async fn operators_see_models_and_health() {
    let mut house = House::local().await;
    let mut client = house.client().await;
    assert_eq!(client.get("/v2").await.json()["extensions"][0], "binary_tensor_data");
    let model = client.get("/v2/models/digits").await.json();
    assert_eq!(model["inputs"][0], json!({ "name": "x", "datatype": "FP32", "shape": [-1, 2] }));
    assert_eq!(model["versions"], json!(["3"]));
    for (path, status) in [
        ("/v2/models/digits/ready", 200),
        ("/v2/models/digits/versions/3/ready", 200),
        ("/v2/models/digits/versions/2", 404),
        ("/v2/models/none", 404),
        ("/v2/models/broken", 503),
        ("/v2/models/broken/ready", 503),
        ("/v2/models/digits/infer", 405),
        ("/v2/health/live", 200),
        ("/healthz", 200),
        ("/metrics", 200),
        ("/etc/passwd", 404),
    ] {
        assert_eq!(client.get(path).await.status, status, "{path}");
    }
    let metrics = client.get("/metrics").await;
    assert!(metrics.headers["content-type"].starts_with("application/openmetrics-text"));

    for (path, ready, code) in [("/status", true, 200), ("/readyz", true, 200), ("/v2/health/ready", false, 503)] {
        client.send(&format!("GET {path}"), "", b"").await;
        let Event::Status(answer) = house.event().await else { panic!("a question about the state") };
        answer.send(state(ready)).unwrap();
        assert_eq!(client.receive().await.status, code, "{path}");
    }
    house.inbox.close();
    assert_eq!(client.get("/healthz").await.status, 503);
    assert_eq!(client.get("/readyz").await.status, 503);
}

#[tokio::test]
async fn only_the_token_opens() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "s3cret\n").unwrap();
    let house = House::open(&format!("listen = \"0.0.0.0:0\"\ntoken_file = {file:?}")).await;
    let port = house.transport.address.rsplit(':').next().unwrap();
    let mut client = Client(TcpStream::connect(format!("127.0.0.1:{port}")).await.unwrap());
    for (headers, status) in [
        ("", 401),
        ("Authorization: Bearer s3cre\r\n", 401),
        ("Authorization: Basic s3cret\r\n", 401),
        ("Authorization: Bearer\r\n", 401),
        ("Authorization: Bearer s3cret\r\n", 200),
        ("Authorization: bearer s3cret\r\n", 200),
    ] {
        client.send("GET /v2", headers, b"").await;
        assert_eq!(client.receive().await.status, status, "{headers}");
    }
    assert_eq!(client.get("/v2/health/live").await.status, 200);
    assert_eq!(client.get("/nowhere").await.status, 401);
    assert_eq!(client.get("/v2/models/digits/infer").await.status, 401);
}

#[tokio::test]
async fn stopping_lets_answers_leave_and_callers_know() {
    let mut house = House::local().await;
    let (mut first, mut second, mut idle) = (house.client().await, house.client().await, house.client().await);
    first.post(BODY.as_bytes()).await;
    let request = house.job().await;
    second.post(BODY.as_bytes()).await;
    house.job().await;
    assert_eq!(idle.get("/healthz").await.status, 200);
    house.transport.stop_intake();
    idle.post(BODY.as_bytes()).await;
    assert_eq!(idle.receive().await.json()["code"], "job/shutting-down");
    house.answer(&request, None, b"{}".to_vec(), None);
    let address = house.transport.address.clone();
    tokio::time::timeout(Duration::from_secs(1), Box::new(house.transport).close()).await.expect("closes at once");
    assert_eq!(first.receive().await.status, 200);
    assert_eq!(second.receive().await.json()["code"], "job/shutting-down");
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_unix_socket_serves_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("picket.sock");
    let house = House::open(&format!("listen = \"unix:{}\"", path.display())).await;
    let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    Box::new(house.transport).close().await;
    assert!(!path.exists());
}

#[test]
fn a_section_is_checked_before_anything_opens() {
    for (text, part) in [
        ("", "listen"),
        ("listen = 8470", "expected a string"),
        ("listen = \"localhost\"", "127.0.0.1:8470"),
        ("listen = \"0.0.0.0:8470\"", "token_file"),
        ("listen = \"127.0.0.1:8470\"\ntoken_file = \"/nowhere/token\"", "/nowhere/token"),
        ("listen = \"127.0.0.1:8470\"\nmax_body = \"65MiB\"", "max_body"),
        ("listen = \"127.0.0.1:8470\"\nmax_body = \"0\"", "max_body"),
        ("listen = \"127.0.0.1:8470\"\nmax_body = \"many\"", "many"),
        ("listen = \"127.0.0.1:8470\"\nmax_bodi = \"1KiB\"", "`max_body`"),
    ] {
        let error = setup(text).unwrap_err();
        assert!(error.message.contains(part), "{text}: {error}");
        let family = if text.contains("token_file") { "secret/missing" } else { "config/" };
        assert!(error.code.starts_with(family) && error.place.starts_with("picket.toml"), "{error}");
    }
    let setup = setup("listen = \"127.0.0.1:8470\"").unwrap();
    assert_eq!((setup.token, setup.max_body), (None, limits::MAX_BODY_BYTES));
}
