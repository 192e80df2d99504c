//! What the benches' clients speak: the Open Inference Protocol over one kept HTTP connection.

use std::{
    io::{Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    time::Duration,
};

use anyhow::{Context, bail, ensure};

const PATIENCE: Duration = Duration::from_secs(10);
const MOST_ANSWER_BYTES: usize = 1 << 20;

pub trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// `unix:/path` or `127.0.0.1:port`.
pub fn connect(to: &str) -> anyhow::Result<Box<dyn Stream>> {
    if let Some(path) = to.strip_prefix("unix:") {
        let stream = UnixStream::connect(path).with_context(|| format!("connecting to {to}"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        return Ok(Box::new(stream));
    }
    let stream = TcpStream::connect(to).with_context(|| format!("connecting to {to}"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(Box::new(stream))
}

/// A request of the Open Inference Protocol about one FP32 tensor of shape 1xN: in the document, or as bytes behind it.
pub fn request(model: &str, input: &str, values: &[f32], json: bool) -> Vec<u8> {
    let tensor = |rest: serde_json::Value| {
        let mut tensor = serde_json::json!({ "name": input, "shape": [1, values.len()], "datatype": "FP32" });
        let (Some(to), Some(from)) = (tensor.as_object_mut(), rest.as_object()) else { return tensor };
        to.extend(from.clone());
        tensor
    };
    let (document, bytes) = if json {
        (serde_json::json!({ "inputs": [tensor(serde_json::json!({ "data": values }))] }), Vec::new())
    } else {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let input = tensor(serde_json::json!({ "parameters": { "binary_data_size": bytes.len() } }));
        (serde_json::json!({ "inputs": [input], "parameters": { "binary_data_output": true } }), bytes)
    };
    let document = document.to_string();
    let split = if json { String::new() } else { format!("Inference-Header-Content-Length: {}\r\n", document.len()) };
    let head = format!(
        "POST /v2/models/{model}/infer HTTP/1.1\r\nHost: picket\r\nContent-Type: {}\r\n{split}Content-Length: {}\r\n\r\n",
        if json { "application/json" } else { "application/octet-stream" },
        document.len() + bytes.len()
    );
    [head.into_bytes(), document.into_bytes(), bytes].concat()
}

/// Reads one answer to its end, and returns its body.
pub fn answer(stream: &mut dyn Stream) -> anyhow::Result<Vec<u8>> {
    let (mut got, mut chunk) = (Vec::new(), [0; 16 * 1024]);
    loop {
        let count = stream.read(&mut chunk).context("no answer")?;
        ensure!(count > 0, "the connection was closed");
        got.extend_from_slice(&chunk[..count]);
        ensure!(got.len() <= MOST_ANSWER_BYTES, "the answer does not end");
        let Some(end) = got.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&got[..end]).to_ascii_lowercase();
        if !head.starts_with("http/1.1 200") {
            bail!("{}", String::from_utf8_lossy(&got));
        }
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length.context("an answer without length")?.trim().parse()?;
        if got.len() >= end + 4 + length {
            return Ok(got.split_off(end + 4));
        }
    }
}
